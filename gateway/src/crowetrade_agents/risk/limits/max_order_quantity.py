"""Largest quantity of one order, in units (RTS 6 Article 15(1)(c), maximum order volume)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import render
from crowetrade_agents.risk.case import Case, Counted
from crowetrade_agents.risk.limits.limit import Check, Limit, amount, parse_amount
from crowetrade_agents.risk.reasons import Reason, Refusal

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

NAME = "maxOrderQuantity"


def compile(value: Decimal, counted: Counted) -> Check:
    """The whole quantity of the order is not above the limit."""
    rule = counted.rule

    def check(case: Case) -> Refusal | None:
        quantity = case.terms.quantity
        if quantity <= value:
            return None
        text = f"order quantity {render(quantity)} is above {NAME} {render(value)} of {rule.name}: send smaller orders"
        return Refusal(Reason.MAX_ORDER_QUANTITY, text, rule.name)

    return check


def admissible(value: Decimal, case: Case, rule: Rule) -> Decimal | None:
    """The limit itself."""
    return value


LIMIT = Limit(NAME, Reason.MAX_ORDER_QUANTITY, parse_amount, compile, amount, admissible)
