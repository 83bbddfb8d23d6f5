"""Most order messages for each execution in the trading day (MiFID II Article 48(6), RTS 9), judged from 100 messages
on. New orders, cancels and replacements count, refused ones too; refused ones are counted within a second. No
execution yet counts as one."""

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
from crowetrade_agents.risk.standing import Watch, identity, subjects

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

    def is_above(self, most: Decimal) -> bool:
        """Whether there are more messages for each execution, and enough of them to judge."""
        return self.messages >= JUDGED_FROM and self.messages > most * max(self.executions, 1)

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
    done = facts.standing.tallies.of(watch.owners)
    return Traffic(done.messages - watch.baseline.messages, done.executions - watch.baseline.executions)


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
        if found is not None and facts.standing.latched.get((identity(rule), NAME, subject)):
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
        if found is not None and found.messages >= JUDGED_FROM:
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
