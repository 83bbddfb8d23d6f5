"""The machine's clock, for processes that run in the cluster."""

from __future__ import annotations

import asyncio
import time

NANOSECONDS = 1_000_000_000


class SystemClock:
    """Implements domain.clock.Clock."""

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since the Unix epoch, UTC."""
        return time.time_ns()

    async def wait_until(self, at_ns: int) -> None:
        """Sleeps; a clock that is stepped meanwhile is looked at again."""
        while (left := at_ns - time.time_ns()) > 0:  # noqa: ASYNC110 - this is what waits for time
            await asyncio.sleep(left / NANOSECONDS)
