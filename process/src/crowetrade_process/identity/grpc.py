"""gRPC with mutual TLS 1.3.

The library's Python interface sets no lowest version of TLS. So TLS 1.2 is left with a cipher suite for RSA keys (see
crowetrade_process/__init__.py), and all our keys are EC keys: no handshake of that version can end. A call that came by
another version than 1.3 is refused as well.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from crowetrade_process.identity.errors import ServerRefused
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.peer import Reason, Refusal
from crowetrade_process.identity.server_certificate import look_at_server

_TLS_1_3 = b"TLSv1.3"

Options = Sequence[tuple[str, int | str]]


def add_port(server: grpc.aio.Server, address: str, identity: Identity | None) -> int:
    """Listens at HOST:PORT and returns the port. Raises RuntimeError when it is taken."""
    if identity is None:
        return server.add_insecure_port(address)
    return server.add_secure_port(address, _server_credentials(identity))


@asynccontextmanager
async def open_channel(
    target: str, identity: Identity | None, server: str = "", options: Options = ()
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to HOST:PORT, whose certificate must have the DNS name `server`, or else that of the Service in HOST.
    Raises IdentityUnavailable, and NoServer before anything is said there; also out of what is done meanwhile, as soon
    as the server's certificate is known to be revoked.

    It shows the certificate of this moment for as long as it is open, and takes the one that the server shows in this
    moment: a connection that is there outlives both, and to connect again takes another channel.
    """
    if identity is None:
        async with grpc.aio.insecure_channel(target, options=list(options)) as channel:
            yield channel
        return
    credentials, name = identity.credentials, server or server_name(target)
    shown = await look_at_server(target, name, identity)
    # As the only authority: the library takes a chain that ends there (X509_V_FLAG_PARTIAL_CHAIN), so no other one.
    pinned = ssl.DER_cert_to_PEM_cert(shown).encode()
    tls = grpc.ssl_channel_credentials(pinned, credentials.key_pem, credentials.chain_pem)
    refusals: list[Refusal] = []
    try:
        async with (
            grpc.aio.secure_channel(
                target, tls, options=[*options, ("grpc.ssl_target_name_override", name)]
            ) as channel,
            asyncio.timeout(None) as scope,
        ):

            def judge_again() -> None:
                if not refusals and (refusal := identity.judge_server(shown)) is not None:
                    refusals.append(refusal)
                    scope.reschedule(asyncio.get_running_loop().time())

            end = identity.on_revocation(judge_again)
            try:
                # The list may have grown after the look, and nobody is called back for that.
                if (refusal := identity.judge_server(shown)) is not None:
                    raise ServerRefused(refusal.reason, refusal.text)
                yield channel
            finally:
                end()
    except TimeoutError as error:
        if not refusals:
            raise
        raise ServerRefused(refusals[0].reason, refusals[0].text) from error


def peer_of(context: grpc.aio.ServicerContext[Any, Any], identity: Identity) -> IdentityName | Refusal:
    """Who calls, or why the call is to be refused (UNAUTHENTICATED); refusals are counted."""
    shown = context.auth_context()
    if list(shown.get("ssl_tls_version", ())) != [_TLS_1_3]:
        return identity.refuse(Reason.OLD_PROTOCOL, "the connection is not one of TLS 1.3")
    certificate = next(iter(shown.get("x509_pem_cert", ())), None)
    if certificate is None:
        return identity.refuse(Reason.NO_CERTIFICATE, "the connection shows no certificate")
    return identity.judge(certificate)


def end_of_certificate(context: grpc.aio.ServicerContext[Any, Any]) -> datetime:
    """When the certificate ends that a caller has shown whom `peer_of` has let in."""
    return _certificate(context).not_valid_after_utc


def fingerprint_of(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """SHA-256 of that certificate, as `openssl x509 -fingerprint -sha256` has it, in lower case and without colons."""
    return _certificate(context).fingerprint(SHA256()).hex()


def _certificate(context: grpc.aio.ServicerContext[Any, Any]) -> x509.Certificate:
    (certificate,) = context.auth_context()["x509_pem_cert"]
    return x509.load_pem_x509_certificate(certificate)


def server_name(target: str) -> str:
    """The name that the certificate of HOST:PORT must have: that of a Service without the cluster's domain."""
    host, _, _ = target.rpartition(":")
    service, svc, _ = host.partition(".svc.")
    return f"{service}.svc" if svc else host


def _server_credentials(identity: Identity) -> grpc.ServerCredentials:
    """Asked for at each handshake, by a thread of the library."""

    def configuration() -> grpc.ServerCertificateConfiguration:
        credentials = identity.credentials
        return grpc.ssl_server_certificate_configuration(
            [(credentials.key_pem, credentials.chain_pem)], root_certificates=credentials.bundle_pem
        )

    return grpc.dynamic_ssl_server_credentials(configuration(), configuration, require_client_authentication=True)
