"""The execution role message by message against a gateway in this process, on virtual time."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

import pytest

from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade.bus.v1 import status_pb2 as status
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.domain import flow_wire
from crowetrade_agents.domain.flow import TargetPosition
from crowetrade_agents.domain.flow_wire import market_event
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.orders import TimeInForce
from crowetrade_agents.execution.policy import ORDER_VALIDITY_NS, ExecutionPolicy, Style
from crowetrade_agents.roles.execution import ExecutionRole
from crowetrade_agents.roles.order_sender import Patience
from crowetrade_agents.roles.status import AgentState

from ..clock import ManualClock, settle
from ..messages import (
    EUR,
    EUR_B,
    EUR_USD,
    EUR_USD_B,
    NAMESPACE,
    OTHER_VENUE,
    SECOND_NS,
    START_NS,
    STRATEGY,
    VENUE,
    event,
    origin,
    quote,
    target,
    wire,
)
from .fake_gateway import FakeGateway

BUY, SELL = market_data_pb2.SIDE_BUY, market_data_pb2.SIDE_SELL
GAP_NS = 20 * SECOND_NS


@dataclass
class Running:
    """A running execution role, its gateways and its clock."""

    role: ExecutionRole
    gateways: dict[str, FakeGateway]
    state: AgentState
    clock: ManualClock
    upstream_asked: list[int] = field(default_factory=list)

    @property
    def gateway(self) -> FakeGateway:
        return self.gateways[VENUE]

    async def event(
        self,
        sequence: int,
        quantity: str | None,
        bid: str = "1.10000",
        ask: str = "1.10010",
        *,
        name: InstrumentId = EUR,
        at_seconds: float | None = None,
    ) -> None:
        """One event and its target, as if the gateway had published it."""
        message = quote(sequence, bid, ask, name=name, at_seconds=at_seconds)
        self.gateways[name.venue].set_quote(message)
        self.gateways[name.venue].published = sequence
        await settle()
        self.role.on_published(name.venue, sequence)
        await self.role.on_market_event(market_event(message))
        if quantity is not None:
            await self.role.on_target(target(sequence, quantity, name=name))
        await settle()

    async def hold(self, sequence: int, reason: str) -> None:
        """One event whose target is a reason to hold."""
        await self.event(sequence, None)
        held = TargetPosition(flow_wire.origin(origin(sequence)), hold_reason=reason)
        await self.role.on_target(held)
        await settle()

    @property
    def orders(self) -> list[orders_pb2.NewOrder]:
        return list(self.gateway.orders.values())

    @property
    def quantities(self) -> list[str]:
        return [order.order_quantity for order in self.orders]

    def finished(self, venue: str = VENUE) -> int:
        return self.role.streams[venue].finished

    def problems(self) -> list[tuple[str, int]]:
        return [(problem.reason, problem.count) for problem in self.state.problems.current(self.clock.now_ns())]


@asynccontextmanager
async def execution(
    time_in_force: TimeInForce = TimeInForce.IOC,
    *,
    style: Style = Style.LIMIT,
    requote_ticks: int = 1,
    lock_step: bool = True,
    replay_speed: str = "",
    data_gap_ns: int | None = None,
    slice_to_limits: bool = False,
    shadow: bool = False,
    instruments: Mapping[InstrumentId, Instrument] | None = None,
    while_upstream_answers: Sequence[TargetPosition | status.GatewayStatus] = (),
) -> AsyncIterator[Running]:
    """Sessions are up; the test sends the events. `while_upstream_answers` arrives while the upstream roles are asked
    whether they listen."""
    clock, state = ManualClock(START_NS), AgentState()
    listed = instruments or {EUR: EUR_USD}
    gateways = {name.venue: FakeGateway(name.venue, lock_step=lock_step, replay_speed=replay_speed) for name in listed}
    asked: list[int] = []

    async def upstream_ready() -> None:
        asked.append(clock.now_ns())
        for message in while_upstream_answers:
            if isinstance(message, TargetPosition):
                await role.on_target(message)
            else:
                await role.on_gateway_status(message)

    role = ExecutionRole(
        names=defaultdict(lambda: STRATEGY),
        instruments=listed,
        policy=ExecutionPolicy(
            style=style,
            requote_ticks=requote_ticks,
            time_in_force=time_in_force,
            limit_offset_bps=Decimal(0),
            participation_cap=None,
            slice_to_limits=slice_to_limits,
            data_gap_ns=data_gap_ns,
        ),
        state=state,
        clock=clock,
        upstream_ready=upstream_ready,
        shadow=shadow,
        patience=Patience(answers=5.0, target=10.0),
    )
    tasks = [asyncio.create_task(role.run())]
    for venue, gateway in gateways.items():
        logon = gateway_pb2.Logon(namespace=NAMESPACE, strategy=STRATEGY, pod="p")
        session = gateway.open_session(venue, "", logon, role)
        role.streams[venue].session = session
        tasks.append(asyncio.create_task(session.run()))
    await settle()
    try:
        yield Running(role, gateways, state, clock, asked)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)


async def test_it_goes_to_the_target_and_no_further() -> None:
    async with execution() as running:
        for sequence, quantity in ((1, "9000"), (2, "9000"), (3, "-1000"), (4, "0")):
            await running.event(sequence, quantity)
        assert running.finished() == 4
        assert [(order.side, order.order_quantity) for order in running.orders] == [
            (BUY, "9000"),
            (SELL, "10000"),
            (BUY, "1000"),
        ]
        assert running.role.streams[VENUE].orders.position(EUR) == 0


async def test_an_order_names_instrument_origin_and_how_long_it_is_valid() -> None:
    async with execution() as running:
        await running.event(1, "9000")
        (order,) = running.orders
        assert order.instrument == wire(EUR)
        assert order.origin == origin(1)
        assert order.valid_until_unix_ns == START_NS + ORDER_VALIDITY_NS
        assert re.fullmatch(rf"{STRATEGY}-[0-9a-z]{{10,13}}-1", order.cl_ord_id)


async def test_orders_and_cancels_are_numbered_together() -> None:
    async with execution(TimeInForce.GTC) as running:
        await rest(running, 1)
        await running.event(2, "5000", ask="1.10010")
        await running.event(3, "5000", ask="1.10010")
        first, second = running.orders
        (cancel,) = running.gateway.cancels
        assert [one.cl_ord_id.rpartition("-")[2] for one in (first, cancel, second)] == ["1", "2", "3"]


async def test_stand_down_cancels_what_rests_and_a_wrong_quote_is_no_quote() -> None:
    async with execution(TimeInForce.GTC) as running:
        await rest(running, 1)
        await running.hold(2, "DataGap")
        assert running.role.streams[VENUE].orders.working() == ()
        assert running.state.stand_down == "DataGap"
        await running.role.on_market_event(event(3, "1.1", "nan"))
        running.role.on_published(VENUE, 3)
        await running.role.on_target(target(3, "5000"))
        await settle()
        assert (len(running.orders), running.finished(), running.state.stand_down) == (1, 3, "")


async def rest(running: Running, sequence: int, quantity: str = "5000") -> None:
    """An order that rests: the venue's offer is above the one that the role saw."""
    await settle()
    message = quote(sequence, "1.10000", "1.10005")
    running.gateway.set_quote(quote(sequence, "1.10000", "1.10010"))
    running.gateway.published = sequence
    running.role.on_published(VENUE, sequence)
    await running.role.on_market_event(market_event(message))
    await running.role.on_target(target(sequence, quantity))
    await settle()
    (resting,) = running.role.streams[VENUE].orders.working()
    assert resting.accepted


