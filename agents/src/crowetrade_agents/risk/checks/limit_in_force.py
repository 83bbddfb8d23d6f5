"""No limit set means no order (FIA 2024, 1.1; RTS 6 Article 15(1))."""

from __future__ import annotations

from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.request import Facts, OrderRequest


def check(request: OrderRequest, facts: Facts) -> Refusal | None:
    """At least one enforced RiskLimit binds the order."""
    if any(rule.enforce for rule in facts.rules_for(request)):
        return None
    return Refusal(
        Reason.NO_LIMIT_IN_FORCE,
        f"no enforced RiskLimit selects strategy {request.strategy!r} and {request.symbol}: apply one",
    )
