"""A RiskLimit as the gate reads it: compiled by the operator, parsed once.

What cannot be read completely blocks: a rule of which the gateway does not know a limit, cannot read a value or finds
no limit at all refuses every order that it binds, whether it enforces or only observes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from google.protobuf.unknown_fields import UnknownFieldSet

from crowetrade.config.v1 import config_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import parse
from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk.fx import MAX_RATE_AGE_NS
from crowetrade_agents.risk.limits import KNOWN, max_data_age_seconds
from crowetrade_agents.risk.limits.limit import Limit
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.trading_days import ZonedDays, zoned_days


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


@dataclass(slots=True)
class _Reading:
    """What has been read of one rule so far; the first problem stands."""

    name: str
    limits: list[tuple[Limit[Any], Any]] = field(default_factory=list)
    problem: str = ""
    reason: Reason = Reason.UNREADABLE_LIMIT

    def fail(self, reason: Reason, what: str) -> None:
        if not self.problem:
            self.reason, self.problem = reason, f"RiskLimit {self.name} {what}, so it blocks every order that it binds"


def compile_rule(message: config_pb2.RiskRule) -> Rule:
    """Reads a rule; raises nothing: what cannot be read becomes its problem."""
    reading = _Reading(message.risk_limit)
    for part in (message, message.day, *message.limits):
        if numbers := sorted({unknown.field_number for unknown in UnknownFieldSet(part)}):  # type: ignore[attr-defined]
            reading.fail(Reason.UNKNOWN_LIMIT, f"has fields {numbers} that this gateway does not know")
    for limit in message.limits:
        _read(limit, reading)
    if not message.limits:
        reading.fail(Reason.UNREADABLE_LIMIT, "sets no limit")
    days = _days(message, reading)
    return Rule(
        name=message.risk_limit,
        uid=message.uid,
        strategies=frozenset(message.strategies),
        symbols=frozenset(message.symbols),
        total=message.aggregate_total,
        enforce=message.enforce,
        limits=tuple(reading.limits),
        problem=reading.problem,
        problem_reason=reading.reason,
        hash=hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest(),
        currency=message.currency,
        warn_at=parse(message.warn_at) if message.warn_at else None,
        on_breach=message.on_breach or "Block",
        gateways=tuple(message.gateways),
        rate_age_ns=next(
            (value for limit, value in reading.limits if limit is max_data_age_seconds.LIMIT), MAX_RATE_AGE_NS
        ),
        days=days,
    )


def _days(message: config_pb2.RiskRule, reading: _Reading) -> ZonedDays | None:
    if not message.HasField("day"):
        return None
    try:
        return zoned_days(message.day.time_zone, message.day.starts_at)
    except InvalidLimit as error:
        reading.fail(Reason.UNREADABLE_LIMIT, f"has a day that cannot be read ({error})")
        return None


def _read(message: config_pb2.Limit, reading: _Reading) -> None:
    limit = KNOWN.get(message.name)
    if limit is None:
        reading.fail(
            Reason.UNKNOWN_LIMIT, f"sets {message.name or 'a limit without a name'}, which this gateway does not know"
        )
        return
    try:
        reading.limits.append((limit, limit.parse(message.values)))
    except InvalidLimit as error:
        reading.fail(Reason.UNREADABLE_LIMIT, f"sets {message.name} to something that cannot be read ({error})")
