"""This gateway's shares of limits that several gateways share: what it needs of each, and what it uses from now on.

Pure. The ledger and its exchanges are in allowances/, the task that moves them in runtime/shares.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from crowetrade_agents.allowances.holder import Key, Needs
from crowetrade_agents.allowances.ledger import WHOLE
from crowetrade_agents.allowances.split import Need, Yield, units
from crowetrade_agents.control.state import VENUE_DELETED
from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.gateway.state import Demand, GatewayState, Turn
from crowetrade_agents.risk.breaches import LOSSES
from crowetrade_agents.risk.case import Case, Counted, Sums
from crowetrade_agents.risk.facts import Facts, Proposal
from crowetrade_agents.risk.gate import Decision
from crowetrade_agents.risk.limits import max_open_orders, max_order_rate
from crowetrade_agents.risk.limits.limit import Limit
from crowetrade_agents.risk.limits.loss import Loss, measured
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.rules import Rule
from crowetrade_agents.risk.shares import is_split
from crowetrade_agents.risk.standing import identity
from crowetrade_agents.risk.valuation import exactly

DEMAND_NS = 2 * SECOND_NS
"""An order that was refused for lack of a share is wanted for so long; whoever sent it may try again meanwhile."""
_YIELDS = {max_order_rate.NAME: Yield.ALL, max_open_orders.NAME: Yield.UNUSED}
"""Limits on counts; shares of all others keep their headroom."""
_MILLION = Decimal(WHOLE)


def share(millionths: int) -> Decimal:
    """As the gate reads it, from 0 to 1."""
    return Decimal(millionths).scaleb(-6)


def millionths(part: Decimal) -> int:
    """Of the whole, rounded up."""
    return int(CONTEXT.multiply(part, _MILLION).to_integral_value(ROUND_CEILING))


def note(turn: Turn, proposal: Proposal, facts: Facts, decision: Decision[Any]) -> None:
    """Where an order was refused for lack of a share, or would have been by a rule that enforces, more of that share is
    wanted for a while: until one leaves, or for DEMAND_NS."""
    outcome, demands = decision.outcome, turn.live.demands
    refusals = (*decision.observed, outcome) if isinstance(outcome, Refusal) else decision.observed
    if demands and not refusals:
        for rule in facts.rules.binding(proposal.terms.strategy, proposal.terms.instrument):
            for limit, _ in _split(rule):
                demands.pop((identity(rule), limit.name), None)
    for refusal in refusals:
        if refusal.risk_limit:
            _want(turn, proposal, facts, refusal)


def _want(turn: Turn, proposal: Proposal, facts: Facts, refusal: Refusal) -> None:
    terms, live = proposal.terms, turn.live
    for rule in facts.rules.binding(terms.strategy, terms.instrument):
        for limit, value in _split(rule) if rule.name == refusal.risk_limit else ():
            if limit.order_use is None or refusal.reason not in (limit.reason, Reason.SHARE_UNKNOWN):
                continue
            with exactly():
                case = Case(proposal, facts)
                amount = limit.order_use(value, case, Counted(rule, terms.strategy, facts, case.valuation))
            if amount is None or amount > limit.bound(value):
                # Not even the whole limit would admit it.
                continue
            key, wanted = (identity(rule), limit.name), _part(amount, limit, value)
            before = live.demands.get(key)
            if before is not None and turn.now_ns - before.at_ns < DEMAND_NS:
                wanted = max(wanted, before.wanted)
            live.demands[key] = Demand(turn.now_ns, wanted)
            live.demands_noted += 1


def needs(state: GatewayState, rules: Mapping[str, Rule], now_ns: int) -> dict[str, Needs]:
    """What the gateway needs of limits of these rules that are split, by the rules' identity."""
    facts = state.facts("", now_ns)
    sums = Sums(facts, whole=True)
    found: dict[str, Needs] = {}
    for uid, rule in rules.items():
        limits = {limit.name: _need(state, limit, value, rule, sums) for limit, value in _split(rule)}
        if limits:
            found[uid] = Needs(len(rule.gateways), limits)
    return found


def used(state: GatewayState, now_ns: int) -> Iterator[tuple[Key, int | None]]:
    """What is used of limits in force that are split, in millionths; None where that is not known."""
    sums = Sums(state.facts("", now_ns), whole=True)
    for rule in state.live.configuration.rules:
        for limit, value in _split(rule):
            amount = _used(limit, value, rule, sums)
            yield (identity(rule), limit.name), None if amount is None else min(WHOLE, _part(amount, limit, value))


def _split(rule: Rule) -> Iterator[tuple[Limit[Any], Any]]:
    return ((limit, value) for limit, value in rule.limits if is_split(rule, limit.name))


def _need(state: GatewayState, limit: Limit[Any], value: Any, rule: Rule, sums: Sums) -> Need:
    amount = _used(limit, value, rule, sums)
    demand = state.live.demands.get((identity(rule), limit.name))
    wanted = demand.wanted if demand is not None and sums.facts.now_ns - demand.at_ns < DEMAND_NS else 0
    return Need(
        used=0 if amount is None else min(WHOLE, _part(amount, limit, value)),
        demanded=wanted,
        count=_count(limit, value),
        yields=_YIELDS.get(limit.name, Yield.EXCESS),
        known=amount is not None,
        leaving=state.live.configuration.halted_reason == VENUE_DELETED,
    )


def _used(limit: Limit[Any], value: Any, rule: Rule, sums: Sums) -> Decimal | None:
    """In the limit's unit; None where it is not known."""
    if limit.moved_by_market and sums.total(rule, sums.members(rule)) is None:
        return None
    kind = LOSSES.get(limit.name)
    if kind is not None and not isinstance(measured(kind, value, sums.facts, rule, ""), Loss):
        return None
    return max((use.used for use in limit.use(value, sums, rule)), default=ZERO)


def _part(amount: Decimal, limit: Limit[Any], value: Any) -> int:
    """An amount in the limit's unit in millionths of the limit."""
    whole = limit.bound(value)
    if count := _count(limit, value):
        return units(count, int(amount))
    return millionths(CONTEXT.divide(amount, whole)) if whole else 0


def _count(limit: Limit[Any], value: Any) -> int:
    """The limit where it counts whole things; 0 where it is an amount."""
    return int(limit.bound(value)) if limit.name in _YIELDS else 0
