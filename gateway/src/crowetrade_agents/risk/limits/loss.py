"""What limits on losses have in common: profit and loss of the rule's subject, measured from somewhere, against an
amount in the rule's currency.

An order is refused while the loss is above the limit or is not known, unless it reduces its owner's position. Once the
breach is latched, what onBreach says holds instead (control/breaches.py), until a person clears it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.numbers import CONTEXT, ZERO, render_money
from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk import shares
from crowetrade_agents.risk.case import Case, Counted, Sums, alone, capital_of, valuation_of
from crowetrade_agents.risk.fx import ONE
from crowetrade_agents.risk.limits.limit import Check, Limit, Use, amount, parse_amount, use_of
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.reducing import reduces
from crowetrade_agents.risk.standing import Allowance, Watch, not_watched, problem_of, stops_already, subjects, watched

if TYPE_CHECKING:
    from crowetrade_agents.risk.facts import Facts
    from crowetrade_agents.risk.rules import Rule


class Loss(NamedTuple):
    """A loss and the most that is allowed, in the rule's currency. `unit` is what one unit of the limit is worth: 1 for
    an amount, the capital for a share of it."""

    lost: Decimal
    allowed: Decimal
    unit: Decimal

    @property
    def room(self) -> Decimal:
        """How much more may be lost; negative when it is too much already."""
        return CONTEXT.subtract(self.allowed, self.lost)


class Kind(NamedTuple):
    """One limit on losses: what was lost is measured from `start` (None: not known yet), `of_capital` says that the
    limit is a share of capital, `trails` that a value that rises takes the limit with it, `of_minute` that a process
    which has started knows no more than a part of it at first."""

    name: str
    reason: Reason
    start: Callable[[Watch, int], Decimal | None]
    of_capital: bool
    trails: bool
    since: str
    of_minute: bool = False


def loss_limit(kind: Kind) -> Limit[Decimal]:
    """The limit of this kind."""
    return Limit(
        kind.name,
        kind.reason,
        parse_share if kind.of_capital else parse_amount,
        partial(_compile, kind),
        amount,
        use=partial(_use, kind),
        measure=by_rule,
        judges_resting=False,
        judges_closing=False,
        breach=partial(_breach, kind),
    )


def parse_share(values: Mapping[str, str]) -> Decimal:
    """The decimal `value`, above 0 and at most 1; raises InvalidLimit."""
    value = parse_amount(values)
    if not 0 < value <= 1:
        raise InvalidLimit(f"{value} is not a share above 0 and at most 1")
    return value


def by_rule(value: object, rule: Rule) -> Hashable:
    """`measure` of a limit whose baseline is the rule's own."""
    return rule.name


def measured(kind: Kind, value: Decimal, facts: Facts, rule: Rule, subject: str) -> Loss | Refusal:
    """The subject's loss now, or why it cannot be told."""
    watch = watched(rule, subject, facts)
    return watch if isinstance(watch, Refusal) else loss_of(kind, value, facts, watch)


def loss_of(kind: Kind, value: Decimal, facts: Facts, watch: Watch) -> Loss | Refusal:
    """The same of a watch whose profit and loss is known."""
    start = kind.start(watch, facts.now_ns)
    if start is None:
        return Refusal(Reason.MISSING_MARK, f"profit and loss of {kind.since} is not known yet", watch.rule.name)
    most = allowed_of(kind, value, facts, watch)
    if isinstance(most, Refusal):
        return most
    return Loss(CONTEXT.subtract(start, watch.ledger.value), most.amount, most.unit)


def allowed_of(kind: Kind, value: Decimal, facts: Facts, watch: Watch) -> Allowance | Refusal:
    """The most that the watch's subject may lose; reckoned again when shares have changed, and each time where it needs
    a rate of exchange."""
    known = watch.allowances.get(kind.name)
    if known is not None and known.shares is facts.shares:
        return known
    rule = watch.rule
    unit: Decimal | Refusal = ONE
    if kind.of_capital:
        unit = capital(facts, rule, watch.subject) if watch.capital is None else watch.capital
    if isinstance(unit, Refusal):
        return unit
    most = value if unit is ONE else CONTEXT.multiply(value, unit)
    allowed = shares.allowed(rule, kind.name, most, facts.shares)
    if allowed is None:
        return shares.unknown_share(rule, kind.name)
    found = Allowance(allowed, unit, facts.shares)
    if not kind.of_capital or watch.capital is not None:
        watch.allowances[kind.name] = found
    return found


