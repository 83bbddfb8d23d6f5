"""Reports to a strategy about its orders: ExecutionReport and CancelReject out of the books. Pure."""

from __future__ import annotations

from functools import lru_cache

from crowetrade.bus.v1 import instrument_pb2, orders_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import render
from crowetrade_agents.domain.orders import OrderTerms, OrdStatus
from crowetrade_agents.domain.wire import ORD_STATUS_TO_WIRE, SIDE_TO_WIRE, TIME_IN_FORCE_TO_WIRE, instrument_to_wire
from crowetrade_agents.gateway.effects import Report
from crowetrade_agents.gateway.order import Execution, Order
from crowetrade_agents.risk.reasons import Reason, Refusal


def execution_report(
    order: Order, exec_type: orders_pb2.ExecType.ValueType, transact_ns: int
) -> orders_pb2.ExecutionReport:
    """What the order is now."""
    terms = order.terms
    return orders_pb2.ExecutionReport(
        cl_ord_id=terms.cl_ord_id,
        orig_cl_ord_id=order.former[-1] if order.former else "",
        order_id=order.order_id,
        strategy=terms.strategy,
        instrument=_instrument(terms.instrument),
        side=SIDE_TO_WIRE[terms.side],
        exec_type=exec_type,
        ord_status=ORD_STATUS_TO_WIRE[order.status],
        order_quantity=render(terms.quantity),
        price="" if terms.price is None else render(terms.price),
        time_in_force=TIME_IN_FORCE_TO_WIRE[terms.time_in_force],
        cum_quantity=render(order.cum),
        leaves_quantity=render(order.leaves),
        reason=order.reason,
        text=order.text,
        transact_unix_ns=transact_ns,
    )


@lru_cache(maxsize=1024)
def _instrument(instrument: InstrumentId) -> instrument_pb2.InstrumentId:
    """One message for all reports, which take a copy of it."""
    return instrument_to_wire(instrument)


def changed(order: Order, exec_type: orders_pb2.ExecType.ValueType, transact_ns: int) -> Report:
    """A report of what the order has become."""
    return Report(order.terms.strategy, execution_report(order, exec_type, transact_ns))


def traded(
    order: Order, exec_type: orders_pb2.ExecType.ValueType, exec_id: str, execution: Execution, transact_ns: int
) -> Report:
    """A report of an execution, or of one that was taken back."""
    message = execution_report(order, exec_type, transact_ns)
    fill = message.fill
    fill.exec_id, fill.fee = exec_id, render(execution.fee)
    fill.last_quantity, fill.last_price = render(execution.quantity), render(execution.price)
    return Report(order.terms.strategy, message)


def refused_order(terms: OrderTerms, refusal: Refusal, now_ns: int) -> Report:
    """The report of an order that never left."""
    order = Order(terms, OrdStatus.REJECTED, reason=refusal.reason, text=refusal.text)
    message = execution_report(order, orders_pb2.EXEC_TYPE_REJECTED, now_ns)
    message.risk_limit = refusal.risk_limit
    return Report(terms.strategy, message)


def refused_message(strategy: str, cl_ord_id: str, refusal: Refusal, now_ns: int) -> Report:
    """The report of an order that could not be read; its ClOrdID may be all that is known."""
    message = orders_pb2.ExecutionReport(
        cl_ord_id=cl_ord_id,
        strategy=strategy,
        exec_type=orders_pb2.EXEC_TYPE_REJECTED,
        ord_status=orders_pb2.ORD_STATUS_REJECTED,
        cum_quantity="0",
        leaves_quantity="0",
        reason=refusal.reason,
        text=refusal.text,
        transact_unix_ns=now_ns,
    )
    return Report(strategy, message)


def cancel_reject(
    strategy: str, cl_ord_id: str, orig_cl_ord_id: str, order: Order | None, refusal: Refusal, *, replace: bool
) -> Report:
    """The refusal of a cancel or cancel/replace; `order` None when the strategy has no such order."""
    message = orders_pb2.CancelReject(
        cl_ord_id=cl_ord_id,
        orig_cl_ord_id=orig_cl_ord_id,
        strategy=strategy,
        response_to=orders_pb2.CANCEL_REJECT_RESPONSE_TO_CANCEL_REPLACE
        if replace
        else orders_pb2.CANCEL_REJECT_RESPONSE_TO_CANCEL,
        ord_status=orders_pb2.ORD_STATUS_UNSPECIFIED if order is None else ORD_STATUS_TO_WIRE[order.status],
        reason=refusal.reason,
        text=refusal.text,
    )
    return Report(strategy, message)


def late(order: Order) -> Refusal:
    """Why a request on an order that is over is refused (FIX tag 102 = 0)."""
    return Refusal(Reason.TOO_LATE, f"the order is over: {order.status.value} with {render(order.cum)} executed")
