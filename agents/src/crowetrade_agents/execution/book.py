"""What the execution role knows of its orders and positions at one gateway, from reports alone.

The gateway is the owner of the truth. At each logon its snapshot replaces positions and open orders; between logons
every ExecutionReport moves the position by how far CumQty rose, so a report that comes twice moves nothing.

An order that was sent and never answered before the session broke is sent again under its ClOrdID, which the gateway
accepts once. Whether the snapshot's position already holds its fills shows in the first report that comes back: a
gateway that saw the order before answers with what it had become, one that did not begins with CumQty 0. So that first
report sets the base and moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade.gateway.v1 import gateway_pb2

FINAL = frozenset(
    {
        orders_pb2.ORD_STATUS_FILLED,
        orders_pb2.ORD_STATUS_CANCELED,
        orders_pb2.ORD_STATUS_REJECTED,
        orders_pb2.ORD_STATUS_EXPIRED,
    }
)
IMMEDIATE = frozenset({orders_pb2.TIME_IN_FORCE_IOC, orders_pb2.TIME_IN_FORCE_FOK})
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class WorkingOrder:
    """An order that may still fill. Quantities in units of the base asset, price in the quote currency."""

    cl_ord_id: str
    symbol: str
    side: market_data_pb2.Side.ValueType
    price: Decimal | None
    leaves: Decimal
    # Executed so far as counted in the position; None after a resend, until the gateway says.
    cumulated: Decimal | None
    immediate: bool
    # The venue has it: NEW or later.
    accepted: bool = False
    cancelling: bool = False
    # As sent by this process; None for an order that a snapshot told of.
    sent: orders_pb2.NewOrder | None = None

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self.side == market_data_pb2.SIDE_BUY else -1


class OrderBook:
    """Positions and working orders of one strategy at one gateway."""

    def __init__(self) -> None:
        self._positions: dict[str, Decimal] = {}
        self._working: dict[str, WorkingOrder] = {}

    def position(self, symbol: str) -> Decimal:
        """Signed position, units of the base asset."""
        return self._positions.get(symbol, ZERO)

    def working(self, symbol: str | None = None) -> tuple[WorkingOrder, ...]:
        """Orders that may still fill, oldest first; of all instruments without `symbol`."""
        return tuple(order for order in self._working.values() if symbol in (None, order.symbol))

    def awaiting(self, cl_ord_ids: Iterable[str]) -> tuple[str, ...]:
        """Those of the orders whose answer is outstanding: the final one for IOC and FOK and for cancels, else NEW."""
        orders = (self._working.get(cl_ord_id) for cl_ord_id in cl_ord_ids)
        return tuple(
            order.cl_ord_id
            for order in orders
            if order is not None and (order.immediate or order.cancelling or not order.accepted)
        )

    def order_sent(self, order: orders_pb2.NewOrder) -> None:
        """Counts the order as working from before it leaves."""
        self._working[order.cl_ord_id] = WorkingOrder(
            cl_ord_id=order.cl_ord_id,
            symbol=order.symbol,
            side=order.side,
            price=Decimal(order.price) if order.price else None,
            leaves=Decimal(order.order_quantity),
            cumulated=ZERO,
            immediate=order.time_in_force in IMMEDIATE,
            sent=order,
        )

    def order_unsent(self, cl_ord_id: str) -> None:
        """The order never left: it counts no more."""
        self._working.pop(cl_ord_id, None)

    def cancel_sent(self, cl_ord_id: str) -> None:
        """Marks the order, so that it is not cancelled twice."""
        self._mark_cancelling(cl_ord_id, True)

    def cancel_unanswered(self, cl_ord_id: str) -> None:
        """The cancel got no answer in time: it may be tried again."""
        self._mark_cancelling(cl_ord_id, False)

    def on_report(self, report: orders_pb2.ExecutionReport) -> None:
        """Folds one report in."""
        known = self._working.get(report.cl_ord_id)
        cumulated = Decimal(report.cum_quantity or 0)
        counted = known.cumulated if known is not None else ZERO
        executed = ZERO if counted is None else max(ZERO, cumulated - counted)
        sign = 1 if report.side == market_data_pb2.SIDE_BUY else -1
        if executed:
            self._positions[report.symbol] = self.position(report.symbol) + sign * executed
        if report.ord_status in FINAL:
            self._working.pop(report.cl_ord_id, None)
            return
        order = known or _from_report(report)
        self._working[report.cl_ord_id] = replace(
            order,
            leaves=Decimal(report.leaves_quantity or 0),
            cumulated=max(cumulated, counted or ZERO),
            accepted=order.accepted or report.ord_status != orders_pb2.ORD_STATUS_PENDING_NEW,
        )

    def on_cancel_reject(self, reject: orders_pb2.CancelReject) -> None:
        """Folds the refusal of a cancel in."""
        if reject.unknown_order:
            self._working.pop(reject.orig_cl_ord_id, None)
        else:
            self._mark_cancelling(reject.orig_cl_ord_id, False)

    def on_logon(self, snapshot: gateway_pb2.LogonAccepted) -> list[orders_pb2.NewOrder]:
        """Takes the gateway's snapshot as the truth and returns the unanswered orders to send again."""
        self._positions = {position.symbol: Decimal(position.quantity) for position in snapshot.positions}
        open_orders = {report.cl_ord_id: report for report in snapshot.open_orders}
        unanswered = [
            order
            for order in self._working.values()
            if order.sent is not None and not order.accepted and order.cl_ord_id not in open_orders
        ]
        before = self._working
        self._working = {
            cl_ord_id: replace(_from_report(report), immediate=before[cl_ord_id].immediate, sent=before[cl_ord_id].sent)
            if cl_ord_id in before
            else _from_report(report)
            for cl_ord_id, report in open_orders.items()
        }
        for order in unanswered:
            self._working[order.cl_ord_id] = replace(order, cumulated=None)
        return [order.sent for order in unanswered if order.sent is not None]

    def _mark_cancelling(self, cl_ord_id: str, cancelling: bool) -> None:
        order = self._working.get(cl_ord_id)
        if order is not None:
            self._working[cl_ord_id] = replace(order, cancelling=cancelling)


def _from_report(report: orders_pb2.ExecutionReport) -> WorkingOrder:
    price = report.order.price if report.HasField("order") else ""
    return WorkingOrder(
        cl_ord_id=report.cl_ord_id,
        symbol=report.symbol,
        side=report.side,
        price=Decimal(price) if price else None,
        leaves=Decimal(report.leaves_quantity or 0),
        cumulated=Decimal(report.cum_quantity or 0),
        immediate=report.HasField("order") and report.order.time_in_force in IMMEDIATE,
        accepted=report.ord_status != orders_pb2.ORD_STATUS_PENDING_NEW,
    )
