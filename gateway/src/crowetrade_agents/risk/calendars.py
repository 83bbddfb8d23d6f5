"""Trading sessions of exchanges, from exchange_calendars. Pure but for the library's own files.

The library brings pandas, which takes 67 MB of memory and most of a second: it is loaded when the first calendar is
asked for, and so never in a gateway whose limits name none. What is kept of a calendar is a table of a few hundred
numbers, of about a year on both sides of the time that was asked for; another time loads it again.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

from crowetrade_agents.errors import InvalidLimit

ALWAYS_OPEN = "24x7"
_SECOND_NS = 1_000_000_000
_DAY_NS = 86_400 * _SECOND_NS
_SPAN_DAYS = 380
_MARGIN_NS = 15 * _DAY_NS
"""No closure of an exchange is taken to last longer: so near to the end of a table the next session may be missing."""


class Calendar(Protocol):
    """Trading hours. Times are nanoseconds since the Unix epoch, UTC."""

    @property
    def name(self) -> str:
        """As a RiskLimit names it."""
        ...

    def is_open(self, at_ns: int) -> bool:
        """Whether a session is open: from its opening, to the moment before it closes, breaks left out. False for a
        time that the calendar does not cover."""
        ...

    def day(self, at_ns: int) -> str:
        """The trading day, YYYY-MM-DD: that of the session, or of the next one between two; empty for a time that the
        calendar does not cover."""
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


class ExchangeCalendar:
    """The sessions of one exchange."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._from_ns = self._to_ns = 0
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

    def _covers(self, at_ns: int) -> bool:
        if not self._from_ns <= at_ns < self._to_ns:
            self._load(at_ns)
        return self._from_ns <= at_ns < self._to_ns

    def _load(self, at_ns: int) -> None:
        import exchange_calendars

        at = datetime.fromtimestamp(at_ns // _SECOND_NS, UTC).replace(tzinfo=None)
        span = timedelta(days=_SPAN_DAYS)
        try:
            loaded = exchange_calendars.get_calendar(
                self.name, start=(at - span).date().isoformat(), end=(at + span).date().isoformat()
            )
        except ValueError:
            # The library knows nothing of that time.
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
        self._from_ns, self._to_ns = closes[0], closes[-1] - _MARGIN_NS


@lru_cache(maxsize=64)
def calendar_named(name: str) -> Calendar:
    """The calendar of that name, the same object each time; raises InvalidLimit for one that nobody knows."""
    if name == ALWAYS_OPEN:
        return AlwaysOpen()
    import exchange_calendars

    if name not in exchange_calendars.get_calendar_names():
        raise InvalidLimit(f"calendar {name!r} is neither {ALWAYS_OPEN!r} nor one of exchange_calendars, such as XNYS")
    return ExchangeCalendar(name)


def _date(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // _SECOND_NS, UTC).date().isoformat()
