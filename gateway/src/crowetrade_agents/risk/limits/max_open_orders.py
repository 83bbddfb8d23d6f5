"""Most orders that work at once, in orders (FIA 2024, outstanding orders; SEC Rule 15c3-5(c)(1)(i)).

Every order counts from the moment that it is sent until its end is known, cancels under way included.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.risk.case import Case, Counted, Sums
from crowetrade_agents.risk.limits.limit import (
    Allowed,
    Check,
    Limit,
    Use,
    amount,
    by_owners,
    named,
    only,
    parse_count,
    use_of,
)
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.shares import unknown_share

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

NAME = "maxOpenOrders"
MAX_COUNT = 1_000_000


def parse(values: Mapping[str, str]) -> Decimal:
    """A whole number from 1 to 1,000,000; raises InvalidLimit."""
    (text,) = only(values, "value")
    return Decimal(parse_count("value", text, MAX_COUNT))


def compile(value: Decimal, counted: Counted) -> Check:
    """With this order no more orders than the limit are open. A replacement takes the place of the order that it
    replaces."""
    rule = counted.rule
    allowed, group = Allowed(rule, NAME, value), counted.held()

    def check(case: Case) -> Refusal | None:
        may = allowed.by(case.facts.shares)
        if may is None:
            return unknown_share(rule, NAME)
        orders = group.orders if case.proposal.counted_leaves else group.orders + 1
        if orders <= may:
            return None
        text = (
            f"{orders} orders would be open, above {named(NAME, value, may, rule)}: cancel some, or wait for their end"
        )
        return Refusal(Reason.MAX_OPEN_ORDERS, text, rule.name)

    return check


def order_use(value: Decimal, case: Case, counted: Counted) -> Decimal:
    """Open orders, with this one."""
    return Decimal(counted.held().orders + (0 if case.proposal.counted_leaves else 1))


def use(value: Decimal, sums: Sums, rule: Rule) -> Iterator[Use]:
    """Open orders of all together, or of each strategy."""
    for key, owners in sums.counted(rule).items():
        if orders := sums.valuation.group(owners, rule.symbols).orders:
            yield use_of(rule, NAME, key, Decimal(orders), value, sums.facts)


def measure(value: Decimal, rule: Rule) -> Hashable:
    """Orders of whom the rule counts, in the instruments that it covers."""
    return by_owners(rule), rule.symbols


LIMIT = Limit(
    NAME,
    Reason.MAX_OPEN_ORDERS,
    parse,
    compile,
    amount,
    use=use,
    measure=measure,
    judges_closing=False,
    order_use=order_use,
)
