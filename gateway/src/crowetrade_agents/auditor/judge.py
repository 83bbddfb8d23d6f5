"""One order judged: control, limits in force, and every limit of every enforced rule that binds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade.bus.v1 import orders_pb2
from crowetrade_agents.auditor import breaches, control, hours
from crowetrade_agents.auditor.case import Attempt, Case
from crowetrade_agents.auditor.findings import Finding, NotJudged, Over, Unjudged, Verdict
from crowetrade_agents.auditor.ledger import Ledger, Rule
from crowetrade_agents.auditor.limits import ORDER_LIMITS
from crowetrade_agents.auditor.messages import SECOND

REQUIRED: Mapping[str, frozenset[str]] = {
    "OrderSize": frozenset(("maxOrderQuantity", "maxOrderNotional")),
    "Position": frozenset(("maxPositionQuantity", "maxGrossNotional", "maxNetNotional")),
    "OrderRate": frozenset(("maxOrderRate",)),
    "Loss": frozenset(("maxDailyLoss", "maxDrawdown")),
}
"""Groups of VenueConnection.spec.requiredLimits: at least one of these is enforced."""
NOT_OURS = NotJudged("this auditor does not know the limit: upgrade it")
NO_CONFIGURATION = NotJudged("the journal does not hold the configuration that was in force")
KNOWN = tuple(sorted((*ORDER_LIMITS, *breaches.BREACH_LIMITS)))
CONTROLS = (
    "binding",
    "books",
    "breach",
    "clOrdId",
    "configuration",
    "halt",
    "journal",
    "killSwitch",
    "limitsInForce",
    "requiredLimits",
)
"""What else a finding may name as its limit."""

Judged = tuple[str, str, Verdict]
"""Limit, RiskLimit, verdict."""


def attempt_of(ledger: Ledger, event: pb.JournalEvent) -> Attempt | None:
    """The order that leaves with the event; None for any other event, and for a replacement of an order that nobody
    sent, which the ledger refuses."""
    kind = event.WhichOneof("event")
    at_ns = max(ledger.at_ns, event.at_unix_ns)
    if kind == "order_submitted":
        return Attempt.of_order(at_ns, event.order_submitted)
    if kind == "replace_submitted":
        order = ledger.find(event.replace_submitted.orig_cl_ord_id)
        if order is not None:
            return Attempt.of_replace(at_ns, event.replace_submitted, order, orders_pb2.ORD_TYPE_LIMIT)
    return None


def judge(ledger: Ledger, sequence: int, order: Attempt) -> tuple[list[Finding], list[Unjudged]]:
    """What is wrong with the order, and what could not be judged; the ledger is as it was before the order."""
    findings: list[Finding] = []
    unjudged: list[Unjudged] = []
    for limit, risk_limit, verdict in _verdicts(ledger, order):
        if isinstance(verdict, NotJudged):
            unjudged.append(Unjudged(ledger.namespace, ledger.venue, limit, verdict.why))
        elif isinstance(verdict, Over):
            findings.append(finding_of(ledger, sequence, order, limit, risk_limit, verdict))
    return findings, unjudged


def finding_of(ledger: Ledger, sequence: int, order: Attempt, limit: str, risk_limit: str, over: Over) -> Finding:
    """What is said about an order."""
    return Finding(
        ledger.namespace,
        ledger.venue,
        sequence,
        order.at_ns,
        order.cl_ord_id,
        order.strategy,
        order.symbol,
        limit,
        risk_limit,
        over.computed,
        over.allowed,
        over.text,
    )


def binding_rules(ledger: Ledger, order: Attempt) -> list[Rule]:
    """Rules that bind the order."""
    return [rule for rule in ledger.rules if order.strategy in rule.strategies and rule.covers(order.symbol)]


def _verdicts(ledger: Ledger, order: Attempt) -> Iterator[Judged]:
    yield from _control(ledger, order)
    if ledger.config is None:
        if ledger.configuration is not None and ledger.configuration.revision:
            yield "limitsInForce", "", NO_CONFIGURATION
        return
    if order.strategy not in ledger.bindings:
        return
    rules = binding_rules(ledger, order)
    if not order.closing:
        yield from _in_force(ledger, rules, order)
    for rule in rules:
        case = Case(ledger, order, rule)
        for name, values in rule.limits.items():
            yield from ((name, rule.name, verdict) for verdict in _limit(name, values, case))


def _limit(name: str, values: Mapping[str, str], case: Case) -> Iterator[Verdict]:
    check = ORDER_LIMITS.get(name)
    if not case.rule.enforced or (case.order.closing and not (check is not None and check.of_closing)):
        return
    try:
        if check is not None:
            yield check.judge(values, case)
        elif name in breaches.BREACH_LIMITS:
            yield breaches.judge(name, values, case)
        else:
            yield NOT_OURS
    except (KeyError, ValueError) as error:
        yield Over(str(dict(values)), "", f"the limit cannot be read ({error}), which blocks every order that it binds")


def _in_force(ledger: Ledger, rules: list[Rule], order: Attempt) -> Iterator[Judged]:
    """No limit, no order; and those that the venue requires."""
    if empty := [rule for rule in rules if not rule.limits]:
        yield (
            "limitsInForce",
            empty[0].name,
            Over("0", "1", "a rule without any limit blocks every order that it binds"),
        )
    for rule in rules:
        try:
            if rule.day is not None:
                hours.zoned_day(*rule.day, order.at_ns)
        except ValueError as error:
            text = f"the day cannot be read ({error}), which blocks every order that the rule binds"
            yield "limitsInForce", rule.name, Over(" ".join(rule.day or ()), "", text)
    enforced = [rule for rule in rules if rule.enforced]
    if not enforced:
        yield "limitsInForce", "", Over("0", "1", "no enforced RiskLimit bound the order")
    names = {name for rule in enforced for name in rule.limits}
    config = ledger.config
    for group in config.required_limits if config is not None else ():
        if not names & REQUIRED.get(group, frozenset()):
            yield "requiredLimits", "", Over("", group, f"nothing in force covered {group}, which the venue requires")


def _control(ledger: Ledger, order: Attempt) -> Iterator[Judged]:
    if control.has_undecided_kill(ledger):
        yield "killSwitch", "", NO_CONFIGURATION
    if order.closing:
        if not control.may_close(ledger, order.strategy):
            yield _first_stop(ledger, order)
        elif not Case(ledger, order, _NO_RULE).reduces():
            yield "binding", "", Over("", "", "a closing order did not reduce its owner's position")
        return
    for stop in control.stops(ledger, order.strategy):
        if stop.mode == control.CLOSE_ONLY and Case(ledger, order, _NO_RULE).reduces():
            continue
        yield stop.what, stop.risk_limit, Over("", stop.mode, stop.text)
        return
    if control.is_left(ledger, order.strategy, order.symbol) and not Case(ledger, order, _NO_RULE).reduces():
        yield "binding", "", Over("", control.CLOSE_ONLY, "the strategy did not name the instrument")
        return
    breach = control.slows(ledger, order.strategy)
    sent = ledger.slowed.get(order.strategy, [])
    # One order each second: of three in a row the last comes more than a second after the first, however it is counted.
    if breach and len(sent) == 2 and order.at_ns - sent[0] < SECOND:
        yield "breach", "", Over("3", "1", f"breach {breach} slows the strategy to one order each second")


def _first_stop(ledger: Ledger, order: Attempt) -> Judged:
    for stop in control.stops(ledger, order.strategy):
        return stop.what, stop.risk_limit, Over("", stop.mode, f"nothing may be closed: {stop.text}")
    return "binding", "", Over("", "", "the gateway closed a position that nobody asked it to close")


_NO_RULE = Rule("", "", frozenset(), frozenset(), False, False, {}, "", ())
