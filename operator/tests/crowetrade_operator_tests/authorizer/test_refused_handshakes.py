"""Whom nats-server's TLS library refuses stands in the audit trail: the process beside the server writes it there, with
the permissions that NATS itself has on the bus. The server, its log, that process, the authorizers and the command line
are those that people run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from prometheus_client.parser import text_string_to_metric_families
from tools.bus_operations import NAMESPACE, VENUE

from crowetrade_operator_tests.secured_bus import ADMINISTRATOR, NATS, SecuredBus, identity_of_gateway
from crowetrade_operator_tests.servers import Process, free_port, wait_for
from crowetrade_operator_tests.waiting import until
from crowetrade_process.identity.variables import IdentityVariable
from crowetrade_process_tests.identity.authority import HOUR, Authority, Issued, write_identity

pytestmark = pytest.mark.integration
WRITER = f"{NATS.namespace}.{NATS.service_account}"
FOREIGN = Authority()
LAST_WORDS = "[7] 2026/11/28 15:00:00.000001 [ERR] 10.0.0.4:51234 - cid:12 - TLS handshake error: "


@dataclass
class Sidecar:
    """The process beside the server, as in its pod."""

    bus: SecuredBus

    def __post_init__(self) -> None:
        self._http_port = free_port()
        command: list[str | Path] = [
            *(sys.executable, "-m", "crowetrade_process.nats_sidecar"),
            f"--directory={self.bus.folder / 'written'}",
            f"--reload-pid-file={self.bus.folder / 'no.pid'}",
            f"--log-file={self.log}",
            f"--http-port={self._http_port}",
        ]
        self.process = Process("sidecar", command, self.bus.folder, self.bus.environment(NATS))
        wait_for(self.process, f"http://127.0.0.1:{self._http_port}/readyz")

    @property
    def log(self) -> Path:
        """Of nats-server."""
        return self.bus.folder / "nats-server.log"

    def value(self, name: str, **labels: str) -> float:
        """Of a metric."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http_port}/metrics", timeout=5) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def refused(self, reason: str) -> int:
        """How many handshakes were refused, as it has read."""
        return int(self.value("crowetrade_identity_refused_peers_total", reason=reason))


@pytest.fixture
def sidecar(bus: SecuredBus) -> Iterator[Sidecar]:
    (bus.folder / "nats-server.log").write_text("")
    running = Sidecar(bus)
    try:
        yield running
    finally:
        running.process.stop()


async def connect(bus: SecuredBus, issued: Issued) -> None:
    """One connection, which the server ends."""
    context = ssl.create_default_context(cadata=bus.authority.pem.decode())
    files = write_identity(bus.folder / "refused", issued, bus.authority)
    context.load_cert_chain(files / "tls.crt", files / "tls.key")
    with contextlib.suppress(OSError):  # ssl.SSLError too
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", bus.port, ssl=context, server_hostname=NATS.dns_name
        )
        # In TLS 1.3 a client hears of its refusal after its part of the handshake.
        await asyncio.wait_for(reader.read(1), 10)
        writer.close()


def crowetrade(bus: SecuredBus, *arguments: str | Path) -> tuple[int, str]:
    """Runs the command line as an administrator; its exit code and what it says."""
    files = {
        "CROWETRADE_TLS_DIRECTORY": str(bus.directory(ADMINISTRATOR)),
        "CROWETRADE_NATS_SERVER_NAME": NATS.dns_name,
    }
    return run([Path(sys.executable).parent / "crowetrade", *arguments, "--nats", bus.url], files)


