"""Orders, positions and counters of a gateway, rebuilt from its journal and moved by nothing but journaled reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from crowetrade.bus.v1 import market_data_pb2, orders_pb2, status_pb2
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.numbers import ZERO, parse, render
from crowetrade_agents.domain.position import Position
from crowetrade_agents.errors import JournalCorrupt
from crowetrade_agents.risk.request import Exposure

FINAL = frozenset(
    {
        orders_pb2.ORD_STATUS_FILLED,
        orders_pb2.ORD_STATUS_CANCELED,
        orders_pb2.ORD_STATUS_REJECTED,
        orders_pb2.ORD_STATUS_EXPIRED,
    }
)


@dataclass(slots=True)
class Counters:
    """Totals of one strategy since the journal began."""

    sent: int = 0
    filled: int = 0
    rejected: int = 0
    last_reject_reason: str = ""


@dataclass
class State:
    """What the journal says. `reports` holds the last report of every ClOrdID ever used."""

    reports: dict[str, orders_pb2.ExecutionReport] = field(default_factory=dict)
    open: dict[str, orders_pb2.ExecutionReport] = field(default_factory=dict)
    positions: dict[tuple[str, str], Position] = field(default_factory=dict)
    counters: dict[str, Counters] = field(default_factory=dict)
    executions: set[str] = field(default_factory=set)
    fencing_token: int = 0
    replay_epoch_ns: int = 0
    # Highest market data sequence that caused an order: a lock-step replay resumes after it.
    market_data_sequence: int = 0

    def apply(self, event: orders_pb2.JournalEvent) -> None:
        """Takes one journaled event in; raises JournalCorrupt when it cannot follow."""
        if event.HasField("session_started"):
            started = event.session_started
            self.fencing_token = started.fencing_token
            self.replay_epoch_ns = self.replay_epoch_ns or started.replay_epoch_unix_ns
            return
        self._report(event.execution_report)

    def _report(self, report: orders_pb2.ExecutionReport) -> None:
        counters = self.counters.setdefault(report.strategy, Counters())
        if report.HasField("order"):
            self.market_data_sequence = max(self.market_data_sequence, report.order.origin.sequence)
        if report.exec_type == orders_pb2.EXEC_TYPE_PENDING_NEW:
            counters.sent += 1
        if report.exec_type == orders_pb2.EXEC_TYPE_REJECTED:
            counters.rejected += 1
            counters.last_reject_reason = report.reason
        if report.exec_type == orders_pb2.EXEC_TYPE_TRADE:
            self._execution(report)
            counters.filled += report.ord_status == orders_pb2.ORD_STATUS_FILLED
        self.reports[report.cl_ord_id] = report
        if report.ord_status in FINAL:
            self.open.pop(report.cl_ord_id, None)
        else:
            self.open[report.cl_ord_id] = report

    def _execution(self, report: orders_pb2.ExecutionReport) -> None:
        if report.fill.exec_id in self.executions:
            raise JournalCorrupt(f"execution {report.fill.exec_id} stands twice in the journal")
        self.executions.add(report.fill.exec_id)
        quantity = parse(report.fill.last_quantity)
        signed = quantity if report.side == market_data_pb2.SIDE_BUY else -quantity
        key = (report.strategy, report.symbol)
        position = self.positions.get(key, Position())
        self.positions[key] = position.filled(signed, parse(report.fill.last_price), parse(report.fill.fee))

    def open_of(self, strategy: str) -> list[orders_pb2.ExecutionReport]:
        """Last reports of the strategy's open orders, oldest first."""
        return [report for report in self.open.values() if report.strategy == strategy]

    def exposures(self) -> dict[tuple[str, str], Exposure]:
        """Positions and open orders by strategy and symbol."""
        result = {key: Exposure(position.quantity) for key, position in self.positions.items()}
        for report in self.open.values():
            key = (report.strategy, report.symbol)
            known = result.get(key, Exposure())
            leaves = parse(report.leaves_quantity)
            buy = report.side == market_data_pb2.SIDE_BUY
            result[key] = Exposure(
                known.position, known.open_buy + (leaves if buy else ZERO), known.open_sell + (ZERO if buy else leaves)
            )
        return result

    def is_flat(self, strategy: str) -> bool:
        """Whether the strategy holds nothing."""
        return all(not position.quantity for (name, _), position in self.positions.items() if name == strategy)


def position_message(symbol: str, position: Position, book: TopOfBook | None) -> status_pb2.Position:
    """A position as it travels, marked at the mid of the last quote."""
    mark = book.mid if book else None
    return status_pb2.Position(
        symbol=symbol,
        quantity=render(position.quantity),
        average_price=render(position.average_price),
        mark_price=render(mark) if mark is not None else "",
        realized_pnl=render(position.realized),
        unrealized_pnl=render(position.unrealized(mark)) if mark is not None else "",
        fees=render(position.fees),
    )


def cumulated(report: orders_pb2.ExecutionReport | None) -> Decimal:
    """CumQty of a report, 0 when there is none."""
    return parse(report.cum_quantity) if report and report.cum_quantity else ZERO
