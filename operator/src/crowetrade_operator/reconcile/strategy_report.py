"""What the status of a Strategy says: conditions, phase, positions and PnL, from what is observed and planned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.conditions import Condition, ConditionType, all_of, condition, follow
from crowetrade_api.gateway_config import unlimited_symbols
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.common import plain
from crowetrade_api.v1alpha1.strategy import (
    AgentsStatus,
    OrdersStatus,
    PositionStatus,
    ProfitStatus,
    StrategyPhase,
    StrategyStatus,
    StrategySummary,
)
from crowetrade_operator.cluster.compare import is_applied, with_hash
from crowetrade_operator.reconcile.plan import (
    Plan,
    account_of,
    bus_message,
    cut,
    paused_condition,
    rfc3339,
    session_condition,
)
from crowetrade_operator.reconcile.pods import rolled_out
from crowetrade_operator.reconcile.strategy import Observed, Problem, references, suspended, waiting_venues

WATCHED = (ConditionType.READY, ConditionType.TRADING)
_BROKEN = (Reason.CONFIGURATION_ERROR, Reason.CRASHING, Reason.UNAVAILABLE)


def report(observed: Observed, planned: Plan, refusal: str, previous: StrategyStatus) -> StrategyStatus:
    """The new status; `previous` is the one that was reported last."""
    strategy = observed.strategy
    conditions = _conditions(observed, planned, refusal)
    positions, pnl = _positions(observed, previous), _profit(observed, previous)
    work = observed.workload
    generation = strategy.metadata.generation
    return StrategyStatus(
        observed_generation=generation,
        phase=_phase(observed, conditions, previous),
        summary=StrategySummary(
            venues=cut(",".join(strategy.spec.venues), 512), position=cut(_position_summary(positions), 512)
        ),
        agents=AgentsStatus(ready=work.ready, desired=work.desired, summary=f"{work.ready}/{work.desired}"),
        config_hash=_config_hash(observed, previous),
        position=positions,
        pnl=pnl,
        orders=_orders(observed, previous),
        risk_limits=_limits_in_force(observed),
        last_signal_time=_last_signal(observed, previous),
        conditions=follow(previous.conditions, conditions, generation, observed.now.text),
    )


def _conditions(observed: Observed, planned: Plan, refusal: str) -> list[Condition]:
    found = references(observed.strategy, observed.around)
    problem = found if isinstance(found, Problem) else None
    agents = _agents_available(observed, problem, refusal)
    venue = _venue_connected(observed, problem)
    risk = _risk_bound(observed)
    trading = _trading(observed, [agents, venue, risk])
    ready = all_of(
        ConditionType.READY,
        [venue, agents, risk] if problem is not None else [agents, venue, risk],
        Reason.AVAILABLE,
        _ready_message(observed, trading),
    )
    conditions = [ready, agents, venue, risk, trading, _progressing(observed, planned, problem)]
    return [*conditions, paused_condition()] if observed.strategy.paused else conditions


def _ready_message(observed: Observed, trading: Condition) -> str:
    waiting = next((agent for agent in observed.agents if agent.waiting_reason), None)
    if waiting is not None:
        return f"The agents run: {waiting.waiting_reason}. {waiting.waiting_message}".strip()
    return trading.message


def _agents_available(observed: Observed, problem: Problem | None, refusal: str) -> Condition:
    type_, work = ConditionType.AGENTS_AVAILABLE, observed.workload
    if refusal:
        return condition(type_, False, Reason.REFUSED_BY_CLUSTER, refusal)
    if work.available:
        return condition(type_, True, Reason.AVAILABLE, work.message)
    if problem is not None and all(item is None for item in observed.deployments()):
        return condition(type_, False, problem.reason, problem.message)
    return condition(type_, False, work.reason, work.message)


def _venue_connected(observed: Observed, problem: Problem | None) -> Condition:
    type_ = ConditionType.VENUE_CONNECTED
    if problem is not None:
        return condition(type_, False, problem.reason, problem.message)
    names = observed.strategy.spec.venues
    parts = [session_condition(type_, name, observed.around.gateway(name), observed.around) for name in names]
    ended = next((item for item in parts if item.reason == Reason.REPLAY_ENDED), None)
    if ended is not None and all(item.status == "True" for item in parts):
        return ended
    return all_of(type_, parts, Reason.LOGGED_ON, f"Logged on at {', '.join(names)}.")


def _risk_bound(observed: Observed) -> Condition:
    type_, strategy, around = ConditionType.RISK_BOUND, observed.strategy, observed.around
    if around.unreadable_limits:
        text = (
            f"RiskLimit {', '.join(around.unreadable_limits)} does not match the schema of this operator, so all "
            "venues of the namespace are halted: upgrade the operator, or correct or delete it."
        )
        return condition(type_, False, Reason.LIMIT_UNREADABLE, text)
    parts = []
    for name in strategy.spec.venues:
        venue = around.venues.get(name)
        if venue is None:
            text = f"No gateway for venue {name} yet, so no limit is in force."
            parts.append(condition(type_, False, Reason.VENUE_NOT_FOUND, text))
            continue
        config = around.config(venue)
        symbols = [item.symbol for item in strategy.spec.instruments if item.venue_ref.name == name]
        missing = unlimited_symbols(config, strategy.name, symbols)
        if missing:
            text = (
                f"No enforced RiskLimit binds this strategy for {', '.join(missing)} at venue {name}: all orders are "
                "refused: create a RiskLimit whose scope selects it."
            )
            parts.append(condition(type_, False, Reason.NO_LIMIT_IN_FORCE, text))
            continue
        rules = {(rule.risk_limit, rule.generation) for rule in config.rules if strategy.name in rule.strategies}
        parts.append(_acknowledged(observed, name, rules))
    limits = ", ".join(_limits_in_force(observed))
    return all_of(type_, parts, Reason.LIMITS_IN_FORCE, f"In force: {limits}.")


def _acknowledged(observed: Observed, venue: str, rules: set[tuple[str, int]]) -> Condition:
    type_, view = ConditionType.RISK_BOUND, observed.around.gateway(venue)
    if not observed.around.bus_connected:
        return condition(type_, "Unknown", Reason.BUS_UNAVAILABLE, bus_message(observed.around))
    account = account_of(view, observed.strategy.name)
    if view.status is None or account is None:
        text = f"The gateway of venue {venue} has not confirmed the limits yet."
        return condition(type_, False, Reason.WAITING_FOR_GATEWAY, text)
    confirmed = {(item.risk_limit, item.generation) for item in view.status.risk_acknowledgements}
    missing = sorted({name for name, _ in rules - confirmed} | ({name for name, _ in rules} - set(account.risk_limits)))
    if missing:
        text = f"The gateway of venue {venue} has not confirmed {', '.join(missing)} yet."
        return condition(type_, False, Reason.WAITING_FOR_GATEWAY, text)
    return condition(type_, True, Reason.LIMITS_IN_FORCE, f"In force at venue {venue}.")


def _trading(observed: Observed, parts: Sequence[Condition]) -> Condition:
    """True while the gateways accept the strategy's orders."""
    type_, strategy = ConditionType.TRADING, observed.strategy
    if strategy.deleting:
        waiting = ", ".join(waiting_venues(observed))
        return condition(type_, False, Reason.STOPPING, f"Being deleted; waiting for {waiting or 'nothing more'}.")
    if strategy.spec.suspend:
        waiting = ", ".join(name for name in strategy.spec.venues if not suspended(observed, name))
        if waiting:
            text = f"Suspending: waiting for the gateway of {waiting} to confirm that no order is open."
            return condition(type_, False, Reason.STOPPING, text)
        return condition(type_, False, Reason.SUSPENDED, "spec.suspend is true: no order is open, none is accepted.")
    for part in parts:
        if part.status != "True" or part.reason == Reason.REPLAY_ENDED:
            return condition(type_, "Unknown" if part.status == "Unknown" else "False", part.reason, part.message)
    for name in strategy.spec.venues:
        refused = _refusing(observed, name)
        if refused is not None:
            return refused
    return condition(type_, True, Reason.ORDERS_ACCEPTED, f"Orders are accepted at {', '.join(strategy.spec.venues)}.")