@pytest.mark.parametrize("reason", ["ModelFailing", "VolatilitySpike"])
async def test_every_stand_down_cancels(reason: str) -> None:
    async with execution(TimeInForce.GTC) as running:
        await rest(running, 1)
        await running.hold(2, reason)
        assert running.role.streams[VENUE].orders.working() == ()
        assert running.state.waiting()[0] == reason


@pytest.mark.parametrize("reason", ["ModelFailed", "NoForecast", "ProbEdgeBelowGate", "StageFailed"])
async def test_another_hold_leaves_what_rests(reason: str) -> None:
    async with execution(TimeInForce.GTC) as running:
        await rest(running, 1)
        await running.hold(2, reason)
        assert len(running.role.streams[VENUE].orders.working()) == 1


async def test_a_resting_order_that_the_market_left_behind_is_canceled_and_ordered_again() -> None:
    async with execution(TimeInForce.GTC) as running:
        await rest(running, 1)
        await running.event(2, "5000", ask="1.10010")
        await running.event(3, "5000", ask="1.10010")
        assert running.gateway.positions[EUR] == 5000
        first, second = running.orders
        assert running.gateway.reports[first.cl_ord_id].reason == "CancelRequested"
        assert running.gateway.reports[second.cl_ord_id].ord_status == orders_pb2.ORD_STATUS_FILLED


