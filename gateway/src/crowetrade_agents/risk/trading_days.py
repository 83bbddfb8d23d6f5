"""Trading days: those of a calendar, or such as begin at a time of day in a time zone. Pure but for the time zone
database.

A day begins at the first moment at which the clock on the wall shows its date and time, or has passed them. So a time
that a change to summer time leaves out is the moment of the change, one that comes twice is the first of the two, and
no day begins twice when the clock goes back.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from crowetrade_agents.errors import InvalidLimit

_SECOND_NS = 1_000_000_000
_DAY = timedelta(days=1)
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)


class Days(Protocol):
    """What days are counted by. Times are nanoseconds since the Unix epoch, UTC."""

    @property
    def name(self) -> str:
        """Two with the same name have the same days."""
        ...

    def day(self, at_ns: int) -> str:
        """The trading day, YYYY-MM-DD; empty for a time of which that is not known."""
        ...


class ZonedDays:
    """Days that begin at a time of day in a time zone, each named by the date on which it begins there."""

    def __init__(self, zone: ZoneInfo, starts_at: time) -> None:
        self.name = f"{starts_at:%H:%M} {zone.key}"
        self._zone, self._starts_at = zone, starts_at
        # The day that was asked for last: from when, to when, and its name.
        self._from_ns = self._to_ns = 0
        self._day = ""

    def day(self, at_ns: int) -> str:
        """See Days."""
        if not self._from_ns <= at_ns < self._to_ns:
            self._find(at_ns)
        return self._day

    def _find(self, at_ns: int) -> None:
        # The clock may have shown tomorrow's date already, and gone back.
        found = datetime.fromtimestamp(at_ns // _SECOND_NS, self._zone).date() + _DAY
        while (begins_ns := self._begins_ns(found)) > at_ns:
            found -= _DAY
        self._from_ns, self._to_ns, self._day = begins_ns, self._begins_ns(found + _DAY), found.isoformat()

    def _begins_ns(self, day: date) -> int:
        shown = datetime.combine(day, self._starts_at)
        last = _seconds(shown.replace(tzinfo=self._zone))
        if self._shows(last) == shown:
            return last * _SECOND_NS
        # The clock leaves it out: by the offset after the change it would be before it, by the one before after it.
        first = _seconds(shown.replace(tzinfo=self._zone, fold=1))
        while last - first > 1:
            middle = (first + last) // 2
            first, last = (first, middle) if self._shows(middle) >= shown else (middle, last)
        return last * _SECOND_NS

    def _shows(self, at: int) -> datetime:
        return datetime.fromtimestamp(at, self._zone).replace(tzinfo=None, fold=0)


def _seconds(at: datetime) -> int:
    return int(at.astimezone(UTC).timestamp())


@lru_cache(maxsize=64)
def zoned_days(time_zone: str, starts_at: str) -> ZonedDays:
    """Days that begin at HH:MM in that zone, the same object each time; raises InvalidLimit for what nobody knows."""
    if _CLOCK.fullmatch(starts_at) is None:
        raise InvalidLimit(f"{starts_at!r} is not a time of day from 00:00 to 23:59")
    try:
        zone = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidLimit(f"time zone {time_zone!r} is not one of the IANA database, such as Europe/Zurich") from error
    return ZonedDays(zone, time.fromisoformat(starts_at))
