"""When a venue's trading day ends: what a DAY order lives until (FIX tag 59 = 0)."""

from __future__ import annotations

from typing import Protocol

from crowetrade_agents.errors import ConfigurationError

ALWAYS_OPEN = "24x7"
_DAY_NS = 86_400_000_000_000


class Calendar(Protocol):
    """Trading days in venue time, nanoseconds since the Unix epoch, UTC."""

    def session_end_ns(self, at_ns: int) -> int:
        """End of the trading day that `at_ns` belongs to, always later than `at_ns`; between two trading days, the end
        of the next one."""
        ...


class AlwaysOpen:
    """A venue that never closes: its trading days end at midnight UTC."""

    def session_end_ns(self, at_ns: int) -> int:
        """The next midnight."""
        return (at_ns // _DAY_NS + 1) * _DAY_NS


def calendar_named(name: str) -> Calendar:
    """The calendar of `VenueConnection.spec.calendar`; raises ConfigurationError for a name that is not known."""
    if name == ALWAYS_OPEN:
        return AlwaysOpen()
    raise ConfigurationError(f"calendar {name!r} is not known: write {ALWAYS_OPEN!r}, the only one of this version")
