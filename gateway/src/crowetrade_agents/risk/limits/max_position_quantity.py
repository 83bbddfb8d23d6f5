"""Largest position in one instrument with all working orders of the same side counted as filled, in units
(SEC Rule 15c3-5(c)(1)(i); FIA 2024, maximum position)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import render
from crowetrade_agents.risk.case import Case, Counted, Sums, alone
from crowetrade_agents.risk.limits.limit import Check, Limit, Use, amount, by_owners, parse_amount
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.worst_case import EMPTY

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

NAME = "maxPositionQuantity"


def compile(value: Decimal, counted: Counted) -> Check:
    """The worst case with the order is not beyond the limit on either side of zero.

    An order that brings the worst case nearer to zero and not past it always may leave: what is above a limit must be
    able to come down.
    """
    rule, owners, parts = counted.rule, counted.owners, counted.held().parts

    def check(case: Case) -> Refusal | None:
        # No side can be beyond the larger one with all of the proposal.
        if parts.get(case.instrument, EMPTY).largest + case.growth <= value:
            return None
        _, after = case.move(owners)
        if after.copy_abs() <= value or case.approaches_zero(owners):
            return None
        text = (
            f"position with working orders would be {render(after)}, beyond {NAME} {render(value)} of {rule.name}: "
            "reduce it or cancel working orders"
        )
        return Refusal(Reason.MAX_POSITION_QUANTITY, text, rule.name)

    return check


def use(value: Decimal, sums: Sums, rule: Rule) -> Iterator[Use]:
    """The worse side of each instrument in which somebody counted holds or works something."""
    counted = sums.members(rule) if rule.total else rule.strategies
    held = ((owner, instrument) for owner, instrument in sums.facts.exposures if owner in counted)
    bound = ((owner, instrument) for owner, instrument in held if rule.covers(instrument))
    if rule.total:
        keys = {str(instrument): (counted, instrument) for _, instrument in bound}
    else:
        keys = {f"{owner}/{instrument}": (alone(owner), instrument) for owner, instrument in bound}
    for key, (owners, instrument) in keys.items():
        if used := sums.largest(owners, instrument):
            yield Use(rule.name, NAME, key, used, value)


def measure(value: Decimal, rule: Rule) -> Hashable:
    """The worst case of whom the rule counts."""
    return by_owners(rule)


LIMIT = Limit(
    NAME,
    Reason.MAX_POSITION_QUANTITY,
    parse_amount,
    compile,
    amount,
    use=use,
    measure=measure,
    judges_closing=False,
    breaches=True,
)
