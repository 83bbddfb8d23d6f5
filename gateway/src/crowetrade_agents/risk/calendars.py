"""Trading sessions of exchanges, from exchange_calendars. Pure but for the library's own files.

The library brings pandas, which takes 67 MB of memory and most of a second: it is loaded when the first calendar is
asked for, and so never in a gateway whose limits and venue name none. What is kept of a calendar is a table of a few
hundred numbers, of about a year on both sides of the time that was asked for, or as far as the library knows the
exchange; another time loads it again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from crowetrade_agents.errors import InvalidLimit

if TYPE_CHECKING:
    import exchange_calendars

ALWAYS_OPEN = "24x7"
_SECOND_NS = 1_000_000_000
_DAY_NS = 86_400 * _SECOND_NS
_SPAN_DAYS = 380
_PROBE_DAYS = 15
"""No exchange is closed for so long."""


class Calendar(Protocol):
    """Trading hours. Times are nanoseconds since the Unix epoch, UTC."""

    @property
    def name(self) -> str:
        """As a RiskLimit or a VenueConnection names it."""
        ...

    def is_open(self, at_ns: int) -> bool:
        """Whether a session is open: from its opening, to the moment before it closes, breaks left out. False for a
        time that the calendar does not cover."""
        ...

    def day(self, at_ns: int) -> str:
        """The trading day, YYYY-MM-DD: that of the session, or of the next one between two; empty for a time that the
        calendar does not cover."""
        ...

    def session_end_ns(self, at_ns: int) -> int | None:
        """End of the session, or of the next one between two: always later than `at_ns`. A break ends no session. None
        for a time that the calendar does not cover."""
        ...


class AlwaysOpen:
    """A market that never closes; its days are those of UTC."""

    name = ALWAYS_OPEN

    def is_open(self, at_ns: int) -> bool:
        """Always."""
        return True

    def day(self, at_ns: int) -> str:
        """The day in UTC."""
        return _date(at_ns)

    def session_end_ns(self, at_ns: int) -> int:
        """The next midnight in UTC."""
        return (at_ns // _DAY_NS + 1) * _DAY_NS


class ExchangeCalendar:
    """The sessions of one exchange."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._from_ns = self._to_ns = 0
        # The day in UTC of the last time that the library knew nothing of.
        self._unknown_day: int | None = None
        # Where trading begins and ends, in turn: two numbers for each session, four for one with a break.
        self._edges = array("q")
        self._closes = array("q")
        self._days: list[str] = []

    def is_open(self, at_ns: int) -> bool:
        """See Calendar."""
        return self._covers(at_ns) and bisect_right(self._edges, at_ns) % 2 == 1

    def day(self, at_ns: int) -> str:
        """See Calendar."""
        return self._days[bisect_right(self._closes, at_ns)] if self._covers(at_ns) else ""

    def session_end_ns(self, at_ns: int) -> int | None:
        """See Calendar."""
        return self._closes[bisect_right(self._closes, at_ns)] if self._covers(at_ns) else None

    def _covers(self, at_ns: int) -> bool:
        if self._holds(at_ns):
            return True
        day = at_ns // _DAY_NS
        if day == self._unknown_day:
            # Every order would load a table for nothing.
            return False
        self._load(at_ns)
        if self._holds(at_ns):
            return True
        self._unknown_day = day
        return False

    def _holds(self, at_ns: int) -> bool:
        return self._from_ns <= at_ns < self._to_ns

    def _load(self, at_ns: int) -> None:
        at = datetime.fromtimestamp(at_ns // _SECOND_NS, UTC).replace(tzinfo=None)
        loaded = _around(self.name, at)
        if loaded is None:
            self._from_ns = self._to_ns = 0
            return
        schedule = loaded.schedule
        edges, closes = array("q"), array("q")
        columns = (schedule[name].astype("int64") for name in ("open", "break_start", "break_end", "close"))
        for opens, break_start, break_end, close in zip(*columns, strict=True):
            edges.extend((opens, close) if break_start < 0 else (opens, break_start, break_end, close))
            closes.append(close)
        self._edges, self._closes = edges, closes
        self._days = [label.date().isoformat() for label in schedule.index]
        self._from_ns, self._to_ns = closes[0], closes[-1]


@lru_cache(maxsize=64)
def calendar_named(name: str) -> Calendar:
    """The calendar of that name, the same object each time; raises InvalidLimit for one that nobody knows."""
    return new_calendar(name)


def new_calendar(name: str) -> Calendar:
    """A calendar with a table of its own: where it is asked by another clock than the limits' (a replay of an older
    year), a table for both would be loaded again at every turn. Raises InvalidLimit for a name that nobody knows."""
    if name == ALWAYS_OPEN:
        return AlwaysOpen()
    import exchange_calendars

    if name not in exchange_calendars.get_calendar_names():
        raise InvalidLimit(f"calendar {name!r} is neither {ALWAYS_OPEN!r} nor one of exchange_calendars, such as XNYS")
    return ExchangeCalendar(name)


def _around(name: str, at: datetime) -> exchange_calendars.ExchangeCalendar | None:
    """Sessions on both sides of that time; None where the library knows nothing of it."""
    span = timedelta(days=_SPAN_DAYS)
    try:
        return _between(name, at - span, at + span)
    except ValueError:
        # Of some exchanges the library knows a few years alone, which no calendar may begin before or go beyond.
        pass
    try:
        known = _between(name, at - timedelta(days=_PROBE_DAYS), at)
        first, last = known.bound_min(), known.bound_max()
        return _between(
            name,
            at - span if first is None else max(at - span, first.to_pydatetime()),
            at + span if last is None else min(at + span, last.to_pydatetime()),
        )
    except ValueError:
        return None


def _between(name: str, start: datetime, end: datetime) -> exchange_calendars.ExchangeCalendar:
    import exchange_calendars

    return exchange_calendars.get_calendar(name, start=start.date().isoformat(), end=end.date().isoformat())


def _date(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // _SECOND_NS, UTC).date().isoformat()
