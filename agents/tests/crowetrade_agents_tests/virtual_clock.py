"""A clock that stands still until the test moves it."""

from __future__ import annotations

import asyncio

from .messages import START_NS


class VirtualClock:
    """Implements Clock. `advance` wakes whoever waits until a time that has come."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self._now_ns = now_ns
        self._moved = asyncio.Event()

    def now_ns(self) -> int:
        return self._now_ns

    async def wait_until(self, at_ns: int) -> None:
        while self._now_ns < at_ns:
            await self._moved.wait()

    async def advance(self, seconds: float) -> None:
        """Moves the time and lets everybody run who has something to do."""
        self._now_ns += int(seconds * 1e9)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        await settle()


async def settle() -> None:
    """Turns of the loop that are enough for every task to come to rest."""
    for _ in range(50):
        await asyncio.sleep(0)
