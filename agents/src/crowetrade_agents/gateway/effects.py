"""What the engine asks for. The loop carries effects out in their order; what must stand in the journal first does."""

from __future__ import annotations

from dataclasses import dataclass

from crowetrade.bus.v1 import journal_pb2, orders_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.risk.approved import ApprovedCancel, ApprovedOrder, ApprovedReplace
from crowetrade_agents.venues.port import QuoteChanged, TradePrinted


@dataclass(frozen=True, slots=True)
class Append:
    """Stands in the journal before any effect after it is carried out (but see SendCancel.urgent)."""

    event: journal_pb2.JournalEvent


@dataclass(frozen=True, slots=True)
class SendOrder:
    """To the venue. `received_ns`: when the gateway received it, for the latency that is reported."""

    order: ApprovedOrder
    received_ns: int


@dataclass(frozen=True, slots=True)
class SendCancel:
    """To the venue. `urgent`: it reduces risk and does not wait for the journal; its order has left before."""

    cancel: ApprovedCancel
    urgent: bool


@dataclass(frozen=True, slots=True)
class SendReplace:
    """To the venue."""

    replace: ApprovedReplace
    received_ns: int


@dataclass(frozen=True, slots=True)
class SendQuery:
    """To the venue: what became of this order?"""

    cl_ord_id: str
    order_id: str
    instrument: InstrumentId


@dataclass(frozen=True, slots=True)
class Report:
    """To the strategy's session, if it has one."""

    strategy: str
    message: orders_pb2.ExecutionReport | orders_pb2.CancelReject


@dataclass(frozen=True, slots=True)
class AcceptLogon:
    """To the session that asked: its snapshot. Reports of later commands follow it."""

    strategy: str
    session: int
    snapshot: gateway_pb2.LogonAccepted


@dataclass(frozen=True, slots=True)
class Count:
    """Into the metric of that name in metrics.py, with these label values."""

    metric: str
    labels: tuple[str, ...] = ()
    amount: int = 1


@dataclass(frozen=True, slots=True)
class Tell:
    """Into the log: a fixed event and its fields. `level` is info, warning or error."""

    level: str
    event: str
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Publish:
    """To the bus: a market data event, after every report of what happened up to it."""

    event: QuoteChanged | TradePrinted


Effect = Append | SendOrder | SendCancel | SendReplace | SendQuery | Report | AcceptLogon | Publish | Count | Tell
