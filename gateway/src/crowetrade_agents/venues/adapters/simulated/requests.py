"""What reaches the simulated venue. It is the far side of the port: it takes plain values, as a venue gets them off the
wire; what the gateway's adapters hand over was approved before (`of`)."""

from __future__ import annotations

from dataclasses import dataclass

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import OrderTerms, OrdStatus
from crowetrade_agents.risk.approved import ApprovedCancel, ApprovedOrder, ApprovedReplace
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.venues.port import Ended, OrderEvent, RequestRejected


@dataclass(frozen=True, slots=True)
class NewOrder:
    """FIX NewOrderSingle."""

    terms: OrderTerms


@dataclass(frozen=True, slots=True)
class Cancel:
    """FIX OrderCancelRequest."""

    cl_ord_id: str
    orig_cl_ord_id: str
    order_id: str


@dataclass(frozen=True, slots=True)
class Replace:
    """FIX OrderCancelReplaceRequest; `terms` are those of the order once it is replaced."""

    terms: OrderTerms
    orig_cl_ord_id: str
    order_id: str


@dataclass(frozen=True, slots=True)
class Query:
    """FIX OrderStatusRequest."""

    cl_ord_id: str
    order_id: str
    instrument: InstrumentId


Request = NewOrder | Cancel | Replace | Query


def of(approved: ApprovedOrder | ApprovedCancel | ApprovedReplace) -> Request:
    """The request that an approval stands for."""
    if isinstance(approved, ApprovedOrder):
        return NewOrder(approved.terms)
    if isinstance(approved, ApprovedCancel):
        return Cancel(approved.cl_ord_id, approved.orig_cl_ord_id, approved.order_id)
    return Replace(approved.terms, approved.orig_cl_ord_id, approved.order_id)


def not_sent(request: Request, text: str, at_ns: int) -> OrderEvent | None:
    """The event that says that a request has not left; None for a query, which is asked again in the next session."""
    if isinstance(request, NewOrder):
        return Ended(request.terms.cl_ord_id, "", OrdStatus.REJECTED, Reason.NOT_SENT, text, at_ns)
    if isinstance(request, Cancel):
        return RequestRejected(request.cl_ord_id, request.orig_cl_ord_id, Reason.NOT_SENT, text, False, at_ns)
    if isinstance(request, Replace):
        return RequestRejected(request.terms.cl_ord_id, request.orig_cl_ord_id, Reason.NOT_SENT, text, False, at_ns)
    return None
