"""One call at a time of the Clock port, which may be moved while it is awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from crowetrade_agents.domain.clock import Clock


class Alarm:
    """Calls `ring` once the clock has reached the time that was set last. Moving the time to later costs nothing until
    the earlier one is reached; moving it to earlier starts a new wait."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._at_ns: int | None = None
        self._asleep_until_ns = 0
        self._task: asyncio.Task[None] | None = None

    def set(self, at_ns: int | None) -> None:
        """Sets the time, nanoseconds since the Unix epoch; None for no call."""
        self._at_ns = at_ns
        if at_ns is None or (self._task is not None and at_ns >= self._asleep_until_ns):
            return
        self._cancel()
        self._asleep_until_ns = at_ns
        self._task = asyncio.create_task(self._sleep())

    def stop(self) -> None:
        """No call any more."""
        self._at_ns = None
        self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _sleep(self) -> None:
        while self._at_ns is not None and self._clock.now_ns() < self._at_ns:
            self._asleep_until_ns = self._at_ns
            await self._clock.wait_until(self._at_ns)
        self._task = None
        if self._at_ns is not None:
            self._at_ns = None
            self._ring()
