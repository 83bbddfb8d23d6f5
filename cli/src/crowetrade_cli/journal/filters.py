"""Which events a person wants to see. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from crowetrade_cli.errors import WrongUse
from crowetrade_cli.journal.rows import Row

_AGE = re.compile(r"(\d{1,6})([smhd])")
_UNITS_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_since(text: str, now: datetime) -> int:
    """Nanoseconds since the Unix epoch of a point in time (ISO 8601, UTC unless it says otherwise) or of an age; 0 for
    no text. Raises WrongUse."""
    if not text:
        return 0
    age = _AGE.fullmatch(text)
    if age:
        return _nanoseconds(now) - int(age[1]) * _UNITS_NS[age[2]]
    try:
        point = datetime.fromisoformat(text)
    except ValueError:
        raise WrongUse(
            f"--since {text!r} is no time: write 2026-03-01T09:30:00Z, or an age such as 90s, 15m, 2h or 3d"
        ) from None
    return _nanoseconds(point if point.tzinfo else point.replace(tzinfo=UTC))


def _nanoseconds(point: datetime) -> int:
    return (point - _EPOCH) // timedelta(microseconds=1) * 1000


class EventFilter:
    """Takes rows in order. An order is followed under the ClOrdIDs of its requests and of what replaced it."""

    def __init__(self, strategy: str = "", since_unix_ns: int = 0, order: str = "") -> None:
        self._strategy = strategy
        self._since_unix_ns = since_unix_ns
        self._order = {order} if order else set()

    def takes(self, row: Row) -> bool:
        """Whether the row is wanted."""
        if self._order and not self._follows(row):
            return False
        if self._strategy and row.strategy != self._strategy:
            return False
        return row.at_unix_ns >= self._since_unix_ns

    def _follows(self, row: Row) -> bool:
        ids = {str(row.event[key]) for key in ("cl_ord_id", "orig_cl_ord_id") if key in row.event}
        if not ids & self._order:
            return False
        self._order |= ids
        return True
