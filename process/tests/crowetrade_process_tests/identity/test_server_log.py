"""What nats-server's TLS library refuses is counted with its reason, whatever happens to the log and to its reader."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from crowetrade_operator_tests.servers import Process, free_port, wait_for
from crowetrade_operator_tests.waiting import until
from crowetrade_process.identity.peer import Reason
from crowetrade_process.identity.server_log import MAX_SAID, LogReader, refusal_in

from .authority import HOUR, Authority, Issued, identity_name, write_identity

OURS, FOREIGN = Authority(), Authority()
NATS = identity_name("nats", "crowetrade-system")
CLIENT = identity_name("venue-sim")
CONFIG = """
listen: "127.0.0.1:{port}"
logfile_max_num: {files}
logfile_size_limit: {size}
tls {{ cert_file: "{tls}/tls.crt", key_file: "{tls}/tls.key", ca_file: "{tls}/ca.crt", verify: true, min_version: "1.3",
  handshake_first: true }}
"""
BIN = Path(sys.executable).parent
LINE = "[7] 2026/11/26 19:30:00.123456 [ERR] 10.0.0.4:51234 - cid:12 - TLS handshake error: "


@dataclass
class Watched:
    """A nats-server, and the process beside it that passes on its log."""

    folder: Path
    size: str = "1MB"
    files: int = 4

    def __post_init__(self) -> None:
        self.port, self.http_port = free_port(), free_port()
        self.source = write_identity(self.folder / "source", OURS.issue_to(NATS), OURS)
        self.keeper = self.start_keeper()
        tls = self.folder / "tls"
        text = CONFIG.format(port=self.port, tls=tls, size=self.size, files=self.files)
        (self.folder / "nats.conf").write_text(text)
        flags = (f"--config={self.folder}/nats.conf", f"--log={self.folder}/nats.log", f"--pid={self.folder}/nats.pid")
        self.server = Process("nats-server", [BIN / "nats-server", *flags], self.folder)

    def start_keeper(self) -> Process:
        """Returns when the certificate is written."""
        keeper = Process(
            "keeper",
            [
                sys.executable,
                "-m",
                "crowetrade_process.nats_sidecar",
                f"--directory={self.folder}/tls",
                f"--reload-pid-file={self.folder}/nats.pid",
                f"--log-file={self.folder}/nats.log",
                f"--http-port={self.http_port}",
            ],
            self.folder,
            {
                "IDENTITY_SOURCE": "Files",
                "IDENTITY_DIRECTORY": str(self.source),
                "IDENTITY_OPERATOR_NAMESPACE": NATS.namespace,
                "NATS_TLS_SERVER_NAME": NATS.dns_name,
                "NATS_URL": f"tls://127.0.0.1:{self.port}",
            },
        )
        wait_for(keeper, f"http://127.0.0.1:{self.http_port}/readyz")
        return keeper

    def counted(self) -> dict[str, int]:
        """Refused peers by reason, as Prometheus sees them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/metrics", timeout=5) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return {
            sample.labels["reason"]: int(sample.value)
            for family in families
            for sample in family.samples
            if sample.name == "crowetrade_identity_refused_peers_total"
        }

    def rotated(self) -> int:
        """How many files nats-server has put aside."""
        return len(list(self.folder.glob("nats.log.*")))

    def printed(self) -> str:
        """What `kubectl logs` shows of the process beside nats-server."""
        return (self.folder / "keeper.log").read_text(errors="replace")

    async def listening(self) -> None:
        """The server's first lines have come through."""
        await until("nats-server to listen", lambda: "Server is ready" in self.printed())

    async def connect(self, issued: Issued | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        """One connection, whatever comes of it."""
        context = ssl.create_default_context(cadata=OURS.pem.decode())
        context.maximum_version = version
        if issued is not None:
            files = write_identity(self.folder / "client", issued, OURS)
            context.load_cert_chain(files / "tls.crt", files / "tls.key")
        with contextlib.suppress(OSError):  # ssl.SSLError too
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.port, ssl=context, server_hostname=NATS.dns_name
            )
            # In TLS 1.3 a client hears of its refusal after its part of the handshake.
            await asyncio.wait_for(reader.read(1), 10)
            writer.close()

    def stop(self) -> None:
        """As in a pod: the process beside nats-server ends last."""
        self.server.stop()
        self.keeper.stop()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """With the bounds of the chart's configuration."""
    pod = Watched(tmp_path)
    try:
        yield pod
    finally:
        pod.stop()


@pytest.mark.integration
async def test_each_refusal_is_counted_with_its_reason_and_each_line_goes_on(watched: Watched) -> None:
    await watched.listening()
    now = datetime.now(UTC)
    await watched.connect(OURS.issue_to(CLIENT))
    await watched.connect(FOREIGN.issue_to(CLIENT))
    await watched.connect(OURS.issue_to(CLIENT, not_before=now - 2 * HOUR))
    await watched.connect(OURS.issue_to(CLIENT, not_before=now + HOUR))
    await watched.connect(None)
    await watched.connect(OURS.issue_to(CLIENT), ssl.TLSVersion.TLSv1_2)
    expected = {"ForeignAuthority": 1, "Expired": 1, "NotYetValid": 1, "NoCertificate": 1, "OldProtocol": 1}
    await until("five refusals", lambda: sum(watched.counted().values()) == len(expected))
    assert watched.counted() == expected
    assert len(re.findall(r"\[ERR\].*TLS handshake error", watched.printed())) == len(expected)
    assert watched.printed().count('"event": "peer_refused"') == len(expected)


