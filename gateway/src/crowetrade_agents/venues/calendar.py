"""When a venue's trading day ends: what a DAY order lives until (FIX tag 59 = 0)."""

from __future__ import annotations

from typing import Protocol

from crowetrade_agents.errors import ConfigurationError, InvalidLimit
from crowetrade_agents.risk.calendars import new_calendar


class Calendar(Protocol):
    """Trading days in venue time, nanoseconds since the Unix epoch, UTC."""

    def session_end_ns(self, at_ns: int) -> int | None:
        """End of the trading day that `at_ns` belongs to, always later than `at_ns`; between two trading days, the end
        of the next one. None for a time of which the calendar does not know it."""
        ...


def calendar_of(name: str) -> Calendar:
    """The calendar of `VenueConnection.spec.calendar`; raises ConfigurationError for a name that is not known."""
    try:
        return new_calendar(name)
    except InvalidLimit as error:
        raise ConfigurationError(f"spec.calendar: {error}") from error
