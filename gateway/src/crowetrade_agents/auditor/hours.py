"""Whether a calendar is open, from its table of opening and closing times."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import NamedTuple

import exchange_calendars

ALWAYS = "24x7"


class Sessions(NamedTuple):
    """Opening and closing times, nanoseconds since the Unix epoch; a break splits a session in two."""

    opens: tuple[int, ...]
    closes: tuple[int, ...]


@lru_cache(maxsize=64)
def sessions(calendar: str) -> Sessions:
    """All sessions that the calendar knows; raises ValueError for one that does not exist."""
    try:
        table = exchange_calendars.get_calendar(calendar)
    except exchange_calendars.errors.InvalidCalendarName as error:
        raise ValueError(f"there is no calendar {calendar}") from error
    spans: list[tuple[int, int]] = []
    for row in table.schedule.itertuples():
        begins, ends = row.break_start, row.break_end
        if str(begins) != "NaT":
            spans += [(row.open.value, begins.value), (ends.value, row.close.value)]
        else:
            spans.append((row.open.value, row.close.value))
    return Sessions(tuple(begin for begin, _ in spans), tuple(end for _, end in spans))


def is_open(calendar: str, at_ns: int) -> bool:
    """Whether a session has begun and not ended; its ends count as open."""
    if calendar == ALWAYS:
        return True
    found = sessions(calendar)
    number = bisect_right(found.opens, at_ns) - 1
    return number >= 0 and at_ns <= found.closes[number]