def _refusing(observed: Observed, venue: str) -> Condition | None:
    type_, view = ConditionType.TRADING, observed.around.gateway(venue)
    account = account_of(view, observed.strategy.name)
    if view.status is not None and view.status.blocked_reason:
        text = f"The gateway of venue {venue} blocks all orders: {view.status.blocked_reason}."
        return condition(type_, False, Reason.GATEWAY_BLOCKED, text)
    if account is None or not account.connected:
        text = f"The execution agent has no session with the gateway of venue {venue} yet."
        return condition(type_, False, Reason.AGENT_NOT_CONNECTED, text)
    if account.stopped:
        text = f"The gateway of venue {venue} has not resumed the strategy yet."
        return condition(type_, False, Reason.WAITING_FOR_GATEWAY, text)
    return None


def _progressing(observed: Observed, planned: Plan, problem: Problem | None) -> Condition:
    type_ = ConditionType.PROGRESSING
    if planned.held:
        return condition(type_, True, Reason.WAITING_FOR_FLAT, planned.held)
    if problem is not None:
        return condition(type_, False, problem.reason, "Nothing is rolled out until this is solved: " + problem.message)
    outdated = [
        item["metadata"]["name"]
        for item in planned.apply
        if item["kind"] == "Deployment"
        and not is_applied(with_hash(item), observed.children.get("Deployment", item["metadata"]["name"]))
    ]
    if outdated or not all(rolled_out(item) for item in observed.deployments()):
        return condition(type_, True, Reason.ROLLING_OUT, "The agents are being brought to the present configuration.")
    return condition(type_, False, Reason.AS_DESIRED, "The agents run the present configuration.")


