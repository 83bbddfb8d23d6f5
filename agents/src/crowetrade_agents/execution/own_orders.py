"""What the execution role knows of its orders and positions at one gateway, from reports alone.

The gateway is the owner of the truth. At each logon its snapshot replaces positions and open orders; between logons
every ExecutionReport moves the position by how far CumQty moved, so a report that comes twice moves nothing. Only a
bust (ExecType Trade Cancel) moves it back. Of an order that is not known here a report moves the position by its own
execution alone, because what CumQty held before is in the snapshot.

An order that was sent and never answered before the session broke is sent again under its ClOrdID while it is valid;
the gateway accepts it once. Whether the snapshot's position already holds its fills shows in the first report that
comes back: a gateway that saw the order before answers with what it had become, one that did not begins with CumQty 0.
So that first report sets the base and moves nothing. An order that is no longer valid is dropped and planned again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from crowetrade.bus.v1 import orders_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.domain.wire import SIDE_FROM_WIRE, instrument_id

FINAL = frozenset(
    {
        orders_pb2.ORD_STATUS_FILLED,
        orders_pb2.ORD_STATUS_CANCELED,
        orders_pb2.ORD_STATUS_REJECTED,
        orders_pb2.ORD_STATUS_EXPIRED,
    }
)
IMMEDIATE = frozenset({orders_pb2.TIME_IN_FORCE_IOC, orders_pb2.TIME_IN_FORCE_FOK})
NOT_ACCEPTED = frozenset({orders_pb2.ORD_STATUS_PENDING_NEW, orders_pb2.ORD_STATUS_UNKNOWN})
REMEMBERED_ENDED_ORDERS = 1000


@dataclass(frozen=True, slots=True)
class WorkingOrder:
    """An order that may still fill. Quantities in the instrument's units, price in the quote currency."""

    cl_ord_id: str
    instrument: InstrumentId
    side: Side
    price: Decimal | None
    leaves: Decimal
    # Executed so far as counted in the position; None after a resend, until the gateway reports.
    cumulated: Decimal | None
    immediate: bool
    # The venue has it: NEW or later.
    accepted: bool = False
    cancelling: bool = False
    # The gateway is asking the venue what became of it: it counts in full until that is known.
    unknown: bool = False
    # As sent by this process; None for an order of a snapshot.
    sent: orders_pb2.NewOrder | None = None


