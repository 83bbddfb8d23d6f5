"""The machine's clock, for everything that runs against real time."""

from __future__ import annotations

import asyncio
import time

# asyncio's timers may end early by their resolution; and a clock that steps back is waited for again.
_MIN_SLEEP_SECONDS = 0.001


class SystemClock:
    """Implements Clock."""

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since the Unix epoch, UTC."""
        return time.time_ns()

    async def wait_until(self, at_ns: int) -> None:
        """Sleeps until the wall clock shows it."""
        while (left_ns := at_ns - time.time_ns()) > 0:  # noqa: ASYNC110 - this is what waits
            await asyncio.sleep(max(left_ns / 1e9, _MIN_SLEEP_SECONDS))
