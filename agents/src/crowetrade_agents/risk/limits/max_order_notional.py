"""Largest value of one order, in quote currency (RTS 6 Article 15(1)(b), maximum order value)."""

from __future__ import annotations

from decimal import ROUND_DOWN, Context, Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import ZERO, render
from crowetrade_agents.risk.case import Case
from crowetrade_agents.risk.limits.limit import Limit, amount, parse_amount
from crowetrade_agents.risk.reasons import Reason, Refusal

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

NAME = "maxOrderNotional"

_TOWARD_ZERO = Context(prec=38, rounding=ROUND_DOWN)


def check(value: Decimal, case: Case, rule: Rule) -> Refusal | None:
    """Whole quantity x worse of limit price and touch x multiplier is not above the limit; refused without a price."""
    notional = case.notional
    if notional is None:
        text = f"no usable quote of {case.terms.instrument} is known, so {NAME} of {rule.name} cannot be judged"
        return Refusal(Reason.MISSING_MARKET_DATA, text, rule.name)
    if notional <= value:
        return None
    text = f"order notional {render(notional)} is above {NAME} {render(value)} of {rule.name}: send smaller orders"
    return Refusal(Reason.MAX_ORDER_NOTIONAL, text, rule.name)


def admissible(value: Decimal, case: Case, rule: Rule) -> Decimal | None:
    """The limit divided by the value of one unit; nothing without a price."""
    unit = case.unit_value
    return _TOWARD_ZERO.divide(value, unit) if unit else ZERO


LIMIT = Limit(NAME, Reason.MAX_ORDER_NOTIONAL, parse_amount, check, amount, admissible)
