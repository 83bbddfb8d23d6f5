"""The plan: what is ordered and cancelled, why nothing is, and that no position passes its target."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade_agents.execution.book import WorkingOrder
from crowetrade_agents.execution.plan import Child, IdleReason, Plan, Touch, plan_child
from crowetrade_agents.execution.policy import ExecutionPolicy, Style

from ..messages import EUR, EUR_USD

BUY, SELL = market_data_pb2.SIDE_BUY, market_data_pb2.SIDE_SELL
POLICY = ExecutionPolicy(
    style=Style.LIMIT,
    time_in_force=orders_pb2.TIME_IN_FORCE_IOC,
    limit_offset_bps=Decimal(1),
    participation_cap=Decimal("0.1"),
)
NO_CAP = replace(POLICY, participation_cap=None)
TOUCH = Touch(Decimal("1.10000"), Decimal("1.10010"), Decimal(500_000), Decimal(200_000))


def working(
    side: market_data_pb2.Side.ValueType, leaves: int, price: str | None = "1.10010", cl_ord_id: str = "w"
) -> WorkingOrder:
    return WorkingOrder(
        cl_ord_id=cl_ord_id,
        symbol=EUR,
        side=side,
        price=None if price is None else Decimal(price),
        leaves=Decimal(leaves),
        cumulated=Decimal(0),
        immediate=False,
        accepted=True,
    )


def plan(
    target: int,
    position: int = 0,
    orders: tuple[WorkingOrder, ...] = (),
    touch: Touch | None = TOUCH,
    policy: ExecutionPolicy = POLICY,
) -> Plan:
    return plan_child(Decimal(target), Decimal(position), orders, touch, policy, EUR_USD)


def child(side: market_data_pb2.Side.ValueType, quantity: int, price: str | None) -> Child:
    return Child(side, Decimal(quantity), None if price is None else Decimal(price))


@pytest.mark.parametrize(
    ("given_plan", "expected"),
    [
        # A tenth of the 200000 offered; one basis point above the offer, inside it on the tick grid.
        (plan(100_000), child(BUY, 20_000, "1.10021")),
        (plan(-100_000), child(SELL, 50_000, "1.09989")),
        (plan(0, position=12_000), child(SELL, 12_000, "1.09989")),
        (plan(15_000, position=10_000), child(BUY, 5_000, "1.10021")),
        (plan(100_000, policy=NO_CAP), child(BUY, 100_000, "1.10021")),
        (plan(100_000, policy=replace(NO_CAP, style=Style.MARKET)), child(BUY, 100_000, None)),
        (plan(5_000, policy=replace(POLICY, limit_offset_bps=Decimal(0))), child(BUY, 5_000, "1.10010")),
        (plan(100_000, orders=(working(BUY, 90_000),)), child(BUY, 10_000, "1.10021")),
    ],
    ids=[
        "buys what the cap allows",
        "sells below the bid",
        "closes",
        "adds what is missing",
        "no cap",
        "market order",
        "at the touch",
        "counts what works",
    ],
)
def test_a_child_is_ordered(given_plan: Plan, expected: Child) -> None:
    assert given_plan == Plan(child=expected)


@pytest.mark.parametrize(
    ("given_plan", "reason"),
    [
        (plan(10_000, position=10_000), IdleReason.AT_TARGET),
        (plan(10_000, position=9_500), IdleReason.AT_TARGET),
        (plan(100_000, orders=(working(BUY, 100_000),)), IdleReason.WORKING),
        (plan(100_000, touch=None), IdleReason.NO_QUOTE),
        (plan(100_000, touch=replace(TOUCH, bid=Decimal("1.2"))), IdleReason.CROSSED_QUOTE),
        (plan(100_000, touch=replace(TOUCH, ask_quantity=None)), IdleReason.NO_QUOTED_QUANTITY),
        (plan(100_000, touch=replace(TOUCH, ask_quantity=Decimal(9_999))), IdleReason.BELOW_MIN_QUANTITY),
        (plan(100_000, touch=replace(TOUCH, ask_quantity=Decimal(0))), IdleReason.BELOW_MIN_QUANTITY),
    ],
)
def test_nothing_is_ordered_for_a_reason(given_plan: Plan, reason: IdleReason) -> None:
    assert given_plan.child is None
    assert given_plan.idle == reason


@pytest.mark.parametrize(
    ("given_plan", "cancels"),
    [
        (plan(100_000, orders=(working(BUY, 10_000),)), ()),
        (plan(-100_000, orders=(working(BUY, 10_000),)), ("w",)),
        (plan(0, orders=(working(SELL, 10_000),)), ("w",)),
        (plan(5_000, orders=(working(BUY, 10_000),)), ("w",)),
        (plan(100_000, orders=(working(BUY, 10_000, "1.10009"),)), ("w",)),
        (plan(-100_000, orders=(working(SELL, 10_000, "1.10001"),)), ("w",)),
        (plan(100_000, orders=(working(BUY, 10_000, "1.10009"),), touch=None), ()),
        (plan(100_000, orders=(working(BUY, 10_000, None),)), ()),
        (plan(0, orders=(replace(working(BUY, 10_000), cancelling=True),)), ()),
    ],
    ids=[
        "wanted",
        "wrong side",
        "at target",
        "too much",
        "buy left behind",
        "sell left behind",
        "no quote to compare",
        "market order",
        "already being cancelled",
    ],
)
def test_a_resting_order_that_is_not_wanted_is_cancelled(given_plan: Plan, cancels: tuple[str, ...]) -> None:
    assert given_plan.cancels == cancels


QUANTITIES = st.integers(-500, 500).map(lambda lots: lots * 1000)


@given(
    target=QUANTITIES,
    position=QUANTITIES,
    resting=st.lists(st.tuples(st.sampled_from([BUY, SELL]), st.integers(1, 300)), max_size=4),
    bid=st.integers(100_000, 120_000),
    spread=st.integers(0, 50),
    shown=st.none() | st.integers(0, 10**6),
    cap=st.none() | st.decimals("0.01", "1", places=2),
    offset=st.decimals("0", "100", places=1),
)
def test_no_fills_take_the_position_past_the_target(
    target: int,
    position: int,
    resting: list[tuple[market_data_pb2.Side.ValueType, int]],
    bid: int,
    spread: int,
    shown: int | None,
    cap: Decimal | None,
    offset: Decimal,
) -> None:
    quoted = None if shown is None else Decimal(shown)
    touch = Touch(Decimal(bid) / 100_000, Decimal(bid + spread) / 100_000, quoted, quoted)
    orders = tuple(working(side, lots * 1000, None, str(i)) for i, (side, lots) in enumerate(resting))
    policy = replace(POLICY, participation_cap=cap, limit_offset_bps=offset)
    result = plan(target, position, orders, touch, policy)
    if result.child is None:
        return
    sign = 1 if result.child.side == BUY else -1
    missing = (target - position) * sign
    same_side = sum(order.leaves for order in orders if order.sign == sign)
    assert 0 < result.child.quantity <= missing - same_side
    assert result.child.quantity % EUR_USD.lot_size == 0
    assert result.child.quantity >= EUR_USD.min_quantity
    if cap is not None:
        assert quoted is not None
        assert result.child.quantity <= quoted * cap
    price = result.child.price
    assert price is not None
    assert price % EUR_USD.tick_size == 0
    # It reaches the touch and, but for one tick of rounding, goes no further than the offset.
    opposite = touch.ask if sign > 0 else touch.bid
    assert 0 <= (price - opposite) * sign <= opposite * offset / 10_000 + EUR_USD.tick_size
