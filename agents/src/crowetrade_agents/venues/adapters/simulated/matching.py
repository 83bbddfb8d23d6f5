"""Matching against a recorded best bid and offer. Pure: quotes and orders in, order events out.

An order that crosses the quote takes the touch: it fills at the touch price, up to the quantity that the quote still
shows; what others took of the same quote is gone (a quote without a quantity fills any order). What is left of an
immediate order is cancelled. What rests fills at its own limit price as maker once a later quote reaches it. The place
in the queue is not modelled: a resting order never fills before the opposite side reaches its price.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.risk.approved import ApprovedOrder
from crowetrade_agents.risk.request import OrderRequest
from crowetrade_agents.venues.port import Accepted, Ended, Executed, OrderEvent

BPS = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class Fees:
    """Fees in basis points of notional."""

    maker_bps: Decimal = ZERO
    taker_bps: Decimal = ZERO


@dataclass(slots=True)
class _Open:
    request: OrderRequest
    order_id: str
    leaves: Decimal


@dataclass(slots=True)
class _Shown:
    book: TopOfBook
    bid_left: Decimal | None
    ask_left: Decimal | None


class MatchingEngine:
    """One account at one venue. Identifiers carry the session so that they are unique across restarts."""

    def __init__(self, fees: Fees, session: int) -> None:
        self._fees = fees
        self._session = session
        self._orders = 0
        self._executions = 0
        self._open: dict[str, _Open] = {}
        self._shown: dict[str, _Shown] = {}

    def quote(self, book: TopOfBook) -> list[OrderEvent]:
        """A new best bid and offer; returns executions of resting orders, oldest order first."""
        self._shown[book.symbol] = _Shown(book, book.bid_quantity, book.ask_quantity)
        events: list[OrderEvent] = []
        for order in [order for order in self._open.values() if order.request.symbol == book.symbol]:
            events += self._take(order, book.event_ns, maker=True)
        return events

    def submit(
        self, order: ApprovedOrder, at_ns: int, *, immediate: bool, all_or_none: bool, book: TopOfBook | None = None
    ) -> list[OrderEvent]:
        """An order reaches the venue at `at_ns`; `book` is the quote at that time when it is not the last one shown."""
        self._orders += 1
        opened = _Open(order.request, f"{self._session}-{self._orders}", order.request.quantity)
        cl_ord_id = order.request.cl_ord_id
        events: list[OrderEvent] = [Accepted(cl_ord_id, opened.order_id, at_ns)]
        shown = self._shown.get(order.request.symbol)
        if book is not None and (shown is None or book != shown.book):
            self._shown[book.symbol] = _Shown(book, book.bid_quantity, book.ask_quantity)
        self._open[cl_ord_id] = opened
        if not all_or_none or self._available(opened) >= opened.leaves:
            events += self._take(opened, at_ns, maker=False)
        if (immediate or all_or_none) and cl_ord_id in self._open:
            events += self.cancel(cl_ord_id, "ImmediateRemainder", at_ns)
        return events

    def cancel(self, cl_ord_id: str, reason: str, at_ns: int) -> list[OrderEvent]:
        """Cancels an open order; nothing when it is not open."""
        order = self._open.pop(cl_ord_id, None)
        return [Ended(cl_ord_id, order.order_id, reason, at_ns)] if order else []

    def _available(self, order: _Open) -> Decimal:
        """Quantity that the order could take of the last quote at its limit or better."""
        shown = self._shown.get(order.request.symbol)
        if shown is None:
            return ZERO
        buy, limit = order.request.buy, order.request.price
        touch = shown.book.ask_price if buy else shown.book.bid_price
        if limit is not None and (limit < touch if buy else limit > touch):
            return ZERO
        left = shown.ask_left if buy else shown.bid_left
        return order.leaves if left is None else min(left, order.leaves)

    def _take(self, order: _Open, at_ns: int, *, maker: bool) -> list[OrderEvent]:
        quantity = self._available(order)
        if quantity <= 0:
            return []
        request, shown = order.request, self._shown[order.request.symbol]
        touch = shown.book.ask_price if request.buy else shown.book.bid_price
        price = request.price if maker and request.price is not None else touch
        if request.buy and shown.ask_left is not None:
            shown.ask_left -= quantity
        if not request.buy and shown.bid_left is not None:
            shown.bid_left -= quantity
        order.leaves -= quantity
        if not order.leaves:
            del self._open[request.cl_ord_id]
        self._executions += 1
        bps = self._fees.maker_bps if maker else self._fees.taker_bps
        fee = CONTEXT.divide(CONTEXT.multiply(CONTEXT.multiply(quantity, price), bps), BPS)
        exec_id = f"{self._session}-{self._executions}"
        return [Executed(request.cl_ord_id, order.order_id, exec_id, quantity, price, fee, at_ns)]