def run(command: list[str | Path], environment: dict[str, str]) -> tuple[int, str]:
    """The exit code of a program, and what it says."""
    ended = subprocess.run(
        list(map(str, command)),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout


def recorded(bus: SecuredBus) -> list[dict[str, Any]]:
    """Refusals that NATS has recorded, oldest first, as `crowetrade audit show` has them."""
    code, said = crowetrade(bus, "audit", "show", "--json", "--action", "IdentityRefused")
    assert code == 0, said
    return [row for row in map(json.loads, said.splitlines()) if row["writer"] == WRITER]


async def until_recorded(bus: SecuredBus, count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    async def is_recorded() -> bool:
        rows[:] = await asyncio.to_thread(recorded, bus)
        return len(rows) >= count

    await until(f"{count} records of NATS", is_recorded)
    return rows


async def test_whom_the_tls_library_of_nats_refuses_is_recorded_with_the_reason(
    bus: SecuredBus, operator: Client, sidecar: Sidecar, tmp_path: Path
) -> None:
    gateway, now = identity_of_gateway(NAMESPACE, VENUE), datetime.now(UTC)
    expired = bus.authority.issue_to(gateway, not_before=now - 2 * HOUR)
    await connect(bus, FOREIGN.issue_to(gateway))
    for _ in range(3):
        await connect(bus, expired)
    await until("all to be counted", lambda: sidecar.refused("Expired") == 3)
    rows = await until_recorded(bus, 2)
    found = {row["reason"].partition(":")[0]: row for row in rows}
    assert set(found) == {"ForeignAuthority", "Expired"}
    # One for each reason, and no more within a minute: nobody fills the trail by knocking.
    assert len(rows) == len(found)
    for row in rows:
        assert row["actor"] == "", "nobody has proven who it was"
        assert "the TLS handshake with 127.0.0.1:" in row["reason"]
    assert "has expired" in found["Expired"]["reason"]
    assert "unknown authority" in found["ForeignAuthority"]["reason"]

    (tmp_path / "ca.pem").write_bytes(bus.authority.pem)
    code, said = crowetrade(bus, "audit", "verify", "--ca", tmp_path / "ca.pem")
    assert code == 0, said
    assert WRITER in said

    # What is counted and not yet recorded, when the process ends.
    await asyncio.to_thread(sidecar.process.stop)
    *before, last = await until_recorded(bus, 3)
    assert before == rows
    assert (last["reason"].partition(":")[0], last["count"]) == ("Expired", 2)


async def test_what_was_refused_when_the_bus_goes_away_is_recorded_when_it_is_back(
    bus: SecuredBus, operator: Client, sidecar: Sidecar
) -> None:
    before = len(await until_recorded(bus, 0))
    bus.stop()
    with sidecar.log.open("a") as file:
        for _ in range(20_000):
            file.write(f"{LAST_WORDS}tls: client offered only unsupported versions: [303]\n")
        file.write(f"{LAST_WORDS}tls: client didn't provide a certificate\n")
    # The log is read on, and the flood is one event that waits.
    await until("the log to be read", lambda: sidecar.refused("NoCertificate") == 1)
    assert sidecar.refused("OldProtocol") == 20_000
    assert 0 < sidecar.value("crowetrade_audit_records_waiting") <= 3
    bus.start()
    # Until there is somebody to ask the server lets nobody in, and whoever reads fails.
    for replica in bus.replicas:
        await asyncio.to_thread(replica.wait_ready)
    rows = (await until_recorded(bus, before + 2))[before:]
    assert [row["reason"].partition(":")[0] for row in rows] == ["OldProtocol", "NoCertificate"]
    assert sidecar.value("crowetrade_audit_records_lost_total") == 0
    sidecar.process.check()


def test_without_an_address_for_the_trail_it_does_not_start(tmp_path: Path) -> None:
    """Rather than that nobody notices what is not recorded."""
    command: list[str | Path] = [
        *(sys.executable, "-m", "crowetrade_process.nats_sidecar"),
        *(f"--directory={tmp_path}", f"--reload-pid-file={tmp_path}/pid", f"--log-file={tmp_path}/log"),
    ]
    given: dict[str, str] = {IdentityVariable.SOURCE: "Files"}
    for missing, value in {"NATS_URL": "tls://nats", IdentityVariable.OPERATOR_NAMESPACE: "crowetrade-system"}.items():
        code, said = run(command, {missing: "", **given})
        assert code == 78
        assert f"{missing} is not set" in said
        given[missing] = value
