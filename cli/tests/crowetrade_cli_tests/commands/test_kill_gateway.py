"""`crowetrade kill` stops a real gateway with a resting order, by each way alone."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest

from crowetrade import subjects
from crowetrade.bus.v1 import orders_pb2, status_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade_agents_tests.conftest import make_bus_resources
from crowetrade_agents_tests.gateway.harness import (
    NAMESPACE,
    VENUE,
    Running,
    Trader,
    configuration,
    configure,
    running,
    session,
    status_when,
    venue_file,
    write_quotes,
)
from crowetrade_cli_tests.conftest import Ended

pytestmark = pytest.mark.integration
PROGRAM = str(Path(sys.executable).parent / "crowetrade")
KILL = (PROGRAM, "kill", "--all", "--reason", "drill", "-n", NAMESPACE, "--json")


async def kill(*arguments: str) -> Ended:
    """As a user starts it: what gateways log is not in between."""
    process = await asyncio.create_subprocess_exec(*KILL, *arguments, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture
async def gateway(nats_url: str, tmp_path: Path, state_home: Path) -> AsyncIterator[tuple[Running, Trader]]:
    """One that trades, with an order that rests."""
    client = await nats.connect(nats_url)
    await make_bus_resources(client, (NAMESPACE, VENUE))
    write_quotes(tmp_path, 200)
    await configure(client, configuration())
    paced = venue_file(replay={"speed": "100", "loop": True})
    async with running(client, tmp_path, file=paced) as started, session(started) as (trader, _):
        await status_when(client, lambda status: status.market_data_sequence > 0)
        reports = await trader.order(price="1.0", time_in_force=orders_pb2.TIME_IN_FORCE_GTC)
        assert reports[-1].ord_status == orders_pb2.ORD_STATUS_NEW
        yield started, trader
    await client.close()


async def _has_stopped(ended: Ended, trader: Trader, told_by: str) -> None:
    assert (ended.code, ended.err) == (0, "")
    lines = [json.loads(line) for line in ended.out.splitlines()]
    row = [line["gateway"] for line in lines if "gateway" in line][-1]
    assert (row["gateway"], row["stage"], row["told_by"]) == (f"{NAMESPACE}/{VENUE}", "Halted", [told_by])
    assert (row["cancels_sent"], row["cancels_confirmed"], row["still_open"]) == (1, 1, [])
    assert (await trader.order())[-1].reason == "KillSwitchEngaged"


async def test_directly(gateway: tuple[Running, Trader]) -> None:
    started, trader = gateway
    target = f"127.0.0.1:{started.control_port}"
    await _has_stopped(await kill("--gateway", target), trader, "direct")


async def test_a_gateway_of_another_namespace_is_not_said_to_have_halted(gateway: tuple[Running, Trader]) -> None:
    """It takes the order, which passes it by, and has nothing to cancel."""
    started, trader = gateway
    target = f"127.0.0.1:{started.control_port}"
    ended = await kill("--gateway", target, "-n", "elsewhere", "--timeout", "1")
    assert ended.code == 1
    assert f"the gateway of {NAMESPACE}/{VENUE} answers at {target}, and the order passes it by" in ended.err
    assert (await trader.order())[-1].reason != "KillSwitchEngaged"


async def test_by_the_bus(gateway: tuple[Running, Trader], nats_url: str) -> None:
    _, trader = gateway
    await _has_stopped(await kill("--nats", nats_url), trader, "bus")


async def test_a_gateway_that_the_bus_alone_tells_of_and_that_trades_on_is_named(
    gateway: tuple[Running, Trader], nats_url: str
) -> None:
    ended = await kill("--nats", nats_url, "-n", "elsewhere", "--timeout", "5")
    assert (ended.code, "no gateway is known that it concerns" in ended.err) == (1, True)
    assert json.loads(ended.out.splitlines()[-1])["result"]["notStopped"] == [f"{NAMESPACE}/{VENUE}"]


async def test_a_gateway_that_speaks_long_after_the_bus_has_the_order_is_waited_for(
    nats_url: str, state_home: Path
) -> None:
    client = await nats.connect(nats_url)
    bucket = await client.jetstream().create_key_value(bucket=subjects.KILL_BUCKET)
    process = await asyncio.create_subprocess_exec(*KILL, "--nats", nats_url, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    async for line in process.stdout:
        way = json.loads(line).get("way", {})
        if (way.get("name"), way.get("outcome")) == ("bus", "Works"):
            break
    (key,) = await bucket.keys()
    order = kill_pb2.KillOrder.FromString((await bucket.get(key)).value or b"")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await process.wait()
    said = kill_pb2.KillAcknowledgement(
        namespace=order.namespace,
        name=order.name,
        generation=order.generation,
        venue_namespace=NAMESPACE,
        venue=VENUE,
        seen_unix_ns=1,
        blocked_unix_ns=2,
        halted_unix_ns=3,
    )
    status = status_pb2.GatewayStatus(namespace=NAMESPACE, venue=VENUE, kills=[said])
    await client.publish(subjects.gateway_status(NAMESPACE, VENUE), status.SerializeToString())
    await client.flush()
    _, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    await client.close()


async def test_a_milder_order_after_it_changes_nothing(gateway: tuple[Running, Trader]) -> None:
    started, trader = gateway
    target = ("--gateway", f"127.0.0.1:{started.control_port}")
    await kill(*target)
    ended = await kill(*target, "--mode", "Block")
    assert ended.code == 0
    assert (await trader.order())[-1].reason == "KillSwitchEngaged"
    modes = {kill.mode for kill in started.kills.acknowledgements()}
    assert len(modes) == 2
