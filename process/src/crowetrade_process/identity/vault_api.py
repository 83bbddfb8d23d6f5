"""The few calls to Vault's HTTP API that an identity needs, with the HTTP client of the standard library.

Several addresses are tried in turn: the next one when a server cannot be reached, is sealed or fails. What a server
refuses is refused by all. Everything here blocks.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from crowetrade_process.identity.errors import IdentitySettingsError, IdentityUnavailable

CALL_SECONDS = 5.0
"""For each step of a call to one address."""
MAX_BYTES = 16 << 20
"""Of an answer; the largest are revocation lists."""
_PORTS = {"https": 443, "http": 80}


class VaultRefused(IdentityUnavailable):
    """Vault has answered, and the answer is no: `why` is what it said, `status` the HTTP status."""

    def __init__(self, sentence: str, why: str, status: int) -> None:
        super().__init__(sentence)
        self.why = why
        self.status = status


@dataclass(frozen=True, slots=True)
class VaultServer:
    """Where Vault is, and how to know that it is the right one."""

    addresses: tuple[SplitResult, ...]
    ca_file: Path | None = None
    """Authorities of its certificate, PEM; None: those of the system."""
    server_name: str = ""
    """The name in its certificate, where it is not the host of the address."""
    namespace: str = ""
    """Of Vault Enterprise."""

    @property
    def text(self) -> str:
        """The addresses, for a sentence."""
        return ", ".join(address.geturl() for address in self.addresses)


def parse_addresses(text: str, allow_http: bool, allow_http_variable: str) -> tuple[SplitResult, ...]:
    """Reads addresses that are separated by commas. Raises IdentitySettingsError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise IdentitySettingsError("VAULT_ADDR is not set: write the address of Vault, such as https://vault:8200")
    addresses = []
    for part in parts:
        try:
            address = urlsplit(part)
            port = address.port
        except ValueError:
            raise IdentitySettingsError(f"VAULT_ADDR is {part!r}: write https://HOST:PORT") from None
        plain = address.scheme in _PORTS and not (address.path.strip("/") or address.query or address.fragment)
        if not plain or not address.hostname or address.username is not None or port == 0:
            raise IdentitySettingsError(f"VAULT_ADDR is {part!r}: write https://HOST:PORT")
        if address.scheme == "http" and not allow_http:
            raise IdentitySettingsError(
                f"VAULT_ADDR is {part!r}: whoever sees the traffic could take the identity of this process; write "
                f"https://, or set {allow_http_variable} to true for development"
            )
        addresses.append(address)
    return tuple(addresses)


def call(
    server: VaultServer, method: str, path: str, body: Mapping[str, Any] | None = None, token: str = ""
) -> dict[str, Any]:
    """The JSON that Vault answers. Raises VaultRefused, or IdentityUnavailable when no address answers."""
    answer = fetch(server, method, path, body, token)
    try:
        # A write may answer nothing (204).
        found = json.loads(answer) if answer else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise IdentityUnavailable(f"what answers at {server.text} to {path} is not Vault")
    return found


def fetch(server: VaultServer, method: str, path: str, body: Mapping[str, Any] | None = None, token: str = "") -> bytes:
    """What Vault answers, as it comes. Raises as `call` does."""
    problems = []
    for address in server.addresses:
        try:
            return _fetch(server, address, method, path, body, token)
        except VaultRefused:
            raise
        except IdentityUnavailable as error:
            problems.append(str(error))
    raise IdentityUnavailable("; ".join(problems))


def _fetch(
    server: VaultServer, address: SplitResult, method: str, path: str, body: Mapping[str, Any] | None, token: str
) -> bytes:
    where = address.geturl()
    connection = _connection(server, address)
    headers = {"X-Vault-Request": "true"}
    if token:
        headers["X-Vault-Token"] = token
    if server.namespace:
        headers["X-Vault-Namespace"] = server.namespace
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, f"/v1/{path}", content, headers)
        answer = connection.getresponse()
        said = answer.read(MAX_BYTES + 1)
    except ssl.SSLError as error:
        raise IdentityUnavailable(f"the connection to Vault at {where} failed: {error.reason or error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise IdentityUnavailable(f"Vault at {where} cannot be reached: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if len(said) > MAX_BYTES:
        raise IdentityUnavailable(f"Vault at {where} answers to {path} with more than {MAX_BYTES} bytes")
    if answer.status in (http.client.OK, http.client.NO_CONTENT):
        return said
    why = _errors(said)
    if answer.status >= http.client.INTERNAL_SERVER_ERROR:
        sealed = "; unseal it" if "sealed" in why.lower() else ""
        raise IdentityUnavailable(f"Vault at {where} answers {answer.status} to {path}: {why}{sealed}")
    raise VaultRefused(f"Vault at {where} answers {answer.status} to {path}: {why}", why, answer.status)


def _connection(server: VaultServer, address: SplitResult) -> http.client.HTTPConnection:
    """Connected, so that the certificate of the server is checked for the name that was set."""
    host, port = address.hostname or "", address.port or _PORTS[address.scheme]
    where = address.geturl()
    connection = http.client.HTTPConnection(host, port, timeout=CALL_SECONDS)
    try:
        connection.sock = socket.create_connection((host, port), CALL_SECONDS)
    except OSError as error:
        raise IdentityUnavailable(f"Vault at {where} cannot be reached: {error or type(error).__name__}") from error
    if address.scheme == "http":
        return connection
    try:
        context = ssl.create_default_context(cafile=str(server.ca_file) if server.ca_file is not None else None)
        connection.sock = context.wrap_socket(connection.sock, server_hostname=server.server_name or host)
    except ssl.SSLCertVerificationError as error:
        connection.close()
        raise IdentityUnavailable(
            f"Vault at {where} shows a certificate that is not accepted ({error.verify_message}): set VAULT_CACERT to "
            "its authority, and VAULT_TLS_SERVER_NAME to the name in it"
        ) from error
    except ssl.SSLError as error:
        connection.close()
        raise IdentityUnavailable(f"the connection to Vault at {where} failed: {error.reason or error}") from error
    except OSError as error:
        connection.close()
        file = error.filename or server.ca_file if isinstance(error, FileNotFoundError | PermissionError) else ""
        what = f"VAULT_CACERT {file} cannot be read" if file else f"Vault at {where} cannot be reached"
        raise IdentityUnavailable(f"{what}: {error.strerror or error}") from error
    return connection


def _errors(said: bytes) -> str:
    """Vault answers {"errors": [...]}; anything else is shown as it comes, at most its beginning."""
    try:
        found = json.loads(said)["errors"]
        return " ".join("; ".join(map(str, found)).split()) or "no reason"
    except (ValueError, TypeError, KeyError):
        return said[:200].decode(errors="replace").strip() or "no reason"