async def test_an_event_that_never_came_is_given_up_by_what_the_gateway_reports() -> None:
    async with execution() as running:
        await running.role.on_gateway_status(status.GatewayStatus(venue=VENUE, market_data_sequence=7))
        await settle()
        await running.clock.advance_seconds(9.9)
        assert (running.finished(), running.upstream_asked) == (0, [])
        await running.clock.advance_seconds(0.2)
        assert running.finished() == 7
        assert len(running.upstream_asked) == 1
        await running.event(8, "1000")
        assert len(running.orders) == 1


async def test_an_event_is_given_up_though_the_gateway_goes_on_reporting_its_status() -> None:
    """It was not while each round of asking was longer than the time between two statuses: a stand-still."""
    statuses = [status.GatewayStatus(venue=VENUE, market_data_sequence=7)]
    async with execution(while_upstream_answers=statuses) as running:
        await running.role.on_gateway_status(statuses[0])
        await settle()
        await running.clock.advance_seconds(10.1)
        assert running.finished() == 7


async def test_a_target_that_comes_while_the_upstream_roles_are_asked_is_followed() -> None:
    async with execution(while_upstream_answers=[target(1, "5000")]) as running:
        await running.event(1, None)
        await running.clock.advance_seconds(10.1)
        assert (running.finished(), running.quantities) == (1, ["5000"])


async def test_in_lock_step_an_event_waits_for_the_reports_before_it() -> None:
    async with execution() as running:
        await running.event(1, "0")
        await running.role.on_market_event(event(2, "1.10000", "1.10010"))
        await running.role.on_target(target(2, "5000"))
        await settle()
        assert running.finished() == 1
        running.role.on_published(VENUE, 2)
        await settle()
        assert (running.finished(), running.quantities) == (2, ["5000"])


async def test_reports_and_answers_that_do_not_come_are_waited_for_no_longer_than_patience() -> None:
    async with execution() as running:
        running.gateway.hears = False
        await running.event(1, "5000")
        assert running.finished() == 0
        await running.clock.advance_seconds(4.9)
        assert running.finished() == 0
        await running.clock.advance_seconds(0.2)
        assert running.finished() == 1


async def test_a_decision_uses_the_quote_of_its_own_event_though_newer_ones_have_arrived() -> None:
    async with execution(lock_step=False) as running:
        for sequence, ask in ((1, "1.10010"), (2, "1.20000")):
            await running.role.on_market_event(event(sequence, "1.10000", ask))
        await running.role.on_target(target(1, "5000"))
        await settle()
        assert [order.price for order in running.orders] == ["1.1001"]


async def test_out_of_lock_step_only_the_last_target_that_waits_counts() -> None:
    async with execution(lock_step=False) as running:
        running.gateway.set_quote(quote(1, "1.10000", "1.10010"))
        for sequence in range(1, 6):
            await running.role.on_market_event(event(sequence, "1.10000", "1.10010"))
            await running.role.on_target(target(sequence, f"{sequence}000"))
        await settle()
        assert (running.finished(), running.quantities) == (5, ["5000"])


