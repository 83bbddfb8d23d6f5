"""Which Strategies use which venues: what happens to a venue concerns them, and they concern it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from crowetrade_api.names import InstrumentAddress, Key, Kind, VenueAddress
from crowetrade_api.v1alpha1.strategy import named_instruments, recorded_venues, venues_of
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.objects import Object


def left_by(item: Object) -> dict[VenueAddress, set[str]]:
    """What still serves a Strategy beyond its spec: venues, and symbols in which it may open positions there."""
    named = named_instruments(item)
    venues = {one.venue for one in named}
    found = {
        venue: {symbol for symbol in symbols if InstrumentAddress(venue, symbol) not in named}
        for venue, symbols in recorded_venues(item).items()
    }
    return {venue: symbols for venue, symbols in found.items() if symbols or venue not in venues}


class Traders:
    """An index that follows the cache; what an event costs does not depend on how many Strategies there are."""

    def __init__(self, cache: Cache) -> None:
        self._venues: dict[Key, set[VenueAddress]] = {}
        self._at: dict[VenueAddress, set[Key]] = defaultdict(set)
        # By namespace: Strategies of others, with the number of its venues that they use.
        self._guests: dict[str, Counter[Key]] = defaultdict(Counter)
        for item in cache.of_kind(Kind.STRATEGY.value):
            self._changed(None, item)
        cache.listen(self._changed)

    def at(self, namespace: str, venue: str) -> Iterable[Key]:
        """Strategies that use this venue, whether they are admitted or not, in no order."""
        return self._at.get(VenueAddress(namespace, venue), ())

    def guests(self, namespace: str) -> list[Key]:
        """Strategies of other namespaces that use a venue of this one, whether they are admitted or not."""
        return sorted(self._guests.get(namespace, ()))

    def homes(self, namespace: str) -> set[str]:
        """Their namespaces."""
        return {key.namespace for key in self._guests.get(namespace, ())}

    def _changed(self, before: Object | None, after: Object | None) -> None:
        item = after or before
        assert item is not None
        if item["kind"] != Kind.STRATEGY:
            return
        key = Key(Kind.STRATEGY, item["metadata"]["namespace"], item["metadata"]["name"])
        known, named = self._venues.get(key, set()), venues_of(after) if after is not None else set()
        for place in known - named:
            self._forget(key, place)
        for place in named - known:
            self._at[place].add(key)
            if place[0] != key.namespace:
                self._guests[place[0]][key] += 1
        if named:
            self._venues[key] = named
        else:
            self._venues.pop(key, None)

    def _forget(self, key: Key, place: VenueAddress) -> None:
        self._at[place].discard(key)
        if not self._at[place]:
            del self._at[place]
        namespace = place[0]
        if namespace == key.namespace:
            return
        self._guests[namespace][key] -= 1
        if not self._guests[namespace][key]:
            del self._guests[namespace][key]
        if not self._guests[namespace]:
            del self._guests[namespace]
