"""Highest value of all positions together, long minus short, in the rule's currency (SEC Rule 15c3-5(c)(1)(i);
FIA 2024, maximum position).

Working orders of one side count as if filled. A closing order is not stopped by it: while one of two opposite positions
is closed the net may grow for a moment, and the other one follows.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import ZERO, render_money
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

NAME = "maxNetNotional"


def compile(value: Decimal, counted: Counted) -> Check:
    """The net with the order is not beyond the limit on the order's side. An order that brings the net nearer to zero
    and not past it always may leave; while something cannot be valued, or the share is not known, so may one that
    brings the worst case in its instrument nearer to zero."""
    rule = counted.rule
    allowed = Allowed(rule, NAME, value)
    counted.held()

    def check(case: Case) -> Refusal | None:
        # The net is never more than the gross.
        may, ceiling = allowed.by(case.facts.shares), counted.ceiling(case)
        if may is not None and ceiling is not None and ceiling <= may:
            return None
        after = case.net(counted, case.proposal.leaves)
        if may is None or isinstance(after, Refusal):
            if case.approaches_zero(counted.owners):
                return None
            return after if isinstance(after, Refusal) else unknown_share(rule, NAME)
        if after.copy_abs() <= may or _approaches_zero(after, case, counted):
            return None
        text = (
            f"net notional with working orders would be {render_money(after)} {rule.currency}, beyond "
            f"{named(NAME, value, may, rule)}: reduce positions or cancel working orders"
        )
        return Refusal(Reason.MAX_NET_NOTIONAL, text, rule.name)

    return check


def _approaches_zero(after: Decimal, case: Case, counted: Counted) -> bool:
    before = case.net(counted, ZERO)
    return not isinstance(before, Refusal) and (0 <= after < before or before < after <= 0)


def order_use(value: Decimal, case: Case, counted: Counted) -> Decimal | None:
    """The net with the order, on its side."""
    after = case.net(counted, case.proposal.leaves)
    return None if isinstance(after, Refusal) else after.copy_abs()


def use(value: Decimal, sums: Sums, rule: Rule) -> Iterator[Use]:
    """The worse side of all together, or of each strategy; none where it is not known."""
    for key, owners in sums.counted(rule).items():
        total = sums.total(rule, owners)
        if total is not None and (used := max(total.up.copy_abs(), total.down.copy_abs())):
            yield use_of(rule, NAME, key, used, value, sums.facts)


def measure(value: Decimal, rule: Rule) -> Hashable:
    """What whom the rule counts hold in the instruments that it covers, in its currency."""
    return by_money(rule)


LIMIT = Limit(
    NAME,
    Reason.MAX_NET_NOTIONAL,
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