async def test_what_other_venues_and_instruments_say_is_not_its_business() -> None:
    async with execution() as running:
        elsewhere, unlisted = InstrumentId("elsewhere", "EUR-USD"), InstrumentId(VENUE, "GBP-USD")
        await running.role.on_market_event(event(1, "1", "2", name=elsewhere))
        await running.role.on_target(target(1, "1000", name=elsewhere))
        await running.role.on_gateway_status(status.GatewayStatus(venue="elsewhere"))
        await running.role.on_market_event(event(1, "1", "2", name=unlisted))
        running.role.on_published(VENUE, 1)
        await settle()
        assert running.finished() == 1
        running.role.on_published(VENUE, 2)
        await running.role.on_market_event(event(2, "1", "2"))
        await running.role.on_target(target(2, "1", name=unlisted))
        await settle()
        assert (running.finished(), running.orders) == (2, [])


async def test_in_shadow_nothing_is_sent() -> None:
    async with execution(shadow=True) as running:
        await running.event(1, "9000")
        assert (running.finished(), running.orders) == (1, [])


async def test_a_cancel_that_is_refused_is_not_sent_again_at_every_event() -> None:
    """The gateway counts each as a message of the strategy."""
    async with execution(TimeInForce.GTC, lock_step=False) as running:
        running.gateway.refuses_cancels = "OrderPending"
        await rest(running, 1)
        sent = [0]
        for sequence in range(2, 122):
            await running.hold(sequence, "VolatilitySpike")
            sent.append(len(running.gateway.cancels))
            await running.clock.advance_seconds(0.5)
        # After 1, 2, 4, 8, 16 and then 30 s.
        assert [at / 2 for at, (before, count) in enumerate(pairwise(sent)) if count > before] == [0, 1, 3, 7, 15, 31]
        running.gateway.refuses_cancels = ""
        await running.clock.advance_seconds(30)
        await running.hold(122, "VolatilitySpike")
        assert running.role.streams[VENUE].orders.working() == ()


async def test_the_last_cancel_does_not_wait_for_a_pause() -> None:
    async with execution(TimeInForce.GTC, lock_step=False) as running:
        running.gateway.refuses_cancels = "OrderPending"
        await rest(running, 1)
        for sequence in (2, 3):
            await running.hold(sequence, "VolatilitySpike")
        assert len(running.gateway.cancels) == 1
        running.gateway.refuses_cancels = ""
        await running.role.stop()
        assert running.role.streams[VENUE].orders.working() == ()


async def test_when_it_stops_open_orders_are_canceled() -> None:
    async with execution(TimeInForce.GTC) as running:
        await rest(running, 1)
        await running.role.stop()
        assert running.role.streams[VENUE].orders.working() == ()
        (cancel,) = running.gateway.cancels
        assert cancel.orig_cl_ord_id == running.orders[0].cl_ord_id
        assert cancel.cl_ord_id.endswith("-2")


# --- sessions that break (finding G14) ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("away_seconds", "resent"), [(4.0, True), (5.0, False), (300.0, False)], ids=["4 s", "5 s", "5 minutes"]
)
async def test_an_unanswered_order_is_sent_again_only_while_it_is_valid(away_seconds: float, resent: bool) -> None:
    async with execution() as running:
        running.gateway.hears = False
        await running.event(1, "5000")
        running.gateway.refuses_logon = "is not there"
        running.gateway.drop()
        await running.clock.advance_seconds(away_seconds)
        running.gateway.refuses_logon, running.gateway.hears = "", True
        running.gateway.logon_allowed.set()
        await settle()
        assert [order.cl_ord_id.endswith("-1") for order in running.orders] == ([True] if resent else [])
        # It is planned again at the next event, at the price of then.
        await running.event(2, "5000", ask="1.20000")
        last = running.orders[-1]
        assert (len(running.orders), last.price) == (1, "1.1001" if resent else "1.2")
        assert running.gateway.positions[EUR] == 5000


