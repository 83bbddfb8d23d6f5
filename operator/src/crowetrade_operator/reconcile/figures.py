"""The second speed: positions, PnL and counters, which change with every message and which nobody waits for.

Who has new figures is remembered, and looked at in turn, no faster than statuses may be written; so what the figures of
a fleet cost does not depend on how large it is. A reconcile of another cause brings them as well.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from crowetrade_api.names import Key, Kind
from crowetrade_operator.cluster.status import StatusWriter


class Queue(Protocol):
    """Where keys go when it is their turn."""

    def add(self, key: Key, *, first: bool) -> None:
        """Adds one."""


_TURNS = (Kind.STRATEGY, Kind.VENUE)


class Figures:
    """Keys with new figures; a Strategy and a VenueConnection in turn, of each kind whoever has waited longest."""

    def __init__(self, queue: Queue, status: StatusWriter) -> None:
        self._queue = queue
        self._status = status
        self._keys: dict[Kind, OrderedDict[Key, None]] = {kind: OrderedDict() for kind in _TURNS}
        self._arrived = asyncio.Event()
        self._turn = 0

    def add(self, key: Key) -> None:
        """Remembers the key; it keeps its place when it waits already."""
        self._keys[key.kind].setdefault(key)
        self._arrived.set()

    async def run(self) -> None:
        """Hands keys on until cancelled."""
        while True:
            key = self._next()
            if key is None:
                self._arrived.clear()
                await self._arrived.wait()
            else:
                self._queue.add(key, first=False)
                await self._status.regular_turn()

    def _next(self) -> Key | None:
        for _ in _TURNS:
            keys = self._keys[_TURNS[self._turn]]
            self._turn = (self._turn + 1) % len(_TURNS)
            if keys:
                key, _ = keys.popitem(last=False)
                return key
        return None
