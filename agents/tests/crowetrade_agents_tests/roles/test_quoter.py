"""A strategy that quotes, message by message against a gateway in this process: what rests, when it is replaced, and
when it is withdrawn."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from decimal import Decimal

import pytest

from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade_agents.domain import flow_wire
from crowetrade_agents.domain.flow import TargetPosition, TargetQuotes
from crowetrade_agents.domain.hold_reasons import KEEPS_QUOTES, HoldReason
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import TimeInForce
from crowetrade_agents.execution.policy import Style

from ..clock import settle
from ..messages import EUR, EUR_B, EUR_USD, EUR_USD_B, VENUE, origin, quote
from .test_execution import GAP_NS, Running, execution

BUY, SELL = market_data_pb2.SIDE_BUY, market_data_pb2.SIDE_SELL
QUOTES = TargetQuotes(
    fair=Decimal("1.10005"),
    half_spread=Decimal("0.00010"),
    skew=Decimal("0.00040"),
    quantity=Decimal(10_000),
    max_position=Decimal(40_000),
)


def quoting(
    time_in_force: TimeInForce = TimeInForce.GTC,
    *,
    lock_step: bool = True,
    shadow: bool = False,
    two_venues: bool = False,
    data_gap_ns: int | None = None,
) -> AbstractAsyncContextManager[Running]:
    return execution(
        time_in_force,
        style=Style.QUOTE,
        requote_ticks=3,
        lock_step=lock_step,
        shadow=shadow,
        data_gap_ns=data_gap_ns,
        instruments={EUR: EUR_USD, EUR_B: EUR_USD_B} if two_venues else None,
    )


async def event(
    running: Running,
    sequence: int,
    quotes: Mapping[InstrumentId, TargetQuotes],
    bid: str = "1.10000",
    ask: str = "1.10010",
) -> None:
    """One event, and the quotes that it caused."""
    await running.event(sequence, None, bid, ask)
    await running.role.on_target(TargetPosition(flow_wire.origin(origin(sequence)), quotes=quotes))
    await settle()


def resting(running: Running, venue: str = VENUE) -> list[tuple[str, str, str]]:
    """(side, what is left, price) of what works."""
    orders = running.role.streams[venue].orders.working()
    return sorted((order.side.value, f"{order.leaves:f}", f"{order.price:f}") for order in orders)


def number(cl_ord_id: str) -> int:
    """Orders and cancels are numbered together."""
    return int(cl_ord_id.rpartition("-")[2])


def position(running: Running) -> Decimal:
    return running.role.streams[VENUE].orders.position(EUR)


BOTH = [("Buy", "10000", "1.09995"), ("Sell", "10000", "1.10015")]


@pytest.mark.parametrize("time_in_force", [TimeInForce.GTC, TimeInForce.DAY])
async def test_two_post_only_orders_rest_on_either_side(time_in_force: TimeInForce) -> None:
    async with quoting(time_in_force) as running:
        await event(running, 1, {EUR: QUOTES})
        assert resting(running) == BOTH
        assert running.finished() == 1
        for order in running.orders:
            assert order.post_only
            assert order.ord_type == orders_pb2.ORD_TYPE_LIMIT
            assert order.time_in_force == getattr(orders_pb2, f"TIME_IN_FORCE_{time_in_force.value}")
            assert order.origin == origin(1)


async def test_a_market_that_stands_still_or_moves_by_less_than_the_ticks_causes_no_requests() -> None:
    async with quoting() as running:
        for sequence, fair in enumerate(("1.10005", "1.10005", "1.10007", "1.10003"), 1):
            await event(running, sequence, {EUR: QUOTES._replace(fair=Decimal(fair))})
        assert resting(running) == BOTH
        assert (len(running.orders), running.gateway.cancels, running.finished()) == (2, [], 4)


async def test_a_fair_price_that_moved_replaces_both_within_the_event_after_the_cancels_are_answered() -> None:
    async with quoting() as running:
        await event(running, 1, {EUR: QUOTES})
        await event(running, 2, {EUR: QUOTES._replace(fair=Decimal("1.10015"))}, "1.10010", "1.10020")
        assert resting(running) == [("Buy", "10000", "1.10005"), ("Sell", "10000", "1.10025")]
        assert [number(order.cl_ord_id) for order in running.orders] == [1, 2, 5, 6]
        assert [number(cancel.cl_ord_id) for cancel in running.gateway.cancels] == [3, 4]
        assert running.finished() == 2


async def test_a_fill_moves_both_quotes_against_the_position() -> None:
    async with quoting() as running:
        await event(running, 1, {EUR: QUOTES})
        # The market's offer comes down to the bid, and goes up again.
        await event(running, 2, {EUR: QUOTES}, "1.09990", "1.09995")
        assert position(running) == 10_000
        assert resting(running) == [("Buy", "10000", "1.09985"), ("Sell", "10000", "1.10005")]
        assert running.orders[0].side == BUY


async def test_a_cancel_that_is_answered_by_a_fill_is_decided_again_with_the_new_position() -> None:
    async with quoting() as running:
        await event(running, 1, {EUR: QUOTES})
        answer = running.gateway._cancel

        def fill_first(cancel: orders_pb2.Cancel) -> None:
            running.gateway.set_quote(quote(2, "1.09980", "1.09990"))
            running.gateway.set_quote(quote(2, "1.10010", "1.10020"))
            running.gateway._cancel = answer  # type: ignore[method-assign]
            answer(cancel)

        running.gateway._cancel = fill_first  # type: ignore[method-assign]
        await event(running, 2, {EUR: QUOTES._replace(fair=Decimal("1.10015"))}, "1.10010", "1.10020")
        assert position(running) == 10_000
        # Ten ticks lower than without the position.
        assert resting(running) == [("Buy", "10000", "1.09995"), ("Sell", "10000", "1.10015")]


async def test_it_never_quotes_beyond_the_largest_position() -> None:
    async with quoting() as running:
        level = Decimal("1.10005")
        for sequence in range(1, 13):
            # The market falls by 50 ticks with each event, through every bid.
            bid = level - Decimal("0.00005")
            await event(running, sequence, {EUR: QUOTES._replace(fair=level)}, f"{bid}", f"{level}")
            worst = position(running) + sum(int(left) for side, left, _ in resting(running) if side == "Buy")
            assert worst <= 40_000
            level -= Decimal("0.00050")
        assert position(running) == 40_000
        assert [side for side, _, _ in resting(running)] == ["Sell"]


async def test_an_instrument_that_is_not_quoted_any_more_has_no_orders() -> None:
    async with quoting() as running:
        await event(running, 1, {EUR: QUOTES})
        await event(running, 2, {})
        assert resting(running) == []
        await event(running, 3, {EUR: QUOTES})
        assert resting(running) == BOTH


@pytest.mark.parametrize("reason", list(HoldReason))
async def test_quotes_rest_only_while_somebody_stands_behind_them(reason: HoldReason) -> None:
    async with quoting() as running:
        await event(running, 1, {EUR: QUOTES})
        await running.hold(2, reason)
        assert resting(running) == (BOTH if reason in KEEPS_QUOTES else [])
        assert running.finished() == 2
    assert {"WarmingUp", "EventNotUsed", "NoForecast"} == KEEPS_QUOTES


async def test_in_shadow_nothing_is_sent() -> None:
    async with quoting(shadow=True) as running:
        await event(running, 1, {EUR: QUOTES})
        assert (running.orders, running.finished()) == ([], 1)


async def test_a_refused_side_backs_off_and_the_other_is_quoted() -> None:
    async with quoting() as running:
        running.gateway.refuse = lambda order: (
            ("MaxPositionQuantity", "desk", "too much") if order.side == BUY else None
        )
        for sequence in (1, 2):
            await event(running, sequence, {EUR: QUOTES})
        assert resting(running) == BOTH[1:]
        assert [order.side for order in running.orders] == [BUY, SELL, BUY]
        assert running.problems() == [("OrdersRefused", 2)]
        await event(running, 3, {EUR: QUOTES})
        assert len(running.orders) == 3


async def test_while_close_only_the_position_is_reduced_and_nothing_else_is_sent() -> None:
    async with quoting() as running:
        running.gateway.positions[EUR] = Decimal(3000)
        running.gateway.drop()
        await settle()

        def close_only(order: orders_pb2.NewOrder) -> tuple[str, str, str] | None:
            reduces = order.side == SELL and Decimal(order.order_quantity) <= running.gateway.positions[EUR]
            return None if reduces else ("CloseOnly", "", "only orders that reduce")

        running.gateway.refuse = close_only
        await event(running, 1, {EUR: QUOTES})
        assert resting(running) == [("Sell", "3000", "1.10012")]
        assert [order.order_quantity for order in running.orders] == ["10000", "10000", "3000"]
        # A second later a bid is tried again; the order that reduces stays.
        await event(running, 2, {EUR: QUOTES})
        assert resting(running) == [("Sell", "3000", "1.10012")]
        assert [order.side for order in running.orders[3:]] == [BUY]


async def test_a_venue_that_is_unreachable_is_left_alone_and_the_others_are_quoted() -> None:
    async with quoting(two_venues=True) as running:
        await running.event(1, None, name=EUR_B)
        running.gateways[EUR_B.venue].refuses_logon = "it is away"
        running.gateways[EUR_B.venue].drop()
        await event(running, 1, {EUR: QUOTES, EUR_B: QUOTES})
        assert resting(running) == BOTH
        moved = QUOTES._replace(fair=Decimal("1.10015"))
        await event(running, 2, {EUR: moved, EUR_B: moved}, "1.10010", "1.10020")
        # Nothing was tried at the other one: no number is missing.
        assert [number(order.cl_ord_id) for order in running.orders] == [1, 2, 5, 6]
        assert resting(running, EUR_B.venue) == []


async def test_a_silent_feed_withdraws_the_quotes() -> None:
    async with quoting(lock_step=False, data_gap_ns=GAP_NS) as running:
        for sequence in (1, 2, 3, 4):
            await event(running, sequence, {EUR: QUOTES})
            await running.clock.advance_seconds(1)
        assert resting(running) == BOTH
        await running.clock.advance_seconds(30)
        assert resting(running) == []
        assert running.state.stand_down == "DataGap"


async def test_a_stop_cancels_both() -> None:
    async with quoting() as running:
        await event(running, 1, {EUR: QUOTES})
        await running.role.stop()
        assert resting(running) == []
