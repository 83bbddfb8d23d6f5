"""Each way by which a kill order comes is enough alone: real NATS, real gRPC, the gateway's whole composition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import nats
import pytest
from nats.aio.client import Client

from crowetrade import subjects
from crowetrade.bus.v1 import orders_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade.gateway.v1 import control_pb2, control_pb2_grpc
from crowetrade_agents.control.kills import Channel, Kill, Rearm
from crowetrade_agents.runtime import gateway_pod
from crowetrade_agents.runtime.kills import Kills
from crowetrade_agents_tests.conftest import make_bus_resources
from crowetrade_agents_tests.gateway.harness import (
    NAMESPACE,
    STRATEGY,
    VENUE,
    WAIT_SECONDS,
    Running,
    Trader,
    configuration,
    configure,
    running,
    session,
    start,
    status_when,
    venue_file,
    write_quotes,
)

pytestmark = pytest.mark.integration

PACED = venue_file(replay={"speed": "100", "loop": True})


def kill_order(mode: kill_pb2.KillMode.ValueType = kill_pb2.KILL_MODE_CANCEL, **fields: object) -> kill_pb2.KillOrder:
    """For everybody in the namespace, without an object."""
    values: dict[str, object] = {
        "namespace": NAMESPACE,
        "name": "stop",
        "mode": mode,
        "scope": kill_pb2.KillScope(namespaces_from="Same"),
        "reason": "drill",
        "engaged_by": "jane",
    }
    return kill_pb2.KillOrder(**(values | fields))  # type: ignore[arg-type]


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Client]:
    client = await nats.connect(nats_url)
    await make_bus_resources(client, (NAMESPACE, VENUE))
    yield client
    await client.close()


@asynccontextmanager
async def trading(bus: Client, folder: Path) -> AsyncIterator[tuple[Running, Trader]]:
    """A gateway with one order that rests."""
    write_quotes(folder, 200)
    await configure(bus, configuration())
    async with running(bus, folder, file=PACED) as gateway, session(gateway) as (trader, _):
        await status_when(bus, lambda status: status.market_data_sequence > 0)
        await rest(trader)
        yield gateway, trader


async def rest(trader: Trader) -> str:
    """An order far below the market."""
    reports = await trader.order(price="1.0", time_in_force=orders_pb2.TIME_IN_FORCE_GTC)
    assert reports[-1].ord_status == orders_pb2.ORD_STATUS_NEW
    return reports[-1].cl_ord_id


@asynccontextmanager
async def control(gateway: Running) -> AsyncIterator[control_pb2_grpc.ControlServiceAsyncStub]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.control_port}") as channel:
        yield control_pb2_grpc.ControlServiceStub(channel)


async def refused(trader: Trader) -> bool:
    """Whether a new order is refused because of a kill order."""
    return (await trader.order())[-1].reason == "KillSwitchEngaged"


async def test_directly_it_blocks_cancels_and_says_so_until_nothing_is_open(bus: Client, tmp_path: Path) -> None:
    async with trading(bus, tmp_path) as (gateway, trader), control(gateway) as stub:
        said = [answer.acknowledgement async for answer in stub.Kill(control_pb2.KillRequest(order=kill_order()))]

        assert said[0].blocked_unix_ns >= said[0].seen_unix_ns > 0
        last = said[-1]
        assert last.halted_unix_ns >= last.blocked_unix_ns
        assert (last.cancels_sent, last.cancels_confirmed, last.still_open_count) == (1, 1, 0)
        assert (last.channel, list(last.strategies), last.engaged_by) == ("Rpc", [STRATEGY], "jane")
        assert await refused(trader)
        listed = await stub.ListKills(control_pb2.ListKillsRequest())
        assert list(listed.kills) == [last]
        status = await status_when(bus, lambda status: len(status.kills) == 1)
        assert status.kills[0] == last


async def test_a_watch_that_is_broken_is_in_the_status_with_its_time_and_its_first_cause_until_it_is_mended(
    bus: Client, tmp_path: Path
) -> None:
    async with trading(bus, tmp_path) as (gateway, _):
        gateway.kills.watched("Connection refused")
        gateway.kills.watched("no route to host")
        said = await status_when(bus, lambda status: status.kill_switches_unwatched_since_unix_ns > 0)
        assert not said.watches_kill_switches
        assert said.kill_switches_problem == "Connection refused"
        gateway.kills.watched("")
        said = await status_when(bus, lambda status: status.watches_kill_switches)
        assert (said.kill_switches_unwatched_since_unix_ns, said.kill_switches_problem) == (0, "")


async def test_by_the_bus_it_blocks_and_cancels(bus: Client, tmp_path: Path) -> None:
    """The gateway has made the bucket itself."""
    async with trading(bus, tmp_path) as (_, trader):
        bucket = await bus.jetstream().key_value(subjects.KILL_BUCKET)
        await bucket.put(subjects.kill_key(NAMESPACE, "stop"), kill_order().SerializeToString())

        status = await status_when(bus, lambda status: any(kill.halted_unix_ns for kill in status.kills))

        assert (status.kills[0].channel, status.kills[0].cancels_confirmed) == ("Bus", 1)
        assert await refused(trader)


async def test_what_the_bus_has_and_cannot_be_read_stops_everybody_and_stays(bus: Client, tmp_path: Path) -> None:
    async with trading(bus, tmp_path) as (_, trader):
        bucket = await bus.jetstream().key_value(subjects.KILL_BUCKET)
        await bucket.put(subjects.kill_key("elsewhere", "stop"), b"\xff\xff")
        await status_when(bus, lambda status: any(kill.halted_unix_ns for kill in status.kills))
        await bucket.delete(subjects.kill_key("elsewhere", "stop"))
        await bucket.put(subjects.kill_key("elsewhere", "later"), kill_order().SerializeToString())
        await status_when(bus, lambda status: len(status.kills) == 1)
        assert await refused(trader)


async def test_a_kill_order_on_the_bus_is_obeyed_before_anything_trades(bus: Client, tmp_path: Path) -> None:
    write_quotes(tmp_path, 200)
    await configure(bus, configuration())
    bucket = await bus.jetstream().create_key_value(bucket=subjects.KILL_BUCKET)
    await bucket.put(subjects.kill_key(NAMESPACE, "stop"), kill_order().SerializeToString())
    async with running(bus, tmp_path, file=PACED) as gateway, session(gateway) as (trader, _):
        assert await refused(trader)


async def test_a_gateway_that_starts_trades_once_it_has_read_the_kill_switches_of_the_api_server(
    bus: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_pod, "LIST_NS", 10 * WAIT_SECONDS * 10**9)
    write_quotes(tmp_path, 200)
    await configure(bus, configuration())
    starting: asyncio.Future[Kills] = asyncio.get_running_loop().create_future()

    def listing(kills: Kills) -> None:
        kills.listed.clear()
        starting.set_result(kills)

    started = asyncio.create_task(start(bus, tmp_path, file=PACED, listing=listing))
    kills = await starting
    status = await status_when(bus, lambda status: status.fencing_token > 0)
    assert not status.config_revision
    assert not started.done()
    kills.put(Kill(kill_order(uid="u1", generation=1), Channel.API))
    kills.listed.set()
    gateway = await started
    async with session(gateway) as (trader, _):
        assert await refused(trader)
    await gateway.leave()


async def test_a_gateway_that_starts_without_the_api_server_cancels_and_refuses_until_it_has_read_it(
    bus: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_pod, "LIST_NS", 10**8)
    write_quotes(tmp_path, 200)
    await configure(bus, configuration())
    async with (
        running(bus, tmp_path, file=PACED, listing=lambda kills: kills.listed.clear()) as gateway,
        session(gateway) as (trader, _),
    ):
        await status_when(bus, lambda status: status.market_data_sequence > 0)
        [*_, last] = await trader.order()
        assert last.reason == "KillSwitchEngaged"
        assert last.text.startswith("no KillSwitch of the API server was read since this gateway started")
        gateway.kills.listed.set()
        async with asyncio.timeout(WAIT_SECONDS):
            while await refused(trader):
                pass
        await rest(trader)


async def test_it_is_kept_in_the_journal(bus: Client, tmp_path: Path) -> None:
    async with trading(bus, tmp_path) as (gateway, _), control(gateway) as stub:
        async for _ in stub.Kill(control_pb2.KillRequest(order=kill_order())):
            pass
    gateway = await start(bus, tmp_path, file=PACED, pod="pod-1")
    async with session(gateway) as (trader, _):
        trader.cl_ord_id()  # used by the session before
        assert await refused(trader)
    status = await status_when(bus, lambda status: len(status.kills) == 1)
    assert status.kills[0].channel == "Journal"
    await gateway.leave()


async def test_an_order_without_a_name_is_refused_with_a_sentence(bus: Client, tmp_path: Path) -> None:
    async with trading(bus, tmp_path) as (gateway, _), control(gateway) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match=r"order.name: 1 to 253 characters") as raised:
            async for _ in stub.Kill(control_pb2.KillRequest(order=kill_order(name=""))):
                pass
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_its_object_re_arms_it(bus: Client, tmp_path: Path) -> None:
    async with trading(bus, tmp_path) as (gateway, trader), control(gateway) as stub:
        order = kill_order(kill_pb2.KILL_MODE_BLOCK, uid="u1", generation=1)
        async for _ in stub.Kill(control_pb2.KillRequest(order=order)):
            pass
        assert await refused(trader)
        gateway.kills.put(Rearm(NAMESPACE, "stop", "u1", 2))
        await status_when(bus, lambda status: not status.kills)
        assert not await refused(trader)