class OwnOrders:
    """Positions and working orders of one strategy at one gateway."""

    def __init__(self) -> None:
        self._positions: dict[InstrumentId, Decimal] = {}
        self._working: dict[str, WorkingOrder] = {}
        # CumQty of orders that ended, so that what comes late is counted once.
        self._ended: OrderedDict[str, Decimal] = OrderedDict()

    def position(self, instrument: InstrumentId) -> Decimal:
        """Signed position in the instrument's units."""
        return self._positions.get(instrument, ZERO)

    def order(self, cl_ord_id: str) -> WorkingOrder | None:
        """The order when it may still fill."""
        return self._working.get(cl_ord_id)

    def working(self, instrument: InstrumentId | None = None) -> tuple[WorkingOrder, ...]:
        """Orders that may still fill, oldest first; of all instruments without `instrument`."""
        if not self._working:
            return ()
        return tuple(order for order in self._working.values() if instrument in (None, order.instrument))

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
            instrument=instrument_id(order.instrument),
            side=SIDE_FROM_WIRE[order.side],
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
        """Marks the order, so that it is not canceled twice."""
        self._mark_cancelling(cl_ord_id, True)

    def cancel_unanswered(self, cl_ord_id: str) -> None:
        """The cancel got no answer in time: it may be tried again."""
        self._mark_cancelling(cl_ord_id, False)

    def on_report(self, report: orders_pb2.ExecutionReport) -> Decimal:
        """Folds one report in; returns by how much the position moved, signed."""
        key = self._key(report)
        known = self._working.pop(key, None) if report.exec_type == orders_pb2.EXEC_TYPE_REPLACED else None
        if known is not None:
            key = report.cl_ord_id
            known = replace(known, cl_ord_id=key, price=_decimal(report.price), cancelling=False)
        known = known or self._working.get(key)
        moved = self._move(report, key, known)
        if report.ord_status in FINAL:
            self._working.pop(key, None)
            self._remember_ended(key, _decimal(report.cum_quantity) or ZERO)
        elif report.side in SIDE_FROM_WIRE:
            self._working[key] = _updated(known or _from_report(report), report)
        return moved

    def on_cancel_reject(self, reject: orders_pb2.CancelReject) -> None:
        """Folds the refusal of a cancel in: an order that the gateway does not know or that is over works no more."""
        if reject.ord_status == orders_pb2.ORD_STATUS_UNSPECIFIED or reject.ord_status in FINAL:
            self._working.pop(reject.orig_cl_ord_id, None)
        else:
            self._mark_cancelling(reject.orig_cl_ord_id, False)

    def on_logon(self, snapshot: gateway_pb2.LogonAccepted, now_ns: int) -> list[orders_pb2.NewOrder]:
        """Takes the gateway's snapshot as the truth and returns the unanswered orders to send again: those that are
        still valid at `now_ns` (wall clock)."""
        self._positions = {
            instrument_id(position.instrument): Decimal(position.quantity) for position in snapshot.positions
        }
        self._ended.clear()
        open_orders = {report.cl_ord_id: report for report in snapshot.open_orders}
        unanswered = [
            order
            for order in self._working.values()
            if order.sent is not None
            and not order.accepted
            and order.cl_ord_id not in open_orders
            and order.sent.valid_until_unix_ns > now_ns
        ]
        before = self._working
        self._working = {}
        for cl_ord_id, report in open_orders.items():
            order = _from_report(report)
            known = before.get(cl_ord_id)
            if known is not None:
                order = replace(order, sent=known.sent, immediate=known.immediate)
            self._working[cl_ord_id] = order
        for order in unanswered:
            self._working[order.cl_ord_id] = replace(order, cumulated=None, cancelling=False)
        return [order.sent for order in unanswered if order.sent is not None]

    def _key(self, report: orders_pb2.ExecutionReport) -> str:
        """The order's present ClOrdID; some gateways report a cancel under that of the request (FIX tags 11 and 41)."""
        if report.cl_ord_id not in self._working and report.orig_cl_ord_id in self._working:
            return report.orig_cl_ord_id
        return report.cl_ord_id

    def _move(self, report: orders_pb2.ExecutionReport, key: str, known: WorkingOrder | None) -> Decimal:
        cumulated = _decimal(report.cum_quantity) or ZERO
        counted = known.cumulated if known is not None else self._ended.get(key)
        busted = report.exec_type == orders_pb2.EXEC_TYPE_TRADE_CANCEL
        if counted is not None:
            executed = CONTEXT.subtract(cumulated, counted)
            executed = min(executed, ZERO) if busted else max(executed, ZERO)
        elif known is not None:
            executed = ZERO
        else:
            last = _decimal(report.fill.last_quantity) or ZERO
            traded = last if report.exec_type == orders_pb2.EXEC_TYPE_TRADE else ZERO
            executed = last.copy_negate() if busted else traded
        side = SIDE_FROM_WIRE.get(report.side)
        if not executed or side is None:
            return ZERO
        instrument = instrument_id(report.instrument)
        moved = CONTEXT.multiply(executed, side.sign)
        self._positions[instrument] = CONTEXT.add(self.position(instrument), moved)
        return moved

    def _remember_ended(self, cl_ord_id: str, cumulated: Decimal) -> None:
        self._ended[cl_ord_id] = cumulated
        if len(self._ended) > REMEMBERED_ENDED_ORDERS:
            self._ended.popitem(last=False)

    def _mark_cancelling(self, cl_ord_id: str, cancelling: bool) -> None:
        order = self._working.get(cl_ord_id)
        if order is not None:
            self._working[cl_ord_id] = replace(order, cancelling=cancelling)


def _updated(order: WorkingOrder, report: orders_pb2.ExecutionReport) -> WorkingOrder:
    cumulated = _decimal(report.cum_quantity) or ZERO
    if report.exec_type != orders_pb2.EXEC_TYPE_TRADE_CANCEL:
        cumulated = max(cumulated, order.cumulated or ZERO)
    unknown = report.ord_status == orders_pb2.ORD_STATUS_UNKNOWN
    return replace(
        order,
        leaves=_decimal(report.leaves_quantity) or ZERO,
        cumulated=cumulated,
        accepted=order.accepted or report.ord_status not in NOT_ACCEPTED,
        unknown=unknown,
        cancelling=order.cancelling or report.ord_status == orders_pb2.ORD_STATUS_PENDING_CANCEL,
    )


def _from_report(report: orders_pb2.ExecutionReport) -> WorkingOrder:
    return WorkingOrder(
        cl_ord_id=report.cl_ord_id,
        instrument=instrument_id(report.instrument),
        side=SIDE_FROM_WIRE[report.side],
        price=_decimal(report.price),
        leaves=_decimal(report.leaves_quantity) or ZERO,
        cumulated=_decimal(report.cum_quantity) or ZERO,
        immediate=report.time_in_force in IMMEDIATE,
        accepted=report.ord_status not in NOT_ACCEPTED,
        unknown=report.ord_status == orders_pb2.ORD_STATUS_UNKNOWN,
        cancelling=report.ord_status == orders_pb2.ORD_STATUS_PENDING_CANCEL,
    )


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None