async def test_while_the_gateway_is_unreachable_nothing_is_ordered() -> None:
    async with execution(lock_step=False) as running:
        running.gateway.refuses_logon = "is not there"
        running.gateway.drop()
        await settle()
        await running.event(1, "1000")
        assert (running.finished(), running.orders) == (1, [])
        assert running.state.waiting() == ("GatewayUnreachable", "gateway of sim: is not there")


# --- refusals (issue 8 item 8, finding G18) -------------------------------------------------------------------------


def too_large(limit: int) -> object:
    def refuse(order: orders_pb2.NewOrder) -> tuple[str, str, str] | None:
        if Decimal(order.order_quantity) <= limit:
            return None
        return "MaxOrderQuantity", "desk", f"{order.order_quantity} is more than {limit}"

    return refuse


async def test_an_order_that_is_refused_is_over_and_not_sent_again_at_every_event() -> None:
    async with execution(lock_step=False) as running:
        running.gateway.refuse = too_large(10_000)  # type: ignore[assignment]
        for event in range(1, 1001):
            await running.event(event, "11000")
            await running.clock.advance_seconds(0.1)
        # 100 s of ten events a second: at 0, 1, 3, 7, 15, 31 and 63 s, not 1,000 times.
        assert len(running.orders) == 7
        assert running.role.streams[VENUE].orders.working() == ()
        (problem,) = running.state.problems.current(running.clock.now_ns())
        assert (problem.reason, problem.count) == ("OrdersRefused", 7)
        assert problem.message == (
            "Buy orders in sim/EUR-USD are refused: MaxOrderQuantity by RiskLimit desk: 11000 is more than 10000"
        )


async def test_in_lock_step_the_pause_is_event_time() -> None:
    """The market waits for us: were it wall clock, the orders would depend on how fast the processes are."""
    async with execution() as running:
        running.gateway.refuse = too_large(10_000)  # type: ignore[assignment]
        for event in range(1, 41):
            await running.event(event, "11000")
        assert [order.origin.sequence for order in running.orders] == [1, 2, 4, 8, 16, 32]


async def test_a_smaller_order_a_fill_or_another_configuration_end_the_pause() -> None:
    async with execution(lock_step=False) as running:
        running.gateway.refuse = too_large(10_000)  # type: ignore[assignment]
        await running.role.on_gateway_status(running.gateway.status())
        await running.event(1, "14000")
        await running.event(2, "14000")
        assert running.quantities == ["14000"]
        await running.event(3, "12000")
        await running.event(4, "13000")
        assert running.quantities == ["14000", "12000"]
        running.gateway.revision = "r2"
        await running.role.on_gateway_status(running.gateway.status())
        await running.event(5, "13000")
        assert running.quantities == ["14000", "12000", "13000"]
        await running.event(6, "10000")
        assert running.quantities[-1] == "10000"
        assert running.gateway.positions[EUR] == 10_000
        # The position moved, so the size that was refused is tried again; and one that is accepted ends the problem.
        assert running.problems() == []
        running.gateway.refuse = lambda order: None
        await running.event(7, "24000")
        assert running.quantities[-1] == "14000"


async def test_the_other_side_does_not_wait() -> None:
    async with execution(lock_step=False) as running:
        running.gateway.refuse = too_large(10_000)  # type: ignore[assignment]
        await running.event(1, "11000")
        await running.event(2, "-9000")
        assert running.quantities == ["11000", "9000"]
        # The fill moved the position, so the first side need not wait any more.
        await running.event(3, "11000")
        assert running.quantities == ["11000", "9000", "20000"]


