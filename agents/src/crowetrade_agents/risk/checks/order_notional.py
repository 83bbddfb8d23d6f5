"""Largest value of one order (RTS 6 Article 15(1)(b): maximum order value)."""

from __future__ import annotations

from crowetrade_agents.domain.numbers import CONTEXT, render
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.request import Facts, OrderRequest
from crowetrade_agents.risk.rules import Rule


def check(request: OrderRequest, facts: Facts, rule: Rule) -> Refusal | None:
    """Quantity times the worse of limit price and touch, quote currency, not above maxOrderNotional."""
    limit = rule.max_order_notional
    if limit is None or facts.book is None:
        return None
    touch = facts.book.ask_price if request.buy else facts.book.bid_price
    price = max(request.price, touch) if request.price is not None else touch
    notional = CONTEXT.multiply(request.quantity, price)
    if notional <= limit:
        return None
    return Refusal(
        Reason.MAX_ORDER_NOTIONAL,
        f"order notional {render(notional)} is above maxOrderNotional {render(limit)} of {rule.name}",
    )
