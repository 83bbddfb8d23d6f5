"""Whether a calendar is open, and which trading day it is, from tables of opening and closing times and time zones."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import exchange_calendars
import pandas

from crowetrade_agents.auditor.messages import SECOND

ALWAYS = "24x7"


class Sessions(NamedTuple):
    """Opening and closing times, nanoseconds since the Unix epoch; a break splits a session in two."""

    opens: tuple[int, ...]
    closes: tuple[int, ...]
    # The session that each of them belongs to, as the calendar calls it.
    days: tuple[str, ...]


@lru_cache(maxsize=64)
def sessions(calendar: str) -> Sessions:
    """All sessions that the calendar knows; raises ValueError for one that does not exist."""
    try:
        table = exchange_calendars.get_calendar(calendar)
    except exchange_calendars.errors.InvalidCalendarName as error:
        raise ValueError(f"there is no calendar {calendar}") from error
    spans: list[tuple[int, int, str]] = []
    for row in table.schedule.itertuples():
        begins, ends, day = row.break_start, row.break_end, row.Index.date().isoformat()
        if str(begins) != "NaT":
            spans += [(row.open.value, begins.value, day), (ends.value, row.close.value, day)]
        else:
            spans.append((row.open.value, row.close.value, day))
    opens, closes, days = zip(*spans, strict=True)
    return Sessions(opens, closes, days)


def is_open(calendar: str, at_ns: int) -> bool:
    """Whether a session has begun and not ended; its ends count as open."""
    if calendar == ALWAYS:
        return True
    found = sessions(calendar)
    number = bisect_right(found.opens, at_ns) - 1
    return number >= 0 and at_ns <= found.closes[number]


def calendar_day(calendar: str, at_ns: int) -> str:
    """The session that is open or comes next; empty where the calendar knows none."""
    if calendar == ALWAYS:
        return _date(at_ns).isoformat()
    found = sessions(calendar)
    number = bisect_right(found.closes, at_ns)
    return found.days[number] if number < len(found.days) and at_ns >= found.opens[0] else ""


def zoned_day(time_zone: str, starts_at: str, at_ns: int) -> str:
    """The last date whose beginning has come; raises ValueError for a zone or a time that does not exist."""
    if not time_zone or len(starts_at) != len("00:00"):
        raise ValueError(f"{starts_at!r} in {time_zone!r} is no time of day in a time zone")
    around = _date(at_ns)
    for number in (2, 1, 0, -1, -2):
        day = around + timedelta(days=number)
        if _begins(time_zone, starts_at, day) <= at_ns:
            return day.isoformat()
    raise ValueError(f"no day begins near {around} in {time_zone}")


@lru_cache(maxsize=1024)
def _begins(time_zone: str, starts_at: str, day: date) -> int:
    """When the clock of the zone first shows that date and time, or has passed them."""
    shown = pandas.Timestamp(f"{day.isoformat()}T{starts_at}")
    try:
        began = shown.tz_localize(time_zone, ambiguous=True, nonexistent="shift_forward")
    except (KeyError, OSError) as error:
        raise ValueError(f"there is no time zone {time_zone}") from error
    return int(began.value)


def _date(at_ns: int) -> date:
    return datetime.fromtimestamp(at_ns // SECOND, UTC).date()
