"""Where the ledgers are: one per RiskLimit, by its uid, replaced by compare-and-set."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from crowetrade_agents.allowances.ledger import Entry


class LedgerPort(Protocol):
    """The ledgers of one namespace. Every call raises LedgerUnavailable when there is no answer: an exchange may then
    have happened, or happen later. `heard` is set when a ledger may have changed; some changes may be missed."""

    heard: asyncio.Event

    async def uids(self) -> Iterable[str]:
        """Of every RiskLimit that has a ledger."""
        ...

    async def read(self, uids: Iterable[str]) -> Mapping[str, Entry]:
        """The present ledgers of these RiskLimits."""
        ...

    async def exchange(self, uid: str, revision: int, payload: bytes) -> int | None:
        """Replaces the ledger of that revision; returns the new revision, or None when it had been changed."""
        ...

    def changed(self) -> frozenset[str]:
        """RiskLimits of whose ledgers that was heard since the last call."""
        ...
