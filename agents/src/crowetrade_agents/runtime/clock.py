"""The machine's clock, for everything that runs against real time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from crowetrade_agents.errors import ClockSetBack
from crowetrade_process.stopping import cancelled

# asyncio's timers may end early by their resolution.
_MIN_SLEEP_SECONDS = 0.001
MOST_AHEAD_NS = 2_000_000_000
"""A process that is further ahead of its machine's clock ends: orders are good for some seconds, by the clocks of two
machines."""
LOOK_SECONDS = 1.0


class SystemClock:
    """Implements Clock: the wall clock, which does not go back here.

    It follows a clock that is set forward at once, as after a suspend. When the clock is set back, time goes on at its
    own pace, ahead of the machine's: if it stood still instead, so would timers, rates and what is to be cancelled.
    """

    def __init__(self, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = time.monotonic_ns) -> None:
        """`wall` is the machine's clock in nanoseconds since the Unix epoch, `steady` one that nobody sets."""
        self._wall = wall
        self._steady = steady
        self._offset_ns = wall() - steady()

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since the Unix epoch, UTC."""
        # In this order: what passes between the two, when the process is not run, would count as a step forward.
        wall = self._wall()
        steady = self._steady()
        self._offset_ns = max(self._offset_ns, wall - steady)
        return steady + self._offset_ns

    @property
    def ahead_ns(self) -> int:
        """How far ahead of the machine's clock this one is, because that was set back."""
        return self.now_ns() - self._wall()

    async def wait_until(self, at_ns: int) -> None:
        """Sleeps until `now_ns` has reached it."""
        while (left_ns := at_ns - self.now_ns()) > 0:  # noqa: ASYNC110 - this is what waits
            await asyncio.sleep(max(left_ns / 1e9, _MIN_SLEEP_SECONDS))


@asynccontextmanager
async def ended_when_set_back(clock: SystemClock, stop: asyncio.Event) -> AsyncIterator[None]:
    """Sets `stop` when the machine's clock was set back by more than MOST_AHEAD_NS, and raises ClockSetBack at the end
    then: the process's successor starts with the new time."""
    ahead_ns = 0

    async def look() -> None:
        nonlocal ahead_ns
        while (found := clock.ahead_ns) <= MOST_AHEAD_NS:  # noqa: ASYNC110 - nobody tells when a clock is set
            await asyncio.sleep(LOOK_SECONDS)
        ahead_ns = found
        stop.set()

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        await cancelled(looking)
    if ahead_ns:
        raise ClockSetBack(
            f"the clock of this machine was set back by {ahead_ns / 1e9:.1f} s: the process ends, and starts again "
            "with the new time; let the clock be kept right by small steps (chrony or systemd-timesyncd)"
        )