@pytest.mark.integration
async def test_neither_a_rotation_nor_a_restart_leaves_out_a_line_or_counts_it_twice(tmp_path: Path) -> None:
    pod = Watched(tmp_path, size="500", files=50)
    try:
        await pod.listening()
        for _ in range(10):
            await pod.connect(None)
        await until("ten refusals", lambda: pod.counted() == {"NoCertificate": 10})
        before = pod.rotated()
        pod.keeper.stop()
        for _ in range(12):
            await pod.connect(None)
        assert pod.rotated() > before + 2 > 2
        pod.keeper = pod.start_keeper()
        await until("twelve more", lambda: pod.counted() == {"NoCertificate": 12})
        assert pod.printed().count("TLS handshake error: tls: client didn't provide a certificate") == 22
    finally:
        pod.stop()
    # What nats-server says last is read before the process beside it ends.
    assert "Server Exiting.." in pod.printed()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time "
            "2026-11-26T19:30:00Z is after 2026-11-26T18:30:00Z (CN=a SHA-256: 00)",
            Reason.EXPIRED,
        ),
        (
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time "
            "2026-11-26T19:30:00Z is before 2026-11-26T20:30:00Z",
            Reason.NOT_YET_VALID,
        ),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", Reason.FOREIGN_AUTHORITY),
        ("tls: client didn't provide a certificate", Reason.NO_CERTIFICATE),
        ("tls: client offered only unsupported versions: [303]", Reason.OLD_PROTOCOL),
        ("remote error: tls: failed to verify certificate: of the server", None),
        ("EOF", None),
    ],
)
def test_the_reason_is_what_the_library_says(said: str, reason: Reason | None) -> None:
    found = refusal_in(f"{LINE}{said}")
    assert (found.reason if found else None) == reason


def test_a_refusal_names_the_address_and_no_more_of_a_certificate_than_fits() -> None:
    """The subject of a certificate is whatever somebody has written into it, as long as a handshake may be."""
    said = f"tls: failed to verify certificate: x509: (CN={'a' * 60_000} SHA-256: 77389bbe)"
    found = refusal_in(f"{LINE}{said}")
    assert found is not None
    assert found.text.startswith("the TLS handshake with 10.0.0.4:51234 failed: tls: failed to verify certificate")
    assert found.text.endswith("SHA-256: 77389bbe)")
    assert len(found.text) < MAX_SAID + 100
    found = refusal_in(f"[7] [ERR] {'b' * 60_000} - TLS handshake error: {said}")
    assert found is not None
    assert len(found.text) < MAX_SAID + 150


def test_servers_of_a_cluster_are_counted_and_other_lines_are_not() -> None:
    said = "tls: client didn't provide a certificate"
    assert refusal_in(f"{LINE.replace('TLS handshake', 'TLS route handshake')}{said}") is not None
    assert refusal_in(f"[7] [ERR] 10.0.0.4:51234 - websocket handshake error: {said}") is None
    assert refusal_in(f"[7] [INF] somebody says: {said}") is None


def test_a_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "nats.log"
    reader = LogReader(path)
    assert list(reader.new_lines()) == []
    with path.open("ab", buffering=0) as file:
        file.write(b"one\ntw")
        assert list(reader.new_lines()) == ["one"]
        file.write(b"o \xff\r\n")
        assert list(reader.new_lines()) == ["two \\xff"]
    assert list(reader.new_lines()) == []


def test_files_that_were_rotated_away_are_read_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "nats.log"
    reader = LogReader(path)
    path.write_text("1\n")
    assert list(reader.new_lines()) == ["1"]
    with path.open("a") as file:
        file.write("2\n3\n")
    for number, text in enumerate(("4\n", "5\n6\n", "7\n")):
        path.rename(tmp_path / f"nats.log.2026.11.26.19.30.0{number}")
        path.write_text(text)
    assert list(reader.new_lines()) == ["2", "3", "4", "5", "6", "7"]
    reader.close()
    assert list(LogReader(path).new_lines()) == []


def test_lines_that_were_removed_before_they_were_read_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nats.log"
    reader = LogReader(path)
    path.write_text("1\n")
    assert list(reader.new_lines()) == ["1"]
    path.unlink()
    path.write_text("9\n")
    assert list(reader.new_lines()) == ["9"]
    assert "log_lines_lost" in capsys.readouterr().out


def test_a_place_that_is_no_more_is_not_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "nats.log"
    path.write_text("1\n2\n")
    (tmp_path / "nats.log-read").write_text(f"{os.stat(path).st_ino} 4000")
    assert list(LogReader(path).new_lines()) == ["1", "2"]