async def test_where_only_reducing_is_admitted_a_target_on_the_other_side_closes_what_is_held() -> None:
    """Found on a cluster: 94000 were never closed, because 194000 would have turned the position around."""
    async with execution(lock_step=False) as running:
        await running.event(1, "94000")

        def only_reduce(order: orders_pb2.NewOrder) -> tuple[str, str, str] | None:
            held = running.gateway.positions[EUR]
            reduces = order.side == market_data_pb2.SIDE_SELL and Decimal(order.order_quantity) <= held
            return None if reduces else ("CloseOnly", "", "it may only reduce its positions")

        running.gateway.refuse = only_reduce
        for event in range(2, 6):
            await running.event(event, "-100000")
        assert running.quantities == ["94000", "194000", "94000", "100000"]
        assert running.gateway.positions[EUR] == 0


async def test_sliced_orders_go_out_in_the_size_that_passes() -> None:
    async with execution(lock_step=False, slice_to_limits=True) as running:
        running.gateway.refuse = too_large(10_000)  # type: ignore[assignment]
        for event in range(1, 12):
            await running.event(event, "50000")
        # Halved until it passes: 50000, 25000 and 12000 are refused once each.
        assert running.quantities[:4] == ["50000", "25000", "12000", "6000"]
        assert running.gateway.positions[EUR] == 8 * 6000
        assert running.problems() == []


async def test_a_rate_that_is_reached_is_waited_for_briefly_and_reported_only_when_it_lasts() -> None:
    async with execution(lock_step=False) as running:
        running.gateway.refuse = lambda order: ("MaxOrderRate", "desk", "20 per second")
        for event in range(1, 11):
            await running.event(event, "1000")
            await running.clock.advance_seconds(0.05)
        assert len(running.orders) == 2
        assert running.problems() == []
        for event in range(11, 100):
            await running.event(event, "1000")
            await running.clock.advance_seconds(0.1)
        assert [reason for reason, _ in running.problems()] == ["OrdersRefused"]


async def test_an_order_that_the_venue_refuses_after_the_gateway_took_it_backs_off_too() -> None:
    async with execution(lock_step=False) as running:
        running.gateway.refuse = lambda order: ("Other", "", "the venue does not want it")
        for event in range(1, 11):
            await running.event(event, "1000")
        assert len(running.orders) == 1
        (problem,) = running.state.problems.current(running.clock.now_ns())
        assert problem.message == "Buy orders in sim/EUR-USD are refused: Other: the venue does not want it"


# --- silence (issue 8 item 9, finding D4) ---------------------------------------------------------------------------


async def paced(running: Running, events: int, target_quantity: str) -> None:
    """Quotes each second of event time, ten times as fast."""
    for sequence in range(1, events + 1):
        if sequence == events:
            await rest(running, sequence, target_quantity)
        else:
            await running.event(sequence, "0")
            await running.clock.advance_seconds(0.1)


async def test_a_feed_that_falls_silent_is_noticed_by_a_timer_and_working_orders_are_canceled() -> None:
    """Quotes each second, ten times as fast, a gap of 20 s: 2.1 s into the silence, not at the next quote."""
    async with execution(TimeInForce.GTC, lock_step=False, replay_speed="10", data_gap_ns=GAP_NS) as running:
        await paced(running, 30, "5000")
        await running.clock.advance_seconds(2.0)
        assert len(running.role.streams[VENUE].orders.working()) == 1
        assert running.problems() == []
        await running.clock.advance_seconds(0.2)
        assert running.role.streams[VENUE].orders.working() == ()
        assert running.problems() == [("DataGap", 1)]
        assert running.state.waiting()[0] == "DataGap"
        # However long it lasts.
        await running.clock.advance_seconds(500)
        assert running.problems() == [("DataGap", 1)]
        # The feed is back; the portfolio role stands down until it was whole for as long.
        await running.hold(31, "DataGap")
        assert running.problems() == []
        assert running.state.waiting()[0] == "DataGap"
        await running.event(32, "5000")
        assert (len(running.orders), running.state.stand_down) == (2, "")


