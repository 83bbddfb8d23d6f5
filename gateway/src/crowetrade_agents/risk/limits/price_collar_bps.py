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

from crowetrade_agents.domain.numbers import CONTEXT, render
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk.case import Case
from crowetrade_agents.risk.limits.limit import Limit, amount, parse_amount
from crowetrade_agents.risk.limits.max_data_age_seconds import old_quote
from crowetrade_agents.risk.reasons import Reason, Refusal

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

NAME = "priceCollarBps"
_WHOLE = Decimal(10_000)


def check(value: Decimal, case: Case, rule: Rule) -> Refusal | None:
    """A buy is not further above the offer, a sell not further below the bid; on the better side any price may stand.
    Refused without a usable quote of that age."""
    if refusal := old_quote(rule.rate_age_ns, NAME, case, rule):
        return refusal
    mark, terms = case.mark, case.terms
    if mark is None or terms.price is None:
        return None
    buying = terms.side is Side.BUY
    touch = mark.book.ask_price if buying else mark.book.bid_price
    worse = CONTEXT.subtract(terms.price, touch) if buying else CONTEXT.subtract(touch, terms.price)
    if CONTEXT.multiply(worse, _WHOLE) <= CONTEXT.multiply(touch, value):
        return None
    where = "above the offer" if buying else "below the bid"
    text = (
        f"price {render(terms.price)} is more than {NAME} {render(value)} of {rule.name} {where} {render(touch)}: "
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
    check,
    amount,
    measure=measure,
    judges_resting=False,
    judges_closing=False,
)
