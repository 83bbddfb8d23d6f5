"""A gateway of one venue in this process: sessions, books and a matching that is as simple as can be.

It stands for the real one where the roles are tested. Orders are answered in order, in later turns of the loop. A quote
fills what crosses it up to the quantity that it shows; IOC and FOK never rest. In lock step it waits for Progress of
every session before the next event, and sends Published before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal

from crowetrade.bus.v1 import market_data_pb2, orders_pb2, status_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.domain.flow_wire import market_event
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.wire import instrument_id, instrument_to_wire
from crowetrade_agents.errors import SessionTakenOver
from crowetrade_agents.order_entry.port import Request, SessionListener, progress_request

from ..messages import NAMESPACE

FINAL = (
    orders_pb2.ORD_STATUS_FILLED,
    orders_pb2.ORD_STATUS_CANCELED,
    orders_pb2.ORD_STATUS_REJECTED,
    orders_pb2.ORD_STATUS_EXPIRED,
)
IMMEDIATE = (orders_pb2.TIME_IN_FORCE_IOC, orders_pb2.TIME_IN_FORCE_FOK)
Refuse = Callable[[orders_pb2.NewOrder], tuple[str, str, str] | None]
"""(reason, RiskLimit, text) of an order that is refused."""


class FakeSession:
    """Implements OrderSession."""

    def __init__(self, gateway: FakeGateway, logon: gateway_pb2.Logon, listener: SessionListener) -> None:
        self.gateway = gateway
        self.logon = logon
        self.listener = listener
        self.sent: list[Request] = []
        self.reached = 0
        self._up = False
        self._taken_over = False
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def venue(self) -> str:
        return self.gateway.venue

    @property
    def up(self) -> bool:
        return self._up

    async def run(self) -> None:
        while not self._closed:
            self._changed.clear()
            if self._taken_over:
                raise SessionTakenOver(
                    f"a newer session of strategy {self.logon.strategy} took over at {self.gateway.venue}"
                )
            if not self._up and self.gateway.refuses_logon:
                self.listener.on_down(self.venue, f"gateway of {self.venue}: {self.gateway.refuses_logon}")
                await self.gateway.logon_allowed.wait()
            elif not self._up:
                self._log_on()
            else:
                await self._changed.wait()

    async def send(self, request: Request) -> bool:
        if not self._up:
            return False
        self.sent.append(request)
        self.gateway.receive(self, request)
        return True

    async def progress(self, sequence: int) -> bool:
        return await self.send(progress_request(sequence))

    async def close(self) -> None:
        self._closed = True
        self._up = False
        self._changed.set()

    def end(self, why: str, *, taken_over: bool = False) -> None:
        """The gateway ends the session; it logs on again by itself unless it was taken over."""
        self._up = False
        self._taken_over = taken_over
        self.listener.on_down(self.venue, why)
        self._changed.set()

    def _log_on(self) -> None:
        first = self.listener.on_logon(self.venue, self.gateway.log_on(self))
        self._up = True
        self.reached = 0
        for request in first:
            self.sent.append(request)
            self.gateway.receive(self, request)
        self.gateway.moved.set()


class FakeGateway:
    """The gateway of one venue, for one strategy."""

    def __init__(self, venue: str, *, lock_step: bool = True, replay_speed: str = "") -> None:
        self.venue = venue
        self.lock_step = lock_step
        self.replay_speed = replay_speed
        self.published = 0
        self.revision = "r1"
        # Why sessions are refused; empty when they are not.
        self.refuses_logon = ""
        self.logon_allowed = asyncio.Event()
        # Set at a logon and at Progress.
        self.moved = asyncio.Event()
        # False: requests are lost, as when the connection breaks.
        self.hears = True
        self.refuse: Refuse = lambda order: None
        # Why cancels are refused; empty when they are not.
        self.refuses_cancels = ""
        self.orders: dict[str, orders_pb2.NewOrder] = {}
        self.reports: dict[str, orders_pb2.ExecutionReport] = {}
        self.history: list[orders_pb2.ExecutionReport] = []
        self.cancels: list[orders_pb2.Cancel] = []
        self.positions: dict[InstrumentId, Decimal] = {}
        self.session: FakeSession | None = None
        self._quotes: dict[InstrumentId, market_data_pb2.Quote] = {}
        self._shown: dict[tuple[InstrumentId, int], Decimal] = {}

    # Sessions.

    def open_session(
        self, venue: str, address: str, logon: gateway_pb2.Logon, listener: SessionListener
    ) -> FakeSession:
        """As StrategyProcess opens one."""
        assert venue == self.venue
        return FakeSession(self, logon, listener)

    def log_on(self, session: FakeSession) -> gateway_pb2.LogonAccepted:
        """The newest session is the only one."""
        if self.session is not None and self.session is not session and self.session.up:
            self.session.end("a newer session took over", taken_over=True)
        self.session = session
        return gateway_pb2.LogonAccepted(
            positions=[
                status_pb2.Position(instrument=instrument_to_wire(name), quantity=str(quantity))
                for name, quantity in self.positions.items()
            ],
            open_orders=[report for report in self.reports.values() if report.ord_status not in FINAL],
            lock_step=self.lock_step,
            replay_speed=self.replay_speed,
            market_data_sequence=self.published,
            heartbeat_deadline_millis=5000,
        )

    def drop(self, why: str = "the connection broke") -> None:
        """Ends the session, as when the connection breaks."""
        if self.session is not None and self.session.up:
            self.session.end(why)

    def restart(self) -> None:
        """As when the process is started again: a lock-step venue takes up after the last Progress."""
        self.published = 0 if self.session is None else self.session.reached
        self.drop("the gateway restarts")

    def receive(self, session: FakeSession, request: Request) -> None:
        """Takes a request; answers come in later turns of the loop."""
        if not self.hears:
            return
        match request.WhichOneof("message"):
            case "new_order":
                self._new_order(request.new_order)
            case "cancel":
                self._cancel(request.cancel)
            case "progress":
                session.reached = max(session.reached, request.progress.sequence)
                self.moved.set()
            case _:
                pass

    # The market.

    async def play(
        self,
        events: Sequence[market_data_pb2.MarketData],
        publish: Callable[[market_data_pb2.MarketData], Awaitable[None]],
    ) -> None:
        """Publishes the events one after the other, in lock step each when the one before is handled."""
        while self.published < len(events):
            await self._released()
            event = events[self.published]
            self.published = event.sequence
            self.set_quote(event)
            if self.session is not None and self.session.up:
                self._announce(event.sequence)
            await publish(event)
        await self._released()

    def _announce(self, sequence: int) -> None:
        self._later(lambda session: session.listener.on_published(self.venue, sequence))

    async def _released(self) -> None:
        while self.lock_step and not (
            self.session is not None and self.session.up and self.session.reached >= self.published
        ):
            self.moved.clear()
            await self.moved.wait()

    def set_quote(self, event: market_data_pb2.MarketData) -> None:
        """The market is there now; resting orders that it crosses fill."""
        name = market_event(event).instrument
        self._quotes[name] = event.quote
        for side, text in (
            (market_data_pb2.SIDE_BUY, event.quote.ask_quantity),
            (market_data_pb2.SIDE_SELL, event.quote.bid_quantity),
        ):
            self._shown[name, side] = Decimal(text) if text else Decimal(10**15)
        for cl_ord_id, report in list(self.reports.items()):
            if report.ord_status not in FINAL and instrument_id(report.instrument) == name:
                self._match(self.orders[cl_ord_id])

    # Orders.

    def report(self, order: orders_pb2.NewOrder, status: orders_pb2.OrdStatus.ValueType, **fields: object) -> None:
        """Sends a report and keeps it; fields replace those of the last one."""
        before = self.reports.get(order.cl_ord_id)
        values: dict[str, object] = {
            "cl_ord_id": order.cl_ord_id,
            "strategy": order.strategy,
            "instrument": order.instrument,
            "side": order.side,
            "ord_status": status,
            "order_quantity": order.order_quantity,
            "price": order.price,
            "time_in_force": order.time_in_force,
            "cum_quantity": before.cum_quantity if before is not None else "0",
            "leaves_quantity": "0" if status in FINAL else order.order_quantity,
        }
        report = orders_pb2.ExecutionReport(**(values | fields))  # type: ignore[arg-type]
        self.reports[order.cl_ord_id] = report
        self.history.append(report)
        self._later(lambda session: session.listener.on_report(self.venue, report))

    def _later(self, deliver: Callable[[FakeSession], None]) -> None:
        """In order, after what is running now; nothing when the session that asked is over by then."""
        session = self.session

        def run() -> None:
            if session is not None and session is self.session and session.up:
                deliver(session)

        asyncio.get_running_loop().call_soon(run)

    def _new_order(self, order: orders_pb2.NewOrder) -> None:
        known = self.reports.get(order.cl_ord_id)
        if known is not None:
            status = orders_pb2.ExecutionReport()
            status.CopyFrom(known)
            status.exec_type = orders_pb2.EXEC_TYPE_ORDER_STATUS
            self._later(lambda session: session.listener.on_report(self.venue, status))
            return
        self.orders[order.cl_ord_id] = order
        refusal = self.refuse(order)
        if refusal is not None:
            reason, limit, text = refusal
            rejected = orders_pb2.ORD_STATUS_REJECTED
            self.report(
                order, rejected, exec_type=orders_pb2.EXEC_TYPE_REJECTED, reason=reason, risk_limit=limit, text=text
            )
            return
        self.report(order, orders_pb2.ORD_STATUS_PENDING_NEW, exec_type=orders_pb2.EXEC_TYPE_PENDING_NEW)
        self.report(order, orders_pb2.ORD_STATUS_NEW, exec_type=orders_pb2.EXEC_TYPE_NEW)
        self._match(order)
        last = self.reports[order.cl_ord_id]
        if order.time_in_force in IMMEDIATE and last.ord_status not in FINAL:
            self._end(order, orders_pb2.ORD_STATUS_CANCELED, "ImmediateOrCancel")

    def _match(self, order: orders_pb2.NewOrder) -> None:
        name, sign = instrument_id(order.instrument), 1 if order.side == market_data_pb2.SIDE_BUY else -1
        quote = self._quotes.get(name)
        if quote is None:
            return
        touch = Decimal(quote.ask_price if sign > 0 else quote.bid_price)
        if order.price and (Decimal(order.price) - touch) * sign < 0:
            return
        done = Decimal(self.reports[order.cl_ord_id].cum_quantity)
        left = Decimal(order.order_quantity) - done
        quantity = min(left, self._shown[name, order.side])
        if quantity <= 0:
            return
        self._shown[name, order.side] -= quantity
        self.positions[name] = self.positions.get(name, Decimal(0)) + sign * quantity
        status = orders_pb2.ORD_STATUS_FILLED if quantity == left else orders_pb2.ORD_STATUS_PARTIALLY_FILLED
        self.report(
            order,
            status,
            exec_type=orders_pb2.EXEC_TYPE_TRADE,
            cum_quantity=str(done + quantity),
            leaves_quantity=str(left - quantity),
            fill=orders_pb2.Fill(exec_id=f"x{len(self.history)}", last_quantity=str(quantity), last_price=str(touch)),
        )

    def _cancel(self, cancel: orders_pb2.Cancel) -> None:
        self.cancels.append(cancel)
        report = self.reports.get(cancel.orig_cl_ord_id)
        if report is None or report.ord_status in FINAL or self.refuses_cancels:
            reject = orders_pb2.CancelReject(
                cl_ord_id=cancel.cl_ord_id,
                orig_cl_ord_id=cancel.orig_cl_ord_id,
                strategy=cancel.strategy,
                ord_status=orders_pb2.ORD_STATUS_UNSPECIFIED if report is None else report.ord_status,
                reason=self.refuses_cancels or "UnknownOrder",
            )
            self._later(lambda session: session.listener.on_cancel_reject(self.venue, reject))
            return
        self._end(self.orders[cancel.orig_cl_ord_id], orders_pb2.ORD_STATUS_CANCELED, "CancelRequested")

    def _end(self, order: orders_pb2.NewOrder, status: orders_pb2.OrdStatus.ValueType, reason: str) -> None:
        self.report(order, status, exec_type=orders_pb2.EXEC_TYPE_CANCELED, reason=reason)

    def status(self) -> status_pb2.GatewayStatus:
        """As the gateway publishes it each second."""
        return status_pb2.GatewayStatus(
            namespace=NAMESPACE,
            venue=self.venue,
            config_revision=self.revision,
            market_data_sequence=self.published,
        )
