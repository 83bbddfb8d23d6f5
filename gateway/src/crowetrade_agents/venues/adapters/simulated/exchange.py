"""A deterministic exchange for one account, on virtual venue time. Pure: requests, quotes and times in, events out.

A request takes effect `order_latency_ns` after it was sent; what follows is returned by `advance` or `on_quote` as port
events, in order. Of two things at the same nanosecond, an expiry comes first, then a charge, then a quote, then a
request.

Orders trade with the recorded market alone, never with each other. An order that reaches the touch when it arrives
takes it as taker, up to the quantity that the quote still shows (offers.py); with recorded depth it walks the levels
(depth.py). What rests fills at its own limit price as maker when a later quote reaches it, up to the quantity shown,
oldest order first. With recorded depth and a queue model (queue.py) it also fills when others trade at its price or
through it: at its price once what stood ahead of it is gone, and all orders together up to what was traded. Without one
a resting order never fills before the opposite side reaches its price.

Semantics as FIX 4.4: DAY ends with the venue's session, or between two with the next one (calendar.py), and is refused
where the calendar does not know that end; GTD ends at its time, GTC never; IOC and market orders
take what is there and the rest is canceled; FOK takes all or nothing; a post-only order that would trade at once is
canceled. Fees: costs.py. A replacement names the whole quantity, keeps what was
executed, keeps its priority only when price and quantity do not go up in demand (same price, quantity not larger). An
order is found by any ClOrdID that it ever had, or by its OrderID.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.numbers import CONTEXT, ZERO, is_multiple, render, round_down, total
from crowetrade_agents.domain.orders import OrderTerms, OrdStatus, OrdType, Side, TimeInForce
from crowetrade_agents.risk.calendars import AlwaysOpen
from crowetrade_agents.venues.adapters.simulated.costs import ChargeSchedule, FeeSchedule, share
from crowetrade_agents.venues.adapters.simulated.depth import Depth, DepthUpdate
from crowetrade_agents.venues.adapters.simulated.faults import FaultKind
from crowetrade_agents.venues.adapters.simulated.ledger import RETAIN, Ledger, VenueOrder
from crowetrade_agents.venues.adapters.simulated.memory import Memory
from crowetrade_agents.venues.adapters.simulated.offers import Offers
from crowetrade_agents.venues.adapters.simulated.queue import Place, QueueModel, after_trade, after_update
from crowetrade_agents.venues.adapters.simulated.requests import Cancel, NewOrder, Query, Replace, Request
from crowetrade_agents.venues.adapters.simulated.spec import NO_FEES, Fees, ShortSelling
from crowetrade_agents.venues.calendar import Calendar
from crowetrade_agents.venues.port import (
    DUPLICATE_CL_ORD_ID,
    Accepted,
    Busted,
    Charged,
    Ended,
    Executed,
    OrderEvent,
    OrderState,
    Replaced,
    RequestRejected,
    TradePrinted,
)

EXPIRIES_KEPT = 1_000
"""Expiries of orders that are over are swept out when there are more than this, and more than twice the open orders."""

_NO_TRADING_DAY = "the calendar of this venue (spec.calendar) does not know when the trading day ends"


class VenueReason(StrEnum):
    """Reasons that the exchange gives."""

    DUPLICATE = DUPLICATE_CL_ORD_ID
    UNKNOWN_INSTRUMENT = "UnknownInstrument"
    INVALID_QUANTITY = "InvalidQuantity"
    INVALID_PRICE = "InvalidPrice"
    INVALID_EXPIRY = "InvalidExpireTime"
    NO_TRADING_DAY = "TradingDayUnknown"
    SHORT_SALE = "ShortSaleForbidden"
    NOT_SUPPORTED = "NotSupported"
    UNKNOWN_ORDER = "UnknownOrder"
    TOO_LATE = "TooLate"
    IMMEDIATE_REMAINDER = "ImmediateRemainder"
    POST_ONLY = "PostOnlyWouldTrade"
    CANCEL_REQUESTED = "CancelRequested"
    END_OF_SESSION = "EndOfSession"
    EXPIRE_TIME = "ExpireTime"
    TRADING_ENDED = "TradingEnded"
    REFUSED = "VenueRefused"
    """By a fault."""
    FORGOTTEN = "Forgotten"
    """By a fault; stands in the ledger alone."""


@dataclass(frozen=True, slots=True)
class _Arrival:
    at_ns: int
    request: Request
    fault: FaultKind | None


class Exchange:
    """Times are venue time, nanoseconds since the Unix epoch. `listener` is called with everything that arrives and
    everything that the exchange reports, before any of it can be lost on the way."""

    def __init__(
        self,
        instruments: Mapping[InstrumentId, Instrument],
        fees: Fees = NO_FEES,
        *,
        order_latency_ns: int = 0,
        calendar: Calendar | None = None,
        queue_model: QueueModel = QueueModel.NONE,
        short_selling: ShortSelling = ShortSelling.ALLOWED,
        charges: Sequence[ChargeSchedule] = (),
        retain: int | None = RETAIN,
    ) -> None:
        self.ledger = Ledger(retain)
        self.id_prefix = ""
        self.listener: Callable[[int, Request | OrderEvent], None] | None = None
        self.now_ns = 0
        self._instruments = instruments
        self._fees = FeeSchedule(fees)
        self._latency_ns = order_latency_ns
        self._calendar = calendar or AlwaysOpen()
        self._queue_model = queue_model
        self._short_selling = short_selling
        self._charges = charges
        self._charge_ns: int | None = None
        self._offers: dict[InstrumentId, Offers | Depth] = {}
        self._arrivals: deque[_Arrival] = deque()
        self._expiries: list[tuple[int, int, VenueOrder]] = []
        self._expiry_serial = 0
        self._orders = 0
        self._executions = 0
        self._ended = False
        self._out: list[OrderEvent] = []

    # What comes in

    def start(self, at_ns: int) -> None:
        """Venue time begins here, before anything was sent."""
        self.now_ns = at_ns
        # Its table is loaded now, not while the first order waits.
        self._calendar.session_end_ns(at_ns)
        self._plan_charges()

    def remember(self, memory: Memory) -> None:
        """Goes on from what an earlier process left, before anything was sent; identifiers are not given out again. The
        listener is called with the ends of immediate orders that were cut off, and of DAY orders whose end the calendar
        does not know."""
        self.ledger = memory.ledger
        self.now_ns, self._orders, self._executions = memory.now_ns, memory.orders, memory.executions
        for executed in self.ledger.executions.values():
            notional = self._notional(executed.instrument, executed.quantity, executed.price)
            self._fees.count(self._instruments[executed.instrument].currency, notional, executed.at_ns)
        for order in self.ledger.open_orders():
            if order.terms.time_in_force.is_immediate or order.terms.ord_type is OrdType.MARKET:
                self._end(order, OrdStatus.CANCELED, VenueReason.IMMEDIATE_REMAINDER, "")
            elif not self._set_expiry(order, memory.taken_ns[order.order_id]):
                self._end(order, OrdStatus.CANCELED, VenueReason.NO_TRADING_DAY, _NO_TRADING_DAY)
        self._drained()

    def send(self, request: Request, at_ns: int, fault: FaultKind | None = None) -> None:
        """A request leaves the gateway at `at_ns`; REJECT, FORGET and LATE_FILL strike it when it arrives."""
        last = self._arrivals[-1].at_ns if self._arrivals else self.now_ns
        self._arrivals.append(_Arrival(max(at_ns + self._latency_ns, last), request, fault))

    def on_quote(self, book: TopOfBook, depth: DepthUpdate | None = None) -> list[OrderEvent]:
        """The market moves at `book.event_ns`, with recorded depth by `depth`; what was due before comes first."""
        self._run(book.event_ns, inclusive=False)
        offers = self._offers[book.instrument] = Offers(book) if depth is None else self._depth(book, depth)
        resting = self.ledger.open.get(book.instrument)
        for order in list(resting.values()) if resting else ():
            self._match(order, offers, maker=True)
        return self._drained()

    def _depth(self, book: TopOfBook, update: DepthUpdate) -> Depth:
        found = self._offers.get(book.instrument)
        depth = found if isinstance(found, Depth) else Depth(update.scale)
        queued = [(order, *depth.place(order.terms)) for order in self._queued(book.instrument)]
        before = [ladder.standing(key) for _, ladder, key in queued]
        depth.show(book, update)
        for (order, _, key), had in zip(queued, before, strict=True):
            now = depth.resting(order.terms.side).queue(key)
            known = order.ahead is not None and now is not None
            order.ahead = after_update(self._queue_model, order.ahead or 0, had, now or 0) if known else now
        return depth

    def on_trade(self, trade: TradePrinted) -> list[OrderEvent]:
        """Others trade at `trade.at_ns`; what was due before comes first."""
        self._run(trade.at_ns, inclusive=False)
        depth = self._offers.get(trade.instrument)
        if isinstance(depth, Depth):
            aggressor = trade.aggressor or depth.aggressor(trade.price)
            depth.trade(aggressor, trade.price, trade.quantity)
            self._trade_with_queued(depth, aggressor.opposite, trade)
        return self._drained()

    def _queued(self, instrument: InstrumentId) -> list[VenueOrder]:
        """Orders that stand in the market's queues, oldest first."""
        return [] if self._queue_model is QueueModel.NONE else list(self.ledger.open.get(instrument, {}).values())

    def _trade_with_queued(self, depth: Depth, side: Side, trade: TradePrinted) -> None:
        """Best price first. At a better price than the trade's nobody was left ahead."""
        price, left = depth.scale.key(side, trade.price), depth.scale.steps(trade.quantity)
        levels: dict[int, list[VenueOrder]] = {}
        for order in self._queued(trade.instrument):
            key = depth.place(order.terms)[1]
            if order.terms.side is side and (key < price or (key == price and order.ahead is not None)):
                levels.setdefault(key, []).append(order)
        for key in sorted(levels):
            orders = levels[key]
            places = [
                Place(0 if key < price else order.ahead or 0, depth.scale.steps(order.leaves)) for order in orders
            ]
            for order, place, then in zip(orders, places, after_trade(places, left), strict=True):
                order.ahead = then.ahead
                filled = place.leaves - then.leaves
                left -= filled
                if filled and order.terms.price is not None:
                    self._emit(self._execute(order, depth.scale.quantity(filled), order.terms.price, maker=True))

    def advance(self, to_ns: int) -> list[OrderEvent]:
        """Time passes up to and including `to_ns`."""
        self._run(to_ns, inclusive=True)
        return self._drained()

    def next_ns(self) -> int | None:
        """When something happens that needs no quote: a request arrives, an order expires, positions are charged."""
        while self._expiries and self._expiries[0][2].status.is_final:
            heapq.heappop(self._expiries)
        times = [self._arrivals[0].at_ns] if self._arrivals else []
        if self._expiries:
            times.append(self._expiries[0][0])
        if self._charge_ns is not None:
            times.append(self._charge_ns)
        return max(min(times), self.now_ns) if times else None

    def drop_arrivals(self) -> None:
        """What is on its way is lost."""
        self._arrivals.clear()

    def end_trading(self) -> None:
        """Nothing trades or is charged any more: orders and replacements are refused, cancels and queries are
        answered."""
        self._ended = True
        self._charge_ns = None
        self._offers.clear()

    # What goes wrong

    def bust(self, exec_id: str) -> list[OrderEvent]:
        """Takes an execution back, once; nothing when it is not known."""
        executed = self.ledger.executions.get(exec_id)
        if executed is None or exec_id in self.ledger.busts:
            return []
        busted = Busted(
            executed.cl_ord_id,
            self._exec_id(),
            exec_id,
            executed.instrument,
            executed.side,
            executed.quantity,
            executed.price,
            executed.fee,
            self.now_ns,
        )
        self.ledger.bust(busted)
        self._emit(busted)
        return self._drained()

    def foreign_execution(self) -> list[OrderEvent]:
        """The smallest buy at the offer, of an order that nobody sent here; nothing before the first quote."""
        if not self._offers:
            return []
        name = min(self._offers)
        instrument, price = self._instruments[name], self._offers[name].book.ask_price
        quantity = max(instrument.lot_size, instrument.min_quantity)
        exec_id = self._exec_id()
        fee = self._fee(name, quantity, price, maker=False)
        executed = Executed(
            f"foreign-{exec_id}", f"foreign-{exec_id}", exec_id, name, Side.BUY, quantity, price, fee, self.now_ns
        )
        self.ledger.execute(executed, None)
        self._emit(executed)
        return self._drained()

    # Time

    def _run(self, to_ns: int, *, inclusive: bool) -> None:
        while self._arrivals or self._expiries or self._charge_ns is not None:
            at_ns = self.next_ns()
            if at_ns is None or at_ns > to_ns:
                break
            expires = bool(self._expiries) and self._expiries[0][0] <= at_ns
            charges = self._charge_ns is not None and self._charge_ns <= at_ns
            if not (expires or charges) and at_ns == to_ns and not inclusive:
                break
            self.now_ns = at_ns
            if expires:
                self._expire(heapq.heappop(self._expiries)[2])
            elif charges:
                self._charge(at_ns)
            else:
                self._arrive(self._arrivals.popleft())
        self.now_ns = max(self.now_ns, to_ns)

    def _expire(self, order: VenueOrder) -> None:
        if order.status.is_final or order.expire_ns is None or order.expire_ns > self.now_ns:
            return
        by_day = order.terms.time_in_force is TimeInForce.DAY
        self._end(order, OrdStatus.EXPIRED, VenueReason.END_OF_SESSION if by_day else VenueReason.EXPIRE_TIME, "")

    def _plan_charges(self) -> None:
        self._charge_ns = min((schedule.next_ns(self.now_ns) for schedule in self._charges), default=None)

    def _charge(self, at_ns: int) -> None:
        """Every position whose time has come is charged."""
        for name, held in self.ledger.positions.items():
            for schedule in self._charges if held else ():
                if schedule.symbol == name.symbol and schedule.next_ns(at_ns - 1) == at_ns:
                    self._charge_position(schedule, name, held)
        self._plan_charges()

    def _charge_position(self, schedule: ChargeSchedule, name: InstrumentId, held: Decimal) -> None:
        """At the middle of its last quote; before the first one nothing."""
        offers = self._offers.get(name)
        if offers is None:
            return
        price = offers.book.mid
        bps = schedule.bps(self.now_ns, is_long=held > 0)
        amount = share(self._notional(name, held.copy_abs(), price), bps)
        charged = Charged(self._exec_id(), schedule.kind, name, held, price, amount, self.now_ns)
        self.ledger.charge(charged)
        self._emit(charged)

    def _arrive(self, arrival: _Arrival) -> None:
        request = arrival.request
        if self.listener is not None:
            self.listener(self.now_ns, request)
        if isinstance(request, NewOrder):
            self._new_order(request.terms, arrival.fault)
        elif isinstance(request, Cancel):
            self._cancel(request, arrival.fault)
        elif isinstance(request, Replace):
            self._replace(request, arrival.fault)
        else:
            self._query(request, arrival.fault)

    # Requests

    def _new_order(self, terms: OrderTerms, fault: FaultKind | None) -> None:
        if self.ledger.knows(terms.cl_ord_id):
            self._refuse(terms, VenueReason.DUPLICATE, f"ClOrdID {terms.cl_ord_id} was used before")
            return
        refusal = self._refusal(terms, fault)
        if refusal is not None:
            refused = VenueOrder(terms, "", [terms.cl_ord_id], ZERO, canceled=terms.quantity)
            refused.status, refused.reason = OrdStatus.REJECTED, refusal[0]
            self.ledger.add(refused)
            self._refuse(terms, *refusal)
            return
        self._orders += 1
        order = VenueOrder(terms, f"{self.id_prefix}{self._orders}", [terms.cl_ord_id], terms.quantity)
        self.ledger.add(order)
        self._set_expiry(order, self.now_ns)
        self._emit(Accepted(terms.cl_ord_id, order.order_id, self.now_ns))
        self._enter(order)

    def _cancel(self, request: Cancel, fault: FaultKind | None) -> None:
        order = self._open_order(request.orig_cl_ord_id, request.order_id, fault)
        if fault is FaultKind.REJECT:
            self._reject_request(request.cl_ord_id, request.orig_cl_ord_id, VenueReason.REFUSED, unknown=False)
        elif order is None:
            reason = self._why_not_open(request.orig_cl_ord_id)
            self._reject_request(request.cl_ord_id, request.orig_cl_ord_id, reason, unknown=True)
        elif fault is FaultKind.LATE_FILL:
            self._cancel_after_late_fill(order)
        else:
            self._end(order, OrdStatus.CANCELED, VenueReason.CANCEL_REQUESTED, "")

    def _replace(self, request: Replace, fault: FaultKind | None) -> None:
        terms = request.terms
        order = self._open_order(request.orig_cl_ord_id, request.order_id, fault)
        if order is None and fault is not FaultKind.REJECT:
            reason = self._why_not_open(request.orig_cl_ord_id)
            self._reject_request(terms.cl_ord_id, request.orig_cl_ord_id, reason, unknown=True)
            return
        refusal = (VenueReason.REFUSED, "") if order is None else self._replace_refusal(order, terms, fault)
        if order is None or refusal is not None:
            reason, text = refusal or (VenueReason.REFUSED, "")
            self._reject_request(terms.cl_ord_id, request.orig_cl_ord_id, reason, unknown=False, text=text)
            return
        keeps = terms.price == order.terms.price and terms.quantity <= order.terms.quantity
        orig = order.terms.cl_ord_id
        if terms.quantity <= order.worked:
            self.ledger.rename(order, replace(terms, quantity=order.worked), keeps_priority=True)
            order.leaves = ZERO
            self.ledger.end(order, OrdStatus.FILLED)
            self._emit(Replaced(terms.cl_ord_id, orig, order.order_id, self.now_ns))
            return
        self.ledger.rename(order, terms, keeps_priority=keeps)
        order.ahead = order.ahead if keeps else None
        order.leaves = CONTEXT.subtract(terms.quantity, order.worked)
        self._set_expiry(order, self.now_ns)
        self._emit(Replaced(terms.cl_ord_id, orig, order.order_id, self.now_ns))
        self._enter(order)

    def _query(self, request: Query, fault: FaultKind | None) -> None:
        if fault is FaultKind.FORGET:
            self._forget(request.cl_ord_id)
        order = self._find(request.cl_ord_id, request.order_id)
        asked, now = request.cl_ord_id, self.now_ns
        if order is None:
            self._emit(OrderState(asked, asked, request.order_id, None, ZERO, None, ZERO, now))
            return
        terms = order.terms
        self._emit(
            OrderState(
                asked, terms.cl_ord_id, order.order_id, order.status, terms.quantity, terms.price, order.cum, now
            )
        )

    # Rules

    def _refusal(
        self, terms: OrderTerms, fault: FaultKind | None, replaced: VenueOrder | None = None
    ) -> tuple[VenueReason, str] | None:
        instrument = self._instruments.get(terms.instrument)
        if fault is FaultKind.REJECT:
            return VenueReason.REFUSED, "the venue does not take this order"
        if self._ended:
            return VenueReason.TRADING_ENDED, "trading at this venue has ended"
        if instrument is None:
            return VenueReason.UNKNOWN_INSTRUMENT, f"{terms.instrument.symbol} is not traded here"
        quantity, price = terms.quantity, terms.price
        if quantity <= 0 or quantity < instrument.min_quantity or not is_multiple(quantity, instrument.lot_size):
            text = f"quantity is not a multiple of {instrument.lot_size}, or below {instrument.min_quantity}"
            return VenueReason.INVALID_QUANTITY, text
        if (terms.ord_type is OrdType.LIMIT) != (price is not None):
            return VenueReason.INVALID_PRICE, "a limit order has a price, a market order has none"
        if price is not None and (price <= 0 or not is_multiple(price, instrument.tick_size)):
            return VenueReason.INVALID_PRICE, f"the price is not a positive multiple of {instrument.tick_size}"
        if terms.time_in_force is TimeInForce.GTD and (terms.expire_ns is None or terms.expire_ns <= self.now_ns):
            return VenueReason.INVALID_EXPIRY, "a GTD order ends in the future"
        enters_for_day = replaced is None and terms.time_in_force is TimeInForce.DAY
        if enters_for_day and self._calendar.session_end_ns(self.now_ns) is None:
            return VenueReason.NO_TRADING_DAY, _NO_TRADING_DAY
        if self._short_selling is ShortSelling.FORBIDDEN and terms.side is Side.SELL:
            return self._short_sale(terms, replaced)
        return None

    def _short_sale(self, terms: OrderTerms, replaced: VenueOrder | None) -> tuple[VenueReason, str] | None:
        """What works already counts as sold; of an order that is replaced, what it would then have left."""
        held = self.ledger.positions.get(terms.instrument, ZERO)
        opened = self.ledger.open.get(terms.instrument, {}).values()
        working = total(item.leaves for item in opened if item.terms.side is Side.SELL and item is not replaced)
        wanted = terms.quantity if replaced is None else CONTEXT.subtract(terms.quantity, replaced.worked)
        if CONTEXT.add(working, wanted) <= held:
            return None
        text = f"the account holds {render(held)} and sells {render(working)} already; short sales are forbidden here"
        return VenueReason.SHORT_SALE, text

    def _replace_refusal(
        self, order: VenueOrder, terms: OrderTerms, fault: FaultKind | None
    ) -> tuple[VenueReason, str] | None:
        if self.ledger.knows(terms.cl_ord_id):
            return VenueReason.DUPLICATE, f"ClOrdID {terms.cl_ord_id} was used before"
        old = order.terms
        if (terms.instrument, terms.side, terms.ord_type) != (old.instrument, old.side, old.ord_type):
            return VenueReason.NOT_SUPPORTED, "instrument, side and order type of an order stay"
        if terms.time_in_force is not old.time_in_force:
            return VenueReason.NOT_SUPPORTED, "the time in force of an order stays"
        return self._refusal(terms, fault, order)

    def _open_order(self, cl_ord_id: str, order_id: str, fault: FaultKind | None) -> VenueOrder | None:
        if fault is FaultKind.FORGET:
            self._forget(cl_ord_id)
        order = self._find(cl_ord_id, order_id)
        return None if order is None or order.status.is_final else order

    def _why_not_open(self, cl_ord_id: str) -> VenueReason:
        return VenueReason.TOO_LATE if self._find(cl_ord_id, "") is not None else VenueReason.UNKNOWN_ORDER

    def _find(self, cl_ord_id: str, order_id: str) -> VenueOrder | None:
        order = self.ledger.order(cl_ord_id)
        if order is None and order_id:
            order = next((found for found in self.ledger.open_orders() if found.order_id == order_id), None)
        return None if order is None or order.forgotten else order

    def _forget(self, cl_ord_id: str) -> None:
        order = self.ledger.order(cl_ord_id)
        if order is None:
            return
        order.forgotten = True
        if not order.status.is_final:
            self.ledger.end(order, OrdStatus.CANCELED, VenueReason.FORGOTTEN)

    def _set_expiry(self, order: VenueOrder, taken_ns: int) -> bool:
        """False for a DAY order whose end the calendar does not know."""
        terms = order.terms
        if terms.time_in_force is TimeInForce.GTD:
            order.expire_ns = terms.expire_ns
        elif terms.time_in_force is TimeInForce.DAY and order.expire_ns is None:
            order.expire_ns = self._calendar.session_end_ns(taken_ns)
        if order.expire_ns is not None:
            self._add_expiry(order.expire_ns, order)
        return order.expire_ns is not None or terms.time_in_force is not TimeInForce.DAY

    def _add_expiry(self, at_ns: int, order: VenueOrder) -> None:
        self._expiry_serial += 1
        heapq.heappush(self._expiries, (at_ns, self._expiry_serial, order))
        if len(self._expiries) > EXPIRIES_KEPT and len(self._expiries) > 2 * len(self.ledger.open_orders()):
            self._expiries = [entry for entry in self._expiries if not entry[2].status.is_final]
            heapq.heapify(self._expiries)

    # Trades

    def _enter(self, order: VenueOrder) -> None:
        """A new or replaced order meets the market."""
        terms = order.terms
        offers = self._offers.get(terms.instrument)
        if terms.post_only and offers is not None and offers.would_trade(terms.side, terms.price):
            self._end(order, OrdStatus.CANCELED, VenueReason.POST_ONLY, "the order would have traded at once")
            return
        all_or_none = terms.time_in_force is TimeInForce.FOK
        if offers is not None and not (all_or_none and offers.available(terms.side, terms.price) < order.leaves):
            self._match(order, offers, maker=False)
        immediate = terms.time_in_force.is_immediate or terms.ord_type is OrdType.MARKET
        if order.status.is_final:
            return
        if immediate:
            self._end(order, OrdStatus.CANCELED, VenueReason.IMMEDIATE_REMAINDER, "")
        elif order.ahead is None and isinstance(offers, Depth):
            ladder, key = offers.place(terms)
            order.ahead = ladder.queue(key)

    def _match(self, order: VenueOrder, offers: Offers | Depth, *, maker: bool) -> None:
        """Takes what the market offers: a maker in one execution at its own price, a taker level by level."""
        terms = order.terms
        taken = offers.take(terms.side, terms.price, order.leaves)
        if maker and taken and terms.price is not None:
            taken = [(terms.price, total(quantity for _, quantity in taken))]
        for price, quantity in taken:
            self._emit(self._execute(order, quantity, price, maker=maker))

    def _execute(self, order: VenueOrder, quantity: Decimal, price: Decimal, *, maker: bool) -> Executed:
        terms = order.terms
        fee = self._fee(terms.instrument, quantity, price, maker=maker)
        executed = Executed(
            terms.cl_ord_id,
            order.order_id,
            self._exec_id(),
            terms.instrument,
            terms.side,
            quantity,
            price,
            fee,
            self.now_ns,
        )
        self.ledger.execute(executed, order)
        if not order.leaves:
            self.ledger.end(order, OrdStatus.FILLED)
        return executed

    def _cancel_after_late_fill(self, order: VenueOrder) -> None:
        """Half of what is left in lots, or all of one lot, trades at the limit (a market order: at the touch); then the
        rest is canceled. The reports come the other way round."""
        terms = order.terms
        offers = self._offers.get(terms.instrument)
        price = terms.price or (offers.touch(terms.side) if offers else None)
        half = round_down(CONTEXT.divide(order.leaves, Decimal(2)), self._instruments[terms.instrument].lot_size)
        late = [] if price is None else [self._execute(order, half or order.leaves, price, maker=True)]
        if order.status.is_final:
            order.status, order.reason = OrdStatus.CANCELED, VenueReason.CANCEL_REQUESTED
            reason = VenueReason.CANCEL_REQUESTED
            self._emit(Ended(terms.cl_ord_id, order.order_id, OrdStatus.CANCELED, reason, "", self.now_ns))
        else:
            self._end(order, OrdStatus.CANCELED, VenueReason.CANCEL_REQUESTED, "")
        for executed in late:
            self._emit(executed)

    def _fee(self, name: InstrumentId, quantity: Decimal, price: Decimal, *, maker: bool) -> Decimal:
        currency, notional = self._instruments[name].currency, self._notional(name, quantity, price)
        fee = self._fees.fee(currency, notional, self.now_ns, maker=maker)
        self._fees.count(currency, notional, self.now_ns)
        return fee

    def _notional(self, name: InstrumentId, quantity: Decimal, price: Decimal) -> Decimal:
        return CONTEXT.multiply(CONTEXT.multiply(quantity, price), self._instruments[name].multiplier)

    def _exec_id(self) -> str:
        self._executions += 1
        return f"{self.id_prefix}x{self._executions}"

    # What goes out

    def _end(self, order: VenueOrder, status: OrdStatus, reason: VenueReason, text: str) -> None:
        self.ledger.end(order, status, reason)
        self._emit(Ended(order.terms.cl_ord_id, order.order_id, status, reason, text, self.now_ns))

    def _refuse(self, terms: OrderTerms, reason: VenueReason, text: str) -> None:
        self._emit(Ended(terms.cl_ord_id, "", OrdStatus.REJECTED, reason, text, self.now_ns))

    def _reject_request(self, cl_ord_id: str, orig: str, reason: VenueReason, *, unknown: bool, text: str = "") -> None:
        self._emit(RequestRejected(cl_ord_id, orig, reason, text or str(reason), unknown, self.now_ns))

    def _emit(self, event: OrderEvent) -> None:
        if self.listener is not None:
            self.listener(self.now_ns, event)
        self._out.append(event)

    def _drained(self) -> list[OrderEvent]:
        drained, self._out = self._out, []
        return drained
