"""Clocks of tests: one that the test moves by hand, one that jumps to whoever waits for it, and the monotonic one."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

START_NS = 1_800_000_000_000_000_000
SECOND_NS = 1_000_000_000


class ManualClock:
    """Implements Clock. `asked_ns` holds for how long each wait was to be."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self.asked_ns: list[int] = []
        self._now_ns = now_ns
        self._numbers = count()
        self._waits: list[tuple[int, int, asyncio.Future[None]]] = []

    def now_ns(self) -> int:
        """The time that the test made it."""
        return self._now_ns

    async def wait_until(self, at_ns: int) -> None:
        """Returns when the test has moved the clock that far."""
        self.asked_ns.append(at_ns - self._now_ns)
        if at_ns <= self._now_ns:
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waits, (at_ns, next(self._numbers), reached))
        await reached

    def waiting(self) -> int:
        """How many wait for a time."""
        return sum(1 for _, _, reached in self._waits if not reached.done())

    async def advance(self, nanoseconds: int) -> None:
        """Moves on from one awaited time to the next, and lets whoever waited for it run before the next."""
        target_ns = self._now_ns + nanoseconds
        while self._waits and self._waits[0][0] <= target_ns:
            at_ns, _, reached = heapq.heappop(self._waits)
            if not reached.done():
                self._now_ns = at_ns
                reached.set_result(None)
                await settle()
        self._now_ns = target_ns
        await settle()

    async def advance_seconds(self, seconds: float) -> None:
        """As advance."""
        await self.advance(int(seconds * SECOND_NS))

    def jump(self, nanoseconds: int) -> None:
        """All at once, as after a process that stood still."""
        self._now_ns += nanoseconds
        while self._waits and self._waits[0][0] <= self._now_ns:
            _, _, reached = heapq.heappop(self._waits)
            if not reached.done():
                reached.set_result(None)


class JumpingClock:
    """Implements Clock. Whoever waits for a time makes it that time."""

    def __init__(self, now_ns: int) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """The time now."""
        return self._now_ns

    async def wait_until(self, at_ns: int) -> None:
        """It is then."""
        self._now_ns = max(self._now_ns, at_ns)


async def settle() -> None:
    """Lets every task run that is ready, and those that it makes ready."""
    for _ in range(50):
        await asyncio.sleep(0)


class Stopwatch:
    """The monotonic clock of a process that may be frozen."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds
