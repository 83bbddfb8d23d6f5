"""Handshakes that gRPC's TLS library refuses: it tells nobody, and writes a line to standard error.

So its lines are read. Native code then writes to a pipe instead of standard error, never waits for us (what does not
fit is dropped), and each line becomes one of our log. What Python itself writes goes where it went before. Of what a
library says while it brings the process down, the end may be lost.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.peer import Reason, Refusal

STANDARD_ERROR = 2
END_SECONDS = 2.0
"""A child of ours may hold the pipe open."""

_REFUSED = "Handshake failed with error SSL_ERROR_SSL: "
_REASONS = {
    "CERTIFICATE_VERIFY_FAILED: certificate has expired": Reason.EXPIRED,
    "CERTIFICATE_VERIFY_FAILED: certificate is not yet valid": Reason.NOT_YET_VALID,
    "CERTIFICATE_VERIFY_FAILED": Reason.FOREIGN_AUTHORITY,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": Reason.NO_CERTIFICATE,
    "UNSUPPORTED_PROTOCOL": Reason.OLD_PROTOCOL,
    "NO_SHARED_CIPHER": Reason.OLD_PROTOCOL,
}
"""By what BoringSSL says, the first that is found."""

log = structlog.get_logger(__name__)


def refusal_in(line: str) -> Refusal | None:
    """Why a handshake was refused of which this line tells; nothing for any other line."""
    _, _, said = line.partition(_REFUSED)
    found = (
        Refusal(reason, f"the TLS handshake failed: {said.strip()}")
        for text, reason in _REASONS.items()
        if text in said
    )
    return next(found, None)


@contextmanager
def counted_handshakes(identity: Identity | None) -> Iterator[None]:
    """Meanwhile handshakes that are refused are counted, logged and told by the identity, on this event loop."""
    if identity is None:
        yield
        return
    loop = asyncio.get_running_loop()

    def take(line: str) -> None:
        refusal = refusal_in(line)
        if refusal is None:
            log.info("native_log", text=line)
        else:
            loop.call_soon_threadsafe(identity.refuse, refusal.reason, refusal.text)

    with lines_of_native_code(take):
        yield


@contextmanager
def lines_of_native_code(take: Callable[[str], None]) -> Iterator[None]:
    """Calls back, from a thread, with each line that native code writes to standard error."""
    sys.stderr.flush()
    original = os.dup(STANDARD_ERROR)
    incoming, outgoing = os.pipe()
    # A thread that writes while it holds the interpreter's lock would wait for the reader, which needs that lock.
    os.set_blocking(outgoing, False)
    os.dup2(outgoing, STANDARD_ERROR)
    os.close(outgoing)
    python = sys.stderr
    sys.stderr = os.fdopen(original, "w", buffering=1, errors="backslashreplace")
    if faulthandler.is_enabled():
        faulthandler.enable(sys.stderr)
    reader = threading.Thread(target=_read, args=(incoming, take), name="native-log", daemon=True)
    reader.start()
    try:
        yield
    finally:
        os.dup2(original, STANDARD_ERROR)
        reader.join(END_SECONDS)
        ours, sys.stderr = sys.stderr, python
        if faulthandler.is_enabled():
            faulthandler.enable(python)
        ours.close()


def _read(incoming: int, take: Callable[[str], None]) -> None:
    with os.fdopen(incoming, errors="backslashreplace") as lines:
        for line in lines:
            take(line.rstrip())