def capital(facts: Facts, rule: Rule, subject: str) -> Decimal | Refusal:
    """Capital of the strategies that are bound here, in the rule's currency, or why it is not known."""
    found = capital_of(rule, alone(subject), facts, valuation_of(facts))
    if found is not None:
        return found
    text = f"spec.capital of a strategy that {rule.name} binds is not known, or no rate of exchange for it"
    return Refusal(Reason.MISSING_CAPITAL, text, rule.name)


def own_capital(given: Mapping[str, Money], rule: Rule, subject: str) -> Decimal | None:
    """The same while no rate is needed for it; None otherwise, and where it is not known."""
    total = ZERO
    for strategy in rule.strategies if rule.total else (subject,):
        money = given.get(strategy)
        if money is None or money.currency != rule.currency:
            return None
        total = CONTEXT.add(total, money.amount)
    return total if total.is_finite() and total > 0 else None


def _compile(kind: Kind, value: Decimal, counted: Counted) -> Check:
    name, rule, watch = kind.name, counted.rule, counted.watch

    def check(case: Case) -> Refusal | None:
        facts = case.facts
        problem = not_watched(rule) if watch is None else problem_of(watch, facts)
        if problem is None and watch is not None and kind.of_minute and case.now_ns < watch.unseen_until_ns:
            problem = _unseen(rule, name, counted.subject, facts)
        if problem is None and watch is not None:
            start, most = kind.start(watch, case.now_ns), allowed_of(kind, value, facts, watch)
            if start is not None and most.__class__ is Allowance and start - watch.ledger.value <= most.amount:
                return None
        if reduces(case.proposal, facts):
            return None
        found = loss_of(kind, value, facts, watch) if problem is None and watch is not None else problem
        if isinstance(found, Loss):
            if stops_already(rule, name, counted.subject, facts.standing.latched):
                return None
            text = f"{_said(kind, value, found, rule)}: only orders that reduce a position may leave"
            return Refusal(kind.reason, text, rule.name)
        assert found is not None
        text = f"{found.text}, so {name} of {rule.name} cannot be judged: only orders that reduce may leave"
        return Refusal(found.reason, text, rule.name)

    return check


def _unseen(rule: Rule, name: str, subject: str, facts: Facts) -> Refusal | None:
    """Why a minute cannot be judged that began before this process did; None where a breach is latched."""
    if stops_already(rule, name, subject, facts.standing.latched):
        return None
    text = "profit and loss of the minute before this gateway started is not known until that minute is over"
    return Refusal(Reason.MISSING_MARK, text, rule.name)


def _use(kind: Kind, value: Decimal, sums: Sums, rule: Rule) -> Iterator[Use]:
    """What is lost, in the limit's unit; nothing for a gain, and where it is not known."""
    for subject in subjects(rule):
        found = measured(kind, value, sums.facts, rule, subject)
        if isinstance(found, Loss) and found.lost > 0:
            yield use_of(rule, kind.name, subject, CONTEXT.divide(found.lost, found.unit), value, sums.facts)


def _breach(kind: Kind, value: Decimal, facts: Facts, rule: Rule, subject: str) -> str | None:
    found = measured(kind, value, facts, rule, subject)
    return _said(kind, value, found, rule) if isinstance(found, Loss) and found.room < 0 else None


def _said(kind: Kind, value: Decimal, found: Loss, rule: Rule) -> str:
    lost, allowed = render_money(found.lost), render_money(found.allowed)
    return f"{lost} {rule.currency} lost since {kind.since}, more than {kind.name} of {rule.name} admits, {allowed}"
