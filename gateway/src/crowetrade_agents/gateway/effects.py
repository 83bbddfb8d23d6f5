"""What the engine asks for. The loop carries effects out in their order; what must stand in the journal first does.

Named tuples, because a frozen dataclass takes twice as long to make and an order makes four of these."""

from __future__ import annotations

from typing import NamedTuple

from crowetrade.bus.v1 import journal_pb2, orders_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.risk.approved import ApprovedCancel, ApprovedOrder, ApprovedReplace
from crowetrade_agents.venues.port import QuoteChanged, TradePrinted


class Append(NamedTuple):
    """Stands in the journal before any effect after it is carried out (but see SendCancel.urgent)."""

    event: journal_pb2.JournalEvent


class SendOrder(NamedTuple):
    """To the venue. `received_ns`: when the gateway received it, for the latency that is reported."""

    order: ApprovedOrder
    received_ns: int


class SendCancel(NamedTuple):
    """To the venue. `urgent`: it reduces risk and does not wait for the journal; its order has left before."""

    cancel: ApprovedCancel
    urgent: bool


class SendReplace(NamedTuple):
    """To the venue."""

    replace: ApprovedReplace
    received_ns: int


class SendQuery(NamedTuple):
    """To the venue: what became of this order?"""

    cl_ord_id: str
    order_id: str
    instrument: InstrumentId


class SendRecall(NamedTuple):
    """To the venue: what was executed since then?"""

    since_ns: int


class Report(NamedTuple):
    """To the strategy's session, if it has one."""

    strategy: str
    message: orders_pb2.ExecutionReport | orders_pb2.CancelReject


class AcceptLogon(NamedTuple):
    """To the session that asked: its snapshot. Reports of later commands follow it."""

    strategy: str
    session: int
    snapshot: gateway_pb2.LogonAccepted


class Count(NamedTuple):
    """Into the metric of that name in metrics.py, with these label values."""

    metric: str
    labels: tuple[str, ...] = ()
    amount: int = 1


class Observe(NamedTuple):
    """Into the histogram of that name in metrics.py."""

    metric: str
    seconds: float


class Tell(NamedTuple):
    """Into the log: a fixed event and its fields. `level` is info, warning or error."""

    level: str
    event: str
    fields: tuple[tuple[str, str], ...] = ()


class Publish(NamedTuple):
    """To the bus: a market data event, after every report of what happened up to it."""

    event: QuoteChanged | TradePrinted


Effect = (
    Append
    | SendOrder
    | SendCancel
    | SendReplace
    | SendQuery
    | SendRecall
    | Report
    | AcceptLogon
    | Publish
    | Count
    | Observe
    | Tell
)
