"""Time is handed over, never read in a decision."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Gives the time in nanoseconds since the Unix epoch."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch, UTC."""
        return time.time_ns()


@dataclass
class SettableClock:
    """A clock that stands still until it is set: for replays and tests."""

    value_ns: int = 0

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch, UTC."""
        return self.value_ns
