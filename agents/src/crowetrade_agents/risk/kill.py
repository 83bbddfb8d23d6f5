"""The kill state: whether anything new may leave at all. Checked before every limit."""

from __future__ import annotations

from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.request import Facts, OrderRequest, TradingState


def check(request: OrderRequest, facts: Facts) -> Refusal | None:
    """Venue not halted, strategy active (or the gateway's own closing order), session established."""
    if facts.limits.halted:
        return Refusal(Reason.VENUE_HALTED, "the venue is suspended or being deleted")
    state = (facts.limits.bindings or {}).get(request.strategy, TradingState.SUSPENDED)
    closing = request.closing and state is TradingState.FLATTEN
    if state is not TradingState.ACTIVE and not closing:
        return Refusal(Reason.STRATEGY_SUSPENDED, f"strategy {request.strategy!r} is suspended or being deleted")
    if not facts.session_ready:
        return Refusal(Reason.SESSION_NOT_ESTABLISHED, "the gateway is not logged on to its venue")
    return None
