"""The gate: every order passes here, in this order, and the first refusal stands.

authenticate -> instrument, tick and lot -> kill state -> market data -> a limit is in force -> each limit of each rule.
A rule that only observes never refuses; what it would have refused is returned beside the decision.
"""

from __future__ import annotations

from dataclasses import dataclass

from crowetrade_agents.risk import kill
from crowetrade_agents.risk.approved import ApprovedOrder, approve
from crowetrade_agents.risk.checks import (
    authentication,
    instrument,
    limit_in_force,
    market_data,
    order_notional,
    order_quantity,
    order_rate,
    position_quantity,
)
from crowetrade_agents.risk.reasons import Refusal
from crowetrade_agents.risk.request import Facts, OrderRequest

CHECKS = (authentication.check, instrument.check, kill.check, market_data.check, limit_in_force.check)
LIMITS = (order_quantity.check, order_notional.check, position_quantity.check, order_rate.check)


@dataclass(frozen=True, slots=True)
class Decision:
    """Either an approved order or a refusal; `observed` holds breaches of rules that do not enforce."""

    outcome: ApprovedOrder | Refusal
    observed: tuple[Refusal, ...] = ()


def decide(request: OrderRequest, facts: Facts) -> Decision:
    """Judges one order; pure."""
    for check in CHECKS:
        if refusal := check(request, facts):
            return Decision(refusal)
    observed: list[Refusal] = []
    for rule in facts.rules_for(request):
        for limit in LIMITS:
            if refusal := limit(request, facts, rule):
                if rule.enforce:
                    return Decision(refusal, tuple(observed))
                observed.append(refusal)
    return Decision(approve(request), tuple(observed))
