"""What the status of a RiskLimit says: where it is in force, what is used of it, and what is breached."""

from __future__ import annotations

import heapq
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_api.conditions import Condition, ConditionType, condition, find, follow
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.common import LabelSelector, cut, fitting, plain
from crowetrade_api.v1alpha1.risklimit import (
    SHOWN_BREACHES,
    SHOWN_USES,
    BreachStatus,
    GatewaysStatus,
    RiskLimit,
    RiskLimitStatus,
    RiskSummary,
    UtilisationStatus,
)
from crowetrade_operator.cluster.objects import Note
from crowetrade_operator.cluster.times import rfc3339
from crowetrade_operator.decide.health import health
from crowetrade_operator.decide.plan import bus_message, paused
from crowetrade_operator.decide.risklimit import Observed, acknowledgements, concerned
from crowetrade_operator.decide.stops import clearing

WATCHED = (ConditionType.ENFORCED, ConditionType.WARNING)
WARNED_UNTIL = Decimal("0.9")
"""A warning ends when the use has fallen below so much of spec.warnAt: it must not come and go with each order."""
_MOST = Decimal(1_000_000)
"""The highest ratio that is shown; use of which nothing is allowed has it."""
_PLAIN = re.compile(r"-?[0-9]{1,80}(\.[0-9]{1,80})?", re.ASCII)


def _held(observed: Observed, rules: Mapping[str, config_pb2.RiskRule]) -> tuple[list[str], list[str]]:
    """Venues where it is not loosened yet, and those that are waited for."""
    limit, around = observed.limit, observed.around
    found = {name: around.held(around.venues[name]).get(limit.name, ()) for name in rules}
    return [name for name, others in found.items() if others], sorted(
        {item for other in found.values() for item in other}
    )


def notes(previous: RiskLimitStatus, status: RiskLimitStatus, limit: RiskLimit) -> list[Note]:
    """Each breach is reported once, when it is found."""
    known = {item.id for item in previous.breached}
    return [
        Note("Warning", Reason.LIMIT_BREACHED, "Reconcile", cut(_breach_text(limit, item), 900), f"breach {item.id}")
        for item in status.breached
        if item.id not in known
    ]


def report(observed: Observed, previous: RiskLimitStatus) -> RiskLimitStatus:
    """The new status; `previous` is the one that was reported last."""
    rules = concerned(observed.limit, observed.around)
    said = acknowledgements(observed, rules)
    waiting = [name for name, item in said.items() if item is None]
    problems = {name: item.problem for name, item in said.items() if item is not None and item.problem}
    utilisation, breached = _uses(observed, rules), _breached(observed, previous)
    count = len(rules) - len(waiting) - len(problems)
    generation = observed.limit.metadata.generation
    conditions = _conditions(observed, rules, waiting, problems)
    conditions += health(conditions[0], previous, generation, observed.now)
    conditions += [_is_breached(observed.limit, breached)] if breached else []
    conditions += _warned(observed.limit, utilisation, previous)
    return RiskLimitStatus(
        observed_generation=generation,
        summary=RiskSummary(scope=cut(_scope(observed.limit), 256), utilisation=_utilisation_summary(utilisation)),
        gateways=GatewaysStatus(acknowledged=count, concerned=len(rules), summary=f"{count}/{len(rules)}"),
        pending=sorted([*waiting, *problems])[:16],
        utilisation=utilisation,
        breached=breached[:SHOWN_BREACHES],
        conditions=follow(previous.conditions, conditions, generation, observed.now.text),
    )


def _conditions(
    observed: Observed, rules: Mapping[str, config_pb2.RiskRule], waiting: list[str], problems: Mapping[str, str]
) -> list[Condition]:
    everywhere = _everywhere(observed, rules, waiting, problems)
    found = [_ready(observed, rules, waiting, everywhere), _enforced(observed, everywhere)]
    # A limit is in force whether it is paused or not.
    return [*found, *paused(observed.limit, observed.limit.metadata.generation)]


def _enforced(observed: Observed, everywhere: Condition) -> Condition:
    type_ = ConditionType.ENFORCED
    if everywhere.status != "True" or everywhere.reason == Reason.NOTHING_IN_SCOPE:
        return condition(
            type_, "Unknown" if everywhere.status == "Unknown" else "False", everywhere.reason, everywhere.message
        )
    if observed.limit.spec.enforcement == "Observe":
        text = "spec.enforcement is Observe: breaches are counted and logged, orders pass."
        return condition(type_, False, Reason.OBSERVE_ONLY, text)
    return condition(type_, True, everywhere.reason, everywhere.message)


