"""The gateway's process: environment in, exit code out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.request import urlopen

import grpc
import nats
import pytest
from nats.aio.client import Client
from prometheus_client import REGISTRY

from crowetrade import subjects
from crowetrade.config.v1 import kill_pb2
from crowetrade.gateway.v1 import control_pb2, control_pb2_grpc
from crowetrade_agents.control.file import KillFile
from crowetrade_agents.errors import ConfigurationError, JournalError
from crowetrade_agents.runtime.__main__ import main
from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_agents.runtime.gateway_pod import run_gateway, watches_of
from crowetrade_agents.runtime.kills import Kills
from crowetrade_agents.venues.port import VenuePort
from crowetrade_api.files import EnvName

from ..conftest import make_bus_resources
from ..gateway.harness import NAMESPACE, VENUE, configuration, configure, status_when, venue_file, write_quotes

WAIT_SECONDS = 20


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Client]:
    client = await nats.connect(nats_url)
    await make_bus_resources(client, (NAMESPACE, VENUE))
    yield client
    await client.close()


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pod's environment; returns venue.json."""
    path = tmp_path / "venue.json"
    path.write_text(json.dumps(venue_file(replay={"speed": "1000"}).content()))
    write_quotes(tmp_path, 10)
    monkeypatch.setenv(EnvName.CONFIG_FILE, str(path))
    monkeypatch.setenv(EnvName.DATA_DIRECTORY, str(tmp_path))
    monkeypatch.setenv(EnvName.HTTP_PORT, str(free_port()))
    monkeypatch.setenv(EnvName.GRPC_PORT, "0")
    monkeypatch.setenv(EnvName.CONTROL_PORT, "0")
    monkeypatch.setenv(EnvName.NATS_URL, "nats://127.0.0.1:1")
    return path


def _text(url: str) -> str:
    """What an answer of 200 says."""
    with urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


async def test_it_serves_says_how_it_is_and_leaves_at_sigterm(
    bus: Client, nats_url: str, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EnvName.NATS_URL, nats_url)
    wanted = configuration()
    await configure(bus, wanted)
    running = asyncio.create_task(run_gateway(os.environ))
    await status_when(bus, lambda status: status.config_revision == wanted.revision)
    url = f"http://127.0.0.1:{os.environ[EnvName.HTTP_PORT]}"
    for path, said in (
        ("/healthz", "ok"),
        ("/readyz", "ok"),
        ("/metrics", "crowetrade_gateway_orders_sent_total"),
    ):
        assert said in await asyncio.to_thread(_text, url + path)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 20)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ('{"namespace": "n", "name": "v", "spec": {"type": "Simulated"}}', "spec.instruments: Field required"),
    ],
)
def test_a_manifest_that_cannot_run_ends_with_a_sentence(
    environment: Path, content: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.write_text(content)
    assert main(["gateway"]) == 78
    assert sentence in capsys.readouterr().out


async def test_a_journal_that_was_changed_stops_it(
    bus: Client, nats_url: str, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EnvName.NATS_URL, nats_url)
    await bus.jetstream().publish(subjects.journal(NAMESPACE, VENUE), b"not a record")
    with pytest.raises(JournalError):
        await asyncio.wait_for(run_gateway(os.environ), 20)


@pytest.mark.parametrize(
    ("namespaces", "watched"), [("", 0), (" , ", 0), ("*", 1), ("desk", 1), ("desk, other,desk", 2), ("desk,*", 1)]
)
def test_kill_switches_are_watched_in_the_namespaces_that_are_named(namespaces: str, watched: int) -> None:
    clock = SystemClock()
    environment: dict[str, str] = {EnvName.KILL_NAMESPACES: namespaces, EnvName.API_SERVER_HOST: "10.96.0.1"}
    venue = f"sim-{watched}-{len(namespaces)}"
    kills = Kills(NAMESPACE, venue, clock)
    assert len(watches_of(environment, kills, clock)) == watched
    # Its status, too.
    assert not kills.watches
    assert bool(kills.unwatched_since_ns) == bool(kills.unwatched_problem) == bool(watched)
    # An alert looks at it: not watched before the first answer, and no word from who has nothing to watch.
    told = REGISTRY.get_sample_value("crowetrade_gateway_watches_kill_switches", {"venue": venue})
    assert told == (0 if watched else None)


def test_kill_switches_are_listed_once_those_of_every_namespace_were_read() -> None:
    clock = SystemClock()
    kills = Kills(NAMESPACE, VENUE, clock)
    assert kills.listed.is_set()
    environment: dict[str, str] = {EnvName.KILL_NAMESPACES: "desk, other", EnvName.API_SERVER_HOST: "10.96.0.1"}
    desk, other = watches_of(environment, kills, clock)
    assert not kills.listed.is_set()
    desk.watching("")
    desk.watching("Connection refused")
    assert not kills.listed.is_set()
    other.watching("")
    assert kills.listed.is_set()


def test_outside_of_a_pod_there_is_nothing_to_watch() -> None:
    clock = SystemClock()
    with pytest.raises(
        ConfigurationError, match="KUBERNETES_SERVICE_HOST is not: KillSwitches can be watched in a pod"
    ):
        watches_of({EnvName.KILL_NAMESPACES: "*"}, Kills(NAMESPACE, VENUE, clock), clock)


async def test_a_control_port_that_is_taken_is_told(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        monkeypatch.setenv(EnvName.CONTROL_PORT, str(taken.getsockname()[1]))
        with pytest.raises(ConfigurationError, match="of the control service is taken: set CONTROL_PORT"):
            await run_gateway(os.environ)


async def test_a_kill_order_in_the_pods_file_is_in_force_from_the_start(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bus cannot be reached."""
    port = free_port()
    monkeypatch.setenv(EnvName.CONTROL_PORT, str(port))
    monkeypatch.setenv(EnvName.KILL_DIRECTORY, str(tmp_path / "kills"))
    KillFile(tmp_path / "kills").write([kill_pb2.KillOrder(namespace=NAMESPACE, name="stop", reason="drill")])
    running = asyncio.create_task(run_gateway(os.environ))
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = control_pb2_grpc.ControlServiceStub(channel)
            request = control_pb2.ListKillsRequest()
            answer = await stub.ListKills(request, wait_for_ready=True, timeout=WAIT_SECONDS)
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert [(item.name, item.channel, item.reason) for item in answer.kills] == [("stop", "File", "drill")]


async def test_kill_orders_are_obeyed_while_the_recordings_are_read(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, reading, ends = free_port(), threading.Event(), threading.Event()
    monkeypatch.setenv(EnvName.CONTROL_PORT, str(port))

    def reads(*_: object) -> VenuePort:
        reading.set()
        ends.wait(WAIT_SECONDS)
        raise ConfigurationError("it has read enough")

    monkeypatch.setattr("crowetrade_agents.runtime.gateway_pod.venue_of", reads)
    order = kill_pb2.KillOrder(namespace=NAMESPACE, name="stop", mode=kill_pb2.KILL_MODE_BLOCK, reason="drill")
    order.scope.namespaces_from = "Same"
    running = asyncio.create_task(run_gateway(os.environ))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = control_pb2_grpc.ControlServiceStub(channel)
        call = stub.Kill(control_pb2.KillRequest(order=order), wait_for_ready=True, timeout=WAIT_SECONDS)
        said = (await anext(aiter(call))).acknowledgement
        assert reading.is_set()
        assert said.blocked_unix_ns >= said.seen_unix_ns > 0
        call.cancel()
    ends.set()
    with pytest.raises(ConfigurationError):
        await running
