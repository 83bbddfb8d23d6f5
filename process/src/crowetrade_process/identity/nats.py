"""NATS with mutual TLS 1.3, as arguments of the client's `connect`.

The handshake comes first (in the server's configuration `tls { handshake_first: true }`): a client that waits for the
server to ask for TLS would go on in clear with a server that does not.
"""

from __future__ import annotations

from typing import Any

from crowetrade_process.identity.holder import Identity


def connect_options(identity: Identity | None) -> dict[str, Any]:
    """What to add to the arguments of `connect`. Each connection, also after a loss, shows the certificate of that
    moment."""
    if identity is None:
        return {}
    options: dict[str, Any] = {
        "tls": identity.client_context(),
        "tls_handshake_first": True,
        "inbox_prefix": identity.name.inbox_prefix,
    }
    return {**options, "tls_hostname": identity.nats_server_name} if identity.nats_server_name else options