def _ready(
    observed: Observed, rules: Mapping[str, config_pb2.RiskRule], waiting: Sequence[str], everywhere: Condition
) -> Condition:
    """Whether all is done that can be done now: a gateway that does not run enforces the limit before it accepts an
    order, so none is waited for. Enforced says whether it is in force everywhere."""
    held, others = _held(observed, rules)
    awaited = (set(waiting) - set(held)) | set(others)
    runs = any(observed.around.gateway(name).status is not None for name in awaited)
    if everywhere.reason == Reason.WAITING_FOR_GATEWAY and not runs:
        text = (
            f"Accepted. No report comes from the gateways of {', '.join(sorted(awaited))}: one that starts enforces it "
            "before it accepts an order."
        )
        return condition(ConditionType.READY, True, Reason.ACCEPTED, text)
    return condition(ConditionType.READY, everywhere.status, everywhere.reason, everywhere.message)


def _everywhere(
    observed: Observed, rules: Mapping[str, config_pb2.RiskRule], waiting: list[str], problems: Mapping[str, str]
) -> Condition:
    """Whether this version is in force at all gateways concerned."""
    type_ = ConditionType.ENFORCED
    if not rules:
        text = (
            "The scope selects no strategy at any venue of this namespace yet; it is in force for the first one that "
            "it selects."
        )
        return condition(type_, True, Reason.NOTHING_IN_SCOPE, text)
    if not observed.around.bus_connected:
        return condition(type_, "Unknown", Reason.BUS_UNAVAILABLE, bus_message(observed.around.bus_problem))
    if problems:
        name, said = next(iter(problems.items()))
        text = f"The gateway of venue {name} cannot enforce it and refuses every order that it binds: {said}"
        return condition(type_, False, Reason.LIMIT_UNKNOWN, text)
    held, others = _held(observed, rules)
    if held:
        text = (
            f"At {', '.join(held)} it is loosened when the gateways of {', '.join(others)} have confirmed what it "
            "tightens there."
        )
        return condition(type_, False, Reason.WAITING_FOR_GATEWAY, text)
    if waiting:
        text = f"Waiting for the gateways of {', '.join(waiting)} to confirm this version."
        return condition(type_, False, Reason.WAITING_FOR_GATEWAY, text)
    text = f"In force at {', '.join(rules)}.{_divided(observed.limit, rules)}"
    return condition(type_, True, Reason.ACKNOWLEDGED, text)


def _divided(limit: RiskLimit, rules: Mapping[str, config_pb2.RiskRule]) -> str:
    """What of a limit that counts over several gateways follows no demand."""
    limits, gateways = limit.spec.limits, max((len(rule.gateways) for rule in rules.values()), default=0)
    if gateways < 2:
        return ""
    rejects, text = limits.max_consecutive_rejects, ""
    if rejects is not None:
        text += (
            f" maxConsecutiveRejects is divided evenly: each of {gateways} gateways admits {rejects // gateways} of "
            f"{rejects} in a row."
        )
    if limits.max_order_to_trade_ratio is not None:
        text += f" maxOrderToTradeRatio holds at each of {gateways} gateways, and so for all together."
    return text


def _breached(observed: Observed, previous: RiskLimitStatus) -> list[BreachStatus]:
    """Breaches that are latched anywhere in the namespace, whether the limit still binds there or not. Those of a
    gateway that has reported nothing yet stay, and those that a person has cleared until that is recorded (`plan`)."""
    around, found = observed.around, {}
    cleared = observed.limit.cleared_breaches
    for item in previous.breached:
        if item.id in cleared or (item.venue in around.venues and around.gateway(item.venue).last is None):
            found[item.id] = item
    for name in around.venues:
        last = around.gateway(name).last
        for breach in last.breaches if last is not None else ():
            if breach.risk_limit == observed.limit.name:
                entry = _breach(name, breach)
                found[entry.id] = entry
    return sorted(found.values(), key=lambda item: (item.since, item.id))


def _breach(venue: str, breach: status_pb2.Breach) -> BreachStatus:
    return BreachStatus(
        id=cut(breach.breach, 192),
        limit=cut(breach.limit, 64),
        strategy=cut(breach.subject, 63),
        venue=venue,
        action=cut(breach.action if breach.enforced else "Observe", 16),
        since=rfc3339(breach.since_unix_ns / 1e9),
        message=cut(breach.text, 512),
    )


