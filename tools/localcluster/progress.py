"""Says what happens, a line per step, and gives a sign of life during long steps; needs no terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

HEARTBEAT_SECONDS = 15.0
_START = time.monotonic()
_OUT = threading.Lock()


def say(text: str) -> None:
    with _OUT:
        print(f"[{time.monotonic() - _START:6.1f}s] {text}", file=sys.stderr, flush=True)


@contextmanager
def step(title: str, doing: Callable[[], str] | None = None, every: float = HEARTBEAT_SECONDS) -> Iterator[None]:
    """Prints the end of the step with its time, and a heartbeat with what `doing` answers until then."""
    begun = time.monotonic()
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(every):
            now = doing() if doing else ""
            say(f"{title}: {time.monotonic() - begun:.0f} s so far{', ' + now if now else ''}")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    outcome = "failed"
    try:
        yield
        outcome = "done"
    finally:
        ended.set()
        thread.join()
        say(f"{title}: {outcome} ({time.monotonic() - begun:.1f} s)")
