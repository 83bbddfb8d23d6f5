"""The gate: whatever leaves for the venue was approved here, and the first refusal stands.

Order of the checks: instrument (so that everything after it reads numbers within their range), control, whether the
strategy trades the instrument, session, limits in force, market data, each limit of each rule that binds. A rule that
only observes never refuses; what it would have refused is returned beside the decision.

Size limits judge the whole order: FIX OrderQty, for a replacement with what is executed included. For an order that
rests and is judged again it is what is still open, because what is executed cannot be undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, replace
from decimal import getcontext, setcontext
from typing import Generic, TypeVar

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import ZERO
from crowetrade_agents.domain.orders import OrderTerms, Side
from crowetrade_agents.risk import _seal
from crowetrade_agents.risk.approved import ApprovedCancel, ApprovedOrder, ApprovedReplace
from crowetrade_agents.risk.case import Case, Sums
from crowetrade_agents.risk.closing import closing_obstacle, closing_quantity
from crowetrade_agents.risk.facts import Facts, Proposal
from crowetrade_agents.risk.limits.limit import Use, use_of
from crowetrade_agents.risk.plans import SENDING, Plans, Purpose, plans_of
from crowetrade_agents.risk.preconditions import (
    control,
    instrument,
    limits_in_force,
    market_data,
    session,
    tradable,
)
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.reducing import reduces
from crowetrade_agents.risk.shares import is_split
from crowetrade_agents.risk.valuation import EXACT

__all__ = [
    "Decision",
    "approve_cancel",
    "closing_obstacle",
    "closing_quantity",
    "judge_closing",
    "judge_order",
    "judge_replace",
    "judge_resting",
    "utilisation",
]

T = TypeVar("T")
Check = Callable[[Proposal, Facts], Refusal | None]


@dataclass(slots=True)
class Decision(Generic[T]):
    """What was approved, or a refusal; `observed` holds breaches of rules that do not enforce."""

    outcome: T | Refusal
    observed: tuple[Refusal, ...] = ()


def judge_order(proposal: Proposal, facts: Facts) -> Decision[ApprovedOrder]:
    """Judges a strategy's new order; `leaves` is its quantity."""
    refusal, observed = _judge(proposal, facts)
    return Decision(refusal or ApprovedOrder(proposal.terms, key=_seal.KEY), observed)


def judge_replace(proposal: Proposal, orig_cl_ord_id: str, order_id: str, facts: Facts) -> Decision[ApprovedReplace]:
    """Judges a cancel/replace as the order that it makes; `proposal` says what the replaced order counts."""
    refusal, observed = _judge(proposal, facts)
    return Decision(refusal or ApprovedReplace(proposal.terms, orig_cl_ord_id, order_id, key=_seal.KEY), observed)


def judge_closing(terms: OrderTerms, facts: Facts) -> Decision[ApprovedOrder]:
    """Judges the gateway's own order that closes a position of its owner.

    It must reduce without flipping, working orders counted. Limits on the size of an order hold (`closing_quantity`
    slices to them). A limit on the position, a rule that is missing and one that cannot be read do not stop it, because
    it only reduces; nor does maxOrderRate, whose window its strategy may keep full, nor the age of the last quote,
    because a quiet market must not stop a Flatten. How fast it is sent is bounded by the venue's own rate.
    """
    proposal = Proposal(terms, leaves=terms.quantity)
    for check in (instrument.check, control.check, session.check, market_data.check_known, _closes):
        if refusal := check(proposal, facts):
            return Decision(refusal)
    refusal, observed = _judge_limits(proposal, facts, _CLOSING)
    return Decision(refusal or ApprovedOrder(terms, key=_seal.KEY), observed)


