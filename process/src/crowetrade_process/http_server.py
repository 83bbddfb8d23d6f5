"""The standard library's HTTP server in a daemon thread, with bounds on what a peer can hold.

A connection has a thread and carries one exchange. A peer holds at most REQUEST_BYTES of request, which must have come
within EXCHANGE_SECONDS, and takes its answer within EXCHANGE_SECONDS. Of MAX_CONNECTIONS the oldest makes room for a
new one, so that idle connections never keep a probe out.
"""

from __future__ import annotations

import contextlib
import io
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

import structlog

REQUEST_BYTES = 8 * 1024
EXCHANGE_SECONDS = 5.0
MAX_CONNECTIONS = 16

_log = structlog.get_logger(__name__)


class BoundedHandler(BaseHTTPRequestHandler):
    """Reads the request line and the headers within the bounds; a body is not read."""

    def setup(self) -> None:
        """Raises TimeoutError when the request does not come in time."""
        super().setup()
        self.rfile = io.BytesIO(self._head())
        # Of all that is written at once.
        self.connection.settimeout(EXCHANGE_SECONDS)

    def _head(self) -> bytes:
        head, deadline = b"", time.monotonic() + EXCHANGE_SECONDS
        while b"\r\n\r\n" not in head and len(head) < REQUEST_BYTES:
            self.connection.settimeout(max(deadline - time.monotonic(), 0.001))
            received = self.connection.recv(REQUEST_BYTES - len(head))
            if not received:
                break
            head += received
        return head


class HttpServer(ThreadingMixIn, TCPServer):
    """Listens from when it is made, by default on all addresses, of IPv6 too; port 0 lets the system choose.

    Raises OSError when the port is taken.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, handler: Callable[..., BoundedHandler], address: str = "") -> None:
        # One socket for both families, where the host has both.
        if not address and socket.has_dualstack_ipv6():
            self.address_family = socket.AF_INET6
        super().__init__((address, port), handler)
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        # In the order in which they were opened.
        self._open: dict[socket.socket, None] = {}
        self._changing = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, name="http", daemon=True)

    def server_bind(self) -> None:
        """Binds; what is for all addresses takes IPv4 as well, whatever the host's default."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stops listening and drops what is connected. Blocks until its thread has seen it (twice a second)."""
        self.shutdown()
        self.server_close()
        with self._changing:
            for connection in self._open:
                _drop(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the connection, when there is room for it."""
        if not self._slots.acquire(blocking=False):
            with self._changing:
                for oldest in list(self._open)[:1]:
                    _drop(oldest)
            # Every connection ends within the bounds, the dropped one at once.
            self._slots.acquire()
        with self._changing:
            self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The end of a connection."""
        super().shutdown_request(request)
        with self._changing:
            del self._open[request]
        self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that has gone, or was too slow, is its own affair."""
        if not isinstance(sys.exc_info()[1], OSError):
            _log.exception("http_exchange_failed")


def _drop(connection: socket.socket) -> None:
    """Wakes up the thread that reads from it or writes to it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
