"""The plan: what is ordered and cancelled, why nothing is, and that no position passes its target."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import Side, TimeInForce
from crowetrade_agents.execution.own_orders import WorkingOrder
from crowetrade_agents.execution.plan import Child, IdleReason, Plan, plan_child
from crowetrade_agents.execution.policy import ExecutionPolicy, Style

from ..messages import EUR, EUR_USD

BUY, SELL = Side.BUY, Side.SELL
POLICY = ExecutionPolicy(
    style=Style.LIMIT,
    time_in_force=TimeInForce.IOC,
    limit_offset_bps=Decimal(1),
    participation_cap=Decimal("0.1"),
)
NO_CAP = replace(POLICY, participation_cap=None)
LONG_ONLY = replace(EUR_USD, long_only=True)
TOP = TopOfBook(EUR, Decimal("1.10000"), Decimal(500_000), Decimal("1.10010"), Decimal(200_000), 0)


def working(side: Side, leaves: int, price: str | None = "1.10010", cl_ord_id: str = "w") -> WorkingOrder:
    return WorkingOrder(
        cl_ord_id=cl_ord_id,
        instrument=EUR,
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
    top: TopOfBook | None = TOP,
    policy: ExecutionPolicy = POLICY,
    cap: int | None = None,
    reduce_only: bool = False,
    instrument: Instrument = EUR_USD,
) -> Plan:
    largest = None if cap is None else Decimal(cap)
    return plan_child(Decimal(target), Decimal(position), orders, top, policy, instrument, largest, reduce_only)


def child(side: Side, quantity: int, price: str | None) -> Child:
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
        (plan(100_000, policy=NO_CAP, cap=30_999), child(BUY, 30_000, "1.10021")),
        (plan(20_000, policy=NO_CAP, cap=30_999), child(BUY, 20_000, "1.10021")),
        (plan(-100_000, 94_000, policy=NO_CAP, reduce_only=True), child(SELL, 94_000, "1.09989")),
        (plan(100_000, -94_000, policy=NO_CAP, reduce_only=True), child(BUY, 94_000, "1.10021")),
        (plan(50_000, 94_000, policy=NO_CAP, reduce_only=True), child(SELL, 44_000, "1.09989")),
        (plan(-100_000, 94_000, policy=NO_CAP, instrument=LONG_ONLY), child(SELL, 94_000, "1.09989")),
        (
            plan(-100_000, 94_000, (working(SELL, 90_000, "1.10000"),), policy=NO_CAP, instrument=LONG_ONLY),
            child(SELL, 4_000, "1.09989"),
        ),
        (plan(0, -94_000, policy=NO_CAP, instrument=LONG_ONLY), child(BUY, 94_000, "1.10021")),
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
        "cut to what limits let pass",
        "a cap above what is needed",
        "a long position is closed, not turned around",
        "nor is a short one",
        "a part is closed",
        "a long position is closed where shorts are refused",
        "and what works already counts as sold",
        "an old short position is closed",
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
        (plan(100_000, top=None), IdleReason.NO_QUOTE),
        (plan(100_000, top=TOP._replace(bid_price=Decimal("1.2"))), IdleReason.CROSSED_QUOTE),
        (plan(100_000, top=TOP._replace(ask_quantity=None)), IdleReason.NO_QUOTED_QUANTITY),
        (plan(100_000, top=TOP._replace(ask_quantity=Decimal(9_999))), IdleReason.BELOW_MIN_QUANTITY),
        (plan(100_000, top=TOP._replace(ask_quantity=Decimal(0))), IdleReason.BELOW_MIN_QUANTITY),
        (plan(100_000, policy=NO_CAP, cap=999), IdleReason.BELOW_MIN_QUANTITY),
        (plan(100_000, 94_000, policy=NO_CAP, reduce_only=True), IdleReason.AT_TARGET),
        (plan(-100_000, policy=NO_CAP, reduce_only=True), IdleReason.AT_TARGET),
        (plan(-100_000, policy=NO_CAP, instrument=LONG_ONLY), IdleReason.AT_TARGET),
        (plan(-100_000, -94_000, policy=NO_CAP, instrument=LONG_ONLY), IdleReason.AT_TARGET),
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
        (plan(100_000, orders=(working(BUY, 10_000, "1.10009"),), top=None), ()),
        (plan(100_000, orders=(working(BUY, 10_000, None),)), ()),
        (plan(0, orders=(replace(working(BUY, 10_000), cancelling=True),)), ()),
        (plan(0, orders=(replace(working(BUY, 10_000), unknown=True),)), ()),
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
        "already being canceled",
        "of unknown fate",
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
    resting: list[tuple[Side, int]],
    bid: int,
    spread: int,
    shown: int | None,
    cap: Decimal | None,
    offset: Decimal,
) -> None:
    quoted = None if shown is None else Decimal(shown)
    top = TopOfBook(EUR, Decimal(bid) / 100_000, quoted, Decimal(bid + spread) / 100_000, quoted, 0)
    orders = tuple(working(side, lots * 1000, None, str(i)) for i, (side, lots) in enumerate(resting))
    policy = replace(POLICY, participation_cap=cap, limit_offset_bps=offset)
    result = plan(target, position, orders, top, policy)
    if result.child is None:
        return
    sign = result.child.side.sign
    missing = (target - position) * sign
    same_side = sum(order.leaves for order in orders if order.side.sign == sign)
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
    opposite = top.ask_price if sign > 0 else top.bid_price
    assert 0 <= (price - opposite) * sign <= opposite * offset / 10_000 + EUR_USD.tick_size
