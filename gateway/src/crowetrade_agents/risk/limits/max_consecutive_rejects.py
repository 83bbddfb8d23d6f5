"""Most orders in a row that the gateway refuses or the venue rejects; one more is a breach (RTS 6 Article 16,
signs of disorderly trading). An order or a replacement that the venue takes starts the row again.

Refusals that say that trading is stopped do not count: they are about no order. Of strategies that are counted
together, each has a row of its own, and the rows are added. Over several gateways rows have no order among each other:
each gateway admits an equal part of the limit, rounded down, so that all rows together are never longer than it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import CONTEXT
from crowetrade_agents.risk.case import Case, Counted, Sums, alone, members
from crowetrade_agents.risk.limits.limit import Check, Limit, Use, only, parse_count
from crowetrade_agents.risk.limits.loss import by_rule
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.reducing import reduces
from crowetrade_agents.risk.shares import WHOLE, gateways_of
from crowetrade_agents.risk.standing import stops_already, subjects

if TYPE_CHECKING:
    from crowetrade_agents.risk.facts import Facts
    from crowetrade_agents.risk.rules import Rule

NAME = "maxConsecutiveRejects"
MAX_COUNT = 1_000_000


def parse(values: Mapping[str, str]) -> int:
    """`value` from 1 to 1,000,000; raises InvalidLimit."""
    (text,) = only(values, "value")
    return parse_count("value", text, MAX_COUNT)


def in_a_row(facts: Facts, rule: Rule, subject: str) -> int:
    """Orders in a row that were refused or rejected."""
    return facts.standing.tallies.of(members(rule, facts) if rule.total else alone(subject)).rejects


def admitted(value: int, rule: Rule) -> int:
    """What this gateway admits of the limit."""
    return value // gateways_of(rule)


def breach(value: int, facts: Facts, rule: Rule, subject: str) -> str | None:
    """More in a row than the limit, or this gateway's part of it."""
    count, most = in_a_row(facts, rule, subject), admitted(value, rule)
    if count <= most:
        return None
    whole = f"{most} here, of {value} at {gateways_of(rule)} gateways" if gateways_of(rule) > 1 else f"{value}"
    return f"{count} orders in a row were refused or rejected, more than {NAME} of {rule.name} admits, {whole}"


def compile(value: int, counted: Counted) -> Check:
    """As `breach`, until that is latched; an order that reduces may leave."""
    rule = counted.rule
    total, subject, most = rule.total, counted.subject, admitted(value, rule)

    def check(case: Case) -> Refusal | None:
        facts = case.facts
        if facts.standing.tallies.of(members(rule, facts) if total else case.alone).rejects <= most:
            return None
        if stops_already(rule, NAME, subject, facts.standing.latched) or reduces(case.proposal, facts):
            return None
        return Refusal(Reason.MAX_CONSECUTIVE_REJECTS, breach(value, facts, rule, subject) or "", rule.name)

    return check


def use(value: int, sums: Sums, rule: Rule) -> Iterator[Use]:
    """The row of each subject."""
    gateways, most = gateways_of(rule), Decimal(admitted(value, rule))
    whole = (Decimal(value), CONTEXT.divide(WHOLE, Decimal(gateways))) if gateways > 1 else (None, None)
    for subject in subjects(rule):
        if count := in_a_row(sums.facts, rule, subject):
            yield Use(rule.name, NAME, subject, Decimal(count), most, *whole)


LIMIT: Limit[int] = Limit(
    NAME,
    Reason.MAX_CONSECUTIVE_REJECTS,
    parse,
    compile,
    Decimal,
    use=use,
    measure=by_rule,
    judges_resting=False,
    judges_closing=False,
    breach=breach,
)
