"""How far the limit price may be on the worse side of the touch, in basis points of it (RTS 6 Article 15(1)(a), price
collars; FIA 2024, price tolerance).

The reference is the last quote of the instrument, not older than maxDataAgeSeconds of the same RiskLimit, 60 seconds
where it sets none. A market order has no price that could be wrong, but it is sent by the same quote, so it needs one
too.
"""

from __future__ import annotations

from collections.abc import Hashable
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import render
from crowetrade_agents.risk.case import Case, Counted
from crowetrade_agents.risk.limits.limit import Check, Limit, amount, parse_amount
from crowetrade_agents.risk.limits.max_data_age_seconds import old_quote
from crowetrade_agents.risk.reasons import Reason, Refusal

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

NAME = "priceCollarBps"
_WHOLE = Decimal(10_000)


def compile(value: Decimal, counted: Counted) -> Check:
    """A buy is not further above the offer, a sell not further below the bid; on the better side any price may stand.
    Refused without a usable quote of that age."""
    rule = counted.rule
    age_ns = rule.rate_age_ns

    def check(case: Case) -> Refusal | None:
        mark, price = case.mark, case.terms.price
        if mark is None or not 0 <= case.now_ns - mark.received_ns <= age_ns:
            return old_quote(age_ns, NAME, case, rule)
        if price is None:
            return None
        if case.buying:
            touch = mark.book.ask_price
            worse = price > touch and (price - touch) * _WHOLE > touch * value
        else:
            touch = mark.book.bid_price
            worse = price < touch and (touch - price) * _WHOLE > touch * value
        return _refused(value, case.buying, price, touch, rule) if worse else None

    return check


def _refused(value: Decimal, buying: bool, price: Decimal, touch: Decimal, rule: Rule) -> Refusal:
    where = "above the offer" if buying else "below the bid"
    text = (
        f"price {render(price)} is more than {NAME} {render(value)} of {rule.name} {where} {render(touch)}: "
        "send a price nearer to the market"
    )
    return Refusal(Reason.PRICE_COLLAR, text, rule.name)


def measure(value: Decimal, rule: Rule) -> Hashable:
    """The distance from a quote of this age."""
    return rule.rate_age_ns


LIMIT: Limit[Decimal] = Limit(
    NAME,
    Reason.PRICE_COLLAR,
    parse_amount,
    compile,
    amount,
    measure=measure,
    judges_resting=False,
    judges_closing=False,
)
