"""The gateway's own watch of KillSwitches at a real API server, and the gateway that has nothing else: no bus, no
operator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from crowetrade.config.v1 import kill_pb2
from crowetrade.gateway.v1 import control_pb2, control_pb2_grpc
from crowetrade_agents.control.kills import Kill, KillCommand, Rearm
from crowetrade_agents.control.kubernetes import ApiServer as ApiServerAddress
from crowetrade_agents.control.kubernetes import KillSwitchWatch
from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_agents.runtime.gateway_pod import run_gateway
from crowetrade_api.files import EnvName, VenueFile
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import ApiResource
from crowetrade_operator_tests.samples import venue_manifest
from crowetrade_operator_tests.servers import TOKEN, ApiServer, Wire, free_port
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration

KILL_SWITCHES = ApiResource("trading.crowetrade.io", "v1alpha1", "killswitches", "KillSwitch")


def manifest(namespace: str, name: str = "stop", **spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "trading.crowetrade.io/v1alpha1",
        "kind": "KillSwitch",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"reason": "drill", **spec},
    }


class Seen:
    """What a watch has told."""

    def __init__(self) -> None:
        self.commands: list[KillCommand] = []
        self.watching: list[bool] = []

    def watched(self, problem: str) -> None:
        self.watching.append(not problem)

    def kinds(self) -> list[str]:
        return [f"{type(item).__name__} {_generation(item)}" for item in self.commands]


def _generation(command: KillCommand) -> int:
    return command.order.generation if isinstance(command, Kill) else command.generation


@asynccontextmanager
async def watching(port: int, account: Path, namespace: str) -> AsyncIterator[Seen]:
    seen = Seen()
    address = ApiServerAddress("127.0.0.1", port, account)
    watch = KillSwitchWatch(address, namespace, seen.commands.append, seen.watched, SystemClock())
    task = asyncio.create_task(watch.run())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait({task})


def port_of(server: ApiServer) -> int:
    return int(server.url.rpartition(":")[2])


async def test_it_tells_what_is_there_and_every_change_and_a_deleted_one_stays(
    cluster: Cluster, api_server: ApiServer, namespace: str, account: Path
) -> None:
    await cluster.create(KILL_SWITCHES, namespace, manifest(namespace, engaged=True, mode="Block"))
    async with watching(port_of(api_server), account, namespace) as seen:
        await until("the list", lambda: seen.watching == [True])
        assert seen.kinds() == ["Kill 1"]
        await cluster.merge(KILL_SWITCHES, namespace, "stop", {"spec": {"engaged": False}})
        await cluster.merge(KILL_SWITCHES, namespace, "stop", {"spec": {"engaged": True}})
        await cluster.delete(KILL_SWITCHES, namespace, "stop")
        await cluster.create(KILL_SWITCHES, namespace, manifest(namespace, "other", engaged=False))
        await until("the changes", lambda: len(seen.commands) == 4)
        assert seen.kinds() == ["Kill 1", "Rearm 2", "Kill 3", "Rearm 1"]
        first = seen.commands[0]
        assert isinstance(first, Kill)
        assert first.order.mode == kill_pb2.KILL_MODE_BLOCK


async def test_a_line_that_was_cut_is_told_and_what_changed_meanwhile_is_seen(
    cluster: Cluster, namespace: str, account: Path, wire: Wire
) -> None:
    async with watching(wire.port, account, namespace) as seen:
        await until("the list", lambda: seen.watching == [True])
        await wire.cut()
        await until("the loss", lambda: False in seen.watching)
        await cluster.create(KILL_SWITCHES, namespace, manifest(namespace, engaged=True))
        await wire.mend()
        await until("the order", lambda: seen.kinds() == ["Kill 1"])
        await until("that it watches again", lambda: seen.watching[-1])


async def test_a_token_that_was_renewed_is_used(
    cluster: Cluster, api_server: ApiServer, namespace: str, account: Path
) -> None:
    (account / "token").write_text("of yesterday")
    async with watching(port_of(api_server), account, namespace) as seen:
        await until("the refusal", lambda: seen.watching == [False])
        (account / "token").write_text(TOKEN)
        await until("the list", lambda: seen.watching[-1])


async def test_a_watch_that_the_server_ends_goes_on(
    cluster: Cluster, api_server: ApiServer, namespace: str, account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crowetrade_agents.control.kubernetes.WATCH_SECONDS", 1)
    async with watching(port_of(api_server), account, namespace) as seen:
        await until("three lists", lambda: len(seen.watching) == 3)
        await cluster.create(KILL_SWITCHES, namespace, manifest(namespace, engaged=True))
        await until("the order", lambda: "Kill 1" in seen.kinds())
        assert all(seen.watching)


async def test_of_all_namespaces(cluster: Cluster, api_server: ApiServer, namespace: str, account: Path) -> None:
    async with watching(port_of(api_server), account, "") as seen:
        await until("the list", lambda: seen.watching == [True])
        await cluster.create(KILL_SWITCHES, namespace, manifest(namespace, "everywhere", engaged=True))
        await until("the order", lambda: any(_name(item) == (namespace, "everywhere") for item in seen.commands))


def _name(command: KillCommand) -> tuple[str, str]:
    named = command if isinstance(command, Rearm) else command.order
    return named.namespace, named.name


@pytest.fixture
def pod(account: Path, api_server: ApiServer, namespace: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a gateway whose bus cannot be reached."""
    made = venue_manifest("sim")
    made["metadata"]["namespace"] = namespace
    (tmp_path / "venue.json").write_text(json.dumps(VenueFile.of(VenueConnection.model_validate(made)).content()))
    return {
        EnvName.NATS_URL: f"nats://127.0.0.1:{free_port()}",
        EnvName.CONFIG_FILE: str(tmp_path / "venue.json"),
        EnvName.HTTP_PORT: "0",
        EnvName.GRPC_PORT: "0",
        EnvName.CONTROL_PORT: str(free_port()),
        EnvName.SIMULATED_SERVER: f"127.0.0.1:{free_port()}",
        EnvName.KILL_NAMESPACES: namespace,
        EnvName.KILL_DIRECTORY: str(tmp_path / "kills"),
        EnvName.API_SERVER_HOST: "127.0.0.1",
        EnvName.API_SERVER_PORT: str(port_of(api_server)),
        EnvName.SERVICE_ACCOUNT_DIRECTORY: str(account),
    }


