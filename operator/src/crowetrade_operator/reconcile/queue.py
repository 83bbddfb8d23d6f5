"""A deduplicating work queue: many events for one key become one reconcile, and a key is never worked on twice at
once.

As client-go's workqueue: a key is *dirty* (it has to be done), *processing* (a worker has it), or both (it became
dirty while a worker had it; it is queued again when the worker is done). So no event is lost: a key that is added
after its worker started is done once more. Failures come back after an exponential delay with jitter, so that many
failing keys do not come back together.

Two lines lead to the workers: what somebody waits for goes before what is only looked at again. Of every few keys one
is taken from the second line, so that it moves on under any load.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_DELAY = 0.2
LAST_DELAY = 60.0
SECOND_LINE_EVERY = 8
TURN_SECONDS = 0.01
"""A few reconciles: as long as that everything else in the event loop waits."""


class WorkQueue(Generic[K]):
    """Keys to be worked on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, rng: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._random = rng
        # A key may be in both lines, when it was added to the first one while it waited in the second: it is taken
        # once, and what is left of it is skipped.
        self._first: deque[K] = deque()
        self._second: deque[K] = deque()
        self._taken = 0
        self._since: dict[K, float] = {}
        # Dirty keys; True for those of the first line.
        self._dirty: dict[K, bool] = {}
        self._processing: dict[K, float] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._arrived = asyncio.Event()
        # Until when keys are handed out in this turn of the event loop; None before the first.
        self._turn_ends: float | None = None
        self._ended = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._dirty) - sum(key in self._dirty for key in self._processing)

    def __contains__(self, key: K) -> bool:
        return key in self._dirty

    def add(self, key: K, *, first: bool = True) -> None:
        """Marks the key dirty; does nothing when it waits already in that line, or in the first one."""
        if self._closed or (key in self._dirty and (self._dirty[key] or not first)):
            return
        self._dirty[key] = first
        self._since.setdefault(key, self._clock())
        if key not in self._processing:
            self._push(key)

    def add_after(self, key: K, seconds: float, *, first: bool = False) -> None:
        """Adds the key later; the earlier of two times wins."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key, first)

    def failed(self, key: K) -> float:
        """Adds the key after its next delay: 0.2 s, 0.4 s ... 60 s, each times 0.5 to 1.5. Returns the delay."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay = min(LAST_DELAY, FIRST_DELAY * 2.0 ** min(count, 16)) * (0.5 + self._random())
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: K) -> None:
        """The next failure starts with the first delay again."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Waits for a key and hands it to the caller, who calls `done` when finished.

        Keys are handed out for TURN_SECONDS in a turn of the event loop, at least one: most reconciles have nothing to
        wait for, and many of them in a row would keep the loop from everything else, such as the answers that others
        wait for, and the Lease.
        """
        while True:
            if not self._in_turn():
                await asyncio.sleep(0)
            elif (key := self._next()) is not None:
                break
            else:
                self._arrived.clear()
                await self._arrived.wait()
        del self._dirty[key]
        self._since.pop(key, None)
        self._processing[key] = self._clock()
        return key

    def _in_turn(self) -> bool:
        """Whether there is time left in this turn; the first who asks begins it."""
        if self._turn_ends is None:
            self._turn_ends = self._clock() + TURN_SECONDS
            asyncio.get_running_loop().call_soon(self._end_turn)
            return True
        return self._clock() < self._turn_ends

    def _end_turn(self) -> None:
        self._turn_ends = None

    def done(self, key: K) -> None:
        """The worker is finished; the key is queued again when it became dirty meanwhile."""
        self._processing.pop(key, None)
        self._ended.set()
        if key in self._dirty:
            self._push(key)

    async def finish(self) -> None:
        """Closes, and waits until no worker has a key."""
        self.close()
        while self._processing:
            self._ended.clear()
            await self._ended.wait()

    def close(self) -> None:
        """Takes no more keys, hands out none, and drops all timers."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def oldest_waiting(self) -> float:
        """Seconds that the longest waiting key has waited."""
        return self._clock() - min(self._since.values()) if self._since else 0.0

    def longest_running(self) -> float:
        """Seconds that the longest running worker has run."""
        return self._clock() - min(self._processing.values()) if self._processing else 0.0

    def _next(self) -> K | None:
        if self._closed:
            return None
        self._taken += 1
        lines = [self._first, self._second]
        if self._taken % SECOND_LINE_EVERY == 0:
            lines.reverse()
        for line in lines:
            while line:
                key = line.popleft()
                if key in self._dirty and key not in self._processing:
                    return key
        return None

    def _push(self, key: K) -> None:
        (self._first if self._dirty[key] else self._second).append(key)
        self._arrived.set()

    def _due(self, key: K, first: bool) -> None:
        self._timers.pop(key, None)
        self.add(key, first=first)


async def work(queue: WorkQueue[K], handle: Callable[[K], Awaitable[None]]) -> None:
    """One worker: takes keys until cancelled. `handle` must deal with its own errors."""
    while True:
        key = await queue.get()
        try:
            await handle(key)
        finally:
            queue.done(key)
