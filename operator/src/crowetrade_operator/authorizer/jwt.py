"""The tokens of the auth callout: NATS JWT version 2, signed with Ed25519 by an nkey (NATS ADR-14 and ADR-26).

A request is read without checking its signature: it comes on a subject on which the server alone publishes, and its key
is made again at each start of the server.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nkeys import KeyPair

from crowetrade_operator.authorizer.permissions import Permissions

_VERSION = 2


class UnreadableRequest(Exception):
    """It is no authorization request as nats-server makes it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the server asks about one connection."""

    server_id: str
    user_key: str
    """Public key that the server has made for the connection; the answer is bound to it."""
    certificate_pem: str
    """The client's certificate, whose chain the server has verified; empty without one."""
    connection: int
    """Its number at the server."""
    client_name: str
    host: str


def read_request(token: bytes) -> Request:
    """Raises UnreadableRequest."""
    try:
        _header, body, _signature = token.decode().split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        asked = claims["nats"]
        chains = (asked.get("client_tls") or {}).get("verified_chains") or [[""]]
        return Request(
            server_id=str(asked["server_id"]["id"]),
            user_key=str(asked["user_nkey"]),
            certificate_pem=str(chains[0][0]),
            connection=int(asked["client_info"]["id"]),
            client_name=str((asked.get("connect_opts") or {}).get("name") or ""),
            host=str(asked["client_info"].get("host") or ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UnreadableRequest(f"{type(error).__name__}: {error}") from error


def allow(request: Request, granted: Permissions, ends: int, issuer: KeyPair, now_seconds: int) -> bytes:
    """The answer that lets a connection in until `ends` (Unix time in seconds): then the server closes it.

    It names no user: a server that reloads its configuration (its own certificate was renewed) closes the connections
    of users that are not in it; for those without a name it asks again.
    """
    user = {
        "sub": request.user_key,
        "aud": granted.account.value,
        "exp": ends,
        "nats": {
            "type": "user",
            "version": _VERSION,
            "pub": {"allow": list(granted.publish)},
            "sub": {"allow": list(granted.subscribe)},
            # Unlimited here: nats-server holds a connection to the bounds of its own configuration alone.
            "subs": -1,
            "data": -1,
            "payload": -1,
        },
    }
    return _answer(request, {"jwt": _encode(user, issuer, now_seconds)}, issuer, now_seconds)


def refuse(request: Request, why: str, issuer: KeyPair, now_seconds: int) -> bytes:
    """The answer that keeps it out; the reason goes to the server's log."""
    return _answer(request, {"error": why}, issuer, now_seconds)


def _answer(request: Request, content: Mapping[str, Any], issuer: KeyPair, now_seconds: int) -> bytes:
    claims = {
        "sub": request.user_key,
        "aud": request.server_id,
        "nats": {"type": "authorization_response", "version": _VERSION, **content},
    }
    return _encode(claims, issuer, now_seconds).encode()


def _encode(claims: Mapping[str, Any], issuer: KeyPair, now_seconds: int) -> str:
    signed = {**claims, "iss": issuer.public_key.decode(), "iat": now_seconds}
    digest = hashlib.sha256(json.dumps(signed).encode()).digest()
    signed["jti"] = base64.b32encode(digest).rstrip(b"=").decode()
    head = _part({"typ": "JWT", "alg": "ed25519-nkey"})
    body = _part(signed)
    signature = base64.urlsafe_b64encode(issuer.sign(f"{head}.{body}".encode())).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


def _part(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
