"""Every process of ours under its own permissions: the chart's nats-server with TLS, an authorizer, and the operator's
side of the bus, a gateway, a strategy, the risk auditor and the command line as they run in a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade.gateway.v1 import control_pb2, control_pb2_grpc
from crowetrade_agents.journal.jetstream_reader import JetStreamReader, StreamReader
from crowetrade_api.files import EnvName
from crowetrade_cli.fleet import ways
from crowetrade_cli.identity import TLS_FILES
from crowetrade_operator.bus.nats import Bus
from crowetrade_operator.bus.status_board import StatusBoard
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator_tests import waiting
from crowetrade_operator_tests.authorizer.conftest import make_strategy
from crowetrade_operator_tests.conftest import api_server, cluster
from crowetrade_operator_tests.secured_bus import (
    ADMINISTRATOR,
    AUDITOR,
    NATS,
    OPERATOR,
    SecuredBus,
    identity_of_gateway,
    identity_of_strategy,
    secured_bus,
)
from crowetrade_operator_tests.servers import ApiServer, Process, free_port
from crowetrade_operator_tests.waiting import end, until
from crowetrade_process.audit.chain import decode
from crowetrade_process.identity.grpc import open_channel
from crowetrade_process.identity.name import IdentityName
from crowetrade_process_tests.identity.authority import write_identity
from tests.chaos.desk import ACTIVE, NAMESPACE, VENUE, venue_file, write_quotes

__all__ = ["api_server", "cluster"]
pytestmark = pytest.mark.integration
STRATEGY = "alpha"
GATEWAY = identity_of_gateway(NAMESPACE, VENUE)
JOURNAL = subjects.journal_stream(NAMESPACE, VENUE)


@pytest.fixture(autouse=True)
def _processes_start_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each imports everything; on a busy machine several of them take a while."""
    monkeypatch.setattr(waiting, "WAIT_SECONDS", 120.0)


@pytest.fixture
def bus(tmp_path: Path, api_server: ApiServer) -> Iterator[SecuredBus]:
    """With one authorizer."""
    with secured_bus(tmp_path) as server:
        server.start_authorizer(api_server.kubeconfig)
        # As its Service is reached in a cluster; here everything is on this host.
        write_identity(
            server.directory(GATEWAY),
            server.authority.issue(GATEWAY.uri, dns_names=(GATEWAY.dns_name, "localhost")),
            server.authority,
        )
        yield server


@contextlib.asynccontextmanager
async def operators_bus(bus: SecuredBus) -> AsyncIterator[Bus]:
    """The operator's side, which has made its buckets."""
    operator = Bus(bus.url, StatusBoard(), await bus.identity(OPERATOR))
    task = asyncio.create_task(operator.run())
    try:
        await until("the operator to be connected", lambda: operator.connected)
        yield operator
    finally:
        await end({task})


class Pods:
    """Processes as their pods run them."""

    def __init__(self, bus: SecuredBus, folder: Path) -> None:
        self._bus = bus
        self._folder = folder
        self._started: list[Process] = []
        self.grpc_port = free_port()
        self.control_port = free_port()
        self.credentials = folder / "credentials"

    def start(self, name: str, identity: IdentityName, *arguments: str, config: object = None) -> Process:
        """Starts one; its output is a file."""
        folder = self._folder / name
        folder.mkdir()
        file = folder / "config.json"
        file.write_text(json.dumps(config))
        environment = {
            **self._bus.environment(identity),
            "POD_NAME": name,
            "CROWETRADE_CONFIG": str(file),
            "CROWETRADE_DATA": str(self._folder),
            "CROWETRADE_TERMINATION_LOG": str(folder / "termination.log"),
            "HTTP_PORT": "0",
            "GRPC_PORT": str(self.grpc_port),
            "CONTROL_PORT": str(self.control_port),
            EnvName.CREDENTIALS_DIRECTORY: str(self.credentials),
        }
        process = Process(name, [sys.executable, "-m", "crowetrade_agents.runtime", *arguments], folder, environment)
        self._started.append(process)
        return process

    def gateway(self, name: str, *keys: str) -> Process:
        """Of the venue; with `keys`, it takes any of these two, and the gateway has them from a Secret."""
        content = venue_file().content()
        if keys:
            current, previous = (hashlib.sha256(key.encode()).hexdigest() for key in keys)
            content["spec"]["simulated"] |= {"apiKeySha256": current, "previousApiKeySha256": previous}
            content["spec"]["credentials"] = {"secretRef": {"name": "keys", "keys": {"apiKey": "api-key"}}}
        # It plays a recording that is mounted.
        return self.start(name, GATEWAY, "gateway", config=content)

    def mount(self, key: str) -> None:
        """The Secret with this key, as Kubernetes puts it in place: a folder at once."""
        version = self.credentials / hashlib.sha256(key.encode()).hexdigest()
        version.mkdir(parents=True)
        (version / "apiKey").write_text(key)
        (self.credentials / "..new").symlink_to(version.name)
        (self.credentials / "..new").rename(self.credentials / "..data")

    def strategy(self, name: str) -> Process:
        """That trades there, all roles in one process."""
        instrument = {"currency": "USD", "tickSize": "0.00001", "lotSize": "1000", "minQuantity": "1000"}
        content = {
            "namespace": NAMESPACE,
            "name": STRATEGY,
            "generation": 1,
            "spec": {
                "mode": "Paper",
                "capital": {"amount": "1000000", "currency": "USD"},
                "instruments": [{"symbol": "EUR-USD", "venueRef": {"name": VENUE}}],
                "model": {"name": "ema-crossover", "parameters": {"fast": 3, "slow": 8}},
            },
            "gateways": {VENUE: f"localhost:{self.grpc_port}"},
            "instruments": [{**instrument, "symbol": "EUR-USD", "venue": VENUE}],
        }
        return self.start(name, identity_of_strategy(NAMESPACE, STRATEGY), "strategy", config=content)

    def stop(self) -> None:
        """Ends all."""
        for process in self._started:
            process.stop()


