"""The order path of one gateway: a single writer over journal, venue and accounts.

authenticate -> instrument, tick and lot -> kill state -> limits (risk.gate) -> venue rate limit -> journal -> send ->
events back. One lock makes it serial, so a decision always sees every order before it. What the journal does not take
is not sent. After a line that the journal did not take nothing more may leave: `failed` then carries the JournalError,
whichever task met it, and the process stops.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from decimal import Decimal

import structlog

from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade_agents import metrics
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.numbers import ZERO, parse, parse_optional, render, round_down
from crowetrade_agents.errors import InvalidNumber, JournalError
from crowetrade_agents.gateway.journal import Journal
from crowetrade_agents.gateway.rate import TokenBucket
from crowetrade_agents.gateway.state import FINAL, State, cumulated
from crowetrade_agents.risk.approved import ApprovedOrder
from crowetrade_agents.risk.gate import decide
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.request import Facts, Limits, OrderRequest, TradingState
from crowetrade_agents.venues.port import Accepted, Ended, Executed, OrderEvent, OrderPort

log = structlog.get_logger()
LATENCIES_KEPT = 1000
IMMEDIATE = frozenset({orders_pb2.TIME_IN_FORCE_IOC, orders_pb2.TIME_IN_FORCE_FOK})
NO_ORIGIN = market_data_pb2.Origin()


class OrderPath:
    """See the module. Times are wall-clock nanoseconds since the Unix epoch from `clock`."""

    def __init__(
        self,
        journal: Journal,
        state: State,
        venue: OrderPort,
        instrument: Instrument,
        order_budget: TokenBucket,
        cancel_budget: TokenBucket,
        clock: Clock,
    ) -> None:
        self.state = state
        self.limits = Limits()
        self.revision = ""
        self.session_ready = False
        self.book: TopOfBook | None = None
        self.throttled = 0
        self.latencies_ns: deque[int] = deque(maxlen=LATENCIES_KEPT)
        self.lock = asyncio.Lock()
        self.on_report: Callable[[orders_pb2.ExecutionReport], None] = lambda report: None
        self.on_cancel_reject: Callable[[orders_pb2.CancelReject], None] = lambda reject: None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._journal = journal
        self._venue = venue
        self._instrument = instrument
        self._order_budget = order_budget
        self._cancel_budget = cancel_budget
        self._clock = clock
        self._messages: dict[str, deque[int]] = {}
        self._closing = 0

    # --- Orders of strategies -----------------------------------------------------------------------------------

    async def new_order(self, strategy: str, order: orders_pb2.NewOrder) -> None:
        """An order of an authenticated session; the answer goes to on_report."""
        received = self._clock.now_ns()
        async with self.lock:
            known = self.state.reports.get(order.cl_ord_id)
            if known is not None and known.strategy == strategy and not known.reason.startswith("Duplicate"):
                # Sent again after a broken session: answer with what it has become, never send twice.
                self.on_report(known)
                return
            refusal = _unusable(strategy, order)
            request = None if refusal else _request(order)
            if request is None:
                # Whatever name the order claims, the refusal belongs to the session that sent it.
                order.strategy = strategy
                await self._refuse(order, refusal or Refusal(Reason.INVALID_ORDER, "the order cannot be read"))
                return
            await self._send(request, order, received)

    async def cancel(self, strategy: str, cancel: orders_pb2.Cancel) -> None:
        """A cancel of a strategy counts as a message and against cancelsPerSecond of the venue; an order that is over
        is answered with what it has become. The cancels that the gateway makes itself have no limit."""
        async with self.lock:
            self._count(strategy)
            report = self.state.reports.get(cancel.orig_cl_ord_id)
            if report is None or report.strategy != strategy:
                self._reject_cancel(strategy, cancel, Reason.UNKNOWN_ORDER, "the gateway knows no such order")
            elif report.ord_status in FINAL:
                self.on_report(report)
            elif not self._cancel_budget.take(self._clock.now_ns()):
                self.throttled += 1
                text = "spec.rateLimits.cancelsPerSecond of the venue is reached: the order is still open, try again"
                self._reject_cancel(strategy, cancel, Reason.VENUE_RATE_LIMIT, text)
            else:
                await self._cancel_open(report, Reason.CANCEL_REQUESTED)

    async def cancel_all(self, strategy: str | None, reason: str) -> int:
        """Cancels every open order (of one strategy); returns how many."""
        async with self.lock:
            reports = [r for r in self.state.open.values() if strategy is None or r.strategy == strategy]
            for report in reports:
                await self._cancel_open(report, reason)
            return len(reports)

    # --- The operator's word ------------------------------------------------------------------------------------

    async def configure(self, revision: str, limits: Limits) -> None:
        """Puts limits in force and cancels what may no longer be open, before it is acknowledged."""
        async with self.lock:
            self.limits = limits
            for report in list(self.state.open.values()):
                state = (limits.bindings or {}).get(report.strategy, TradingState.SUSPENDED)
                if limits.halted or state is not TradingState.ACTIVE:
                    await self._cancel_open(report, Reason.TRADING_STOPPED)
            await self._flatten()
            self.revision = revision

    def stopped(self, strategy: str) -> bool:
        """True when the strategy may not trade and has nothing open (and nothing at all where Flatten was asked)."""
        state = (self.limits.bindings or {}).get(strategy, TradingState.SUSPENDED)
        if state is TradingState.ACTIVE and not self.limits.halted:
            return False
        return not self.state.open_of(strategy) and (state is not TradingState.FLATTEN or self.state.is_flat(strategy))

    # --- The venue's word ---------------------------------------------------------------------------------------

    async def market(self, book: TopOfBook, events: list[OrderEvent]) -> None:
        """A new quote and the executions that it brought; call it with the lock held."""
        self.book = book
        for event in events:
            await self._venue_event(event)
        await self._flatten()

    async def recover(self) -> None:
        """After a restart: what the journal has open and the venue does not know is over (reason LostAtRestart)."""
        async with self.lock:
            for report in list(self.state.open.values()):
                if not self._venue.cancel(report.cl_ord_id, Reason.LOST_AT_RESTART):
                    await self._record(_ended(report, Reason.LOST_AT_RESTART, self._clock.now_ns()))

    # --- Inside the lock ----------------------------------------------------------------------------------------

    async def _send(self, request: OrderRequest, order: orders_pb2.NewOrder, received_ns: int) -> None:
        now = self._clock.now_ns()
        facts = Facts(
            now_ns=now,
            limits=self.limits,
            instruments={self._instrument.symbol: self._instrument},
            book=self.book if self.book and self.book.symbol == request.symbol else None,
            session_ready=self.session_ready,
            known_cl_ord_id=request.cl_ord_id in self.state.reports,
            exposures=self.state.exposures(),
            messages=self._messages,
        )
        decision = decide(request, facts)
        for observed in decision.observed:
            metrics.LIMITS_OBSERVED.labels(request.strategy, observed.reason).inc()
        # Refused orders count as messages too: a runaway strategy must not probe for free.
        self._count(request.strategy)
        if isinstance(decision.outcome, Refusal):
            await self._refuse(order, decision.outcome)
            return
        if not self._order_budget.take(now):
            self.throttled += 1
            text = "spec.rateLimits.ordersPerSecond of the venue is reached"
            await self._refuse(order, Refusal(Reason.VENUE_RATE_LIMIT, text))
            return
        await self._approved(decision.outcome, order, received_ns)

    async def _approved(self, approved: ApprovedOrder, order: orders_pb2.NewOrder, received_ns: int) -> None:
        await self._record(
            orders_pb2.ExecutionReport(
                cl_ord_id=order.cl_ord_id,
                strategy=order.strategy,
                symbol=order.symbol,
                side=order.side,
                exec_type=orders_pb2.EXEC_TYPE_PENDING_NEW,
                ord_status=orders_pb2.ORD_STATUS_PENDING_NEW,
                order_quantity=order.order_quantity,
                cum_quantity="0",
                leaves_quantity=order.order_quantity,
                transact_unix_ns=self._clock.now_ns(),
                order=order,
            )
        )
        metrics.ORDERS_SENT.labels(order.strategy).inc()
        elapsed = self._clock.now_ns() - received_ns
        self.latencies_ns.append(elapsed)
        metrics.ORDER_SECONDS.observe(elapsed / 1e9)
        events = self._venue.submit(
            approved,
            immediate=order.time_in_force in IMMEDIATE,
            all_or_none=order.time_in_force == orders_pb2.TIME_IN_FORCE_FOK,
        )
        for event in events:
            await self._venue_event(event)

    async def _refuse(self, order: orders_pb2.NewOrder, refusal: Refusal) -> None:
        metrics.ORDERS_REFUSED.labels(order.strategy, refusal.reason).inc()
        log.warning("order refused", strategy=order.strategy, cl_ord_id=order.cl_ord_id, reason=refusal.reason)
        report = orders_pb2.ExecutionReport(
            cl_ord_id=order.cl_ord_id,
            strategy=order.strategy,
            symbol=order.symbol,
            side=order.side,
            exec_type=orders_pb2.EXEC_TYPE_REJECTED,
            ord_status=orders_pb2.ORD_STATUS_REJECTED,
            order_quantity=order.order_quantity,
            cum_quantity="0",
            leaves_quantity="0",
            reason=refusal.reason,
            text=refusal.text,
            transact_unix_ns=self._clock.now_ns(),
            order=order,
        )
        if refusal.reason is Reason.DUPLICATE_CL_ORD_ID:
            # The journal already has this ClOrdID for another order: the refusal must not replace it.
            self.on_report(report)
            return
        await self._record(report)

    def _reject_cancel(self, strategy: str, cancel: orders_pb2.Cancel, reason: Reason, text: str) -> None:
        metrics.CANCELS_REFUSED.labels(strategy, reason).inc()
        log.warning("cancel refused", strategy=strategy, cl_ord_id=cancel.orig_cl_ord_id, reason=reason)
        self.on_cancel_reject(
            orders_pb2.CancelReject(
                orig_cl_ord_id=cancel.orig_cl_ord_id,
                strategy=strategy,
                unknown_order=reason is Reason.UNKNOWN_ORDER,
                reason=reason,
                text=text,
            )
        )

    async def _cancel_open(self, report: orders_pb2.ExecutionReport, reason: str) -> None:
        for event in self._venue.cancel(report.cl_ord_id, reason):
            await self._venue_event(event)

    async def _venue_event(self, event: OrderEvent) -> None:
        last = self.state.reports.get(event.cl_ord_id)
        if last is None or last.ord_status in FINAL:
            log.error("the venue speaks of an order that is not open", cl_ord_id=event.cl_ord_id)
            return
        await self._record(_next_report(last, event))

    async def _record(self, report: orders_pb2.ExecutionReport) -> None:
        event = orders_pb2.JournalEvent(execution_report=report)
        try:
            await self._journal.append(event, self._clock.now_ns())
        except JournalError as error:
            self.session_ready = False
            if not self.failed.done():
                self.failed.set_exception(error)
            raise
        self.state.apply(event)
        if report.exec_type == orders_pb2.EXEC_TYPE_TRADE:
            metrics.FILLS.labels(report.strategy).inc()
        self.on_report(report)

    async def _flatten(self) -> None:
        """Closes what strategies in state Flatten hold: reducing immediate orders through the same gate."""
        for (strategy, symbol), position in list(self.state.positions.items()):
            state = (self.limits.bindings or {}).get(strategy)
            if state is not TradingState.FLATTEN or not position.quantity or self.state.open_of(strategy):
                continue
            quantity = self._closing_quantity(strategy, symbol, abs(position.quantity))
            if quantity <= 0:
                continue
            self._closing += 1
            order = orders_pb2.NewOrder(
                cl_ord_id=f"{strategy}-close-{self.state.fencing_token}-{self._closing}",
                strategy=strategy,
                symbol=symbol,
                side=market_data_pb2.SIDE_SELL if position.quantity > 0 else market_data_pb2.SIDE_BUY,
                order_quantity=render(quantity),
                ord_type=orders_pb2.ORD_TYPE_MARKET,
                time_in_force=orders_pb2.TIME_IN_FORCE_IOC,
            )
            request = _request(order, closing=True)
            await self._send(request, order, self._clock.now_ns())

    def _closing_quantity(self, strategy: str, symbol: str, held: Decimal) -> Decimal:
        """As much of the position as the order limits let leave at once, in whole lots."""
        limits = [held]
        for rule in self.limits.rules:
            if rule.enforce and rule.binds(strategy, symbol):
                if rule.max_order_quantity is not None:
                    limits.append(rule.max_order_quantity)
                if rule.max_order_notional is not None and self.book is not None:
                    limits.append(rule.max_order_notional / self.book.ask_price)
        return round_down(min(limits), self._instrument.lot_size)

    def _count(self, strategy: str) -> None:
        messages = self._messages.setdefault(strategy, deque(maxlen=10_000))
        messages.append(self._clock.now_ns())


def _unusable(strategy: str, order: orders_pb2.NewOrder) -> Refusal | None:
    if order.strategy != strategy:
        return Refusal(Reason.UNKNOWN_STRATEGY, f"the session is of {strategy!r}, the order says {order.strategy!r}")
    if not order.cl_ord_id or order.side == market_data_pb2.SIDE_UNSPECIFIED:
        return Refusal(Reason.INVALID_ORDER, "ClOrdID and Side must be set")
    if order.time_in_force == orders_pb2.TIME_IN_FORCE_UNSPECIFIED:
        return Refusal(Reason.INVALID_ORDER, "TimeInForce must be set")
    if order.ord_type not in (orders_pb2.ORD_TYPE_LIMIT, orders_pb2.ORD_TYPE_MARKET):
        return Refusal(Reason.INVALID_ORDER, "OrdType must be Limit or Market")
    if (order.ord_type == orders_pb2.ORD_TYPE_LIMIT) != bool(order.price):
        return Refusal(Reason.INVALID_PRICE, "a limit order needs a price and a market order has none")
    try:
        parse(order.order_quantity)
    except InvalidNumber as error:
        return Refusal(Reason.INVALID_QUANTITY, f"order quantity: {error}")
    try:
        parse_optional(order.price)
    except InvalidNumber as error:
        return Refusal(Reason.INVALID_PRICE, f"price: {error}")
    return None


def _request(order: orders_pb2.NewOrder, *, closing: bool = False) -> OrderRequest:
    return OrderRequest(
        cl_ord_id=order.cl_ord_id,
        strategy=order.strategy,
        symbol=order.symbol,
        buy=order.side == market_data_pb2.SIDE_BUY,
        quantity=parse(order.order_quantity),
        price=parse_optional(order.price),
        closing=closing,
    )


def _next_report(last: orders_pb2.ExecutionReport, event: OrderEvent) -> orders_pb2.ExecutionReport:
    report = orders_pb2.ExecutionReport(
        cl_ord_id=last.cl_ord_id,
        order_id=event.order_id,
        strategy=last.strategy,
        symbol=last.symbol,
        side=last.side,
        order_quantity=last.order_quantity,
        cum_quantity=last.cum_quantity,
        leaves_quantity=last.leaves_quantity,
        transact_unix_ns=event.at_ns,
    )
    match event:
        case Accepted():
            report.exec_type = orders_pb2.EXEC_TYPE_NEW
            report.ord_status = orders_pb2.ORD_STATUS_NEW
        case Executed():
            cum = cumulated(last) + event.quantity
            leaves = parse(last.order_quantity) - cum
            report.exec_type = orders_pb2.EXEC_TYPE_TRADE
            report.ord_status = orders_pb2.ORD_STATUS_PARTIALLY_FILLED if leaves > 0 else orders_pb2.ORD_STATUS_FILLED
            report.cum_quantity = render(cum)
            report.leaves_quantity = render(max(leaves, ZERO))
            report.fill.exec_id = event.exec_id
            report.fill.last_quantity = render(event.quantity)
            report.fill.last_price = render(event.price)
            report.fill.fee = render(event.fee)
        case Ended():
            return _ended(last, event.reason, event.at_ns)
    return report


def _ended(last: orders_pb2.ExecutionReport, reason: str, at_ns: int) -> orders_pb2.ExecutionReport:
    return orders_pb2.ExecutionReport(
        cl_ord_id=last.cl_ord_id,
        order_id=last.order_id,
        strategy=last.strategy,
        symbol=last.symbol,
        side=last.side,
        exec_type=orders_pb2.EXEC_TYPE_CANCELED,
        ord_status=orders_pb2.ORD_STATUS_CANCELED,
        order_quantity=last.order_quantity,
        cum_quantity=last.cum_quantity,
        leaves_quantity="0",
        reason=reason,
        transact_unix_ns=at_ns,
    )
