"""Time in a backtest: it stands until somebody moves it, and nothing waits for it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_WAITS = "nothing waits in a backtest: what it waits for would have to happen first"


class VirtualClock:
    """Implements Clock. Nanoseconds since the Unix epoch, never back."""

    def __init__(self) -> None:
        self._now_ns = 0

    def now_ns(self) -> int:
        """The time of the event that is being handled."""
        return self._now_ns

    async def wait_until(self, at_ns: int) -> None:
        """Raises RuntimeError for a time that has not come: it would never come."""
        if at_ns > self._now_ns:
            raise RuntimeError(_WAITS)

    def advance(self, to_ns: int) -> None:
        """Time is `to_ns` from now on; at an earlier one it stands still."""
        self._now_ns = max(self._now_ns, to_ns)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end without an event loop. Raises RuntimeError when it waits for something: in lock step
    on virtual time every answer has come before anybody asks for it."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError(_WAITS)
