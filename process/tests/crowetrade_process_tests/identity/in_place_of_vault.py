"""A server in Vault's place, for what Vault would be asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from crowetrade_process.identity.vault_api import VaultServer, parse_addresses


class Said(HTTPServer):
    """Answers what the test wants, and keeps what it was asked."""

    status, body = 200, b"{}"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict[str, str]]] = []
        """Path and headers of each request."""
        self.at: dict[str, tuple[int, bytes]] = {}
        """Status and body by path, where they differ from the others."""

    @property
    def vault(self) -> VaultServer:
        return VaultServer(parse_addresses(f"http://127.0.0.1:{self.server_port}", True, ""), namespace="team/a")


class _Handler(BaseHTTPRequestHandler):
    server: Said

    def do_POST(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        # What is not read when the connection is closed resets it, and the answer may be lost.
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = self.server.at.get(self.path, (self.server.status, self.server.body))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_LIST = do_PUT = do_POST

    def log_message(self, format: str, *arguments: object) -> None:
        return


@contextmanager
def listening() -> Iterator[Said]:
    """One that answers."""
    server = Said()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
