"""Time is a port: now, and waiting until. Nothing on the order path reads another clock or waits in another way, so
that a backtest and a simulation jump from event to event where the cluster waits."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall-clock time in nanoseconds since the Unix epoch, UTC."""

    def now_ns(self) -> int:
        """The time now."""
        ...

    async def wait_until(self, at_ns: int) -> None:
        """Returns when `now_ns` has reached `at_ns`; at once when it already has."""
        ...
