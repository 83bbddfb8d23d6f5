"""Trading days. A day of a calendar ends when its session closes; what follows belongs to the next session."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

ALWAYS = "24x7"
"""The calendar without sessions: its days are those of UTC."""
SECOND_NS = 1_000_000_000
_MARGIN = timedelta(days=31)  # no market is closed for longer


class TradingDay(NamedTuple):
    """`name` is YYYY-MM-DD; it lasts from `begin_ns` up to and without `end_ns`, nanoseconds since the Unix epoch."""

    name: str
    begin_ns: int
    end_ns: int

    def holds(self, now_ns: int) -> bool:
        """Whether it is that day."""
        return self.begin_ns <= now_ns < self.end_ns


@lru_cache(maxsize=256)
def _day_of_utc(number: int) -> TradingDay:
    length = 86_400 * SECOND_NS
    name = datetime.fromtimestamp(number * 86_400, UTC).strftime("%Y-%m-%d")
    return TradingDay(name, number * length, (number + 1) * length)


def trading_day(calendar: str, now_ns: int) -> TradingDay:
    """The day that `now_ns` belongs to, by the closes of exchange_calendars; of UTC for an empty calendar and for
    24x7. Raises ValueError for a calendar that does not exist."""
    if calendar in ("", ALWAYS):
        return _day_of_utc(now_ns // (86_400 * SECOND_NS))
    year = datetime.fromtimestamp(now_ns / SECOND_NS, UTC).year
    days = _days(calendar, year)
    return next(day for day in days if day.holds(now_ns))


@lru_cache(maxsize=64)
def _days(calendar: str, year: int) -> tuple[TradingDay, ...]:
    """Days that cover a year of UTC. The library takes seconds to import, so only who needs a calendar does."""
    import exchange_calendars  # type: ignore[import-untyped]

    start, end = date(year, 1, 1) - _MARGIN, date(year, 12, 31) + _MARGIN
    try:
        sessions: Any = exchange_calendars.get_calendar(calendar, start=start, end=end)
    except exchange_calendars.errors.InvalidCalendarName as error:
        raise ValueError(f"exchange_calendars has no calendar {calendar!r}") from error
    closes = [int(at.value) for at in sessions.closes]
    names = [session.strftime("%Y-%m-%d") for session in sessions.sessions]
    return tuple(
        TradingDay(name, begin_ns, end_ns)
        for name, begin_ns, end_ns in zip(names[1:], closes, closes[1:], strict=False)
    )
