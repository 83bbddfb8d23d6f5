"""Order messages in a sliding window: new orders and cancels count at once (RTS 6 Article 15(1)(d) and 15(2))."""

from __future__ import annotations

from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.request import Facts, OrderRequest
from crowetrade_agents.risk.rules import Rule


def count_in_window(rule: Rule, facts: Facts, strategy: str) -> int:
    """Messages within the rule's window that ends now."""
    if rule.max_order_rate is None:
        return 0
    counted = rule.strategies if rule.total else {strategy}
    since = facts.now_ns - rule.max_order_rate.window_ns
    return sum(1 for name in counted for at in facts.messages.get(name, ()) if at > since)


def check(request: OrderRequest, facts: Facts, rule: Rule) -> Refusal | None:
    """This order would not be more than `count` messages in the window."""
    rate = rule.max_order_rate
    if rate is None:
        return None
    if count_in_window(rule, facts, request.strategy) < rate.count:
        return None
    return Refusal(
        Reason.MAX_ORDER_RATE,
        f"more than {rate.count} order messages in {rate.window_ns / 1e9:g} s: maxOrderRate of {rule.name}",
    )
