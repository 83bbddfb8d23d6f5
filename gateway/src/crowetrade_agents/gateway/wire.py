"""Values of the domain to and from the journal's messages."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from sys import intern
from typing import TypedDict

from crowetrade.bus.v1 import journal_pb2, orders_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.market import Mark
from crowetrade_agents.domain.numbers import ZERO, parse, parse_optional, render
from crowetrade_agents.domain.orders import OrderTerms, OrdType, TimeInForce
from crowetrade_agents.domain.position import Position
from crowetrade_agents.domain.wire import (
    ORD_STATUS_FROM_WIRE,
    ORD_STATUS_TO_WIRE,
    ORD_TYPE_FROM_WIRE,
    ORD_TYPE_TO_WIRE,
    SIDE_FROM_WIRE,
    SIDE_TO_WIRE,
    TIME_IN_FORCE_FROM_WIRE,
    TIME_IN_FORCE_TO_WIRE,
)
from crowetrade_agents.gateway.commands import ReplaceOrder
from crowetrade_agents.gateway.order import Counters, Execution, Key, LastReject, Order, PendingCancel, PendingReplace
from crowetrade_agents.risk.reasons import Reason

SuspenseBody = journal_pb2.OrderExecuted | journal_pb2.ExecutionBusted
CANCEL_REQUESTED = str(Reason.CANCEL_REQUESTED)


@lru_cache(maxsize=4096)
def instrument_of(venue: str, symbol: str) -> InstrumentId:
    """The instrument of a journaled symbol. Orders share it, and their strategy's name: they are kept once, and tables
    that are keyed by them find the very same object."""
    return InstrumentId(venue, symbol)


def submitted(terms: OrderTerms, origin_sequence: int = 0, mark: Mark | None = None) -> journal_pb2.OrderSubmitted:
    """An order as it is journaled, with the quote that the gate judged it by."""
    return journal_pb2.OrderSubmitted(
        cl_ord_id=terms.cl_ord_id,
        strategy=terms.strategy,
        symbol=terms.instrument.symbol,
        side=SIDE_TO_WIRE[terms.side],
        order_quantity=render(terms.quantity),
        ord_type=ORD_TYPE_TO_WIRE[terms.ord_type],
        price="" if terms.price is None else render(terms.price),
        time_in_force=TIME_IN_FORCE_TO_WIRE[terms.time_in_force],
        expire_unix_ns=terms.expire_ns or 0,
        post_only=terms.post_only,
        closing=terms.closing,
        origin_sequence=origin_sequence,
        **quote(mark),
    )


def replace_submitted(command: ReplaceOrder, orig_cl_ord_id: str, mark: Mark | None) -> journal_pb2.ReplaceSubmitted:
    """A cancel/replace as it is journaled, with the quote that the gate judged it by."""
    return journal_pb2.ReplaceSubmitted(
        cl_ord_id=command.cl_ord_id,
        orig_cl_ord_id=orig_cl_ord_id,
        order_quantity=render(command.quantity),
        price=render(command.price),
        origin_sequence=command.origin_sequence,
        **quote(mark),
    )


class Quote(TypedDict, total=False):
    """The fields of a journaled order that hold a quote."""

    bid_price: str
    ask_price: str
    quote_unix_ns: int


def quote(mark: Mark | None) -> Quote:
    """A quote as it is journaled; nothing without one."""
    if mark is None:
        return {}
    book = mark.book
    return {
        "bid_price": render(book.bid_price),
        "ask_price": render(book.ask_price),
        "quote_unix_ns": mark.received_ns,
    }


def terms_of(venue: str, body: journal_pb2.OrderSubmitted) -> OrderTerms:
    """The terms that were journaled."""
    return OrderTerms(
        cl_ord_id=body.cl_ord_id,
        strategy=intern(body.strategy),
        instrument=instrument_of(venue, body.symbol),
        side=SIDE_FROM_WIRE[body.side],
        quantity=parse(body.order_quantity),
        ord_type=ORD_TYPE_FROM_WIRE[body.ord_type],
        price=parse_optional(body.price),
        time_in_force=TIME_IN_FORCE_FROM_WIRE[body.time_in_force],
        expire_ns=body.expire_unix_ns or None,
        post_only=body.post_only,
        closing=body.closing,
    )


def suspense_terms(venue: str, body: SuspenseBody) -> OrderTerms:
    """What stands for an order that nobody knows."""
    return OrderTerms(
        cl_ord_id=body.cl_ord_id,
        strategy="",
        instrument=instrument_of(venue, body.symbol),
        side=SIDE_FROM_WIRE[body.side],
        quantity=ZERO,
        ord_type=OrdType.MARKET,
        price=None,
        time_in_force=TimeInForce.IOC,
    )


def booked_order(order: Order) -> journal_pb2.BookedOrder:
    """An order in a snapshot."""
    message = journal_pb2.BookedOrder(
        order=submitted(order.terms),
        order_id=order.order_id,
        ord_status=ORD_STATUS_TO_WIRE[order.base],
        cum_quantity=render(order.cum),
        busted_quantity=render(order.busted) if order.busted else "",
        fills=[
            orders_pb2.Fill(
                exec_id=exec_id,
                last_quantity="" if execution.busted else render(execution.quantity),
                last_price=render(execution.price),
                fee=render(execution.fee),
            )
            for exec_id, execution in order.executions.items()
        ],
        former_cl_ord_ids=order.former,
        reason=order.reason,
        text=order.text,
        changed_unix_ns=order.changed_ns,
        unknown=order.unknown,
    )
    if order.cancel is not None:
        message.cancel.cl_ord_id, message.cancel.reason = order.cancel.cl_ord_id, order.cancel.reason
    if order.replace is not None:
        message.replace.cl_ord_id = order.replace.cl_ord_id
        message.replace.order_quantity = render(order.replace.quantity)
        message.replace.price = render(order.replace.price)
    return message


def order_of(venue: str, booked: journal_pb2.BookedOrder) -> Order:
    """An order out of a snapshot. What was pending counts as pending since the order last changed."""
    since = booked.changed_unix_ns
    order = Order(
        terms_of(venue, booked.order),
        base=ORD_STATUS_FROM_WIRE[booked.ord_status],
        order_id=booked.order_id,
        cum=Decimal(booked.cum_quantity),
        busted=Decimal(booked.busted_quantity or 0),
        executions={fill.exec_id: _execution(fill) for fill in booked.fills},
        former=tuple(booked.former_cl_ord_ids),
        unknown=booked.unknown,
        reason=booked.reason,
        text=booked.text,
        changed_ns=since,
    )
    if booked.HasField("cancel"):
        order.cancel = PendingCancel(booked.cancel.cl_ord_id, booked.cancel.reason, since)
    if booked.HasField("replace"):
        wanted = booked.replace
        order.replace = PendingReplace(wanted.cl_ord_id, parse(wanted.order_quantity), parse(wanted.price), since)
    return order


def _execution(fill: orders_pb2.Fill) -> Execution:
    quantity = Decimal(fill.last_quantity or 0)
    return Execution(quantity, Decimal(fill.last_price), Decimal(fill.fee), busted=not fill.last_quantity)


def booked_position(key: Key, position: Position) -> journal_pb2.BookedPosition:
    """A position in a snapshot; exact, so it may have more digits than a person may write."""
    return journal_pb2.BookedPosition(
        strategy=key[0],
        symbol=key[1].symbol,
        quantity=render(position.quantity),
        average_price=render(position.average_price),
        realized=render(position.realized),
        fees=render(position.fees),
    )


def position_of(item: journal_pb2.BookedPosition) -> Position:
    """A position out of a snapshot."""
    return Position(Decimal(item.quantity), Decimal(item.average_price), Decimal(item.realized), Decimal(item.fees))


def booked_counters(strategy: str, counters: Counters) -> journal_pb2.BookedCounters:
    """Counters in a snapshot."""
    last = counters.last_reject
    return journal_pb2.BookedCounters(
        strategy=strategy,
        sent=counters.sent,
        filled=counters.filled,
        rejected=counters.rejected,
        last_reject=journal_pb2.RequestsRefused(
            strategy=strategy, reason=last.reason, risk_limit=last.risk_limit, count=last.count, text=last.text
        ),
        last_reject_since_unix_ns=last.since_ns,
        last_reject_unix_ns=last.last_ns,
    )


def counters_of(item: journal_pb2.BookedCounters) -> Counters:
    """Counters out of a snapshot."""
    last = item.last_reject
    reject = LastReject(
        last.reason, last.risk_limit, last.text, last.count, item.last_reject_since_unix_ns, item.last_reject_unix_ns
    )
    return Counters(item.sent, item.filled, item.rejected, reject)
