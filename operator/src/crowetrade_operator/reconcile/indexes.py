"""What is known of all objects together. A replica that waits keeps it up to date, too: to read ten thousand of them
again would take a second of the moment in which it begins to lead."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from crowetrade_api.names import Key, Kind
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.reconcile.restarts import Restarts
from crowetrade_operator.reconcile.traders import Traders

_KINDS = frozenset(kind.value for kind in Kind)


class Unobserved:
    """Resources whose status is not about what their spec says now, or that are being deleted."""

    def __init__(self, cache: Cache) -> None:
        self._keys = {_key(item) for kind in Kind for item in cache.of_kind(kind.value) if not _is_observed(item)}
        cache.listen(self._changed)

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def _changed(self, before: Object | None, after: Object | None) -> None:
        item = after or before
        assert item is not None
        if item["kind"] not in _KINDS:
            return
        if after is not None and not _is_observed(after):
            self._keys.add(_key(item))
        else:
            self._keys.discard(_key(item))


@dataclass(frozen=True, slots=True)
class Indexes:
    """All of them."""

    traders: Traders
    restarts: Restarts
    unobserved: Unobserved

    @classmethod
    def of(cls, cache: Cache, clock: Callable[[], float] = time.monotonic) -> Indexes:
        """Of what is in the cache now, and following it."""
        return cls(Traders(cache), Restarts(cache, clock), Unobserved(cache))


def _key(item: Object) -> Key:
    return Key(Kind(item["kind"]), item["metadata"]["namespace"], item["metadata"]["name"])


def _is_observed(item: Object) -> bool:
    observed = (item.get("status") or {}).get("observedGeneration")
    return bool(observed == item["metadata"].get("generation")) and not item["metadata"].get("deletionTimestamp")
