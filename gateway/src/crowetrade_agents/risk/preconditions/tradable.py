"""The strategy trades the instrument, or the order only reduces what it has left there."""

from __future__ import annotations

from crowetrade_agents.risk.facts import Facts, Proposal
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.reducing import reduces


def check(proposal: Proposal, facts: Facts) -> Refusal | None:
    """Also for a strategy of which nothing is known: it may open nothing."""
    terms = proposal.terms
    if terms.instrument.symbol in facts.tradable.get(terms.strategy, ()) or reduces(proposal, facts):
        return None
    text = f"spec.instruments of strategy {terms.strategy!r} does not name {terms.instrument}: orders may only reduce"
    return Refusal(Reason.CLOSE_ONLY, text)
