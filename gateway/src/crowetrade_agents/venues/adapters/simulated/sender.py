"""Writes requests to the venue's socket, and none that was decided before the process was frozen.

An event loop's transport keeps what it cannot write at once, or what was handed over in this turn, and writes it
whenever the process runs again: after SIGSTOP and SIGCONT, or a pause of the machine, an order would leave that nobody
would approve any more. So requests wait here until the end of the turn, and the clock is read right before the one
call that hands them to the kernel. Orders that wait as the process turns out to have been frozen do not leave; cancels
and questions do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from time import monotonic

from crowetrade_agents.venues.adapters.simulated.codec import frame
from crowetrade_agents.venues.adapters.simulated.requests import NewOrder, Replace, Request
from crowetrade_agents.venues.adapters.simulated.wire import Recall, Release, Renew

FROZEN_SECONDS = 1.0
"""A process that did not run for so long was frozen."""
TICK_SECONDS = 0.25
"""So often it notes that it runs."""


class Sender:
    """The writing half of a connection whose reading half a transport has. `unsent` is called with each order and each
    replacement that will not leave."""

    def __init__(self, connection: socket.socket, unsent: Callable[[Request], None]) -> None:
        """`connection` stays the transport's; writes go through a descriptor of its own."""
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._unsent = unsent
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Request | Release | Renew | Recall, bytes]] = []
        # The end of what the kernel has taken a part of.
        self._rest = b""
        self._watched = self._closed = False
        self._alive_seconds = monotonic()
        self._tick = self._loop.call_later(TICK_SECONDS, self._note)

    def send(self, request: Request | Release | Renew | Recall) -> None:
        """At the end of the loop's turn, after what was handed over before."""
        if not self._waiting and not self._watched:
            self._loop.call_soon(self._flush)
        self._waiting.append((request, frame(request)))

    def close(self) -> None:
        """Writes what waits as far as the kernel takes it, and ends."""
        if not self._closed:
            self._flush()
            self._watch(False)
            self._closed = True
            self._tick.cancel()
            self._socket.close()

    def _note(self) -> None:
        self._tick = self._loop.call_later(TICK_SECONDS, self._note)
        if monotonic() - self._alive_seconds > FROZEN_SECONDS:
            self._drop_orders()
        self._alive_seconds = monotonic()

    def _flush(self) -> None:
        if self._closed:
            return
        while self._waiting or self._rest:
            data = self._rest + b"".join(payload for _, payload in self._waiting)
            if monotonic() - self._alive_seconds > FROZEN_SECONDS:
                self._drop_orders()
                continue
            try:
                taken = self._socket.send(data)
            except BlockingIOError:
                break
            except OSError:
                # The reading half finds out, too; what became of the requests is asked for in the next session.
                self._waiting, self._rest = [], b""
                break
            self._taken(taken)
        self._watch(bool(self._waiting or self._rest))

    def _taken(self, size: int) -> None:
        """The kernel has so many bytes more. A request of which it has a part is no longer waiting."""
        if size < len(self._rest):
            self._rest = self._rest[size:]
            return
        size -= len(self._rest)
        self._rest = b""
        for number, (_, payload) in enumerate(self._waiting):
            if size < len(payload):
                if size:
                    self._rest = payload[size:]
                del self._waiting[: number + bool(size)]
                return
            size -= len(payload)
        self._waiting = []

    def _drop_orders(self) -> None:
        """The process was frozen: others may have taken over or stopped everything since these were decided."""
        stale = [request for request, _ in self._waiting if isinstance(request, NewOrder | Replace)]
        self._waiting = [item for item in self._waiting if not isinstance(item[0], NewOrder | Replace)]
        self._alive_seconds = monotonic()
        if self._rest:
            # Part of a request has left, and it may be an order: the venue must not get the other part.
            self._rest = b""
            self._waiting = []
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        for request in stale:
            self._unsent(request)

    def _watch(self, wanted: bool) -> None:
        """Whether `_flush` is called when the kernel takes more."""
        if wanted and not self._watched:
            self._loop.add_writer(self._socket.fileno(), self._flush)
        elif self._watched and not wanted:
            self._loop.remove_writer(self._socket.fileno())
        self._watched = wanted
