"""Where the ledgers are: one per RiskLimit, by its uid, replaced by compare-and-set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """A ledger as it is stored. `revision` rises with every change; 0 where there is no ledger."""

    revision: int = 0
    payload: bytes = b""


class LedgerPort(Protocol):
    """The ledgers of one namespace. Every call raises LedgerUnavailable when there is no answer: an exchange may then
    have happened, or happen later."""

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
        """RiskLimits whose ledgers may have changed since the last call. Some changes may be missed."""
        ...
