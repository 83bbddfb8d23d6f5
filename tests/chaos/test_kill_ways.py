"""Each way by which a kill order comes is enough while nothing comes by the others, at real processes: the lines to
NATS and to the API server take every byte and deliver none, as when a network drops all packets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import grpc
import pytest

from crowetrade.config.v1 import kill_pb2
from crowetrade.gateway.v1 import control_pb2, control_pb2_grpc
from crowetrade_api.files import EnvName
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import KILL_SWITCHES, NAMESPACES
from crowetrade_operator.errors import Conflict
from crowetrade_operator_tests.conftest import account, api_server, cluster, wire
from crowetrade_operator_tests.servers import Wire
from tests.chaos.desk import NAMESPACE
from tests.chaos.processes import LOOK_SECONDS, WAIT_SECONDS, Gateway, Lines, until
from tests.chaos.records import VenueRecord
from tests.chaos.rounds import running
from tests.chaos.test_kill_orders import ORDER, new_requests, sends_nothing_when_it_thaws, trading

__all__ = ["account", "api_server", "cluster", "wire"]

pytestmark = pytest.mark.integration


def environment(bus: Wire, server: Wire, account: Path) -> dict[str, str]:
    """Of a gateway whose pod reaches NATS and the API server by these lines."""
    return {
        EnvName.NATS_URL: f"nats://127.0.0.1:{bus.port}",
        EnvName.KILL_NAMESPACES: NAMESPACE,
        EnvName.KILL_DIRECTORY: str(account.parent / "kills"),
        EnvName.API_SERVER_HOST: "127.0.0.1",
        EnvName.API_SERVER_PORT: str(server.port),
        EnvName.SERVICE_ACCOUNT_DIRECTORY: str(account),
    }


@pytest.fixture
async def engage(cluster: Cluster) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Engages a KillSwitch as a person does with kubectl; the test leaves none behind."""
    with contextlib.suppress(Conflict):  # of the test before
        await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    spec = {"reason": "drill", "engaged": True, "mode": "Cancel", "scope": {"namespaces": {"from": "Same"}}}
    body = {
        "apiVersion": KILL_SWITCHES.api_version,
        "kind": "KillSwitch",
        "metadata": {"name": "stop", "namespace": NAMESPACE},
        "spec": spec,
    }
    yield partial(cluster.create, KILL_SWITCHES, NAMESPACE, body)
    await cluster.delete(KILL_SWITCHES, NAMESPACE, "stop")


async def blocked(gateway: Gateway) -> kill_pb2.KillAcknowledgement:
    """Kills by the control service; the first acknowledgement. Without a bus the gateway ends before the last."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.control_port}") as channel:
        answers = control_pb2_grpc.ControlServiceStub(channel).Kill(control_pb2.KillRequest(order=ORDER))
        async for answer in answers:
            return answer.acknowledgement
    raise AssertionError("no acknowledgement")


async def listed(gateway: Gateway) -> kill_pb2.KillAcknowledgement:
    """The one kill order that the gateway obeys, asked for until it has one."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.control_port}") as channel, asyncio.timeout(WAIT_SECONDS):
        stub = control_pb2_grpc.ControlServiceStub(channel)
        while not (kills := (await stub.ListKills(control_pb2.ListKillsRequest())).kills):
            await asyncio.sleep(LOOK_SECONDS)
        return kills[0]


@pytest.mark.parametrize("way", ["Api", "Bus", "Rpc"])
async def test_one_way_is_enough_while_nothing_comes_by_the_others(
    engage: Callable[[], Awaitable[object]], wire: Wire, account: Path, tmp_path: Path, way: str
) -> None:
    async with running(tmp_path, 12) as run:
        bus = Wire(run.nats.port)
        await bus.mend()
        run.tell_gateways(environment(bus, wire, account))
        gateway = await trading(run)
        await run.settle()
        run.killed = True
        if way != "Api":
            wire.fall_silent()
        if way != "Bus":
            bus.fall_silent()

        if way == "Api":
            await engage()
            assert (await listed(gateway)).channel == "Api"
        elif way == "Bus":
            await run.kill_order(ORDER)
        else:
            assert (await blocked(gateway)).blocked_unix_ns

        venue, lines = VenueRecord(), Lines(run.venue.log)

        def nothing_is_open() -> bool:
            for line in lines.new():
                venue.take(line)
            return not venue.open

        await until(nothing_is_open, "the venue to have no open order")
        # Without a bus the gateway ends, and the container starts again.
        await bus.mend()
        await run.kill_gateway()
        await run.start_gateway()
        await run.log_on()
        await run.send_again()
        await run.burst(10)
        await asyncio.gather(*(strategy.until_answered() for strategy in run.strategies))
        await run.settle()
        assert new_requests(lines) == []
        assert not run.venue_record.open
        await bus.cut()


async def test_a_frozen_gateway_whose_watch_alone_has_the_kill_order_sends_nothing_when_it_thaws(
    engage: Callable[[], Awaitable[object]], wire: Wire, account: Path, tmp_path: Path
) -> None:
    """The watch runs in a thread of its own, so what it reads has further to go than what comes by the other ways."""
    async with running(tmp_path, 13) as run:
        bus = Wire(run.nats.port)
        await bus.mend()
        run.tell_gateways(environment(bus, wire, account))
        gateway = await trading(run)

        async def kill() -> Awaitable[object]:
            run.killed = True
            await engage()
            return asyncio.create_task(listed(gateway))

        await sends_nothing_when_it_thaws(run, gateway, kill)
        await bus.cut()
