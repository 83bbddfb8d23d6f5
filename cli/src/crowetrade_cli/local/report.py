"""What a desk looks like now: a row per strategy, position, open order, venue and limit. Pure; quantities and prices as
the gateways say, money to the cent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from crowetrade.bus.v1 import status_pb2
from crowetrade_agents.domain.numbers import render
from crowetrade_agents.gateway.order import Order
from crowetrade_agents.gateway.status import SESSION_STATES
from crowetrade_agents.risk.reasons import Reason
from crowetrade_api.names import strategy_of
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_cli.journal.rows import iso
from crowetrade_cli.local.desk import Desk
from crowetrade_cli.local.stops import PASSING, StopRow, stops
from crowetrade_cli.local.wanted import Address

_SESSIONS = {number: state.value for state, number in SESSION_STATES.items()}


_NEARLY_USED = Decimal("0.8")


class Tone(StrEnum):
    """What a state means for whoever looks."""

    GOOD = "good"
    WAITS = "waits"
    BAD = "bad"

    @classmethod
    def of(cls, state: str) -> Tone:
        """Of a strategy's state or a venue's session."""
        return _TONES.get(state, cls.WAITS)


_TONES = {
    "Trading": Tone.GOOD,
    "LoggedOn": Tone.GOOD,
    "Failed": Tone.BAD,
    "Halted": Tone.BAD,
    "OrdersRefused": Tone.BAD,
}


@dataclass(frozen=True, slots=True)
class StrategyRow:
    """`pnl` is realised and unrealised less fees, in the currency of the capital; empty where a mark is missing.
    Unless `known`, a gateway has not said yet what its account holds."""

    namespace: str
    name: str
    state: str
    why: str
    positions: list[str]
    known: bool
    pnl: str
    currency: str
    sent: int
    filled: int
    refused: int

    @property
    def held(self) -> str:
        """The positions for people."""
        return ", ".join(self.positions) or ("flat" if self.known else "not known")


@dataclass(frozen=True, slots=True)
class PositionRow:
    """A position that is not flat. `mark_price`, `unrealized_pnl` and `pnl` are empty where a mark is missing; `pnl` is
    realised and unrealised less fees, all in the quote currency."""

    namespace: str
    strategy: str
    venue: str
    symbol: str
    quantity: str
    average_price: str
    mark_price: str
    unrealized_pnl: str
    realized_pnl: str
    fees: str
    pnl: str


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order that may still trade; `price` is empty for a market order, `filled` is what was executed of `quantity`,
    `changed` is when something of it did last."""

    namespace: str
    strategy: str
    venue: str
    cl_ord_id: str
    symbol: str
    side: str
    type: str
    time_in_force: str
    quantity: str
    filled: str
    price: str
    status: str
    changed: str


@dataclass(frozen=True, slots=True)
class VenueRow:
    """`latency_p99_micros` is from order received to order sent."""

    namespace: str
    name: str
    session: str
    why: str
    orders_open: int
    market_data: int
    latency_p99_micros: int


@dataclass(frozen=True, slots=True)
class LimitRow:
    """The highest use of one limit of a RiskLimit, and what it is counted for."""

    namespace: str
    name: str
    limit: str
    key: str
    used: str
    allowed: str

    @property
    def share(self) -> Decimal | None:
        """Of what is allowed, 1 for all of it; None where nothing is allowed."""
        return Decimal(self.used) / Decimal(self.allowed) if Decimal(self.allowed) else None

    @property
    def tone(self) -> Tone:
        """Bad when all of it is used, waiting when it nearly is."""
        if self.share is None or self.share >= 1:
            return Tone.BAD
        return Tone.WAITS if self.share >= _NEARLY_USED else Tone.GOOD


@dataclass(frozen=True, slots=True)
class Report:
    """All rows, each kind in the order of its names; orders by venue, the oldest first."""

    stops: list[StopRow]
    strategies: list[StrategyRow]
    positions: list[PositionRow]
    orders: list[OrderRow]
    venues: list[VenueRow]
    limits: list[LimitRow]

    def label(self, namespace: str, name: str) -> str:
        """The name, after its namespace where there are several."""
        namespaces = {row.namespace for row in self.strategies} | {row.namespace for row in self.venues}
        return f"{namespace}/{name}" if len(namespaces) > 1 else name

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def report(desk: Desk) -> Report:
    """What the desk looks like now."""
    said = {address: one.status for address, one in desk.gateways.items() if one.status is not None}
    stopping = stops(desk.switches, said)
    stopped = {name: row.why for row in reversed(stopping) if row.action not in PASSING for name in row.stops}
    return Report(
        stops=stopping,
        strategies=[
            _strategy(desk, address, stopped.get("/".join(address), "")) for address in sorted(desk.strategies)
        ],
        positions=[row for address in sorted(desk.strategies) for row in _positions(desk, address)],
        orders=[
            _order(address, order) for address in sorted(desk.gateways) for order in desk.gateways[address].open_orders
        ],
        venues=[_venue(desk, address) for address in sorted(desk.venues)],
        limits=_limits(desk),
    )


