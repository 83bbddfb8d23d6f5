"""The execution role against a real gateway, message by message; and what it does when parts are missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from nats.aio.client import Client

from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade.bus.v1 import status_pb2 as status
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.execution.ids import ClOrdIds
from crowetrade_agents.gateway.service import Gateway
from crowetrade_agents.runtime.config import execution_policy, listings
from crowetrade_agents.runtime.execution import ExecutionRole, Patience
from crowetrade_agents.runtime.gateway_session import GatewaySession
from crowetrade_agents.runtime.state import AgentState

from ..gateway.harness import NAMESPACE, STRATEGY, SYMBOL, VENUE, WAIT_SECONDS, books, configuration, configure, running
from ..messages import quote, target
from .config_files import strategy_config

pytestmark = pytest.mark.integration


@dataclass
class Desk:
    """A running execution role and its gateway."""

    role: ExecutionRole
    gateway: Gateway
    state: AgentState
    upstream_asked: asyncio.Event

    async def event(self, sequence: int, quantity: str | None, bid: str = "1.10000", ask: str = "1.10010") -> None:
        """One event and its target, as if the gateway had published it."""
        self.role.on_published(VENUE, sequence)
        await self.role.on_market_data(quote(sequence, bid, ask))
        if quantity is not None:
            await self.role.on_target(target(sequence, quantity))

    async def until(self, sequence: int) -> None:
        """Until the event is handled."""
        async with asyncio.timeout(WAIT_SECONDS):
            while self.role.desks[VENUE].finished < sequence:
                await asyncio.sleep(0)

    @property
    def reports(self) -> list[orders_pb2.ExecutionReport]:
        return list(self.gateway.path.state.reports.values())


@asynccontextmanager
async def execution(bus: Client, time_in_force: str = "IOC", patience: Patience | None = None) -> AsyncIterator[Desk]:
    """Lock step; the gateway has one quote only, the test sends the events."""
    await configure(bus, configuration())
    async with running(bus, [replace(books(1)[0], ask_quantity=None, bid_quantity=None)]) as gateway:
        policy = {"execution": {"timeInForce": time_in_force, "limitOffsetBps": "0"}}
        config = strategy_config(f"127.0.0.1:{gateway.port}", policy=policy)
        state, asked = AgentState(), asyncio.Event()

        async def upstream_ready() -> None:
            asked.set()

        role = ExecutionRole(
            strategy=STRATEGY,
            listings=listings(config),
            policy=execution_policy(config),
            ids=ClOrdIds(STRATEGY, 1),
            state=state,
            upstream_ready=upstream_ready,
            patience=patience,
        )
        logon = gateway_pb2.Logon(namespace=NAMESPACE, strategy=STRATEGY, pod="p")
        session = GatewaySession(VENUE, config.gateways[VENUE], logon, role)
        role.desks[VENUE].session = session
        running_tasks = [asyncio.create_task(session.run()), asyncio.create_task(role.run())]
        async with asyncio.timeout(WAIT_SECONDS):
            while gateway._published < 1 or not session.up:
                await asyncio.sleep(0)
        try:
            yield Desk(role, gateway, state, asked)
        finally:
            await session.close()
            await asyncio.wait({running_tasks[0]}, timeout=WAIT_SECONDS)
            for task in running_tasks:
                task.cancel()
            await asyncio.gather(*running_tasks, return_exceptions=True)


async def test_it_goes_to_the_target_and_no_further(bus: Client) -> None:
    async with execution(bus) as desk:
        for sequence, quantity in ((1, "9000"), (2, "9000"), (3, "-1000"), (4, "0")):
            await desk.event(sequence, quantity)
            await desk.until(sequence)
        assert [(r.side, r.order_quantity) for r in desk.reports] == [
            (market_data_pb2.SIDE_BUY, "9000"),
            (market_data_pb2.SIDE_SELL, "10000"),
            (market_data_pb2.SIDE_BUY, "1000"),
        ]
        assert desk.role.desks[VENUE].book.position(SYMBOL) == 0


async def test_an_order_that_the_gateway_refuses_is_over(bus: Client) -> None:
    async with execution(bus) as desk:
        await desk.event(1, "11000")
        await desk.until(1)
        assert [report.reason for report in desk.reports] == ["MaxOrderQuantity"]
        assert desk.role.desks[VENUE].book.working() == ()


async def test_stand_down_cancels_what_rests_and_a_wrong_quote_is_no_quote(bus: Client) -> None:
    async with execution(bus, "GTC") as desk:
        # Below the offer of the venue, so that it rests.
        await desk.event(1, "5000", ask="1.10005")
        await desk.until(1)
        (resting,) = desk.role.desks[VENUE].book.working()
        assert resting.accepted
        await desk.event(2, None)
        hold = market_data_pb2.TargetPosition(origin=target(2, "0").origin, hold_reason="DataGap")
        await desk.role.on_target(hold)
        await desk.until(2)
        assert desk.role.desks[VENUE].book.working() == ()
        assert desk.state.stand_down == "DataGap"
        await desk.event(3, "5000", ask="nan")
        await desk.until(3)
        assert len(desk.reports) == 1
        assert desk.state.stand_down == ""


async def test_a_resting_order_that_the_market_left_behind_is_replaced(bus: Client) -> None:
    async with execution(bus, "GTC") as desk:
        await desk.event(1, "5000", ask="1.10005")
        await desk.event(2, "5000", ask="1.10010")
        await desk.event(3, "5000", ask="1.10010")
        await desk.until(3)
        # A resting order is answered by New; its executions come after that.
        async with asyncio.timeout(WAIT_SECONDS):
            while desk.role.desks[VENUE].book.position(SYMBOL) != 5000:
                await asyncio.sleep(0)
        first, second = desk.reports
        assert (first.ord_status, first.reason) == (orders_pb2.ORD_STATUS_CANCELED, "CancelRequested")
        assert second.ord_status == orders_pb2.ORD_STATUS_FILLED


async def test_an_event_that_never_came_is_given_up_by_what_the_gateway_says(bus: Client) -> None:
    async with execution(bus, patience=Patience(answers=5.0, target=0.05)) as desk:
        await desk.role.on_gateway_status(status.GatewayStatus(venue=VENUE, market_data_sequence=7))
        await desk.until(7)
        assert desk.upstream_asked.is_set()
        await desk.event(8, "1000")
        await desk.until(8)
        assert len(desk.reports) == 1


async def test_in_lock_step_an_event_waits_for_the_reports_before_it(bus: Client) -> None:
    async with execution(bus) as desk:
        await desk.event(1, None)
        await desk.role.on_target(target(1, "0"))
        await desk.until(1)
        await desk.role.on_market_data(quote(2, "1.10000", "1.10010"))
        await desk.role.on_target(target(2, "5000"))
        for _ in range(100):
            await asyncio.sleep(0)
        assert desk.role.desks[VENUE].finished == 1
        desk.role.on_published(VENUE, 2)
        await desk.until(2)
        assert [report.order_quantity for report in desk.reports] == ["5000"]


async def test_out_of_lock_step_only_the_last_target_that_waits_counts(bus: Client) -> None:
    async with execution(bus) as desk:
        desk.role.desks[VENUE].lock_step = False
        for sequence in range(1, 6):
            await desk.event(sequence, f"{sequence}000")
        await desk.until(5)
        assert [report.order_quantity for report in desk.reports] == ["5000"]


async def test_without_a_session_nothing_is_ordered(bus: Client) -> None:
    async with execution(bus) as desk:
        desk.role.desks[VENUE].lock_step = False
        desk.role.desks[VENUE].session = None
        await desk.event(1, "1000")
        await desk.until(1)
        assert desk.reports == []


async def test_what_other_venues_and_instruments_say_is_not_its_business(bus: Client) -> None:
    async with execution(bus) as desk:
        await desk.role.on_market_data(quote(1, "1", "2", venue="elsewhere"))
        await desk.role.on_target(target(1, "1000", venue="elsewhere"))
        await desk.role.on_gateway_status(status.GatewayStatus(venue="elsewhere"))
        await desk.role.on_market_data(quote(1, "1", "2", symbol="GBP-USD"))
        await desk.until(1)
        desk.role.on_published(VENUE, 2)
        await desk.role.on_market_data(quote(2, "1", "2"))
        unknown = market_data_pb2.TargetPosition(
            origin=target(2, "0").origin, targets=[market_data_pb2.Target(symbol="X", venue="sim", quantity="1")]
        )
        await desk.role.on_target(unknown)
        await desk.until(2)
        assert desk.reports == []
