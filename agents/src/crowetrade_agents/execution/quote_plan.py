"""Decides the two quotes of a strategy in one instrument: which resting orders are canceled, and which are sent.

On each side there is one limit order or none, post-only. It rests where TargetQuotes says, on the tick grid away from
the reservation price, and a tick or more short of the opposite touch, so that it would not trade at once.

What is promised:
- Were every working order to fill completely, the position would not pass the largest one, whatever is canceled or
  asked for meanwhile: both count in full until the gateway reports that they are over.
- An order stays, and keeps its place in the queue, until the price to quote has moved by `requote_ticks` or more. So a
  market that stands still causes no orders.
- Cancel first, then replace: a side is quoted again when nothing works on it any more, and nothing is sent while there
  is something to cancel. So no order ever meets one of our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from crowetrade_agents.domain.flow import TargetQuotes
from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.numbers import CONTEXT, ZERO, round_down, round_up, total
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.execution.own_orders import WorkingOrder
from crowetrade_agents.execution.plan import Child, IdleReason


@dataclass(frozen=True, slots=True)
class QuotePlan:
    """What to do now: cancel these orders or send these children, never both; or nothing, for this reason."""

    cancels: tuple[str, ...] = ()
    children: tuple[Child, ...] = ()
    idle: IdleReason | None = None


def plan_quotes(
    quotes: TargetQuotes | None,
    position: Decimal,
    working: Sequence[WorkingOrder],
    top: TopOfBook | None,
    requote_ticks: int,
    instrument: Instrument,
    cap: Decimal | None = None,
    reduce_only: bool = False,
) -> QuotePlan:
    """Quotes against position, working orders and market; None withdraws what rests, and so does a market without a
    quote or with a crossed one. Quantities in the instrument's units, `position` signed.

    `cap` is the largest quantity that the gateway's limits let pass, as far as that was learned; with `reduce_only`
    orders may only bring the position nearer to zero. Where the venue refuses short sales, sells may only reduce.
    """
    if quotes is None:
        return _withdrawn(working, IdleReason.NOT_QUOTED)
    if top is None:
        return _withdrawn(working, IdleReason.NO_QUOTE)
    if not top.is_usable:
        return _withdrawn(working, IdleReason.CROSSED_QUOTE)
    reservation = reservation_price(quotes, position)
    cancels: list[str] = []
    children: list[Child] = []
    for side in Side:
        price = _price(side, quotes, reservation, top, instrument.tick_size)
        reduces = reduce_only or (instrument.long_only and side is Side.SELL)
        room = _room(side, quotes.max_position, position, reduces)
        ours = [order for order in working if order.side is side]
        if ours:
            kept = _kept(ours, price, room, reservation, CONTEXT.multiply(instrument.tick_size, Decimal(requote_ticks)))
            cancels.extend(order.cl_ord_id for order in ours if order is not kept and _is_cancelable(order))
            continue
        quantity = round_down(min(quotes.quantity, room, room if cap is None else cap), instrument.lot_size)
        if price > 0 and quantity > 0 and quantity >= instrument.min_quantity and not _meets(side, price, working):
            children.append(Child(side, quantity, price))
    if cancels:
        return QuotePlan(cancels=tuple(cancels))
    if children:
        return QuotePlan(children=tuple(children))
    return QuotePlan(idle=IdleReason.WORKING if working else IdleReason.BELOW_MIN_QUANTITY)


def reservation_price(quotes: TargetQuotes, position: Decimal) -> Decimal:
    """The price around which to quote with that position, in quote currency; `fair` where no position may be held."""
    if not quotes.max_position:
        return quotes.fair
    held = CONTEXT.divide(position, quotes.max_position)
    return CONTEXT.subtract(quotes.fair, CONTEXT.multiply(quotes.skew, held))


def _withdrawn(working: Sequence[WorkingOrder], idle: IdleReason) -> QuotePlan:
    return QuotePlan(cancels=tuple(order.cl_ord_id for order in working if _is_cancelable(order)), idle=idle)


def _is_cancelable(order: WorkingOrder) -> bool:
    """Not one that is being canceled or asked for already."""
    return not (order.cancelling or order.unknown)


def _price(side: Side, quotes: TargetQuotes, reservation: Decimal, top: TopOfBook, tick: Decimal) -> Decimal:
    """Rounded away from the reservation price, and short of the opposite touch; may not be positive."""
    if side is Side.BUY:
        below_ask = CONTEXT.subtract(round_up(top.ask_price, tick), tick)
        return min(round_down(CONTEXT.subtract(reservation, quotes.half_spread), tick), below_ask)
    above_bid = CONTEXT.add(round_down(top.bid_price, tick), tick)
    return max(round_up(CONTEXT.add(reservation, quotes.half_spread), tick), above_bid)


def _room(side: Side, max_position: Decimal, position: Decimal, reduce_only: bool) -> Decimal:
    """By how much orders of the side may move the position; may be negative."""
    held = CONTEXT.multiply(position, side.sign)
    return held.copy_negate() if reduce_only else CONTEXT.subtract(max_position, held)


def _kept(
    ours: Sequence[WorkingOrder], price: Decimal, room: Decimal, reservation: Decimal, requote: Decimal
) -> WorkingOrder | None:
    """The oldest order of a side that may stay: near its price, on its own side of the reservation price, and all of
    the side's orders within the room."""
    if total(order.leaves for order in ours) > room:
        return None
    for order in ours:
        if order.price is None or not _is_cancelable(order):
            continue
        away = CONTEXT.multiply(CONTEXT.subtract(reservation, order.price), order.side.sign)
        if away > ZERO and CONTEXT.subtract(order.price, price).copy_abs() < requote:
            return order
    return None


def _meets(side: Side, price: Decimal, working: Sequence[WorkingOrder]) -> bool:
    """Whether the order could trade with one of our own that is still to end."""
    opposite = [order.price for order in working if order.side is not side]
    return any(own is None or (price >= own if side is Side.BUY else price <= own) for own in opposite)