def _strategy(desk: Desk, address: Address, stopped: str) -> StrategyRow:
    accounts = desk.accounts(address)
    positions = [item for _, account in accounts for item in account.positions if Decimal(item.quantity)]
    state, why = _state(desk, address, stopped)
    gateways = [desk.gateways.get(where) for where in _venues(desk.strategies[address])]
    known = all(gateway is not None and gateway.status is not None for gateway in gateways)
    return StrategyRow(
        namespace=address.namespace,
        name=address.name,
        state=state,
        why=why,
        positions=[f"{item.quantity} {item.instrument.symbol}" for item in positions],
        known=known,
        pnl=_pnl(item for _, account in accounts for item in account.positions) if known else "",
        currency=desk.strategies[address].spec.capital.currency,
        sent=sum(account.sent_total for _, account in accounts),
        filled=sum(account.filled_total for _, account in accounts),
        refused=sum(account.rejected_total for _, account in accounts),
    )


def _state(desk: Desk, address: Address, stopped: str) -> tuple[str, str]:
    """The word for people, and the sentence behind it: the worst first. `stopped` says why a person has to look; empty
    where nobody has to."""
    strategy, running = desk.strategies[address], desk.running.get(address)
    problem = desk.problems.get(address) or (running.problem if running is not None else "")
    if strategy.deleting:
        return "Stopping", "its manifest is gone"
    if problem:
        return "Failed", problem
    if strategy.spec.suspend:
        return "Suspended", "spec.suspend is true"
    for where in _venues(strategy):
        name, gateway = where.name, desk.gateways.get(where)
        if gateway is not None and gateway.problem:
            return "Halted", f"{name}: {gateway.problem}"
        if gateway is None or gateway.status is None or gateway.status.blocked_reason == Reason.NO_CONFIGURATION:
            return "Starting", ""
        if gateway.status.blocked_reason:
            return "Halted", f"{name}: {gateway.status.blocked_message or gateway.status.blocked_reason}"
    if stopped:
        return "Halted", stopped
    said = running.status if running is not None else None
    if said is None:
        return "Starting", ""
    if said.problems:
        return said.problems[0].reason, said.problems[0].message
    if said.waiting_reason:
        return said.waiting_reason, said.waiting_message
    return "Trading", desk.held.get(address, "")


def _venues(strategy: Strategy) -> list[Address]:
    return [Address(strategy.namespace_of(name), name) for name in strategy.venues]


def _pnl(positions: Iterable[status_pb2.Position]) -> str:
    total = Decimal(0)
    for item in positions:
        if Decimal(item.quantity) and not item.unrealized_pnl:
            return ""
        total += Decimal(item.realized_pnl) + Decimal(item.unrealized_pnl or "0") - Decimal(item.fees or "0")
    return _money(total)


def _money(amount: Decimal) -> str:
    return f"{amount:.2f}"


def _positions(desk: Desk, address: Address) -> list[PositionRow]:
    return [
        PositionRow(
            namespace=address.namespace,
            strategy=address.name,
            venue=venue,
            symbol=item.instrument.symbol,
            quantity=item.quantity,
            average_price=item.average_price,
            mark_price=item.mark_price,
            unrealized_pnl=_money(Decimal(item.unrealized_pnl)) if item.unrealized_pnl else "",
            realized_pnl=_money(Decimal(item.realized_pnl)),
            fees=_money(Decimal(item.fees or "0")),
            pnl=_pnl([item]),
        )
        for venue, account in desk.accounts(address)
        for item in account.positions
        if Decimal(item.quantity)
    ]


def _order(venue: Address, order: Order) -> OrderRow:
    terms = order.terms
    namespace, strategy = strategy_of(terms.strategy, venue.namespace)
    return OrderRow(
        namespace=namespace,
        strategy=strategy,
        venue=venue.name,
        cl_ord_id=terms.cl_ord_id,
        symbol=terms.instrument.symbol,
        side=terms.side.value,
        type=terms.ord_type.value,
        time_in_force=terms.time_in_force.value,
        quantity=render(terms.quantity),
        filled=render(order.cum),
        price=render(terms.price) if terms.price is not None else "",
        status=order.status.value,
        changed=iso(order.changed_ns),
    )


def _venue(desk: Desk, address: Address) -> VenueRow:
    gateway = desk.gateways.get(address)
    status = gateway.status if gateway is not None else None
    problem = gateway.problem if gateway is not None else ""
    started = status is not None and status.blocked_reason != Reason.NO_CONFIGURATION
    if status is None or problem:
        why = problem or (gateway.waiting if gateway is not None else "")
        return VenueRow(address.namespace, address.name, "Failed" if problem else "Starting", why, 0, 0, 0)
    return VenueRow(
        namespace=address.namespace,
        name=address.name,
        session=_SESSIONS.get(status.session, "Unknown"),
        why=status.blocked_message or status.session_message if started else "",
        orders_open=sum(account.open_orders for account in status.accounts),
        market_data=status.market_data_sequence,
        latency_p99_micros=status.latency_p99_micros,
    )


def _limits(desk: Desk) -> list[LimitRow]:
    highest: dict[tuple[str, str, str], LimitRow] = {}
    shares: dict[tuple[str, str, str], Decimal] = defaultdict(lambda: Decimal(-1))
    for address, gateway in desk.gateways.items():
        for use in gateway.status.utilisation if gateway.status is not None else ():
            key = (address.namespace, use.risk_limit, use.limit)
            share = Decimal(use.used) / Decimal(use.allowed) if Decimal(use.allowed) else Decimal("Infinity")
            if share > shares[key]:
                shares[key] = share
                highest[key] = LimitRow(*key, use.key, use.used, use.allowed)
    return [highest[key] for key in sorted(highest)]
