"""Executions as they are written down: read from the journals beside the gateways, which report none of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from crowetrade_agents.errors import JournalError
from crowetrade_agents.journal.chain import decode, last_sequence
from crowetrade_agents.journal.sqlite import SqliteReader
from crowetrade_api.names import strategy_of
from crowetrade_cli.journal.rows import Row, iso, rows_of
from crowetrade_cli.local.wanted import Address

EXECUTION = "OrderExecuted"
_SIDES = {"SIDE_BUY": "Buy", "SIDE_SELL": "Sell"}


def fill_fields(venue: Address, row: Row) -> dict[str, Any]:
    """An execution for people and for JSON; numbers as the journal has them."""
    event = row.event
    namespace, strategy = strategy_of(row.strategy, venue.namespace)
    return {
        "time": iso(row.at_unix_ns),
        "namespace": namespace,
        "venue": venue.name,
        "strategy": strategy,
        "cl_ord_id": row.cl_ord_id,
        "side": _SIDES.get(str(event.get("side")), ""),
        "quantity": event.get("quantity", ""),
        "symbol": row.symbol,
        "price": event.get("price", ""),
        "fee": str(Decimal(str(event.get("fee") or "0"))),
    }


class Fills:
    """Of one journal, after what it holds when this is made. None as long as it cannot be read: its gateway, which
    cannot read it either, says why."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._reader: SqliteReader | None = None
        self._next = 0
        with contextlib.suppress(JournalError):
            reader = self._opened()
            _, last = reader.last() if reader is not None else (0, b"")
            self._next = last_sequence(decode(last, 0)) + 1 if last else 0

    def new(self) -> Iterator[Row]:
        """Executions since the last call."""
        with contextlib.suppress(JournalError):
            yield from self._new()

    def _new(self) -> Iterator[Row]:
        reader = self._opened()
        if reader is None:
            return
        for payload in reader.records(self._next):
            for row in rows_of(payload):
                if row.sequence < self._next:
                    continue
                self._next = row.sequence + 1
                if row.kind == EXECUTION:
                    yield row

    def _opened(self) -> SqliteReader | None:
        """None as long as the gateway has not made its journal."""
        if self._reader is None and self._journal.exists():
            self._reader = SqliteReader(self._journal)
        return self._reader
