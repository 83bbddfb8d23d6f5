"""Which Strategies name venues of other namespaces: what happens to these concerns them, and they concern it."""

from __future__ import annotations

from collections import defaultdict

from crowetrade_api.names import Key, Kind, VenueAddress
from crowetrade_api.v1alpha1.strategy import named_venues, recorded_venues, venues_of
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.objects import Object


def left_by(item: Object) -> dict[VenueAddress, str]:
    """Of venues that the spec of a Strategy names no more and that still serve it: what it may do there."""
    named = named_venues(item)
    return {venue: use for venue, use in recorded_venues(item).items() if venue not in named}


class Guests:
    """An index that follows the cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._at: dict[str, dict[Key, None]] = defaultdict(dict)
        cache.listen(self._changed)

    def of(self, namespace: str) -> list[Key]:
        """Strategies of other namespaces that name a venue of this one, whether they are admitted or not."""
        return sorted(self._at.get(namespace, ()))

    def homes(self, namespace: str) -> set[str]:
        """Their namespaces."""
        return {key.namespace for key in self._at.get(namespace, ())}

    def at(self, namespace: str, venue: str) -> list[Key]:
        """Those that name this venue."""
        found = ((key, self._cache.get(key.kind.value, key.namespace, key.name)) for key in self.of(namespace))
        return [key for key, item in found if item is not None and (namespace, venue) in venues_of(item)]

    def _changed(self, before: Object | None, after: Object | None) -> None:
        for item in (before, after):
            if item is None or item["kind"] != Kind.STRATEGY:
                continue
            own = item["metadata"]["namespace"]
            key = Key(Kind.STRATEGY, own, item["metadata"]["name"])
            for namespace, _ in venues_of(item):
                if namespace == own:
                    continue
                if item is after:
                    self._at[namespace][key] = None
                else:
                    self._at[namespace].pop(key, None)
