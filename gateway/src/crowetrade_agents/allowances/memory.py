"""Ledgers in this process: for gateways that share one, and for backtests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from weakref import WeakSet

from crowetrade.config.v1 import allowance_pb2
from crowetrade_agents.allowances.ledger import Entry
from crowetrade_api.allowances import without


class MemoryLedgers:
    """The ledgers of one namespace. Every gateway has a `MemoryLedgerPort` of its own."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        # A gateway that is started again has another one.
        self._ports: WeakSet[MemoryLedgerPort] = WeakSet()

    def port(self) -> MemoryLedgerPort:
        """For one gateway process."""
        port = MemoryLedgerPort(self)
        self._ports.add(port)
        return port

    def remove(self, venue: str) -> None:
        """Takes what is held by a gateway that is gone for good."""
        for uid, entry in list(self.entries.items()):
            left = without(allowance_pb2.Allowances.FromString(entry.payload), venue)
            if left is not None:
                self.exchange(uid, entry.revision, left.SerializeToString(deterministic=True))

    def exchange(self, uid: str, revision: int, payload: bytes) -> int | None:
        """See LedgerPort.exchange."""
        present = self.entries.get(uid, Entry())
        if present.revision != revision:
            return None
        self.entries[uid] = Entry(revision + 1, payload)
        for port in self._ports:
            port.dirty.add(uid)
            port.heard.set()
        return revision + 1


class MemoryLedgerPort:
    """Implements LedgerPort."""

    def __init__(self, ledgers: MemoryLedgers) -> None:
        self._ledgers = ledgers
        self.dirty: set[str] = set()
        self.heard = asyncio.Event()

    async def uids(self) -> Iterable[str]:
        """See LedgerPort."""
        return tuple(self._ledgers.entries)

    async def read(self, uids: Iterable[str]) -> Mapping[str, Entry]:
        """See LedgerPort."""
        return {uid: self._ledgers.entries.get(uid, Entry()) for uid in uids}

    async def exchange(self, uid: str, revision: int, payload: bytes) -> int | None:
        """See LedgerPort."""
        return self._ledgers.exchange(uid, revision, payload)

    def changed(self) -> frozenset[str]:
        """See LedgerPort."""
        dirty, self.dirty = frozenset(self.dirty), set()
        return dirty