@pytest.fixture
def pods(bus: SecuredBus, tmp_path: Path) -> Iterator[Pods]:
    folder = tmp_path / "pods"
    folder.mkdir()
    write_quotes(folder / "rec.csv", "permissions")
    started = Pods(bus, folder)
    yield started
    started.stop()


def command(bus: SecuredBus, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line as an administrator."""
    return subprocess.run(
        [Path(sys.executable).parent / "crowetrade", *arguments],
        env={
            **os.environ,
            "CROWETRADE_TLS_DIRECTORY": str(bus.directory(ADMINISTRATOR)),
            "CROWETRADE_NATS_SERVER_NAME": NATS.dns_name,
            "CROWETRADE_NATS": bus.url,
            "KUBECONFIG": os.devnull,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def said(process: Process, word: str) -> bool:
    process.check()
    return word in process.log.read_text(errors="replace")


async def kill_as_an_administrator(bus: SecuredBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `crowetrade kill` does by the bus."""
    monkeypatch.setattr(TLS_FILES, "directory", str(bus.directory(ADMINISTRATOR)))
    monkeypatch.setattr(TLS_FILES, "nats_server_name", NATS.dns_name)
    obeyed = asyncio.Event()

    def heard(status: status_pb2.GatewayStatus) -> None:
        if "second" in [kill.name for kill in status.kills]:
            obeyed.set()

    order = kill_pb2.KillOrder(namespace=NAMESPACE, name="second")
    killing = asyncio.create_task(ways.by_the_bus(bus.url, order, lambda: None, heard))
    try:
        async with asyncio.timeout(30):
            await obeyed.wait()
    finally:
        await end({killing})


async def test_everything_works_under_its_own_permissions(
    bus: SecuredBus, pods: Pods, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_strategy(cluster, NAMESPACE, STRATEGY, VENUE)
    for replica in bus.replicas:
        replica.wait_ready()
    async with operators_bus(bus) as operator:
        await operator.ensure_journal(NAMESPACE, VENUE)
        assert await operator.put_config(NAMESPACE, VENUE, ACTIVE)
        auditor = pods.start("auditor", AUDITOR, "risk-auditor")
        gateway = pods.gateway("gateway-1")
        await until("the gateway to serve", lambda: said(gateway, '"order_entry_listens"'))
        strategy = pods.strategy("strategy-1")

        def status() -> status_pb2.GatewayStatus:
            heard = operator.board.gateway(NAMESPACE, VENUE)
            return status_pb2.GatewayStatus() if heard is None else heard.message

        def connected() -> bool:
            return any(one.strategy == STRATEGY and one.connected for one in status().accounts)

        await until("the strategy to be logged on", connected)
        await until("the strategy to report", lambda: bool(operator.board.agents(NAMESPACE, STRATEGY, within=5)))
        await until("orders in the journal", lambda: status().journal_sequence > 2)
        await until("the auditor to follow it", lambda: said(auditor, '"risk_auditor_begins"'))

        # A kill order of the operator arrives.
        assert await operator.put_kill(kill_pb2.KillOrder(namespace=NAMESPACE, name="first"), 1)
        await until("the kill order to be obeyed", lambda: [kill.name for kill in status().kills] == ["first"])

        # And one of an administrator, who hears that it is obeyed.
        await kill_as_an_administrator(bus, monkeypatch)

        # The successor reads the snapshot that the first one has written as it left, and leaves another one.
        gateway.stop()
        successor = pods.gateway("gateway-2")
        await until("the successor to serve", lambda: said(successor, '"gateway_serves"'))
        await until("the kill order to be in force again", lambda: status().fencing_token == 2 and bool(status().kills))
        strategy.check()
        successor.stop()
        async with bus.connected(GATEWAY) as client:
            reader = JetStreamReader(client, NAMESPACE, VENUE)
            assert len((await reader.read_snapshots()).intact) == 2

        # An administrator reads, exports and trims; nobody else could.
        verified = command(bus, "journal", "verify", "--namespace", NAMESPACE, "--venue", VENUE)
        assert verified.returncode == 0, verified.stderr
        exported = command(
            bus,
            "journal",
            "export",
            str(bus.folder / "export.jsonl"),
            "-n",
            NAMESPACE,
            "--venue",
            VENUE,
            "--trim",
            "--yes",
        )
        assert exported.returncode == 0, exported.stderr
    for process in (auditor, gateway, successor, strategy):
        assert "permissions violation" not in process.log.read_text(errors="replace").lower()


async def told(bus: SecuredBus, action: audit_pb2.Action.ValueType) -> list[audit_pb2.AuditEvent]:
    """What the gateway says of that kind in the audit trail, as an administrator reads it."""
    async with bus.connected(ADMINISTRATOR) as administrator:
        reader = StreamReader(administrator, subjects.AUDIT_STREAM, "the audit trail", subjects.ADMIN_API)
        own = subjects.audit(NAMESPACE, f"venue-{VENUE}")
        if (last := await reader.last_of(own)) is None:
            return []
        events = [decode(record.payload, "").event async for record in reader.messages(own, 1, last.place)]
    return [event for event in events if event.action == action]


async def kill_directly(
    bus: SecuredBus, pods: Pods, caller: IdentityName, order: kill_pb2.KillOrder
) -> grpc.StatusCode:
    """At the gateway's control service."""
    identity = await bus.identity(caller)
    async with open_channel(f"127.0.0.1:{pods.control_port}", identity, GATEWAY.dns_name) as channel:
        call = control_pb2_grpc.ControlServiceStub(channel).Kill(control_pb2.KillRequest(order=order), timeout=60)
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for _ in call:
                pass
        return await call.code()


async def test_a_gateway_records_whom_it_refuses_who_kills_directly_and_which_keys_it_uses(
    bus: SecuredBus, pods: Pods, cluster: Cluster
) -> None:
    await make_strategy(cluster, NAMESPACE, STRATEGY, VENUE)
    for replica in bus.replicas:
        replica.wait_ready()
    async with operators_bus(bus) as operator:
        await operator.ensure_journal(NAMESPACE, VENUE)
        assert await operator.put_config(NAMESPACE, VENUE, ACTIVE)
        old, new = "key-of-old", "key-of-new"
        pods.mount(old)
        gateway = pods.gateway("gateway-1", new, old)
        await until("the gateway to serve", lambda: said(gateway, '"order_entry_listens"'))

        strategy = identity_of_strategy(NAMESPACE, STRATEGY)
        order = kill_pb2.KillOrder(namespace=NAMESPACE, name="third")
        assert await kill_directly(bus, pods, strategy, order) is grpc.StatusCode.PERMISSION_DENIED
        pods.mount(new)
        await until("the keys to be renewed", lambda: said(gateway, '"venue_keys_renewed"'))

        async def is_recorded() -> bool:
            return len(await told(bus, audit_pb2.ACTION_CREDENTIAL_ROTATED)) == 2

        await until("both to be recorded", is_recorded)
        first, second = await told(bus, audit_pb2.ACTION_CREDENTIAL_ROTATED)
        assert first.reason.endswith("at the first logon since the start")
        assert second.reason.endswith("of the venue's keys after unknown")
        assert second.actor == f"{NAMESPACE}.venue-{VENUE}"
        (refused,) = await told(bus, audit_pb2.ACTION_IDENTITY_REFUSED)
        assert refused.reason == (
            f"NotPermitted: {strategy} is neither the operator nor an administrator: it gives no kill orders"
        )

        # Who gives an order is who shows a certificate, whomever the order names.
        order.engaged_by = "somebody else"
        assert await kill_directly(bus, pods, ADMINISTRATOR, order) is grpc.StatusCode.OK

        async def is_killed() -> bool:
            return bool(await told(bus, audit_pb2.ACTION_KILL))

        await until("it to be recorded", is_killed)
        (kill,) = await told(bus, audit_pb2.ACTION_KILL)
        assert (kill.name, kill.actor, kill.proof) == ("third", ADMINISTRATOR.uri, audit_pb2.ACTOR_PROOF_CERTIFICATE)
        shown = x509.load_pem_x509_certificate((bus.directory(ADMINISTRATOR) / "tls.crt").read_bytes())
        assert kill.certificate_sha256 == shown.fingerprint(SHA256()).hex()
        assert kill.reason == "by Rpc, in the name of somebody else: "
        gateway.stop()