def _phase(observed: Observed, conditions: Sequence[Condition], previous: StrategyStatus) -> StrategyPhase:
    by_type = {item.type: item for item in conditions}
    agents, venue = by_type[ConditionType.AGENTS_AVAILABLE], by_type[ConditionType.VENUE_CONNECTED]
    risk, trading = by_type[ConditionType.RISK_BOUND], by_type[ConditionType.TRADING]
    if observed.strategy.deleting:
        return StrategyPhase.STOPPING
    if venue.reason in (Reason.VENUE_NOT_FOUND, Reason.INSTRUMENT_UNKNOWN, Reason.CURRENCY_MISMATCH):
        has_traded = previous.phase in (StrategyPhase.TRADING, StrategyPhase.DEGRADED)
        return StrategyPhase.DEGRADED if has_traded else StrategyPhase.PENDING
    if observed.strategy.spec.suspend:
        return StrategyPhase.SUSPENDED if trading.reason == Reason.SUSPENDED else StrategyPhase.STOPPING
    if agents.reason in (*_BROKEN, Reason.REFUSED_BY_CLUSTER):
        return StrategyPhase.DEGRADED
    if risk.reason in (Reason.NO_LIMIT_IN_FORCE, Reason.LIMIT_UNREADABLE):
        return StrategyPhase.PENDING
    if trading.status == "True":
        return StrategyPhase.TRADING
    if agents.status == "True" and venue.reason == Reason.REPLAY_ENDED:
        return StrategyPhase.ENDED
    was_up = previous.phase in (StrategyPhase.TRADING, StrategyPhase.DEGRADED, StrategyPhase.ENDED)
    return StrategyPhase.DEGRADED if was_up else StrategyPhase.STARTING


def _accounts(observed: Observed) -> list[tuple[str, status_pb2.StrategyAccount]]:
    found = (
        (name, account_of(observed.around.gateway(name), observed.strategy.name))
        for name in observed.strategy.spec.venues
    )
    return [(name, account) for name, account in found if account is not None]


def _positions(observed: Observed, previous: StrategyStatus) -> list[PositionStatus]:
    """As the gateways say; a gateway that has not spoken since the operator started leaves what was known."""
    heard = {name for name in observed.strategy.spec.venues if observed.around.gateway(name).last is not None}
    kept = [item for item in previous.position if item.venue not in heard]
    fresh = [
        PositionStatus(
            symbol=item.symbol,
            venue=name,
            quantity=item.quantity,
            average_price=item.average_price,
            mark_price=item.mark_price,
        )
        for name, account in _accounts(observed)
        for item in account.positions
    ]
    return sorted([*kept, *fresh], key=lambda item: (item.venue, item.symbol))[:64]


def _position_summary(positions: Iterable[PositionStatus]) -> str:
    held = [f"{item.quantity} {item.symbol}" for item in positions if Decimal(item.quantity) != 0]
    return ", ".join(held) or "0"


def _profit(observed: Observed, previous: StrategyStatus) -> ProfitStatus | None:
    accounts = _accounts(observed)
    if not accounts:
        return previous.pnl
    positions = [item for _, account in accounts for item in account.positions]
    realized = _sum(item.realized_pnl for item in positions)
    fees = _sum(item.fees for item in positions)
    unknown = any(not item.unrealized_pnl and Decimal(item.quantity) != 0 for item in positions)
    unrealized = "" if unknown else _sum(item.unrealized_pnl or "0" for item in positions)
    net = plain(Decimal(realized) + Decimal(unrealized) - Decimal(fees)) if not unknown else ""
    currency = observed.strategy.spec.capital.currency
    return ProfitStatus(currency=currency, realized=realized, unrealized=unrealized, fees=fees, net=net)


def _sum(values: Iterable[str]) -> str:
    """Exactly the one value, or the sum of several."""
    items = list(values)
    return (items[0] or "0") if len(items) == 1 else plain(sum((Decimal(item or "0") for item in items), Decimal(0)))


def _orders(observed: Observed, previous: StrategyStatus) -> OrdersStatus:
    accounts = [account for _, account in _accounts(observed)]
    if not accounts:
        return previous.orders
    reasons = [account.last_reject_reason for account in accounts if account.last_reject_reason]
    return OrdersStatus(
        open=sum(account.open_orders for account in accounts),
        sent_total=sum(account.sent_total for account in accounts),
        filled_total=sum(account.filled_total for account in accounts),
        rejected_total=sum(account.rejected_total for account in accounts),
        last_reject_reason=cut(reasons[0], 128) if reasons else "",
    )


def _limits_in_force(observed: Observed) -> list[str]:
    return sorted({name for _, account in _accounts(observed) for name in account.risk_limits})[:64]


def _last_signal(observed: Observed, previous: StrategyStatus) -> str | None:
    last = max((agent.last_signal_unix_ns for agent in observed.agents), default=0)
    return rfc3339(last / 1e9) if last else previous.last_signal_time


def _config_hash(observed: Observed, previous: StrategyStatus) -> str:
    """What the agents say that they run; the one before while they run different ones."""
    hashes = {agent.config_hash for agent in observed.agents if agent.config_hash}
    return cut(hashes.pop(), 80) if len(hashes) == 1 else previous.config_hash
