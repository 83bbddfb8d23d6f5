"""Highest value in one instrument as a share of capital, from 0 to 1 (SEC Rule 15c3-5(c)(1)(i), capital thresholds;
FIA 2024, maximum position).

Working orders count as if filled on the side on which more would be held. The capital is that of the strategies that
the rule binds, or of the order's strategy where each is counted alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import CONTEXT, render, render_money
from crowetrade_agents.risk.case import Case, Counted, Sums
from crowetrade_agents.risk.limits.limit import Check, Limit, Use, amount, by_owners, parse_amount
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.valuation import EXACT
from crowetrade_agents.risk.worst_case import EMPTY

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

NAME = "maxConcentration"


def compile(value: Decimal, counted: Counted) -> Check:
    """The value with the order is not above that share of the capital. An order that brings the worst case in its
    instrument nearer to zero and not past it always may leave; every other one is refused where the capital or the
    value is not known."""
    rule, parts, own = counted.rule, counted.held().parts, counted.capital
    largest = None if own is None else CONTEXT.multiply(own, value)

    def check(case: Case) -> Refusal | None:
        unit, part = case.unit_in(rule), parts.get(case.instrument, EMPTY)
        if largest is not None and unit.__class__ is Decimal and (part.largest + case.growth) * unit <= largest:
            # No side can be larger than the larger one with all of the proposal.
            return None
        capital = case.capital(rule)
        problem = unit if isinstance(unit, Refusal) else capital
        if not isinstance(unit, Refusal) and not isinstance(capital, Refusal):
            worth, most = case.largest(part) * unit, CONTEXT.multiply(capital, value)
            if worth <= most:
                return None
            problem = Refusal(Reason.MAX_CONCENTRATION, _said(value, worth, most, case, rule), rule.name)
        return None if case.approaches_zero(counted.owners) else problem  # type: ignore[return-value]

    return check


def _said(value: Decimal, worth: Decimal, most: Decimal, case: Case, rule: Rule) -> str:
    return (
        f"{render_money(worth)} {rule.currency} in {case.instrument} with working orders would be above {NAME} "
        f"{render(value)} of {rule.name}, {render_money(most)}: reduce the position or cancel working orders"
    )


def use(value: Decimal, sums: Sums, rule: Rule) -> Iterator[Use]:
    """The share of capital in each instrument; none where something cannot be converted."""
    for owner, owners in sums.counted(rule).items():
        capital = sums.capital(rule, owners)
        if capital is None:
            continue
        for instrument, part in sorted(sums.valuation.group(owners, rule.symbols).parts.items()):
            unit = sums.valuation.unit(instrument)
            rate = None if unit is None else sums.rate(unit.currency, rule)
            if unit is not None and rate is not None and part.largest:
                worth = CONTEXT.multiply(EXACT.multiply(part.largest, unit.value), rate)
                key = f"{owner}/{instrument}" if owner else str(instrument)
                yield Use(rule.name, NAME, key, CONTEXT.divide(worth, capital), value)


def is_far(value: Decimal, sums: Sums, rule: Rule) -> bool:
    """No instrument is worth more than all together are at most."""
    for owners in sums.counted(rule).values():
        ceiling, capital = sums.ceiling(rule, owners), sums.capital(rule, owners)
        if ceiling is None or capital is None or ceiling >= EXACT.multiply(capital, value):
            return False
    return True


def measure(value: Decimal, rule: Rule) -> Hashable:
    """What whom the rule counts hold in the instrument, as a share of their capital."""
    return by_owners(rule), rule.currency, rule.rate_age_ns


LIMIT = Limit(
    NAME,
    Reason.MAX_CONCENTRATION,
    parse_amount,
    compile,
    amount,
    use=use,
    measure=measure,
    judges_closing=False,
    breaches=True,
    moved_by_market=True,
    is_far=is_far,
)
