"""TLS contexts for the clients of the standard library, such as the one of NATS: TLS 1.3, mutual."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from crowetrade_process.identity.credentials import Credentials
from crowetrade_process.identity.errors import IdentityUnavailable


def client_context(credentials: Credentials) -> ssl.SSLContext:
    """A context for clients that trust these authorities and show this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # An intermediate authority may be all that the bundle holds.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=credentials.bundle_pem.decode("ascii"))
        with _file_in_memory(credentials.chain_pem + b"\n" + credentials.key_pem) as path:
            context.load_cert_chain(path)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise IdentityUnavailable(f"TLS does not take the certificate: {error}") from error
    return context


class CurrentContext(ssl.SSLContext):
    """Hands each new connection to the context of that moment: a renewed certificate needs no new client."""

    _current: Callable[[], ssl.SSLContext]

    def __new__(cls, current: Callable[[], ssl.SSLContext]) -> CurrentContext:
        context = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        context._current = current
        return context

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """For asyncio and uvloop."""
        return self._current().wrap_bio(*arguments, **options)

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """For clients that block."""
        return self._current().wrap_socket(*arguments, **options)


@contextmanager
def _file_in_memory(content: bytes) -> Iterator[str]:
    """The TLS library reads a key from a path alone. Where the system has no files in memory, it is one on disk that
    its owner alone may read, for as long as it is read."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("identity", os.MFD_CLOEXEC), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:  # pragma: no cover - not on Linux
        with tempfile.NamedTemporaryFile() as named:
            named.write(content)
            named.flush()
            yield named.name