async def test_a_feed_that_dies_after_a_burst_is_noticed_as_early_as_any_other() -> None:
    """More events at one time than the usual interval is made of."""
    async with execution(TimeInForce.GTC, lock_step=False, data_gap_ns=GAP_NS) as running:
        await rest(running, 1)
        for sequence in range(2, 32):
            message = quote(sequence, "1.10000", "1.10005", at_seconds=1)
            await running.role.on_market_event(market_event(message))
        await running.clock.advance_seconds(19)
        assert len(running.role.streams[VENUE].orders.working()) == 1
        await running.clock.advance_seconds(2)
        assert running.role.streams[VENUE].orders.working() == ()
        assert running.problems() == [("DataGap", 1)]


async def test_a_cancel_that_is_refused_in_silence_is_sent_again_until_nothing_works() -> None:
    """As when many strategies cancel at once, beyond cancelsPerSecond: no event comes at which to try again."""
    async with execution(TimeInForce.GTC, lock_step=False, replay_speed="10", data_gap_ns=GAP_NS) as running:
        await paced(running, 30, "5000")
        running.gateway.refuses_cancels = "VenueRateLimit"
        await running.clock.advance_seconds(GAP_NS / SECOND_NS + 5)
        assert len(running.role.streams[VENUE].orders.working()) == 1
        # At once, and after pauses of 1, 2, 4 and 8 s.
        assert len(running.gateway.cancels) == 5
        running.gateway.refuses_cancels = ""
        await running.clock.advance_seconds(60)
        assert running.role.streams[VENUE].orders.working() == ()
        assert running.problems() == [("DataGap", 1)]


async def test_a_silence_that_is_noticed_while_the_session_is_down_cancels_after_the_next_logon() -> None:
    async with execution(TimeInForce.GTC, lock_step=False, replay_speed="10", data_gap_ns=GAP_NS) as running:
        await paced(running, 30, "5000")
        running.gateway.refuses_logon = "is not there"
        running.gateway.drop()
        await running.clock.advance_seconds(GAP_NS / SECOND_NS + 5)
        assert running.problems() == [("DataGap", 1)]
        assert running.gateway.cancels == []
        running.gateway.refuses_logon = ""
        running.gateway.logon_allowed.set()
        await running.clock.advance_seconds(2)
        assert running.role.streams[VENUE].orders.working() == ()


async def test_in_lock_step_silence_means_nothing() -> None:
    async with execution(TimeInForce.GTC, data_gap_ns=GAP_NS) as running:
        await paced(running, 30, "5000")
        await running.clock.advance_seconds(1000)
        assert len(running.role.streams[VENUE].orders.working()) == 1
        assert running.problems() == []


async def test_without_the_rule_silence_is_not_watched() -> None:
    async with execution(TimeInForce.GTC, lock_step=False) as running:
        await paced(running, 30, "5000")
        await running.clock.advance_seconds(1000)
        assert len(running.role.streams[VENUE].orders.working()) == 1


async def test_while_one_leg_is_silent_nothing_is_ordered_for_the_other() -> None:
    async with pair(data_gap_ns=GAP_NS) as running:
        for sequence in range(1, 31):
            await running.event(sequence, "0")
            await running.event(sequence, None, name=EUR_B)
            await running.role.on_target(target(sequence, "0", name=EUR_B))
            await running.clock.advance_seconds(1)
        for sequence in range(31, 61):
            await running.event(sequence, "5000")
            await running.clock.advance_seconds(1)
        # Until the silence of the other leg counted; then no more.
        assert [order.order_quantity for order in running.orders] == ["5000"]
        assert running.problems() == [("DataGap", 1)]
        await running.event(61, "9000")
        assert len(running.orders) == 1


