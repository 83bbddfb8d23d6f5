"""Largest quantity of one order (RTS 6 Article 15(1)(c): maximum order volume)."""

from __future__ import annotations

from crowetrade_agents.domain.numbers import render
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.request import Facts, OrderRequest
from crowetrade_agents.risk.rules import Rule


def check(request: OrderRequest, facts: Facts, rule: Rule) -> Refusal | None:
    """Quantity, base units, not above maxOrderQuantity."""
    limit = rule.max_order_quantity
    if limit is None or request.quantity <= limit:
        return None
    return Refusal(
        Reason.MAX_ORDER_QUANTITY,
        f"order quantity {render(request.quantity)} is above maxOrderQuantity {render(limit)} of {rule.name}",
    )