def judge_resting(proposal: Proposal, facts: Facts) -> Refusal | None:
    """Judges an order at the venue again, after a change of limits; `leaves` and `counted_leaves` are what it has open.

    As for a new order, but for what concerns sending: rates, the session and market data. Without a usable quote its
    limit price is what it is worth. What is not known for the moment (a rate of exchange, the value of a position, a
    share) cancels nothing: after a start, configuration comes before quotes. A caller that cancels several orders
    passes exposures without those that it cancels already, or an order too many goes.
    """
    closing = proposal.terms.closing
    rest: tuple[Check, ...] = (_closes,) if closing else (tradable.check, limits_in_force.check)
    for check in (instrument.check, control.check, *rest):
        if refusal := check(proposal, facts):
            return refusal
    still_open = replace(proposal, terms=replace(proposal.terms, quantity=proposal.leaves))
    refusal, _ = _judge_limits(still_open, facts, Purpose(closing, resting=True), _NOT_KNOWN_YET)
    return refusal


def approve_cancel(
    cl_ord_id: str, orig_cl_ord_id: str, order_id: str, instrument_id: InstrumentId, side: Side, reason: str
) -> ApprovedCancel:
    """Approves a cancel: it reduces risk, so it always may leave."""
    return ApprovedCancel(cl_ord_id, orig_cl_ord_id, order_id, instrument_id, side, reason, key=_seal.KEY)


def utilisation(facts: Facts) -> Iterator[Use]:
    """Use of every limit of every rule, observing ones too. What is not used is left out, and so is what is not known,
    because something cannot be valued; but not where a limit is split: what this gateway holds of it is reported."""
    sums = Sums(facts, whole=True)
    for rule in facts.rules:
        for limit, value in rule.limits:
            uses = tuple(limit.use(value, sums, rule))
            yield from uses
            if not uses and is_split(rule, limit.name):
                yield use_of(rule, limit.name, "", ZERO, limit.bound(value), facts)


_PRECONDITIONS: tuple[Check, ...] = (
    instrument.check,
    control.check,
    tradable.check,
    session.check,
    limits_in_force.check,
    market_data.check,
)


def _judge(proposal: Proposal, facts: Facts) -> tuple[Refusal | None, tuple[Refusal, ...]]:
    for check in _PRECONDITIONS:
        if refusal := check(proposal, facts):
            return refusal, ()
    return _judge_limits(proposal, facts)


_CLOSING = Purpose(closing=True)
_NOT_KNOWN_YET = frozenset({Reason.MISSING_EXCHANGE_RATE, Reason.MISSING_MARK, Reason.SHARE_UNKNOWN})


def _judge_limits(
    proposal: Proposal, facts: Facts, purpose: Purpose = SENDING, tolerated: Set[Reason] = frozenset()
) -> tuple[Refusal | None, tuple[Refusal, ...]]:
    terms, context = proposal.terms, getcontext()
    # Operators take a third of the time of a context's methods; under this context they are as exact.
    setcontext(EXACT)
    try:
        case = Case(proposal, facts)
        plans = plans_of(facts)
        for check in plans.deciding(facts, terms.strategy, terms.instrument, purpose):
            if check(case) is not None:
                return _refused(case, plans, purpose, tolerated)
        return None, ()
    finally:
        setcontext(context)


def _refused(
    case: Case, plans: Plans, purpose: Purpose, tolerated: Set[Reason]
) -> tuple[Refusal | None, tuple[Refusal, ...]]:
    """Some limit does not admit it: which one is the first, and what do those say that only observe?"""
    observed: list[Refusal] = []
    for rule in case.facts.rules.binding(case.terms.strategy, case.instrument):
        checks = plans.checks(rule, case.terms.strategy, case.facts)
        for (limit, _), check in zip(rule.limits, checks, strict=True):
            if not purpose.judges(limit):
                continue
            refusal = check(case)
            if refusal is None or refusal.reason in tolerated:
                continue
            if rule.enforce:
                return refusal, tuple(observed)
            observed.append(refusal)
    return None, tuple(observed)


def _closes(proposal: Proposal, facts: Facts) -> Refusal | None:
    if proposal.terms.closing and reduces(proposal, facts):
        return None
    return Refusal(Reason.CLOSE_ONLY, "a closing order must reduce its owner's position, working orders counted")