async def _kills(port: str) -> list[kill_pb2.KillAcknowledgement]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = control_pb2_grpc.ControlServiceStub(channel)
        answer = await stub.ListKills(control_pb2.ListKillsRequest(), wait_for_ready=True)
        return list(answer.kills)


async def test_a_gateway_without_a_bus_obeys_the_api_server(
    cluster: Cluster, namespace: str, pod: dict[str, str]
) -> None:
    port = pod[EnvName.CONTROL_PORT]
    running = asyncio.create_task(run_gateway(pod))

    def obeys(wanted: Callable[[list[kill_pb2.KillAcknowledgement]], bool]) -> Callable[[], Any]:
        async def check() -> bool:
            return wanted(await _kills(port))

        return check

    try:
        await cluster.create(KILL_SWITCHES, namespace, manifest(namespace, engaged=True))
        await until("the order", obeys(lambda kills: [item.channel for item in kills] == ["Api"]))
        (said,) = await _kills(port)
        assert "NATS" in said.problem
        assert said.blocked_unix_ns
        assert json.loads((Path(pod[EnvName.KILL_DIRECTORY]) / "kills.json").read_text())["kills"]
        await cluster.merge(KILL_SWITCHES, namespace, "stop", {"spec": {"engaged": False}})
        await until("the re-arming", obeys(lambda kills: not kills))
        assert not json.loads((Path(pod[EnvName.KILL_DIRECTORY]) / "kills.json").read_text())["kills"]
    finally:
        running.cancel()
        await asyncio.wait({running})
