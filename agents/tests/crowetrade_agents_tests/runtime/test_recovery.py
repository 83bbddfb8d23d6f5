"""Lock step goes on whatever part is lost: an upstream role, the gateway, the execution role; and a clean way out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from nats.aio.client import Client

from crowetrade import subjects
from crowetrade.bus.v1 import orders_pb2, status_pb2
from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.domain.clock import SystemClock
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.gateway.service import Gateway
from crowetrade_agents.runtime.execution import Patience
from crowetrade_agents.runtime.gateway_session import SessionTakenOver
from crowetrade_agents.venues.adapters.simulated.replay import Replay
from crowetrade_api.names import Role

from ..gateway.harness import (
    NAMESPACE,
    STRATEGY,
    SYMBOL,
    WAIT_SECONDS,
    books,
    configuration,
    configure,
    running,
    status_when,
    venue_config,
)
from .config_files import strategy_config
from .topology import COMBINED, SPLIT, Running, strategy

pytestmark = pytest.mark.integration

IMPATIENT = Patience(answers=5.0, target=0.3)
SMALL = {"capital": {"amount": "5000", "currency": "USD"}}


async def published(gateway: Gateway, sequence: int) -> None:
    """Returns when the gateway has published so much; there is nothing to wait on but the turns of the loop."""
    async with asyncio.timeout(WAIT_SECONDS):
        while gateway._published < sequence:
            await asyncio.sleep(0)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@asynccontextmanager
async def gateway_on(bus: Client, quotes: Sequence[TopOfBook], port: int) -> AsyncIterator[Gateway]:
    replay = Replay(list(quotes), speed=None, loop=False)
    gateway = Gateway(NatsBus(bus), venue_config(), replay, SystemClock(), pod="pod", api_key_file=None)
    task = asyncio.create_task(gateway.run(port))
    await asyncio.wait_for(gateway.serving.wait(), WAIT_SECONDS)
    try:
        yield gateway
    finally:
        gateway.stop.set()
        await asyncio.wait_for(task, WAIT_SECONDS)


async def ready(process: Running) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not process.health.ready:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("role", [Role.FEATURE, Role.SIGNAL, Role.PORTFOLIO])
async def test_an_upstream_role_that_dies_and_comes_back_does_not_hang_lock_step(
    bus: Client, nats_url: str, role: Role
) -> None:
    await configure(bus, configuration())
    async with running(bus, books(600)) as gateway:
        config = strategy_config(f"127.0.0.1:{gateway.port}", **SMALL)
        async with strategy(config, nats_url, SPLIT, IMPATIENT) as processes:
            await published(gateway, 100)
            lost = processes[list(Role).index(role)]
            await lost.kill()
            stopped_at = gateway._published
            assert stopped_at < 600
            async with strategy(config, nats_url, [(role,)]):
                status = await status_when(bus, "s.session == pb.SESSION_STATE_ENDED")
    assert status.market_data_sequence == 600


async def test_a_gateway_that_restarts_is_logged_on_to_again_and_positions_come_from_it(
    bus: Client, nats_url: str
) -> None:
    await configure(bus, configuration())
    port = free_port()
    config = strategy_config(f"127.0.0.1:{port}", **SMALL)
    async with strategy(config, nats_url, COMBINED, IMPATIENT) as (process,):
        async with gateway_on(bus, books(400), port) as first:
            await published(first, 100)
        async with gateway_on(bus, books(400), port) as second:
            status = await status_when(bus, "s.session == pb.SESSION_STATE_ENDED")
        assert second.path.state.fencing_token == first.path.state.fencing_token + 1
        assert not process.task.done()
    assert status.market_data_sequence == 400
    # One position, bought once: the restart did not make the strategy buy it again.
    assert status.accounts[0].positions[0].quantity == "9000"


async def test_an_execution_role_that_restarts_takes_up_where_the_gateway_is(bus: Client, nats_url: str) -> None:
    await configure(bus, configuration())
    async with running(bus, books(600)) as gateway:
        config = strategy_config(f"127.0.0.1:{gateway.port}", **SMALL)
        async with strategy(config, nats_url, SPLIT, IMPATIENT) as processes:
            await published(gateway, 100)
            await processes[-1].kill()
            async with strategy(config, nats_url, [(Role.EXECUTION,)], IMPATIENT):
                status = await status_when(bus, "s.session == pb.SESSION_STATE_ENDED")
    assert status.accounts[0].positions[0].quantity == "9000"


async def test_execution_logs_on_only_when_every_upstream_role_listens(bus: Client, nats_url: str) -> None:
    await configure(bus, configuration())
    async with running(bus, books(30)) as gateway:
        config = strategy_config(f"127.0.0.1:{gateway.port}", **SMALL)
        heard = await bus.subscribe(subjects.agent_status(NAMESPACE, STRATEGY, "execution"))
        async with strategy(config, nats_url, SPLIT[1:]) as processes:
            async with asyncio.timeout(WAIT_SECONDS):
                async for message in heard.messages:
                    status = status_pb2.AgentStatus.FromString(message.data)
                    if status.waiting_reason == "RoleNotReady":
                        break
            assert "the feature role does not answer" in status.waiting_message
            assert not processes[-1].health.ready
            assert gateway._published == 0
            async with strategy(config, nats_url, SPLIT[:1]):
                await ready(processes[-1])
                await status_when(bus, "s.session == pb.SESSION_STATE_ENDED")


async def test_a_newer_process_takes_over_and_the_older_one_stops(bus: Client, nats_url: str) -> None:
    await configure(bus, configuration())
    async with running(bus, books(5)) as gateway:
        config = strategy_config(f"127.0.0.1:{gateway.port}")
        async with strategy(config, nats_url, COMBINED) as (older,):
            await ready(older)
            async with strategy(config, nats_url, COMBINED) as (newer,):
                with pytest.raises(SessionTakenOver, match="a newer session of strategy ema took over at sim"):
                    await asyncio.wait_for(older.task, WAIT_SECONDS)
                await ready(newer)


async def test_a_strategy_that_is_not_bound_waits_and_says_so(bus: Client, nats_url: str) -> None:
    async with running(bus, books(5)) as gateway:
        config = strategy_config(f"127.0.0.1:{gateway.port}")
        heard = await bus.subscribe(subjects.agent_status(NAMESPACE, STRATEGY, "combined"))
        async with strategy(config, nats_url, COMBINED) as (process,):
            async with asyncio.timeout(WAIT_SECONDS):
                async for message in heard.messages:
                    status = status_pb2.AgentStatus.FromString(message.data)
                    if "not bound to this venue" in status.waiting_message:
                        break
            assert status.waiting_reason == "GatewayUnreachable"
            assert not process.health.ready
            # The operator binds it: it logs on by itself.
            await configure(bus, configuration())
            await status_when(bus, "s.session == pb.SESSION_STATE_ENDED")


async def test_on_sigterm_open_orders_are_cancelled_before_it_leaves(bus: Client, nats_url: str) -> None:
    await configure(bus, configuration())
    # The offer shows 5000 at the end: of the 9000 that are wanted 4000 rest.
    quotes = [replace(quote, bid_quantity=None, ask_quantity=None) for quote in books(9)[:8]] + books(9)[8:]
    resting = {
        "capital": {"amount": "10000", "currency": "USD"},
        "policy": {"execution": {"limitOffsetBps": "0", "timeInForce": "GTC"}},
    }
    async with running(bus, quotes) as gateway:
        config = strategy_config(f"127.0.0.1:{gateway.port}", **resting, model=fast_model(9))
        async with strategy(config, nats_url, COMBINED) as (process,):
            await status_when(bus, "s.session == pb.SESSION_STATE_ENDED")
            (open_order,) = gateway.path.state.open.values()
            assert open_order.leaves_quantity == "4000"
            await process.stop()
        report = gateway.path.state.reports[open_order.cl_ord_id]
    assert report.ord_status == orders_pb2.ORD_STATUS_CANCELED
    assert report.reason == "CancelRequested"
    assert report.symbol == SYMBOL


async def test_a_shadow_strategy_decides_and_sends_nothing(bus: Client, nats_url: str) -> None:
    await configure(bus, configuration())
    async with running(bus, books(30)) as gateway:
        config = strategy_config(f"127.0.0.1:{gateway.port}", **SMALL)
        # The schema does not accept Shadow yet, the agents know it already.
        config = config.model_copy(update={"spec": config.spec.model_copy(update={"mode": "Shadow"})})
        async with strategy(config, nats_url, COMBINED):
            await status_when(bus, "s.session == pb.SESSION_STATE_ENDED")
        assert not gateway.path.state.reports


def fast_model(slow: int) -> dict[str, object]:
    """An EMA crossover whose first signal comes with quote number `slow`."""
    return {"name": "ema-crossover", "parameters": {"fast": 1, "slow": slow, "persistence": 1.0}}