async def test_a_leg_that_falls_silent_is_noticed_while_the_other_one_keeps_the_worker_busy() -> None:
    """With each order the next event of the busy leg arrives, a second later: something always waits."""
    async with pair(data_gap_ns=GAP_NS) as running:
        for sequence in range(1, 31):
            await running.event(sequence, "0")
            await running.event(sequence, None, name=EUR_B)
            await running.clock.advance_seconds(1)
        numbers = itertools.count(32)

        def next_arrives(_order: orders_pb2.NewOrder) -> None:
            number = next(numbers)
            if number > 90:
                return
            running.clock.jump(SECOND_NS)
            message = quote(number, "1.10000", "1.10010")
            running.gateway.set_quote(message)
            wanted = target(number, "5000" if number % 2 else "0")
            for arrival in (running.role.on_market_event(market_event(message)), running.role.on_target(wanted)):
                with suppress(StopIteration):
                    arrival.send(None)

        running.gateway.refuse = next_arrives
        await running.event(31, "5000")
        assert running.problems() == [("DataGap", 1)]
        assert 15 < len(running.orders) < 30


# --- several instruments and venues -------------------------------------------------------------------------------


@asynccontextmanager
async def pair(
    *, lock_step: bool = False, data_gap_ns: int | None = None, time_in_force: TimeInForce = TimeInForce.IOC
) -> AsyncIterator[Running]:
    """The same symbol at two venues."""
    instruments = {EUR: EUR_USD, EUR_B: EUR_USD_B}
    async with execution(
        time_in_force, lock_step=lock_step, data_gap_ns=data_gap_ns, instruments=instruments
    ) as running:
        yield running


def both(sequence: int, first: str, second: str, name: InstrumentId = EUR) -> TargetPosition:
    return TargetPosition(flow_wire.origin(origin(sequence, name)), {EUR: Decimal(first), EUR_B: Decimal(second)})


@pytest.mark.parametrize("lock_step", [True, False], ids=["lock step", "paced"])
async def test_a_target_for_two_venues_uses_the_newest_quote_of_each(lock_step: bool) -> None:
    async with pair(lock_step=lock_step) as running:
        other = running.gateways[OTHER_VENUE]
        await running.event(1, "0")
        # The target of the other venue's event is still to come; its quote is the newest there is.
        await running.event(1, None, "1.20000", "1.20010", name=EUR_B)
        await running.event(2, None)
        await running.role.on_target(both(2, "5000", "-5000"))
        await settle()
        assert [(order.side, order.price) for order in running.orders] == [(BUY, "1.1001")]
        assert [(order.side, order.price) for order in other.orders.values()] == [(SELL, "1.2")]
        assert running.gateway.positions == {EUR: Decimal(5000)}
        assert other.positions == {EUR_B: Decimal(-5000)}
        # Each venue gets Progress of its own events only.
        assert (running.finished(VENUE), running.finished(OTHER_VENUE)) == (2, 0)
        await running.role.on_target(both(1, "5000", "-5000", EUR_B))
        await settle()
        assert running.finished(OTHER_VENUE) == 1
        assert len(other.orders) == 1


async def test_while_one_venue_of_a_pair_is_unreachable_no_leg_is_ordered() -> None:
    async with pair() as running:
        other = running.gateways[OTHER_VENUE]
        await running.event(1, None, name=EUR_B)
        await running.role.on_target(both(1, "0", "0", EUR_B))
        other.refuses_logon = "is not there"
        other.drop()
        await running.event(1, None)
        await running.role.on_target(both(1, "5000", "-5000"))
        await settle()
        assert (running.orders, list(other.orders)) == ([], [])
        assert running.finished() == 1


async def test_a_stand_down_cancels_at_every_venue() -> None:
    async with pair(time_in_force=TimeInForce.GTC) as running:
        other = running.gateways[OTHER_VENUE]
        await running.event(1, None, name=EUR_B)
        await running.role.on_target(both(1, "0", "0", EUR_B))
        await settle()
        other.set_quote(quote(1, "1.2", "1.3", name=EUR_B))
        await running.event(1, None)
        await running.role.on_target(both(1, "0", "5000"))
        await settle()
        assert len(running.role.streams[OTHER_VENUE].orders.working()) == 1
        await running.hold(2, "DataGap")
        assert running.role.streams[OTHER_VENUE].orders.working() == ()
