"""What the status of a Strategy says: conditions, phase, positions and PnL, from what is observed and planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.conditions import Condition, ConditionType, all_of, condition, find, follow
from crowetrade_api.files import ListedInstrument
from crowetrade_api.gateway_config import AnyVenue, uncovered_groups, unlimited_symbols
from crowetrade_api.reasons import Reason
from crowetrade_api.references import Problem, references
from crowetrade_api.v1alpha1.common import cut, fitting, plain
from crowetrade_api.v1alpha1.strategy import (
    AgentsStatus,
    LastRejectStatus,
    OrdersStatus,
    PositionStatus,
    ProfitStatus,
    StrategyPhase,
    StrategyStatus,
    StrategySummary,
)
from crowetrade_api.v1alpha1.venueconnection import LIMITS_OF_GROUP, VenueConnection
from crowetrade_operator.cluster.times import rfc3339
from crowetrade_operator.decide import strategy_moves
from crowetrade_operator.decide.health import STOPPED_ON_PURPOSE, health
from crowetrade_operator.decide.observed import GatewayView, StrategyVenues
from crowetrade_operator.decide.plan import (
    STOPS_AS_WISHED,
    Plan,
    Refusal,
    bounded,
    bus_message,
    halted_condition,
    name_taken,
    observed_generation,
    outdated,
    paused,
    paused_rollout,
    session_condition,
)
from crowetrade_operator.decide.pods import BROKEN, rolled_out
from crowetrade_operator.decide.risklimit import acknowledgement
from crowetrade_operator.decide.stops import stops
from crowetrade_operator.decide.strategy import Observed
from crowetrade_operator.decide.strategy_deletion import suspended, waiting_venues

WATCHED = (
    ConditionType.HALTED,
    ConditionType.READY,
    ConditionType.TRADING,
    ConditionType.ORDERS_REFUSED,
    ConditionType.LEFT_BEHIND,
)
REFUSED_AGAIN = 2
"""So many refusals in a row for one reason are no accident."""
REFUSED_WITHIN_NS = 60_000_000_000
"""How long after the last of them orders count as refused."""
_OTHER_PHASES = (*STOPS_AS_WISHED, Reason.LIMIT_UNREADABLE)
_UNBOUND = (
    Reason.NO_LIMIT_IN_FORCE,
    Reason.REQUIRED_LIMIT_MISSING,
    Reason.LIMIT_UNREADABLE,
    Reason.LIMIT_UNKNOWN,
)
_UNRESOLVED = (
    Reason.VENUE_NOT_FOUND,
    Reason.VENUE_NOT_ALLOWED,
    Reason.INSTRUMENT_UNKNOWN,
    Reason.CURRENCY_MISMATCH,
)
_ON_THE_WAY = (Reason.STOPPING, Reason.WAITING_FOR_GATEWAY)
_FAILING = (Reason.MODEL_FAILING, Reason.STAGE_FAILED)
_REFUSED = (Reason.REFUSED_BY_CLUSTER, Reason.NAME_TAKEN)


def report(observed: Observed, planned: Plan, refusal: Refusal | None, previous: StrategyStatus) -> StrategyStatus:
    """The new status; `previous` is the one that was reported last."""
    strategy = observed.strategy
    conditions = _conditions(observed, planned, refusal, previous)
    positions, pnl = _positions(observed, previous), _profit(observed, previous)
    work = observed.workload
    generation = observed_generation(strategy, previous.observed_generation)
    moves = not strategy.paused and not isinstance(_references(observed), Problem)
    return StrategyStatus(
        observed_generation=generation,
        phase=_phase(observed, conditions, previous),
        summary=StrategySummary(
            venues=cut(",".join([*strategy.spec.venues, *(f"{name} (left)" for name in observed.venues.left)]), 512),
            position=cut(_position_summary(observed, positions), 512),
        ),
        agents=AgentsStatus(ready=work.ready, desired=work.desired, summary=f"{work.ready}/{work.desired}"),
        config_hash=_config_hash(observed, previous),
        venues=strategy_moves.bound(observed.venues, observed.running, moves),
        position=positions,
        pnl=pnl,
        orders=_orders(observed, previous),
        risk_limits=_limits_in_force(observed),
        admitted_venues=observed.venues.admitted_beyond,
        last_signal_time=_last_signal(observed, previous),
        conditions=follow(previous.conditions, conditions, generation, observed.now.text),
    )


def _conditions(
    observed: Observed, planned: Plan, refusal: Refusal | None, previous: StrategyStatus
) -> list[Condition]:
    found = _references(observed)
    problem = found if isinstance(found, Problem) else None
    halted = _halted(observed)
    agents = _agents_available(observed, problem, refusal)
    venue = _venue_connected(observed, problem)
    risk = _risk_bound(observed)
    trading = _trading(observed, planned, problem, [agents, venue, risk], halted)
    parts = [venue, agents, risk] if problem is not None else [agents, venue, risk]
    stops = [item for item in (_stopping_halt(ConditionType.READY, halted), _failing(observed)) if item is not None]
    ready = all_of(ConditionType.READY, [*stops, *parts], Reason.AVAILABLE, _ready_message(observed, trading))
    moving = _moving(observed, planned, problem, trading)
    strategy, now = observed.strategy, observed.now
    stopped = _stopped(trading, halted)
    if strategy.paused:
        known = [paused_rollout(previous.observed_generation)]
    else:
        known = health(ready, previous, strategy.metadata.generation, now, moving, stopped)
    conditions = [ready, agents, venue, risk, trading, *known]
    extra = (_orders_refused(observed, halted, previous), halted, _left_behind(observed))
    conditions += [*(item for item in extra if item is not None), *name_taken(refusal)]
    return [*conditions, *paused(strategy, previous.observed_generation)]


def _references(observed: Observed) -> Mapping[tuple[str, str], ListedInstrument] | Problem:
    return references(observed.strategy, observed.venues.present, observed.around.namespace_labels)


def _left_behind(observed: Observed) -> Condition | None:
    """What it may hold in instruments that the spec names no more, and how it gets rid of that."""
    left = strategy_moves.left_behind(observed.venues, observed.running)
    if not left:
        return None
    text = f"spec.instruments does not name any more what is left: {'; '.join(map(str, left))}. "
    if all(item.agents_close for item in left):
        text += "The agents still trade it, and their orders may only reduce it."
    else:
        unclosed = "; ".join(str(item) for item in left if not item.agents_close)
        text += (
            f"No agent closes {unclosed}: name it in spec.instruments again, engage a KillSwitch of mode Flatten, or "
            "delete the Strategy with deletionPolicy Flatten, which asks the gateways of all its venues."
        )
    gone = [item.venue for item in left if item.venue not in observed.venues.present]
    if gone:
        text += f" VenueConnection {', '.join(gone)} is gone: check account and positions at the venue."
    return condition(ConditionType.LEFT_BEHIND, True, Reason.CLOSE_ONLY, text)


def _halted(observed: Observed) -> Condition | None:
    """Why one of its gateways refuses its new orders: all orders of everybody, or its own because of a KillSwitch or a
    breach. A halt that nobody asked for comes first."""
    venues, found = observed.venues, []
    for name, venue in venues.present.items():
        if not venues.admitted(venue):
            continue
        view, config = venues.gateway(name), venues.around(name).config(venue)
        item = halted_condition(name, view, config)
        found += [] if item is None else [item]
        found += stops(name, view, config, venues.name_at(name))
    return min(found, key=lambda item: item.reason in STOPS_AS_WISHED, default=None)


def _stopping_halt(type_: ConditionType, halted: Condition | None) -> Condition | None:
    """The halt as another condition, unless users asked for it by suspending or deleting the venue."""
    if halted is None or halted.reason in STOPS_AS_WISHED:
        return None
    return condition(type_, False, halted.reason, halted.message)


def _problem(observed: Observed, reasons: Sequence[Reason]) -> status_pb2.AgentProblem | None:
    """The first of these that an agent reports."""
    reported = [problem for agent in observed.agents for problem in agent.problems]
    return next((problem for problem in reported if problem.reason in reasons), None)


def _failing(observed: Observed) -> Condition | None:
    """A model or a stage that fails: the agents run, and the strategy does not do its work."""
    found = _problem(observed, _FAILING)
    if found is None:
        return None
    text = f"{found.message} ({found.count} times since {rfc3339(found.since_unix_ns / 1e9)})"
    return condition(ConditionType.READY, False, found.reason, text)


def _orders_refused(observed: Observed, halted: Condition | None, previous: StrategyStatus) -> Condition | None:
    """Refusals that keep coming. Whoever is suspended, deleted or halted knows already why orders are refused."""
    type_, strategy = ConditionType.ORDERS_REFUSED, observed.strategy
    text = "" if strategy.spec.suspend or strategy.deleting or halted is not None else _refusals(observed)
    if text:
        return condition(type_, True, Reason.ORDERS_REFUSED, text)
    if find(previous.conditions, type_) is None:
        return None
    return condition(type_, False, Reason.NOT_REFUSED, "No order has been refused in the last minute.")


def _refusals(observed: Observed) -> str:
    """What is refused at present, in words; empty when nothing is."""
    for name in observed.venues.addresses:
        view, account = observed.venues.gateway(name), observed.venues.account(name)
        if view.status is None or account is None:
            continue
        last = account.last_reject
        recent = view.status.sent_unix_ns - last.last_unix_ns <= REFUSED_WITHIN_NS
        if last.reason and last.count >= REFUSED_AGAIN and recent:
            limit = f" by RiskLimit {last.risk_limit}" if last.risk_limit else ""
            return (
                f"{last.count} requests in a row were refused at venue {name}{limit} since "
                f"{rfc3339(last.since_unix_ns / 1e9)}: {last.reason}. {last.text}"
            ).strip()
    problem = _problem(observed, (Reason.ORDERS_REFUSED,))
    return f"{problem.message} ({problem.count} times)" if problem is not None else ""


def _ready_message(observed: Observed, trading: Condition) -> str:
    waiting = next((agent for agent in observed.agents if agent.waiting_reason), None)
    if waiting is not None:
        return f"The agents run: {waiting.waiting_reason}. {waiting.waiting_message}".strip()
    return trading.message


def _agents_available(observed: Observed, problem: Problem | None, refusal: Refusal | None) -> Condition:
    type_, work = ConditionType.AGENTS_AVAILABLE, observed.workload
    if refusal is not None:
        return condition(type_, False, refusal.reason, refusal.text)
    if work.available:
        return condition(type_, True, Reason.AVAILABLE, work.message)
    if problem is not None and all(item is None for item in observed.deployments()):
        return condition(type_, False, problem.reason, problem.message)
    return condition(type_, False, work.reason, work.message)


def _venue_connected(observed: Observed, problem: Problem | None) -> Condition:
    type_ = ConditionType.VENUE_CONNECTED
    if problem is not None:
        return condition(type_, False, problem.reason, f"{problem.message}{_goes_on(observed)}")
    names = observed.strategy.spec.venues
    parts = [session_condition(type_, name, observed.venues.gateway(name), observed.around) for name in names]
    if all(item.status == "True" for item in parts):
        for reason in (Reason.REPLAY_ENDED, Reason.WAITING_FOR_STRATEGIES):
            found = next((item for item in parts if item.reason == reason), None)
            if found is not None:
                return found
    return all_of(type_, parts, Reason.LOGGED_ON, f"Logged on at {', '.join(names)}.")


def _risk_bound(observed: Observed) -> Condition:
    type_, strategy, venues = ConditionType.RISK_BOUND, observed.strategy, observed.venues
    for namespace, limits in venues.unreadable_limits.items():
        text = (
            f"RiskLimit {', '.join(limits)} does not match the schema of this operator, so all venues of namespace "
            f"{namespace} are halted: upgrade the operator, or correct or delete it."
        )
        return condition(type_, False, Reason.LIMIT_UNREADABLE, text)
    parts = []
    for name in strategy.spec.venues:
        venue = venues.present.get(name)
        if venue is None:
            text = f"No gateway for venue {name} yet, so no limit is in force."
            parts.append(condition(type_, False, Reason.VENUE_NOT_FOUND, text))
            continue
        if not venues.admitted(venue):
            text = f"VenueConnection {venue.namespace}/{name} does not admit the strategy, so no limit is in force."
            parts.append(condition(type_, False, Reason.VENUE_NOT_ALLOWED, text))
            continue
        config, known_as = venues.around(name).config(venue), venues.name_at(name)
        symbols = [item.symbol for item in strategy.spec.instruments if item.venue_ref.name == name]
        missing = unlimited_symbols(config, known_as, symbols)
        if missing:
            text = (
                f"No enforced RiskLimit binds this strategy for {', '.join(missing)} at venue {name}: all orders are "
                f"refused: create a RiskLimit in namespace {venue.namespace} whose scope selects it."
            )
            parts.append(condition(type_, False, Reason.NO_LIMIT_IN_FORCE, text))
            continue
        uncovered = uncovered_groups(config, known_as, symbols)
        if uncovered:
            parts.append(condition(type_, False, Reason.REQUIRED_LIMIT_MISSING, _uncovered(name, uncovered)))
            continue
        parts.append(_acknowledged(observed, name, venue))
    limits = cut(", ".join(_limits_in_force(observed)), 512)
    return all_of(type_, parts, Reason.LIMITS_IN_FORCE, f"In force: {limits}.")


def _uncovered(venue: str, uncovered: Mapping[str, Sequence[str]]) -> str:
    group, symbols = next(iter(sorted(uncovered.items())))
    limits = LIMITS_OF_GROUP.get(group)
    if limits is None:
        return (
            f"spec.requiredLimits of venue {venue} names {group}, which this operator does not know: all orders are "
            "refused. Upgrade the operator, or take it out."
        )
    return (
        f"Venue {venue} requires limits of group {group}, and no enforced RiskLimit that selects this strategy sets "
        f"{' or '.join(limits)} for {', '.join(symbols)}: all orders are refused. Set one of them under spec.limits of "
        f"a RiskLimit, or take {group} out of spec.requiredLimits of the VenueConnection."
    )


def _acknowledged(observed: Observed, name: str, venue: AnyVenue) -> Condition:
    """Whether the gateway has confirmed exactly the rules that bind the strategy there."""
    type_, around, strategy = ConditionType.RISK_BOUND, observed.venues.around(name), observed.venues.name_at(name)
    view = around.gateway(name)
    if not around.bus_connected:
        return condition(type_, "Unknown", Reason.BUS_UNAVAILABLE, bus_message(around.bus_problem))
    account = observed.venues.account(name)
    if view.status is None or account is None:
        text = f"The gateway of venue {name} has not confirmed the limits yet."
        return condition(type_, False, Reason.WAITING_FOR_GATEWAY, text)
    missing = []
    for rule in around.config(venue).rules:
        if strategy not in rule.strategies:
            continue
        said = acknowledgement(view, rule.risk_limit, rule.uid, around.rule_hash(venue, rule.risk_limit))
        if said is not None and said.problem:
            text = f"The gateway of venue {name} cannot enforce RiskLimit {rule.risk_limit}: {said.problem}"
            return condition(type_, False, Reason.LIMIT_UNKNOWN, text)
        if said is None or rule.risk_limit not in account.risk_limits:
            missing.append(rule.risk_limit)
    if missing:
        text = f"The gateway of venue {name} has not confirmed {', '.join(missing)} yet."
        return condition(type_, False, Reason.WAITING_FOR_GATEWAY, text)
    return condition(type_, True, Reason.LIMITS_IN_FORCE, f"In force at venue {name}.")


def _goes_on(observed: Observed) -> str:
    """A sentence about what runs although the spec cannot be carried out; empty when nothing does."""
    if not observed.running or observed.workload.ready == 0:
        return ""
    return f" What runs is the previous configuration, at {', '.join(_running_at(observed))}."


def _running_at(observed: Observed) -> list[str]:
    """The venues that its agents are configured for, by what the strategy calls them."""
    addresses = {item.venue for item in observed.running}
    return [name for name, address in observed.venues.addresses.items() if address in addresses]


def _trading(
    observed: Observed,
    planned: Plan,
    problem: Problem | None,
    parts: Sequence[Condition],
    halted: Condition | None,
) -> Condition:
    """True while the gateways accept the strategy's orders, and its agents can send them. It is about what runs, which
    may be the configuration before."""
    type_, strategy, names = ConditionType.TRADING, observed.strategy, observed.strategy.spec.venues
    if strategy.deleting:
        waiting = ", ".join(waiting_venues(observed.ending))
        return condition(type_, False, Reason.STOPPING, f"Being deleted; waiting for {waiting or 'nothing more'}.")
    if strategy.spec.suspend:
        asked = [*names, *(name for name in observed.venues.left if name in observed.venues.present)]
        waiting = ", ".join(name for name in asked if not suspended(observed.ending, name))
        if waiting:
            text = f"Suspending: waiting for the gateway of {waiting} to confirm that no order is open."
            return condition(type_, False, Reason.STOPPING, text)
        return condition(type_, False, Reason.SUSPENDED, "spec.suspend is true: no order is open, none is accepted.")
    stopped = _stopping_halt(type_, halted)
    if stopped is not None:
        return stopped
    if problem is not None and _goes_on(observed):
        names = _running_at(observed)
        sessions = [session_condition(type_, name, observed.venues.gateway(name), observed.around) for name in names]
        parts = [parts[0], *sessions]
    elif planned.rollout_blocked_by and observed.running and observed.running.isdisjoint(strategy.instruments):
        text = f"The agents still trade {', '.join(sorted(map(str, observed.running)))}. {planned.rollout_blocked_by}"
        return condition(type_, False, planned.blocked_reason, text)
    for part in parts:
        if part.status != "True" or part.reason == Reason.REPLAY_ENDED:
            return condition(type_, "Unknown" if part.status == "Unknown" else "False", part.reason, part.message)
    for name in names:
        refused = _refusing(observed, name, halted)
        if refused is not None:
            return refused
    fails = _problem(observed, (*_FAILING, Reason.DATA_GAP))
    if fails is not None:
        return condition(type_, False, fails.reason, fails.message)
    text = f"Orders are accepted at {', '.join(names)}{', as configured before' if problem is not None else ''}."
    waits = next((part.message for part in parts if part.reason == Reason.WAITING_FOR_STRATEGIES), "")
    return condition(type_, True, Reason.ORDERS_ACCEPTED, f"{text} {waits}".strip())


def _refusing(observed: Observed, venue: str, halted: Condition | None) -> Condition | None:
    type_, view = ConditionType.TRADING, observed.venues.gateway(venue)
    account = observed.venues.account(venue)
    if halted is not None:
        return condition(type_, False, halted.reason, halted.message)
    found = observed.venues.present.get(venue)
    if found is not None and not observed.venues.admitted(found):
        text = f"VenueConnection {found.namespace}/{found.name} does not admit the strategy, so its orders are refused."
        return condition(type_, False, Reason.VENUE_NOT_ALLOWED, text)
    if view.status is not None and view.status.blocked_reason:
        text = f"The gateway of venue {venue} has not received its configuration yet, so it refuses every order."
        return condition(type_, False, Reason.WAITING_FOR_GATEWAY, text)
    if account is None or not account.connected:
        text = f"The execution agent has no session with the gateway of venue {venue} yet."
        return condition(type_, False, Reason.AGENT_NOT_CONNECTED, text)
    if account.stopped:
        text = f"The gateway of venue {venue} has not resumed the strategy yet."
        return condition(type_, False, Reason.WAITING_FOR_GATEWAY, text)
    return None


def _moving(observed: Observed, planned: Plan, problem: Problem | None, trading: Condition) -> Condition | None:
    """What is still to be done although the strategy may be Ready; None when it is as its spec says."""
    type_ = ConditionType.RECONCILING
    if planned.rollout_blocked_by:
        return condition(type_, True, planned.blocked_reason, planned.rollout_blocked_by)
    rolling = outdated(planned, observed.children) or not all(rolled_out(item) for item in observed.deployments())
    if problem is None and rolling:
        return condition(type_, True, Reason.ROLLING_OUT, "The agents are being brought to the present configuration.")
    return trading if trading.reason in _ON_THE_WAY else None


def _stopped(trading: Condition, halted: Condition | None) -> Condition | None:
    """Why it is stopped on purpose, once it is."""
    return next((item for item in (trading, halted) if item is not None and item.reason in STOPPED_ON_PURPOSE), None)


def _phase(observed: Observed, conditions: Sequence[Condition], previous: StrategyStatus) -> StrategyPhase:
    by_type = {item.type: item for item in conditions}
    agents, venue = by_type[ConditionType.AGENTS_AVAILABLE], by_type[ConditionType.VENUE_CONNECTED]
    risk, trading = by_type[ConditionType.RISK_BOUND], by_type[ConditionType.TRADING]
    if observed.strategy.deleting:
        return StrategyPhase.STOPPING
    if venue.reason in _UNRESOLVED:
        has_traded = previous.phase in (StrategyPhase.TRADING, StrategyPhase.DEGRADED)
        return StrategyPhase.DEGRADED if has_traded else StrategyPhase.PENDING
    halted = by_type.get(ConditionType.HALTED)
    if venue.reason == Reason.VENUE_UNREADABLE or (halted is not None and halted.reason not in _OTHER_PHASES):
        return StrategyPhase.HALTED
    if observed.strategy.spec.suspend:
        return StrategyPhase.SUSPENDED if trading.reason == Reason.SUSPENDED else StrategyPhase.STOPPING
    if agents.reason in (*BROKEN, *_REFUSED):
        return StrategyPhase.DEGRADED
    if risk.reason in _UNBOUND:
        return StrategyPhase.PENDING
    if trading.status == "True":
        return StrategyPhase.TRADING
    if agents.status == "True" and venue.reason == Reason.REPLAY_ENDED:
        return StrategyPhase.ENDED
    was_up = previous.phase in (StrategyPhase.TRADING, StrategyPhase.DEGRADED, StrategyPhase.ENDED)
    # What could not be made has not been up.
    refused = any(
        item.type == ConditionType.AGENTS_AVAILABLE and item.reason in _REFUSED for item in previous.conditions
    )
    return StrategyPhase.DEGRADED if was_up and not refused else StrategyPhase.STARTING


def _accounts(observed: Observed) -> list[tuple[str, status_pb2.StrategyAccount]]:
    found = ((name, observed.venues.account(name)) for name in observed.venues.addresses)
    return [(name, account) for name, account in found if account is not None]


def _positions(observed: Observed, previous: StrategyStatus) -> list[PositionStatus]:
    """As the gateways say; where that cannot be known, what was known last, with the time until which it was known."""
    venues = observed.venues
    believed = {
        name for name in venues.addresses if name in venues.present and venues.gateway(name).trusted is not None
    }
    found = {
        (item.venue, item.symbol): _last_known(observed, item)
        for item in previous.position
        if item.venue in venues.addresses and item.venue not in believed
    }
    for name in believed:
        account = venues.account(name)
        for item in account.positions if account is not None else ():
            position = _position(name, item, _silent_since(venues.gateway(name)))
            found[name, position.symbol] = position
    return [found[key] for key in sorted(found)][:64]


def _silent_since(view: GatewayView) -> str | None:
    """When a gateway that reports no more said something last."""
    silent = view.status is None and view.last is not None
    return rfc3339(view.last.sent_unix_ns / 1e9) if silent and view.last is not None else None


def _position(venue: str, item: status_pb2.Position, last_known_time: str | None) -> PositionStatus:
    return PositionStatus(
        symbol=cut(item.instrument.symbol, 32),
        venue=venue,
        quantity=fitting(item.quantity),
        average_price=fitting(item.average_price),
        mark_price=fitting(item.mark_price),
        mark_time=rfc3339(item.mark_unix_ns / 1e9) if item.mark_unix_ns else None,
        last_known_time=last_known_time,
    )


def _last_known(observed: Observed, item: PositionStatus) -> PositionStatus:
    """At a venue that is gone nothing marks it any more. Of a gateway that has not spoken yet since this operator began
    to work nothing is said: it may be about to."""
    if item.venue in observed.venues.present:
        return item
    since = item.last_known_time or observed.now.text
    return item.model_copy(update={"mark_price": "", "mark_time": None, "last_known_time": since})


def _position_summary(observed: Observed, positions: Iterable[PositionStatus]) -> str:
    """For people: the venue is named where a symbol is held at several, and where it is gone."""
    held = [item for item in positions if Decimal(item.quantity) != 0]
    symbols = [item.symbol for item in held]
    words = []
    for item in held:
        where = f" at {item.venue}" if symbols.count(item.symbol) > 1 else ""
        gone = "" if item.venue in observed.venues.present else " (last known)"
        words.append(f"{item.quantity} {item.symbol}{where}{gone}")
    return ", ".join(words) or "0"


def _profit(observed: Observed, previous: StrategyStatus) -> ProfitStatus | None:
    """Over all venues, in the currency of the capital. What a position is worth at a venue that is gone, or in another
    currency, is not known."""
    accounts, venues = _accounts(observed), observed.venues
    gone = any(name not in venues.present for name in venues.addresses)
    silent = min((since for name, _ in accounts if (since := _silent_since(venues.gateway(name)))), default=None)
    before = previous.pnl.last_known_time if previous.pnl is not None else None
    since = (before or observed.now.text) if gone else silent
    if not accounts:
        known = previous.pnl
        if known is None or not gone:
            return known
        return known.model_copy(update={"unrealized": "", "net": "", "last_known_time": since})
    held = [(_currency(venues, name, item), item) for name, account in accounts for item in account.positions]
    currency = observed.strategy.spec.capital.currency
    positions = [item for quoted_in, item in held if quoted_in in (currency, "")]
    realized = _sum(item.realized_pnl for item in positions)
    fees = _sum(item.fees for item in positions)
    unknown = gone or any(
        (not item.unrealized_pnl or quoted_in not in (currency, "")) and Decimal(item.quantity) != 0
        for quoted_in, item in held
    )
    unrealized = "" if unknown else _sum(item.unrealized_pnl or "0" for item in positions)
    net = plain(Decimal(realized) + Decimal(unrealized) - Decimal(fees)) if not unknown else ""
    return ProfitStatus(
        currency=currency,
        realized=fitting(realized),
        unrealized=fitting(unrealized),
        fees=fitting(fees),
        net=fitting(net),
        last_known_time=since,
    )


def _currency(venues: StrategyVenues, name: str, position: status_pb2.Position) -> str:
    """The currency that quotes what is held, as its venue lists it; empty where it lists it no more."""
    venue = venues.present.get(name)
    listed = venue.spec.instruments if isinstance(venue, VenueConnection) else ()
    return next((item.currency for item in listed if item.symbol == position.instrument.symbol), "")


def _sum(values: Iterable[str]) -> str:
    """Exactly the one value, or the sum of several."""
    items = list(values)
    return (items[0] or "0") if len(items) == 1 else plain(sum((Decimal(item or "0") for item in items), Decimal(0)))


def _orders(observed: Observed, previous: StrategyStatus) -> OrdersStatus:
    accounts = [account for _, account in _accounts(observed)]
    if not accounts:
        return previous.orders
    last = max((account.last_reject for account in accounts), key=lambda item: item.last_unix_ns)
    return OrdersStatus(
        open=sum(account.open_orders for account in accounts),
        sent_total=bounded(sum(account.sent_total for account in accounts)),
        filled_total=bounded(sum(account.filled_total for account in accounts)),
        rejected_total=bounded(sum(account.rejected_total for account in accounts)),
        last_reject=_last_reject(last) if last.reason else None,
    )


def _last_reject(last: status_pb2.Refusals) -> LastRejectStatus:
    return LastRejectStatus(
        reason=cut(last.reason, 64),
        limit=cut(last.risk_limit, 63),
        count=bounded(last.count),
        since=rfc3339(last.since_unix_ns / 1e9) if last.since_unix_ns else None,
        text=cut(last.text, 1024),
    )


def _limits_in_force(observed: Observed) -> list[str]:
    return sorted({cut(name, 63) for _, account in _accounts(observed) for name in account.risk_limits})[:64]


def _last_signal(observed: Observed, previous: StrategyStatus) -> str | None:
    last = max((agent.last_signal_unix_ns for agent in observed.agents), default=0)
    return rfc3339(last / 1e9) if last else previous.last_signal_time


def _config_hash(observed: Observed, previous: StrategyStatus) -> str:
    """What the agents say that they run; the one before while they run different ones."""
    hashes = {agent.config_hash for agent in observed.agents if agent.config_hash}
    return cut(hashes.pop(), 80) if len(hashes) == 1 else previous.config_hash
