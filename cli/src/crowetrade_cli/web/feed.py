"""Server-sent events of one run, from the loop that trades to the threads that serve browsers.

The loop puts the newest state here and goes on. Each browser has a thread, which takes the state that is the newest
when it is ready for one: a browser that is slow misses states, and no other browser and not the run waits for it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Mapping
from typing import Any

from crowetrade_cli.web.history import History

RETRY_MILLIS = 1000
HEARTBEAT_SECONDS = 1.0
"""After so long without a new state a browser is sent a comment, so that one that has gone is noticed."""
FAREWELL_SECONDS = 1.0
"""How long the end of a run waits until its browsers have been told."""


class Feed:
    """One run's newest state and its history."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._history = History()
        self._number = 0
        self._state = b""
        self._ended = False
        self._readers = 0

    def publish(self, at_ms: int, state: Mapping[str, Any], amounts: Mapping[str, str]) -> None:
        """The state from now on; `amounts` is the profit and loss by series at `at_ms`."""
        message = _message("state", state)
        with self._changed:
            self._history.record(at_ms, amounts)
            self._state = message
            self._number += 1
            self._changed.notify_all()

    def end(self) -> None:
        """No state follows; returns when every browser has been told, or after FAREWELL_SECONDS."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._readers, FAREWELL_SECONDS)

    def events(self) -> Generator[bytes, None, None]:
        """What one browser is sent: the history, the present state, each newer one, and the end."""
        with self._changed:
            self._readers += 1
        try:
            yield from self._events()
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    def _events(self) -> Generator[bytes, None, None]:
        with self._changed:
            points = self._history.points()
        yield f"retry: {RETRY_MILLIS}\n".encode() + _message("history", points)
        seen = 0
        while True:
            number, state, ended = self._after(seen)
            if number != seen:
                yield state
            elif ended:
                yield _message("end", {})
                return
            else:
                yield b": nothing new\n\n"
            seen = number

    def _after(self, seen: int) -> tuple[int, bytes, bool]:
        """Number and bytes of the newest state, once it is another than `seen`, the run has ended, or it is time for a
        heartbeat; and whether the run has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._number != seen or self._ended, HEARTBEAT_SECONDS)
            return self._number, self._state, self._ended


def _message(event: str, data: object) -> bytes:
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
