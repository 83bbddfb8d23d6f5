"""Standings of strategies ema and other, as plain values."""

from __future__ import annotations

from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.position import Position
from crowetrade_agents.risk.facts import Facts
from crowetrade_agents.risk.pnl import Ledgers, Scope
from crowetrade_agents.risk.rules import Rule
from crowetrade_agents.risk.standing import Baseline, Latch, Standing, Tallies, Tally, Watch, identity, subjects
from crowetrade_agents_tests.risk.values import EUR, D, facts, rules

CAPITAL = {name: Money(D(100_000), "USD") for name in ("ema", "other")}


def standing(
    rule: Rule,
    made: str = "0",
    baseline: Baseline | None = None,
    latched: dict[Latch, frozenset[str]] | None = None,
    **tallies: Tally,
) -> Facts:
    """Each strategy of the rule has made so much (closed, in USD); measured from `baseline`, by default of today's
    beginning and a peak of 0."""
    positions = {(name, EUR): Position(realized=D(made)) for name in sorted(rule.strategies)}
    known = facts(rules=rules(rule), capital=CAPITAL)
    scopes = {
        subject: Scope(rule.strategies if not subject else frozenset((subject,)), rule.symbols, rule.currency)
        for subject in subjects(rule)
    }
    ledgers = Ledgers(scopes.values(), positions, known.instruments, known.marks)
    start = baseline if baseline is not None else Baseline("2023-11-14", D(0), D(0))
    watches = {
        (identity(rule), subject): Watch(rule, subject, scope.owners, ledgers[scope], start)
        for subject, scope in scopes.items()
    }
    known.standing = Standing(watches, ledgers, latched or {}, Tallies(tallies))
    return known
