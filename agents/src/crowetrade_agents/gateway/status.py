"""GatewayStatus out of what the order path knows. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from crowetrade.bus.v1 import status_pb2
from crowetrade_agents.domain.numbers import ZERO, render
from crowetrade_agents.gateway.core import OrderPath
from crowetrade_agents.gateway.state import Counters, State, position_message
from crowetrade_agents.risk.rules import Rule


@dataclass(frozen=True, slots=True)
class Identity:
    """Which gateway speaks."""

    namespace: str
    venue: str
    pod: str


@dataclass
class VenueSession:
    """State of the session with the venue and since when (wall clock, ns)."""

    state: status_pb2.SessionState.ValueType = status_pb2.SESSION_STATE_CONNECTING
    since_ns: int = 0
    message: str = ""

    def become(self, state: status_pb2.SessionState.ValueType, now_ns: int, message: str = "") -> None:
        """Moves to a state; `since` moves only on change."""
        if state != self.state or not self.since_ns:
            self.since_ns = now_ns
        self.state = state
        self.message = message


def gateway_status(
    identity: Identity, path: OrderPath, session: VenueSession, connected: Collection[str], published: int, now_ns: int
) -> status_pb2.GatewayStatus:
    """The whole status at `now_ns`, wall clock."""
    limits, state = path.limits, path.state
    bound = set(limits.bindings or {})
    names = sorted(bound | {name for name, _ in state.positions} | set(state.counters))
    blocked = ""
    if limits.unreadable:
        blocked = "UnreadableLimit"
    elif limits.bindings is None:
        blocked = "NoConfiguration"
    elif limits.halted:
        blocked = "VenueHalted"
    return status_pb2.GatewayStatus(
        namespace=identity.namespace,
        venue=identity.venue,
        pod=identity.pod,
        sent_unix_ns=now_ns,
        session=session.state,
        session_since_unix_ns=session.since_ns,
        session_message=session.message,
        fencing_token=state.fencing_token,
        config_revision=path.revision,
        risk_acknowledgements=[
            status_pb2.RiskAcknowledgement(risk_limit=rule.name, generation=rule.generation) for rule in limits.rules
        ],
        accounts=[_account(name, path, name in connected) for name in names],
        utilisation=[use for rule in limits.rules for use in _utilisation(rule, state)],
        throttled_total=path.throttled,
        latency_p99_micros=_p99(list(path.latencies_ns)) // 1000,
        blocked_reason=blocked,
        market_data_sequence=published,
    )


def _account(name: str, path: OrderPath, connected: bool) -> status_pb2.StrategyAccount:
    state = path.state
    counters = state.counters.get(name, Counters())
    return status_pb2.StrategyAccount(
        strategy=name,
        positions=[
            position_message(symbol, position, path.book)
            for (strategy, symbol), position in sorted(state.positions.items())
            if strategy == name
        ],
        open_orders=len(state.open_of(name)),
        sent_total=counters.sent,
        filled_total=counters.filled,
        rejected_total=counters.rejected,
        last_reject_reason=counters.last_reject_reason,
        connected=connected,
        stopped=path.stopped(name),
        risk_limits=sorted(rule.name for rule in path.limits.rules if name in rule.strategies),
    )


def _utilisation(rule: Rule, state: State) -> list[status_pb2.Utilisation]:
    """Use of maxPositionQuantity by strategy and symbol, or by symbol over all that the rule counts together."""
    if rule.max_position_quantity is None:
        return []
    totals: dict[str, tuple[Decimal, Decimal]] = {}
    for (strategy, symbol), exposure in state.exposures().items():
        if not rule.binds(strategy, symbol):
            continue
        key = symbol if rule.total else f"{strategy}/{symbol}"
        long, short = totals.get(key, (ZERO, ZERO))
        totals[key] = (long + exposure.position + exposure.open_buy, short + exposure.position - exposure.open_sell)
    return [
        status_pb2.Utilisation(
            risk_limit=rule.name,
            limit="maxPositionQuantity",
            key=key,
            used=render(max(abs(long), abs(short))),
            allowed=render(rule.max_position_quantity),
        )
        for key, (long, short) in sorted(totals.items())
    ]


def _p99(values: list[int]) -> int:
    """Nearest-rank 99th percentile; 0 for no values."""
    if not values:
        return 0
    values.sort()
    return values[min(len(values) - 1, (99 * len(values) + 99) // 100 - 1)]