def _is_breached(limit: RiskLimit, breached: Sequence[BreachStatus]) -> Condition:
    more = f" And {len(breached) - 1} more, see status.breached." if len(breached) > 1 else ""
    text = _breach_text(limit, breached[0]) + more
    return condition(ConditionType.BREACHED, True, Reason.LIMIT_BREACHED, text)


def _breach_text(limit: RiskLimit, breach: BreachStatus) -> str:
    whom = breach.strategy or "all that it binds"
    return (
        f"{breach.limit} of {whom} at venue {breach.venue} since {breach.since}: {breach.message}. Action "
        f"{breach.action}, until a person clears it: {clearing(limit.name, breach.id)}"
    )


def _warned(limit: RiskLimit, uses: Sequence[UtilisationStatus], previous: RiskLimitStatus) -> list[Condition]:
    """Warning, while the most used limit is above spec.warnAt."""
    warned = find(previous.conditions, ConditionType.WARNING) is not None
    threshold = Decimal(limit.spec.warn_at) * (WARNED_UNTIL if warned else 1)
    if not uses or Decimal(uses[0].ratio) < threshold:
        return []
    first = uses[0]
    whom = "all that it binds" if first.key == "-" else first.key
    # Without the figures, which change with each order: status.utilisation has them.
    text = (
        f"{first.name} at venue {first.venue} for {whom} is used above spec.warnAt, which is "
        f"{_percent(limit.spec.warn_at)} of the limit: see status.utilisation."
    )
    return [condition(ConditionType.WARNING, True, Reason.NEAR_LIMIT, text)]


def _percent(share: str) -> str:
    return f"{plain((Decimal(share) * 100).quantize(Decimal('0.1')))}%"


def _uses(observed: Observed, rules: Mapping[str, config_pb2.RiskRule]) -> list[UtilisationStatus]:
    """The highest that are shown, the highest first, each as its gateway counts it. Only these are made: hundreds may
    be reported each second."""
    found: dict[tuple[str, str, str], tuple[Decimal, status_pb2.Utilisation]] = {}
    for venue in rules:
        status = observed.around.gateway(venue).status
        for item in status.utilisation if status is not None else ():
            if item.risk_limit != observed.limit.name:
                continue
            ratio = _ratio(item.used, item.allowed)
            if ratio is not None:
                found[cut(item.limit, 64), venue, cut(item.key or "-", 192)] = (ratio, item)
    ranked = heapq.nsmallest(SHOWN_USES, found.items(), key=lambda entry: (-entry[1][0], *entry[0]))
    return [
        UtilisationStatus(
            name=name,
            venue=venue,
            key=key,
            used=fitting(item.used),
            limit=fitting(item.allowed),
            ratio=plain(ratio.quantize(Decimal("0.001"))),
            share=cut(item.share, 24) if _PLAIN.fullmatch(item.share) else "",
        )
        for (name, venue, key), (ratio, item) in ranked
    ]


def _ratio(used: str, allowed: str) -> Decimal | None:
    """None when one of the two is no plain number. Of a limit that admits nothing, as a share of 0 does, any use is the
    most there is."""
    if not (_PLAIN.fullmatch(used) and _PLAIN.fullmatch(allowed)):
        return None
    most = Decimal(allowed)
    if not most:
        return _MOST if Decimal(used) else Decimal(0)
    return min(Decimal(used) / most, _MOST)


def _utilisation_summary(utilisation: list[UtilisationStatus]) -> str:
    if not utilisation:
        return ""
    first = utilisation[0]
    said = _percent(first.ratio) if Decimal(first.limit) or not Decimal(first.used) else f"{first.used} of 0"
    return cut(f"{first.name} {said}", 128)


def _scope(limit: RiskLimit) -> str:
    scope = limit.spec.scope
    parts = [
        _selector("strategies", scope.strategy_selector),
        _selector("venues", scope.venue_selector),
        f"instruments {','.join(scope.instruments)}" if scope.instruments else "",
    ]
    return "; ".join(filter(None, parts)) or "all"


def _selector(what: str, selector: LabelSelector) -> str:
    labels = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    labels += [
        f"{item.key} {item.operator}" + (f" ({','.join(item.values)})" if item.values else "")
        for item in selector.match_expressions
    ]
    return f"{what} {','.join(labels)}" if labels else ""
