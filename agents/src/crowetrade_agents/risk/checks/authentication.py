"""Only a strategy that the operator bound to this gateway may trade, and no ClOrdID is used twice (FIX tag 11)."""

from __future__ import annotations

from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.request import Facts, OrderRequest


def check(request: OrderRequest, facts: Facts) -> Refusal | None:
    """Configuration present and readable, strategy bound, ClOrdID new."""
    limits = facts.limits
    if limits.unreadable:
        return Refusal(Reason.UNREADABLE_LIMIT, f"the gateway's configuration cannot be read: {limits.unreadable}")
    if limits.bindings is None:
        return Refusal(Reason.NO_CONFIGURATION, "the operator has sent no configuration yet: look at its log")
    if request.strategy not in limits.bindings:
        return Refusal(Reason.UNKNOWN_STRATEGY, f"strategy {request.strategy!r} does not name this venue in its spec")
    if facts.known_cl_ord_id:
        return Refusal(Reason.DUPLICATE_CL_ORD_ID, f"ClOrdID {request.cl_ord_id!r} was used before")
    return None
