"""Largest value of one order, in the rule's currency (RTS 6 Article 15(1)(b), maximum order value; FIA 2024, 1.1)."""

from __future__ import annotations

from collections.abc import Hashable
from decimal import ROUND_DOWN, Context, Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import ZERO, render
from crowetrade_agents.risk.case import Case, Counted, judged_price
from crowetrade_agents.risk.fx import ONE
from crowetrade_agents.risk.limits.limit import Check, Limit, amount, parse_amount
from crowetrade_agents.risk.reasons import Reason, Refusal

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

NAME = "maxOrderNotional"

_TOWARD_ZERO = Context(prec=38, rounding=ROUND_DOWN)


def compile(value: Decimal, counted: Counted) -> Check:
    """Whole quantity x worse of limit price and touch x multiplier x rate of exchange is not above the limit; refused
    without a price and without a rate."""
    rule = counted.rule
    currency = rule.currency

    def check(case: Case) -> Refusal | None:
        price, listed = judged_price(case.terms, case.mark), case.facts.instruments.get(case.instrument)
        if price is not None and listed is not None:
            rate = ONE if listed.currency == currency else case.rate(listed.currency, rule)
            if isinstance(rate, Refusal):
                return rate
            worth = case.terms.quantity * price * listed.multiplier
            if (worth if rate is ONE else worth * rate) <= value:
                return None
        return _refused(value, case, rule)

    return check


def _refused(value: Decimal, case: Case, rule: Rule) -> Refusal:
    notional = case.notional(rule)
    if isinstance(notional, Refusal):
        return notional
    if notional is None:
        text = f"no usable quote of {case.instrument} is known, so {NAME} of {rule.name} cannot be judged"
        return Refusal(Reason.MISSING_MARKET_DATA, text, rule.name)
    text = f"order notional {render(notional)} is above {NAME} {render(value)} of {rule.name}: send smaller orders"
    return Refusal(Reason.MAX_ORDER_NOTIONAL, text, rule.name)


def admissible(value: Decimal, case: Case, rule: Rule) -> Decimal | Refusal | None:
    """The limit divided by the value of one unit; nothing without a price, a refusal without a rate."""
    unit = case.unit_value_in(rule)
    if isinstance(unit, Refusal):
        return unit
    return _TOWARD_ZERO.divide(value, unit) if unit else ZERO


def measure(value: Decimal, rule: Rule) -> Hashable:
    """The value of the order in this currency, by quotes of this age."""
    return rule.currency, rule.rate_age_ns


LIMIT = Limit(NAME, Reason.MAX_ORDER_NOTIONAL, parse_amount, compile, amount, admissible, measure=measure)
