"""Calls to what stands where Vault should; Vault itself is called in the operator's integration tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from crowetrade_process.identity.errors import IdentityUnavailable
from crowetrade_process.identity.vault_api import MAX_BYTES, VaultRefused, VaultServer, call, parse_addresses


class Said(HTTPServer):
    """Answers what the test wants, and keeps what it was asked."""

    status, body = 200, b"{}"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.headers: list[dict[str, str]] = []

    @property
    def vault(self) -> VaultServer:
        return VaultServer(parse_addresses(f"http://127.0.0.1:{self.server_port}", True, ""), namespace="team/a")


class _Handler(BaseHTTPRequestHandler):
    server: Said

    def do_POST(self) -> None:
        self.server.headers.append(dict(self.headers))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *arguments: object) -> None:
        return


@pytest.fixture
def said() -> Iterator[Said]:
    server = Said()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_namespace_and_the_token_are_said(said: Said) -> None:
    assert call(said.vault, "POST", "auth/kubernetes/login", {"role": "a"}, token="t") == {}
    found = said.headers[0]
    assert (found["X-Vault-Namespace"], found["X-Vault-Token"]) == ("team/a", "t")


@pytest.mark.parametrize(
    ("status", "body", "error", "sentence"),
    [
        (200, b"<html>", IdentityUnavailable, "is not Vault"),
        (200, b"[]", IdentityUnavailable, "is not Vault"),
        (200, b"x" * (MAX_BYTES + 1), IdentityUnavailable, "with more than 16777216 bytes"),
        (302, b"", VaultRefused, "answers 302 to sys: no reason"),
        (403, b'{"errors":["permission denied\\n"]}', VaultRefused, "answers 403 to sys: permission denied"),
        (404, b"<html>", VaultRefused, "answers 404 to sys: <html>"),
        (503, b'{"errors":["Vault is sealed"]}', IdentityUnavailable, "answers 503 to sys: Vault is sealed; unseal it"),
    ],
)
def test_what_does_not_help_is_said_in_a_sentence(
    status: int, body: bytes, error: type[Exception], sentence: str, said: Said
) -> None:
    said.status, said.body = status, body
    with pytest.raises(IdentityUnavailable, match=sentence) as found:
        call(said.vault, "POST", "sys", {})
    assert type(found.value) is error
