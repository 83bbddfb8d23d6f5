"""A RiskLimit as the gate has it, read once (rule_reading.py), and the rules of one configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.risk.fx import MAX_RATE_AGE_NS
from crowetrade_agents.risk.limits.limit import Limit
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.trading_days import ZonedDays


@dataclass(frozen=True, slots=True)
class Rule:
    """Limits of one RiskLimit. `symbols` empty means all.

    `limits` holds each limit that could be read with its value. `problem` is the sentence that says why the rule cannot
    be enforced, empty when it can; `problem_reason` belongs to it. `hash` is the SHA-256 over the serialized RiskRule,
    in hex: what is acknowledged.
    """

    name: str
    uid: str
    strategies: frozenset[str]
    symbols: frozenset[str]
    total: bool
    enforce: bool
    limits: tuple[tuple[Limit[Any], Any], ...]
    problem: str
    problem_reason: Reason
    hash: str
    # Currency of amounts of money.
    currency: str = ""
    # Share of a limit above which its use is warned about; None for none.
    warn_at: Decimal | None = None
    # What a breach does, as TradingState or in the words of RiskLimit.spec.onBreach.
    on_breach: str = "Block"
    # Gateways among which the limits of a rule with `total` are split.
    gateways: tuple[str, ...] = ()
    # Oldest quote by which amounts in another currency are converted: maxDataAgeSeconds where the rule sets it.
    rate_age_ns: int = MAX_RATE_AGE_NS
    # When its trading day begins; None: as its tradingHours say, or by UTC.
    days: ZonedDays | None = None

    def covers(self, instrument: InstrumentId) -> bool:
        """Whether what happens in the instrument counts against it."""
        return not self.symbols or instrument.symbol in self.symbols

    def binds(self, strategy: str, instrument: InstrumentId) -> bool:
        """Whether an order of the strategy in the instrument counts against it."""
        return strategy in self.strategies and self.covers(instrument)

    @property
    def refusal(self) -> Refusal | None:
        """What every order that it binds gets; None when the rule can be enforced."""
        return Refusal(self.problem_reason, self.problem, self.name) if self.problem else None


class Cover(NamedTuple):
    """What the rules that bind an order say together: the first problem, and the names of limits that are enforced."""

    problem: Refusal | None
    enforced: frozenset[str]


RuleLimit = tuple[Limit[Any], Any, Rule]
"""A limit with its value and the rule that sets it."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of one configuration. A lookup is one access to a dictionary after the first."""

    rules: tuple[Rule, ...] = ()
    _bound: dict[tuple[str, InstrumentId], tuple[Rule, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _covers: dict[tuple[str, InstrumentId], Cover] = field(default_factory=dict, init=False, repr=False, compare=False)
    _exposures: dict[bool, tuple[RuleLimit, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def binding(self, strategy: str, instrument: InstrumentId) -> tuple[Rule, ...]:
        """Rules that bind an order of the strategy in the instrument."""
        key = (strategy, instrument)
        found = self._bound.get(key)
        if found is None:
            found = tuple(rule for rule in self.rules if rule.binds(strategy, instrument))
            if found:
                self._bound[key] = found
        return found

    def cover(self, strategy: str, instrument: InstrumentId) -> Cover:
        """What is enforced of an order of the strategy in the instrument."""
        key = (strategy, instrument)
        found = self._covers.get(key)
        if found is None:
            found = _cover(self.binding(strategy, instrument))
            if found.enforced or found.problem is not None:
                self._covers[key] = found
        return found

    def exposures(self, *, by_market: bool = False) -> tuple[RuleLimit, ...]:
        """Limits on positions and values, which may be passed without an order; with `by_market` those alone that
        quotes move."""
        found = self._exposures.get(by_market)
        if found is None:
            found = self._exposures[by_market] = tuple(
                (limit, value, rule)
                for rule in self.rules
                for limit, value in rule.limits
                if limit.breaches and (limit.moved_by_market or not by_market)
            )
        return found

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)


def _cover(rules: Iterable[Rule]) -> Cover:
    problem, enforced = None, set[str]()
    for rule in rules:
        problem = problem or rule.refusal
        if rule.enforce:
            enforced.update(limit.name for limit, _ in rule.limits)
    return Cover(problem, frozenset(enforced))
