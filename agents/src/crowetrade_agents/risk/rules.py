"""A RiskLimit as the gate reads it: compiled by the operator, parsed once."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from crowetrade.config.v1 import config_pb2
from crowetrade_agents.domain.numbers import parse
from crowetrade_agents.errors import InvalidNumber


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` messages in any `window_ns` nanoseconds."""

    count: int
    window_ns: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Limits of one RiskLimit. Quantities in base units, notional in quote currency; None is not set."""

    name: str
    generation: int
    strategies: frozenset[str]
    instruments: frozenset[str]
    total: bool
    enforce: bool
    max_order_quantity: Decimal | None
    max_order_notional: Decimal | None
    max_position_quantity: Decimal | None
    max_order_rate: Rate | None

    def binds(self, strategy: str, symbol: str) -> bool:
        """Whether an order of the strategy in the instrument counts against it."""
        return strategy in self.strategies and (not self.instruments or symbol in self.instruments)


def _limit(text: str, name: str) -> Decimal | None:
    if not text:
        return None
    value = parse(text)
    if value < 0:
        raise InvalidNumber(f"{name} is negative")
    return value


def parse_rule(message: config_pb2.RiskRule) -> Rule:
    """Raises InvalidNumber when a limit is not a finite decimal of 0 or more, or a rate is not positive."""
    rate = None
    if message.HasField("max_order_rate"):
        if message.max_order_rate.count < 1 or message.max_order_rate.window_ns < 1:
            raise InvalidNumber("maxOrderRate needs a count and a window of at least 1")
        rate = Rate(message.max_order_rate.count, message.max_order_rate.window_ns)
    return Rule(
        name=message.risk_limit,
        generation=message.generation,
        strategies=frozenset(message.strategies),
        instruments=frozenset(message.instruments),
        total=message.aggregate_total,
        enforce=message.enforce,
        max_order_quantity=_limit(message.max_order_quantity, "maxOrderQuantity"),
        max_order_notional=_limit(message.max_order_notional, "maxOrderNotional"),
        max_position_quantity=_limit(message.max_position_quantity, "maxPositionQuantity"),
        max_order_rate=rate,
    )
