"""Which certificate a gRPC server shows, before anything is said to it.

gRPC's Python interface tells a client nothing of the server's certificate, so a connection of our own looks at it
first. Whoever then opens a channel trusts that one certificate alone (grpc.py): the server that is looked at and the
one that is talked to cannot be two.
"""

from __future__ import annotations

import asyncio
import ssl

from crowetrade_process.identity.contexts import client_context
from crowetrade_process.identity.errors import NoServer, ServerRefused
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.peer import Reason, Refusal

SECONDS = 5.0
"""For a connection and its handshake."""
_OTHER_PROTOCOL = ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "TLSV1_ALERT_INSUFFICIENT_SECURITY")
# X509_V_ERR_... of OpenSSL, from its x509_vfy.h; of any other one the chain leads to no authority of ours.
_REASONS = {
    9: Reason.NOT_YET_VALID,
    10: Reason.EXPIRED,
    62: Reason.OTHER_NAME,
    64: Reason.OTHER_NAME,
}


def refusal_of(error: ssl.SSLError, server: str) -> Refusal | None:
    """Why our TLS library has refused a server; nothing for what is no refusal of ours."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason, said = _REASONS.get(error.verify_code, Reason.FOREIGN_AUTHORITY), error.verify_message
    elif error.reason in _OTHER_PROTOCOL:
        reason, said = Reason.OLD_PROTOCOL, "it takes no TLS 1.3"
    else:
        return None
    return Refusal(reason, f"the TLS handshake with {server} failed: {said}")


async def look_at_server(target: str, name: str, identity: Identity) -> bytes:
    """The certificate (DER) of the server at HOST:PORT, which has this DNS name, an authority of ours, and is valid and
    not revoked. Returns once the server has taken ours, too. Raises ServerRefused, and NoServer when nobody ends a
    handshake; refusals are counted."""
    host, _, port = target.rpartition(":")
    if not host or not port.isdecimal():
        raise NoServer(f"{target!r} is no address: write HOST:PORT")
    context = client_context(identity.credentials)
    context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(
                host.strip("[]"), int(port), ssl=context, server_hostname=name
            )
            try:
                shown = bytes(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
                refusal = identity.judge_server(shown)
                if refusal is not None:
                    raise ServerRefused(refusal.reason, refusal.text)
                # The first word is the server's, unless it refuses our certificate: in TLS 1.3 it says so after the
                # handshake. The channel would only hear the same.
                if not await reader.read(1):
                    raise NoServer("it ended the connection after the handshake: does it refuse our certificate?")
            finally:
                writer.close()
    except ssl.SSLError as error:
        refusal = refusal_of(error, f"{name} at {target}")
        if refusal is None:
            raise NoServer(f"the TLS handshake failed: {_text(error)}") from error
        identity.refuse(refusal.reason, refusal.text)
        raise ServerRefused(refusal.reason, refusal.text) from error
    except (OSError, TimeoutError) as error:
        raise NoServer(_text(error)) from error
    return shown


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
