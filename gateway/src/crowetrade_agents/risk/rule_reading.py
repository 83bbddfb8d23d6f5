"""How a RiskRule of config.proto becomes a Rule.

What cannot be read completely blocks: a rule of which the gateway does not know a limit, cannot read a value or finds
no limit at all refuses every order that it binds, whether it enforces or only observes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet

from crowetrade.config.v1 import config_pb2
from crowetrade_agents.domain.numbers import parse
from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk.fx import MAX_RATE_AGE_NS
from crowetrade_agents.risk.limits import KNOWN, max_data_age_seconds
from crowetrade_agents.risk.limits.limit import Limit
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.rules import Rule
from crowetrade_agents.risk.trading_days import ZonedDays, zoned_days


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
