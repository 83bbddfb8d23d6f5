"""Most order messages for each execution in the trading day (MiFID II Article 48(6), RTS 9), judged from 100 messages
on. New orders, cancels and replacements count, refused ones too; refused ones are counted within a second. No
execution yet counts as one.

Of strategies that are counted together at several gateways each gateway sees its own: the ratio of all is never above
the highest of the gateways' ratios, so the limit holds at each of them. What is free at the beginning of a day, the
messages before the hundredth and one execution, is divided among them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from crowetrade_agents.domain.numbers import CONTEXT, render
from crowetrade_agents.risk.case import Case, Counted, Sums
from crowetrade_agents.risk.limits.limit import Check, Limit, Use, amount, parse_amount
from crowetrade_agents.risk.limits.loss import by_rule
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.reducing import reduces
from crowetrade_agents.risk.shares import gateways_of
from crowetrade_agents.risk.standing import Watch, identity, stops_already, subjects

if TYPE_CHECKING:
    from crowetrade_agents.risk.facts import Facts
    from crowetrade_agents.risk.rules import Rule

NAME = "maxOrderToTradeRatio"
JUDGED_FROM = 100
"""Messages of the day before which nothing is judged."""


class Traffic(NamedTuple):
    """Messages and executions of the trading day."""

    messages: int
    executions: int
    # Of how many gateways this is one.
    gateways: int = 1

    @property
    def is_judged(self) -> bool:
        """Whether there are enough messages."""
        return self.messages * self.gateways >= JUDGED_FROM

    def is_above(self, most: Decimal) -> bool:
        """Whether there are more messages for each execution, and enough of them to judge."""
        each = self.gateways
        return self.is_judged and self.messages * each > most * max(self.executions * each, 1)

    @property
    def ratio(self) -> Decimal:
        """Messages for each execution."""
        return CONTEXT.divide(Decimal(self.messages), Decimal(max(self.executions, 1)))


def today(facts: Facts, rule: Rule, subject: str) -> Traffic | None:
    """Of the subject; None while no day was marked."""
    return _since(facts.standing.watches.get((identity(rule), subject)), facts)


def _since(watch: Watch | None, facts: Facts) -> Traffic | None:
    if watch is None or not watch.baseline.day:
        return None
    done, before = facts.standing.tallies.of(watch.owners), watch.baseline
    gateways = gateways_of(watch.rule)
    return Traffic(done.messages - before.messages, done.executions - before.executions, gateways)


def breach(value: Decimal, facts: Facts, rule: Rule, subject: str) -> str | None:
    """More messages for each execution than the limit."""
    return _said(value, today(facts, rule, subject), rule)


def _said(value: Decimal, found: Traffic | None, rule: Rule) -> str | None:
    if found is None or not found.is_above(value):
        return None
    return (
        f"{found.messages} order messages and {found.executions} executions in the trading day, more than {NAME} of "
        f"{rule.name} admits, {render(value)} for each execution"
    )


def compile(value: Decimal, counted: Counted) -> Check:
    """As `breach`, until that is latched; refused when no day is marked. An order that reduces may leave."""
    rule, watch, subject = counted.rule, counted.watch, counted.subject

    def check(case: Case) -> Refusal | None:
        found = _since(watch, case.facts)
        if found is not None and not found.is_above(value):
            return None
        facts = case.facts
        if found is not None and stops_already(rule, NAME, subject, facts.standing.latched):
            return None
        if reduces(case.proposal, facts):
            return None
        text = _said(value, found, rule) or f"nothing was counted yet, so {NAME} of {rule.name} cannot be judged"
        return Refusal(Reason.MAX_ORDER_TO_TRADE_RATIO, text, rule.name)

    return check


def use(value: Decimal, sums: Sums, rule: Rule) -> Iterator[Use]:
    """The ratio of each subject that is judged."""
    for subject in subjects(rule):
        found = today(sums.facts, rule, subject)
        if found is not None and found.is_judged:
            yield Use(rule.name, NAME, subject, found.ratio, value)


LIMIT: Limit[Decimal] = Limit(
    NAME,
    Reason.MAX_ORDER_TO_TRADE_RATIO,
    parse_amount,
    compile,
    amount,
    use=use,
    measure=by_rule,
    judges_resting=False,
    judges_closing=False,
    breach=breach,
)
