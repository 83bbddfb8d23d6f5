"""No limit set means no order (FIA 2024, 1.1; RTS 6 Article 15(1)), and a limit that cannot be read is none."""

from __future__ import annotations

from crowetrade_agents.risk.facts import Facts, Proposal
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_api.v1alpha1.venueconnection import LIMITS_OF_GROUP


def check(proposal: Proposal, facts: Facts) -> Refusal | None:
    """Every rule that binds the order can be enforced, at least one of them is, and those that are enforced cover each
    group of limits that the venue requires. A group that this gateway does not know is covered by nothing."""
    terms = proposal.terms
    problem, enforced = facts.rules.cover(terms.strategy, terms.instrument)
    if problem is not None:
        return problem
    if not enforced:
        text = f"no enforced RiskLimit selects strategy {terms.strategy!r} and {terms.instrument}: apply one"
        return Refusal(Reason.NO_LIMIT_IN_FORCE, text)
    for group in facts.required_limits:
        if enforced.isdisjoint(LIMITS_OF_GROUP.get(group, ())):
            return _missing(proposal, facts.required_limits, enforced)
    return None


def _missing(proposal: Proposal, required: frozenset[str], enforced: frozenset[str]) -> Refusal:
    group = min(name for name in required if enforced.isdisjoint(LIMITS_OF_GROUP.get(name, ())))
    terms = proposal.terms
    if group not in LIMITS_OF_GROUP:
        text = f"requiredLimits of the VenueConnection names {group}, which this gateway does not know: upgrade it"
        return Refusal(Reason.REQUIRED_LIMIT_MISSING, text)
    covering = " or ".join(sorted(LIMITS_OF_GROUP[group]))
    text = (
        f"the VenueConnection requires limits of group {group}, and no enforced RiskLimit sets {covering} for strategy "
        f"{terms.strategy!r} and {terms.instrument}: apply one"
    )
    return Refusal(Reason.REQUIRED_LIMIT_MISSING, text)
