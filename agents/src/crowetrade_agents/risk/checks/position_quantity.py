"""Largest position with all working orders of the same side counted as filled (15c3-5(c)(1)(i); FIA 2024, 1.3)."""

from __future__ import annotations

from decimal import Decimal

from crowetrade_agents.domain.numbers import ZERO, render
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.request import Exposure, Facts, OrderRequest
from crowetrade_agents.risk.rules import Rule


def worst_case(rule: Rule, facts: Facts, strategy: str, symbol: str, buy: bool) -> Decimal:
    """Signed position in base units if every open order on the side of `buy` filled, over all that the rule counts."""
    counted = rule.strategies if rule.total else {strategy}
    exposures = [facts.exposures.get((name, symbol), Exposure()) for name in counted]
    position = sum((exposure.position for exposure in exposures), ZERO)
    working = sum((exposure.open_buy if buy else -exposure.open_sell for exposure in exposures), ZERO)
    return position + working


def check(request: OrderRequest, facts: Facts, rule: Rule) -> Refusal | None:
    """The absolute worst case with this order is not above maxPositionQuantity; reducing orders always may leave."""
    limit = rule.max_position_quantity
    if limit is None:
        return None
    before = worst_case(rule, facts, request.strategy, request.symbol, request.buy)
    after = before + request.signed
    if abs(after) <= limit or (abs(after) < abs(before) and after * before >= 0):
        return None
    return Refusal(
        Reason.MAX_POSITION_QUANTITY,
        f"position with working orders would be {render(after)}, above maxPositionQuantity {render(limit)} "
        f"of {rule.name}",
    )
