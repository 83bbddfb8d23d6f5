"""No limit set means no order (FIA 2024, 1.1; RTS 6 Article 15(1)), and a limit that cannot be read is none."""

from __future__ import annotations

from crowetrade_agents.risk.facts import Facts, Proposal
from crowetrade_agents.risk.reasons import Reason, Refusal


def check(proposal: Proposal, facts: Facts) -> Refusal | None:
    """Every rule that binds the order can be enforced, and at least one of them is."""
    terms = proposal.terms
    enforced = False
    for rule in facts.rules.binding(terms.strategy, terms.instrument):
        if rule.problem:
            return rule.refusal
        enforced = enforced or rule.enforce
    if enforced:
        return None
    text = f"no enforced RiskLimit selects strategy {terms.strategy!r} and {terms.instrument}: apply one"
    return Refusal(Reason.NO_LIMIT_IN_FORCE, text)
