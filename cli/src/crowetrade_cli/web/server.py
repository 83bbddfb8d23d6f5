"""The page and its events over HTTP on 127.0.0.1, for browsers on this machine alone.

Everything is read-only. A page of another site in the same browser gets nothing: its own name is not a host that is
answered (DNS rebinding), and no answer allows another origin to read it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from crowetrade_cli.errors import Failed
from crowetrade_cli.web.feed import Feed
from crowetrade_process.http_server import BoundedHandler, HttpServer

LOOPBACK = "127.0.0.1"
# Whatever the port: an SSH tunnel may end at another one.
_HOSTS = frozenset({LOOPBACK, "localhost"})
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/chart.js": ("chart.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class PageServer:
    """Holds the port from when it is made."""

    def __init__(self, feed: Feed, port: int) -> None:
        """Port 0 lets the system choose. Raises Failed when the port is taken."""
        handler: Callable[..., BoundedHandler] = partial(_Handler, feed)
        try:
            self._server = HttpServer(port, handler, LOOPBACK)
        except OSError as error:
            raise Failed(
                f"the page cannot be served at {LOOPBACK}:{port} ({error.strerror}): name another port with "
                "--web-port, or 0 for any that is free"
            ) from error

    @property
    def address(self) -> str:
        """For a browser."""
        return f"http://{LOOPBACK}:{self._server.port}/"

    def start(self) -> None:
        """Begins to answer."""
        self._server.start()

    def stop(self) -> None:
        """Stops listening. Blocks for up to half a second."""
        self._server.stop()


class _Handler(BoundedHandler):
    server_version = "crowetrade"
    sys_version = ""

    def __init__(self, feed: Feed, *connection: Any) -> None:
        self._feed = feed
        super().__init__(*connection)

    def do_GET(self) -> None:
        """A file of the page, or the events until they end or the browser has gone."""
        if self.headers.get("Host", "").partition(":")[0].lower() not in _HOSTS:
            self.send_error(HTTPStatus.FORBIDDEN, "Use the address that crowetrade run has printed")
            return
        path = self.path.partition("?")[0]
        if path == "/events":
            self._start("text/event-stream")
            with closing(self._feed.events()) as events:
                for event in events:
                    self.wfile.write(event)
        elif path in _FILES:
            name, kind = _FILES[path]
            self._start(kind)
            self.wfile.write(files(__package__).joinpath("page", name).read_bytes())
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _start(self, content_type: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.end_headers()

    def end_headers(self) -> None:
        """With those of every answer, errors too."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing: standard error belongs to the run."""
