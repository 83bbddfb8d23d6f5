"""Decides the child order and the cancels for one instrument at one event.

What is promised: were every working order and the child to fill completely, the position would not pass the target,
nor would any order on the wrong side of it be left alone. So a resting order counts in full until the gateway reports
that it is over, and the child is only what is still missing, in whole lots, rounded toward zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.numbers import CONTEXT, ZERO, round_down, round_up, total
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.execution.own_orders import WorkingOrder
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
    # Of an instrument that the model does not quote:
    NOT_QUOTED = "NotQuoted"
    # By the execution role:
    BACKING_OFF = "BackingOff"
    SUPERSEDED = "Superseded"
    GATEWAY_UNREACHABLE = "GatewayUnreachable"


@dataclass(frozen=True, slots=True)
class Child:
    """A child order to send; `price` is None for a market order."""

    side: Side
    quantity: Decimal
    price: Decimal | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now: cancel these orders, send this child, or nothing, for this reason."""

    cancels: tuple[str, ...] = ()
    child: Child | None = None
    idle: IdleReason | None = None


_NOTHING_TO_DO = Plan(idle=IdleReason.AT_TARGET)


def plan_child(
    target: Decimal,
    position: Decimal,
    working: Sequence[WorkingOrder],
    top: TopOfBook | None,
    policy: ExecutionPolicy,
    instrument: Instrument,
    cap: Decimal | None = None,
    reduce_only: bool = False,
) -> Plan:
    """Target against position and working orders; quantities signed, in the instrument's units.

    `cap` is the largest quantity that the gateway's limits let pass, as far as that was learned; with `reduce_only`
    orders may only bring the position nearer to zero. Where the venue refuses short sales the target is zero at the
    lowest: it would refuse an order that closes and turns as a whole.
    """
    if instrument.long_only:
        target = max(target, min(position, ZERO))
    if reduce_only:
        target = max(min(target, max(position, ZERO)), min(position, ZERO))
    missing = CONTEXT.subtract(target, position)
    if not missing and not working:
        return _NOTHING_TO_DO
    cancels = tuple(order.cl_ord_id for order in working if _is_unwanted(order, missing, working, top))
    side = Side.BUY if missing > 0 else Side.SELL
    needed = round_down(CONTEXT.subtract(missing.copy_abs(), _under_way(working, side)), instrument.lot_size)
    if needed <= 0:
        idle = IdleReason.WORKING if working else IdleReason.AT_TARGET
        return Plan(cancels=cancels, idle=idle)
    if top is None:
        return Plan(cancels=cancels, idle=IdleReason.NO_QUOTE)
    if not top.is_usable:
        return Plan(cancels=cancels, idle=IdleReason.CROSSED_QUOTE)
    quantity = needed if cap is None else min(needed, round_down(cap, instrument.lot_size))
    if policy.participation_cap is not None:
        quoted = top.ask_quantity if side is Side.BUY else top.bid_quantity
        if quoted is None:
            return Plan(cancels=cancels, idle=IdleReason.NO_QUOTED_QUANTITY)
        quantity = min(quantity, round_down(CONTEXT.multiply(quoted, policy.participation_cap), instrument.lot_size))
    if quantity <= 0 or quantity < instrument.min_quantity:
        return Plan(cancels=cancels, idle=IdleReason.BELOW_MIN_QUANTITY)
    price = None if policy.style is Style.MARKET else _limit(side, top, policy, instrument)
    return Plan(cancels=cancels, child=Child(side=side, quantity=quantity, price=price))


def _under_way(working: Sequence[WorkingOrder], side: Side) -> Decimal:
    return total(order.leaves for order in working if order.side is side)


def _is_unwanted(order: WorkingOrder, missing: Decimal, working: Sequence[WorkingOrder], top: TopOfBook | None) -> bool:
    """Wrong side, too much together, or left behind by the market (it no longer reaches the opposite touch); not one
    that is being canceled or asked for already."""
    if order.cancelling or order.unknown:
        return False
    if missing * order.side.sign <= 0 or _under_way(working, order.side) > missing.copy_abs():
        return True
    if top is None or order.price is None:
        return False
    return order.price < top.ask_price if order.side is Side.BUY else order.price > top.bid_price


def _limit(side: Side, top: TopOfBook, policy: ExecutionPolicy, instrument: Instrument) -> Decimal:
    """The opposite touch moved by the offset, on the tick grid, within the offset but never short of the touch."""
    opposite = top.ask_price if side is Side.BUY else top.bid_price
    moved = CONTEXT.multiply(opposite, 1 + side.sign * CONTEXT.divide(policy.limit_offset_bps, _BPS))
    if side is Side.BUY:
        return max(round_down(moved, instrument.tick_size), round_up(opposite, instrument.tick_size))
    return min(round_up(moved, instrument.tick_size), round_down(opposite, instrument.tick_size))
