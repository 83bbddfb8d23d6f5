"""Lock step goes on whatever part is lost: an upstream role, the gateway, the execution role; and a clean way out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import nats
import pytest

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2, orders_pb2, status_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.errors import SessionTakenOver
from crowetrade_agents.roles.order_sender import Patience
from crowetrade_api.names import Role

from ..messages import EUR, EUR_B, NAMESPACE, OTHER_VENUE, STRATEGY, VENUE, quote
from ..roles.fake_gateway import FakeGateway
from .config_files import strategy_config
from .topology import COMBINED, SPLIT, Running, market, sessions, strategy

pytestmark = pytest.mark.integration

WAIT_SECONDS = 30
IMPATIENT = Patience(answers=5.0, target=0.3)
SMALL: dict[str, Any] = {"capital": {"amount": "5000", "currency": "USD"}}
BOUGHT = {EUR: 9000}


def rising(count: int, *, shown: str = "1000000") -> list[market_data_pb2.MarketData]:
    """Quotes one second apart that rise by one tick each."""
    return [
        quote(i + 1, f"{1.1 + i / 100_000:.5f}", f"{1.1001 + i / 100_000:.5f}", quantity=shown) for i in range(count)
    ]


async def published(gateway: FakeGateway, sequence: int) -> None:
    """Returns when the gateway has published so much; there is nothing to wait on but the turns of the loop."""
    async with asyncio.timeout(WAIT_SECONDS):
        while gateway.published < sequence:
            await asyncio.sleep(0)


async def ready(process: Running) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not process.health.ready:
            await asyncio.sleep(0.01)


@dataclass
class Statuses:
    """Reads what the agents of the strategy publish about themselves."""

    nats_url: str
    role: str
    seen: list[status_pb2.AgentStatus] = field(default_factory=list)

    async def until(self, reason: str, sentence: str = "") -> status_pb2.AgentStatus:
        """The first status with that reason to wait."""
        client = await nats.connect(self.nats_url)
        subscription = await client.subscribe(subjects.agent_status(NAMESPACE, STRATEGY, self.role))
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                async for message in subscription.messages:
                    status = status_pb2.AgentStatus.FromString(message.data)
                    if status.waiting_reason == reason and sentence in status.waiting_message:
                        return status
        finally:
            await client.close()
        raise AssertionError(f"no status with {reason}")


@pytest.mark.parametrize("role", [Role.FEATURE, Role.SIGNAL, Role.PORTFOLIO])
async def test_an_upstream_role_that_dies_and_comes_back_does_not_hang_lock_step(nats_url: str, role: Role) -> None:
    gateway, config = FakeGateway(VENUE), strategy_config(**SMALL)
    async with (
        market(nats_url, [gateway], {VENUE: rising(600)}) as playing,
        strategy(config, nats_url, SPLIT, sessions(gateway), IMPATIENT) as processes,
    ):
        await published(gateway, 100)
        await processes[list(Role).index(role)].kill()
        assert gateway.published < 600
        async with strategy(config, nats_url, [(role,)], sessions(gateway)):
            await asyncio.wait_for(playing, WAIT_SECONDS)
    assert gateway.published == 600


async def test_a_gateway_that_restarts_is_logged_on_to_again_and_positions_come_from_it(nats_url: str) -> None:
    gateway, config = FakeGateway(VENUE), strategy_config(**SMALL)
    async with (
        market(nats_url, [gateway], {VENUE: rising(400)}) as playing,
        strategy(config, nats_url, COMBINED, sessions(gateway), IMPATIENT) as (process,),
    ):
        await published(gateway, 100)
        gateway.restart()
        await asyncio.wait_for(playing, WAIT_SECONDS)
        assert not process.task.done()
    # One position, bought once: the restart did not make the strategy buy it again.
    assert gateway.positions == BOUGHT


async def test_an_execution_role_that_restarts_takes_up_where_the_gateway_is(nats_url: str) -> None:
    gateway, config = FakeGateway(VENUE), strategy_config(**SMALL)
    async with (
        market(nats_url, [gateway], {VENUE: rising(600)}) as playing,
        strategy(config, nats_url, SPLIT, sessions(gateway), IMPATIENT) as processes,
    ):
        await published(gateway, 100)
        await processes[-1].kill()
        async with strategy(config, nats_url, [(Role.EXECUTION,)], sessions(gateway), IMPATIENT):
            await asyncio.wait_for(playing, WAIT_SECONDS)
    assert gateway.positions == BOUGHT


async def test_execution_logs_on_only_when_every_upstream_role_listens(nats_url: str) -> None:
    gateway, config = FakeGateway(VENUE), strategy_config(**SMALL)
    async with (
        market(nats_url, [gateway], {VENUE: rising(30)}) as playing,
        strategy(config, nats_url, SPLIT[1:], sessions(gateway)) as processes,
    ):
        status = await Statuses(nats_url, "execution").until("RoleNotReady")
        assert "the feature role does not answer" in status.waiting_message
        assert not processes[-1].health.ready
        assert gateway.published == 0
        async with strategy(config, nats_url, SPLIT[:1], sessions(gateway)):
            await ready(processes[-1])
            await asyncio.wait_for(playing, WAIT_SECONDS)


async def test_a_newer_process_takes_over_and_the_older_one_stops(nats_url: str) -> None:
    gateway, config = FakeGateway(VENUE), strategy_config()
    async with strategy(config, nats_url, COMBINED, sessions(gateway)) as (older,):
        await ready(older)
        async with strategy(config, nats_url, COMBINED, sessions(gateway)) as (newer,):
            with pytest.raises(SessionTakenOver, match="a newer session of strategy ema took over at sim"):
                await asyncio.wait_for(older.task, WAIT_SECONDS)
            await ready(newer)


async def test_a_strategy_that_is_not_bound_waits_and_says_so(nats_url: str) -> None:
    gateway, config = FakeGateway(VENUE), strategy_config()
    gateway.refuses_logon = "strategy ema is not bound to this venue"
    async with (
        market(nats_url, [gateway], {VENUE: rising(5)}) as playing,
        strategy(config, nats_url, COMBINED, sessions(gateway)) as (process,),
    ):
        status = await Statuses(nats_url, "combined").until("GatewayUnreachable", "not bound to this venue")
        assert status.config_hash == "sha256:test"
        assert not process.health.ready
        # The operator binds it: it logs on by itself.
        gateway.refuses_logon = ""
        gateway.logon_allowed.set()
        await asyncio.wait_for(playing, WAIT_SECONDS)


async def test_on_sigterm_open_orders_are_canceled_before_it_leaves(nats_url: str) -> None:
    gateway = FakeGateway(VENUE)
    resting: dict[str, Any] = {
        "capital": {"amount": "10000", "currency": "USD"},
        "policy": {"execution": {"limitOffsetBps": "0", "timeInForce": "GTC"}},
        "model": {"name": "ema-crossover", "parameters": {"fast": 1, "slow": 9, "persistence": 1.0}},
    }
    # Of the 9000 that are wanted at the last quote 5000 are offered: 4000 rest.
    quotes = [*rising(8), *rising(9, shown="5000")[8:]]
    async with (
        market(nats_url, [gateway], {VENUE: quotes}) as playing,
        strategy(strategy_config(**resting), nats_url, COMBINED, sessions(gateway)) as (process,),
    ):
        await asyncio.wait_for(playing, WAIT_SECONDS)
        (report,) = gateway.reports.values()
        assert (report.ord_status, report.leaves_quantity) == (orders_pb2.ORD_STATUS_PARTIALLY_FILLED, "4000")
        await process.stop()
    (report,) = gateway.reports.values()
    assert (report.ord_status, report.reason) == (orders_pb2.ORD_STATUS_CANCELED, "CancelRequested")


async def test_a_shadow_strategy_decides_and_sends_nothing(nats_url: str) -> None:
    gateway, paper = FakeGateway(VENUE), strategy_config(**SMALL)
    # The schema does not accept the mode yet.
    config = paper.model_copy(update={"spec": paper.spec.model_copy(update={"mode": "Shadow"})})
    async with (
        market(nats_url, [gateway], {VENUE: rising(30)}) as playing,
        strategy(config, nats_url, COMBINED, sessions(gateway)),
    ):
        await asyncio.wait_for(playing, WAIT_SECONDS)
    assert not gateway.reports


def swinging(name: InstrumentId, count: int) -> list[market_data_pb2.MarketData]:
    """Quotes that swing around a level, the legs out of step, so that the pair's spread swings too."""
    level, step = (1.1, 7) if name is EUR else (1.11, 3)
    mids = [level + 0.0002 * ((i * step) % 11 - 5) / 5 for i in range(count)]
    return [quote(i + 1, f"{mid:.5f}", f"{mid + 0.00001:.5f}", name=name) for i, mid in enumerate(mids)]


@pytest.mark.parametrize("processes", [COMBINED, SPLIT], ids=["combined", "split"])
async def test_a_pair_over_two_lock_step_venues_comes_to_the_end_of_both(
    nats_url: str, processes: Sequence[Sequence[Role]]
) -> None:
    gateways = FakeGateway(VENUE), FakeGateway(OTHER_VENUE)
    quotes = {name.venue: swinging(name, 300) for name in (EUR, EUR_B)}
    config = strategy_config(
        instruments=(EUR, EUR_B),
        model={"name": "mean-reversion", "parameters": {"window": 20}},
        policy={"execution": {"limitOffsetBps": "5", "timeInForce": "IOC"}},
    )
    async with (
        market(nats_url, gateways, quotes) as playing,
        strategy(config, nats_url, processes, sessions(*gateways)),
    ):
        await asyncio.wait_for(playing, WAIT_SECONDS)
    assert [gateway.published for gateway in gateways] == [300, 300]
    assert all(len(gateway.orders) > 10 for gateway in gateways)
    # Long one leg and short the other, whatever the order of the venues' events was.
    first, second = (gateway.positions[name] for gateway, name in zip(gateways, (EUR, EUR_B), strict=True))
    assert first * second < 0
