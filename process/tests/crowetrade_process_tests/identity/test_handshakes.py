"""Handshakes that gRPC's TLS library refuses: each is counted with its reason."""

from __future__ import annotations

import os
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from crowetrade_operator_tests.waiting import until
from crowetrade_process.identity.handshakes import counted_handshakes, lines_of_native_code, refusal_in
from crowetrade_process.identity.peer import Reason, Refusal

from .authority import HOUR, Issued
from .identities import identity_of, refused
from .test_grpc import FOREIGN, GATEWAY, OURS, STRATEGY, ask, serving

LINE = (
    "I1126 17:03:18.694872 25095 ssl_transport_security.cc:2563] Handshake failed with error SSL_ERROR_SSL: error:1000"
)
CASES: dict[Reason, tuple[timedelta, bool]] = {
    Reason.EXPIRED: (-2 * HOUR, True),
    Reason.NOT_YET_VALID: (HOUR, True),
    Reason.FOREIGN_AUTHORITY: (timedelta(0), False),
}


@pytest.mark.parametrize("reason", [*CASES, Reason.NO_CERTIFICATE])
@pytest.mark.integration
async def test_who_is_refused_before_the_first_call_is_counted_with_the_reason(reason: Reason, tmp_path: Path) -> None:
    gateway = (await identity_of(tmp_path, GATEWAY, OURS)).identity
    told: list[Refusal] = []
    issued: Issued | None = None
    if reason in CASES:
        shift, ours = CASES[reason]
        issued = (OURS if ours else FOREIGN).issue_to(STRATEGY, not_before=datetime.now(UTC) + shift)
    shown = (issued.key_pem, issued.pem) if issued is not None else (None, None)
    before = refused(reason)
    async with serving(gateway) as target:
        gateway.on_refusal(told.append)
        with counted_handshakes(gateway):
            with pytest.raises(grpc.aio.AioRpcError):
                await ask(target, grpc.ssl_channel_credentials(OURS.pem, *shown))
            await until("the refusal to be counted", lambda: refused(reason) > before)
    assert {refusal.reason for refusal in told} == {reason}
    assert "handshake failed" in told[0].text


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("CERTIFICATE_VERIFY_FAILED: certificate has expired", Reason.EXPIRED),
        ("CERTIFICATE_VERIFY_FAILED: certificate is not yet valid", Reason.NOT_YET_VALID),
        ("CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate", Reason.FOREIGN_AUTHORITY),
        ("CERTIFICATE_VERIFY_FAILED: self signed certificate", Reason.FOREIGN_AUTHORITY),
        ("PEER_DID_NOT_RETURN_A_CERTIFICATE: Invalid certificate verification context", Reason.NO_CERTIFICATE),
        ("UNSUPPORTED_PROTOCOL", Reason.OLD_PROTOCOL),
        ("NO_SHARED_CIPHER", Reason.OLD_PROTOCOL),
        ("WRONG_VERSION_NUMBER", None),
    ],
)
def test_the_reason_is_what_the_library_says(said: str, reason: Reason | None) -> None:
    found = refusal_in(f"{LINE}007d:SSL routines:OPENSSL_internal:{said}")
    assert (found.reason if found else None) == reason


def test_another_line_is_no_refusal() -> None:
    assert refusal_in("W1126 17:03:18 a.cc:1] CERTIFICATE_VERIFY_FAILED is not spoken of here") is None


def test_lines_of_native_code_come_whole_and_standard_error_is_as_before_in_the_end() -> None:
    lines: list[str] = []
    before = os.fstat(2)
    with lines_of_native_code(lines.append):
        os.write(2, b"one\ntw")
        os.write(2, b"o \xff\n")
        assert os.fstat(sys.stderr.fileno()).st_ino == before.st_ino, "Python writes where it wrote before"
    assert lines == ["one", "two \\xff"]
    assert os.fstat(2).st_ino == before.st_ino


def test_native_code_never_waits_for_the_reader() -> None:
    """It may hold the lock that the reader needs."""
    go_on = threading.Event()

    def slow(line: str) -> None:
        go_on.wait()

    with lines_of_native_code(slow):
        with pytest.raises(BlockingIOError):
            _write_for_ever()
        go_on.set()


def _write_for_ever() -> None:
    while True:
        os.write(2, b"x" * 4095 + b"\n")
