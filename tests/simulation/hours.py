"""Trading hours and trading days in November 2023 by plain sums: no holiday, no early close, no change of summer time
from the 14th to the 22nd."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from tests.simulation.limits import SECOND

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
SESSIONS = {
    "XNYS": ((14 * HOUR + 30 * MINUTE, 21 * HOUR),),
    "XTKS": ((0, 2 * HOUR + 30 * MINUTE), (3 * HOUR + 30 * MINUTE, 6 * HOUR)),
}
"""Sessions from Monday to Friday, in seconds of the day in UTC."""
OFFSETS = {"UTC": 0, "America/New_York": -5 * HOUR, "Asia/Tokyo": 9 * HOUR}
BOUNDARIES = sorted(
    {0, 22 * HOUR, 23 * HOUR} | {edge for sessions in SESSIONS.values() for session in sessions for edge in session}
)
"""Seconds of the day in UTC at which something begins or ends: sessions, the day of UTC, and those of DAYS."""
DAYS = (("America/New_York", "17:00"), ("Asia/Tokyo", "08:00"), ("UTC", "00:00"))


def is_open(calendar: str, at_ns: int) -> bool:
    """Whether a session is open."""
    at = datetime.fromtimestamp(at_ns // SECOND, UTC)
    second = at_ns // SECOND % DAY
    return at.weekday() < 5 and any(opens <= second < closes for opens, closes in SESSIONS[calendar])


def trading_day(calendar: str, day: tuple[str, str] | None, at_ns: int) -> str:
    """The day as the rule counts it: its own, that of its calendar, or that of UTC."""
    return _day_at(calendar, day, at_ns // SECOND)


@lru_cache(maxsize=256)
def _day_at(calendar: str, day: tuple[str, str] | None, at: int) -> str:
    if day is not None:
        zone, (hours, minutes) = day[0], day[1].split(":")
        return _date(at + OFFSETS[zone] - int(hours) * HOUR - int(minutes) * MINUTE).isoformat()
    if not calendar:
        return _date(at).isoformat()
    closes = SESSIONS[calendar][-1][1]
    found = _date(at) if at % DAY < closes else _date(at) + timedelta(days=1)
    while found.weekday() > 4:
        found += timedelta(days=1)
    return found.isoformat()


def _date(at: int) -> date:
    return datetime.fromtimestamp(at, UTC).date()
