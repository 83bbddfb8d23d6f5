"""Highest sum of what is held in each instrument without its sign, in the rule's currency (SEC Rule 15c3-5(c)(1)(i),
credit and capital thresholds; FIA 2024, maximum position).

Working orders count as if filled on the side on which more would be held.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import render_money
from crowetrade_agents.risk.case import Case, Counted, Sums
from crowetrade_agents.risk.limits.limit import (
    Allowed,
    Check,
    Limit,
    Use,
    amount,
    by_money,
    is_gross_below,
    named,
    parse_amount,
    use_of,
)
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.shares import unknown_share

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

NAME = "maxGrossNotional"


def compile(value: Decimal, counted: Counted) -> Check:
    """The sum with the order is not above the limit. An order that brings the worst case in its instrument nearer to
    zero and not past it always may leave; every other one is refused while something cannot be valued."""
    rule = counted.rule
    allowed = Allowed(rule, NAME, value)
    counted.held()

    def check(case: Case) -> Refusal | None:
        may, ceiling = allowed.by(case.facts.shares), counted.ceiling(case)
        if may is not None and ceiling is not None and ceiling <= may:
            return None
        gross = case.gross(counted)
        if may is not None and not isinstance(gross, Refusal) and gross <= may:
            return None
        return None if case.approaches_zero(counted.owners) else _refused(value, may, gross, rule)

    return check


def _refused(value: Decimal, may: Decimal | None, gross: Decimal | Refusal, rule: Rule) -> Refusal:
    if may is None:
        return unknown_share(rule, NAME)
    if isinstance(gross, Refusal):
        return gross
    text = (
        f"gross notional with working orders would be {render_money(gross)} {rule.currency}, above "
        f"{named(NAME, value, may, rule)}: reduce positions or cancel working orders"
    )
    return Refusal(Reason.MAX_GROSS_NOTIONAL, text, rule.name)


def order_use(value: Decimal, case: Case, counted: Counted) -> Decimal | None:
    """The sum with the order."""
    gross = case.gross(counted)
    return None if isinstance(gross, Refusal) else gross


def use(value: Decimal, sums: Sums, rule: Rule) -> Iterator[Use]:
    """The sum of all together, or of each strategy; none where it is not known."""
    for key, owners in sums.counted(rule).items():
        total = sums.total(rule, owners)
        if total is not None and total.gross:
            yield use_of(rule, NAME, key, total.gross, value, sums.facts)


def measure(value: Decimal, rule: Rule) -> Hashable:
    """What whom the rule counts hold in the instruments that it covers, in its currency."""
    return by_money(rule)


LIMIT = Limit(
    NAME,
    Reason.MAX_GROSS_NOTIONAL,
    parse_amount,
    compile,
    amount,
    use=use,
    measure=measure,
    judges_closing=False,
    order_use=order_use,
    breaches=True,
    moved_by_market=True,
    is_far=is_gross_below,
)
