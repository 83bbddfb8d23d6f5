"""Most executions of one strategy in one instrument on one side in a sliding window; one more is a breach: the
strategy is disabled until a designated person re-enables it (RTS 6 Article 15(3), repeated automated execution
throttle). Each strategy counts alone, also under a rule that counts strategies together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk.case import Case, Counted, Sums, alone
from crowetrade_agents.risk.limits.limit import Check, Limit, Use
from crowetrade_agents.risk.limits.loss import by_rule
from crowetrade_agents.risk.limits.max_order_rate import Rate, bound, parse
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.reducing import reduces
from crowetrade_agents.risk.standing import stops_already

if TYPE_CHECKING:
    from crowetrade_agents.risk.facts import Facts
    from crowetrade_agents.risk.rules import Rule

NAME = "repeatedExecution"


class Repeated(NamedTuple):
    """Executions in the window."""

    instrument: InstrumentId
    side: Side
    executions: int


def most(value: Rate, facts: Facts, rule: Rule, strategy: str, instruments: Iterable[InstrumentId]) -> Repeated | None:
    """The instrument and side in which the strategy executed most often in the window; None when in none."""
    found = None
    standing = facts.standing
    for instrument in instruments:
        if not rule.covers(instrument):
            continue
        for side, windows in ((Side.BUY, standing.buys), (Side.SELL, standing.sells)):
            count = windows.count(alone(strategy), alone(instrument.symbol), facts.now_ns, value.window_ns)
            if count and (found is None or count > found.executions):
                found = Repeated(instrument, side, count)
    return found


def breach(value: Rate, facts: Facts, rule: Rule, subject: str) -> str | None:
    """More executions of the strategy in some instrument, on one side, than the limit."""
    return _said(value, most(value, facts, rule, subject, facts.instruments), rule)


def compile(value: Rate, counted: Counted) -> Check:
    """As `breach` for the order's instrument, until that is latched; an order that reduces may leave."""
    rule = counted.rule
    window_ns, too_many = value.window_ns, value.count + 1

    def check(case: Case) -> Refusal | None:
        standing, owner, symbol = case.facts.standing, case.alone, alone(case.instrument.symbol)
        if standing.buys.has_room(owner, symbol, case.now_ns, window_ns, too_many) and standing.sells.has_room(
            owner, symbol, case.now_ns, window_ns, too_many
        ):
            return None
        strategy = case.terms.strategy
        text = _said(value, most(value, case.facts, rule, strategy, (case.instrument,)), rule)
        latched = stops_already(rule, NAME, strategy, standing.latched)
        if text is None or latched or reduces(case.proposal, case.facts):
            return None
        return Refusal(Reason.REPEATED_EXECUTION, text, rule.name)

    return check


def use(value: Rate, sums: Sums, rule: Rule) -> Iterator[Use]:
    """The most that each strategy executed in one instrument on one side."""
    for strategy in sorted(rule.strategies):
        found = most(value, sums.facts, rule, strategy, sums.facts.instruments)
        if found is not None:
            key = f"{strategy}/{found.instrument}"
            yield Use(rule.name, NAME, key, Decimal(found.executions), Decimal(value.count))


def _said(value: Rate, found: Repeated | None, rule: Rule) -> str | None:
    if found is None or found.executions <= value.count:
        return None
    side = found.side.name.lower()
    return (
        f"{found.executions} executions ({side}, {found.instrument}) in {value.per_seconds} s, more than {NAME} of "
        f"{rule.name} admits, {value.count}"
    )


LIMIT: Limit[Rate] = Limit(
    NAME,
    Reason.REPEATED_EXECUTION,
    parse,
    compile,
    bound,
    use=use,
    measure=by_rule,
    judges_resting=False,
    judges_closing=False,
    breach=breach,
    breach_of_each=True,
)
