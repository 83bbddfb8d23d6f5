"""Decides the child order and the cancels for one instrument at one event.

What is promised: were every working order and the child to fill completely, the position would not pass the target,
nor would any order on the wrong side of it be left alone. So a resting order counts in full until the gateway says that
it is gone, and the child is only what is still missing, in whole lots, rounded toward zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from crowetrade.bus.v1 import market_data_pb2
from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.numbers import round_down, round_up
from crowetrade_agents.execution.book import WorkingOrder
from crowetrade_agents.execution.policy import ExecutionPolicy, Style

_BPS = Decimal(10_000)


class IdleReason(StrEnum):
    """Why no child order is sent though there is a target; CamelCase for metrics and logs."""

    AT_TARGET = "AtTarget"
    WORKING = "OrdersWorking"
    NO_QUOTE = "NoQuote"
    CROSSED_QUOTE = "CrossedQuote"
    NO_QUOTED_QUANTITY = "NoQuotedQuantity"
    BELOW_MIN_QUANTITY = "BelowMinQuantity"


@dataclass(frozen=True, slots=True)
class Touch:
    """Best bid and offer that the decision sees; None for a quantity that the source does not tell."""

    bid: Decimal
    ask: Decimal
    bid_quantity: Decimal | None
    ask_quantity: Decimal | None


@dataclass(frozen=True, slots=True)
class Child:
    """A child order to send; `price` is None for a market order."""

    side: market_data_pb2.Side.ValueType
    quantity: Decimal
    price: Decimal | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now: cancel these orders, send this child, or nothing, for this reason."""

    cancels: tuple[str, ...] = ()
    child: Child | None = None
    idle: IdleReason | None = None


def plan_child(
    target: Decimal,
    position: Decimal,
    working: Sequence[WorkingOrder],
    touch: Touch | None,
    policy: ExecutionPolicy,
    grid: Instrument,
) -> Plan:
    """Target against position and working orders; quantities signed, in units of the base asset."""
    missing = target - position
    cancels = tuple(
        order.cl_ord_id for order in working if not order.cancelling and _is_unwanted(order, missing, working, touch)
    )
    sign = 1 if missing > 0 else -1
    under_way = sum((order.leaves for order in working if order.sign == sign), Decimal(0))
    needed = round_down(abs(missing) - under_way, grid.lot_size)
    if needed <= 0:
        idle = IdleReason.WORKING if working else IdleReason.AT_TARGET
        return Plan(cancels=cancels, idle=idle)
    if touch is None:
        return Plan(cancels=cancels, idle=IdleReason.NO_QUOTE)
    if touch.bid > touch.ask:
        return Plan(cancels=cancels, idle=IdleReason.CROSSED_QUOTE)
    quantity = needed
    if policy.participation_cap is not None:
        quoted = touch.ask_quantity if sign > 0 else touch.bid_quantity
        if quoted is None:
            return Plan(cancels=cancels, idle=IdleReason.NO_QUOTED_QUANTITY)
        quantity = min(needed, round_down(quoted * policy.participation_cap, grid.lot_size))
    if quantity <= 0 or quantity < grid.min_quantity:
        return Plan(cancels=cancels, idle=IdleReason.BELOW_MIN_QUANTITY)
    side = market_data_pb2.SIDE_BUY if sign > 0 else market_data_pb2.SIDE_SELL
    return Plan(cancels=cancels, child=Child(side=side, quantity=quantity, price=_limit(sign, touch, policy, grid)))


def _is_unwanted(order: WorkingOrder, missing: Decimal, working: Sequence[WorkingOrder], touch: Touch | None) -> bool:
    """Wrong side, too much together, or left behind by the market (it no longer reaches the opposite touch)."""
    if missing * order.sign <= 0:
        return True
    if sum((other.leaves for other in working if other.sign == order.sign), Decimal(0)) > abs(missing):
        return True
    if touch is None or order.price is None:
        return False
    return order.price < touch.ask if order.sign > 0 else order.price > touch.bid


def _limit(sign: int, touch: Touch, policy: ExecutionPolicy, grid: Instrument) -> Decimal | None:
    """The opposite touch moved by the offset, on the tick grid, within the offset but never short of the touch."""
    if policy.style is Style.MARKET:
        return None
    opposite = touch.ask if sign > 0 else touch.bid
    moved = opposite * (1 + sign * policy.limit_offset_bps / _BPS)
    if sign > 0:
        return max(round_down(moved, grid.tick_size), round_up(opposite, grid.tick_size))
    return min(round_up(moved, grid.tick_size), round_down(opposite, grid.tick_size))
