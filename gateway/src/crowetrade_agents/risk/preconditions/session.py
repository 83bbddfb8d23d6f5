"""The gateway is logged on to its venue."""

from __future__ import annotations

from crowetrade_agents.risk.facts import Facts, Proposal
from crowetrade_agents.risk.reasons import Reason, Refusal


def check(proposal: Proposal, facts: Facts) -> Refusal | None:
    """The session is ready."""
    if facts.session_ready:
        return None
    return Refusal(Reason.SESSION_NOT_ESTABLISHED, "the gateway is not logged on to its venue: wait until it is")
