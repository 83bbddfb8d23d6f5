"""From VenueConnection, Strategies and RiskLimits to the GatewayConfig of one gateway. Pure.

The same inputs give the same revision, so the reconciler of a Strategy knows which revision the gateway must
acknowledge without asking the reconciler of the venue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from crowetrade.config.v1 import config_pb2 as pb
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection

NANOSECONDS = 1_000_000_000


def bound_strategies(venue: str, strategies: Iterable[Strategy]) -> list[Strategy]:
    """Strategies that trade at the venue, by name."""
    return sorted((item for item in strategies if venue in item.spec.venues), key=lambda item: item.name)


def compile_config(
    venue: VenueConnection, strategies: Iterable[Strategy], limits: Iterable[RiskLimit], halted: bool = False
) -> pb.GatewayConfig:
    """Everything that the gateway enforces. All inputs are of one namespace; `halted` stops it whatever they say."""
    bound = bound_strategies(venue.name, strategies)
    rules = (_rule(limit, venue, bound) for limit in sorted(limits, key=lambda item: item.name))
    config = pb.GatewayConfig(
        strategies=[_binding(item) for item in bound],
        rules=[rule for rule in rules if rule is not None],
        halted=halted or venue.spec.suspend or venue.deleting,
    )
    config.revision = hashlib.sha256(config.SerializeToString(deterministic=True)).hexdigest()
    return config


def trading_state(strategy: Strategy) -> pb.TradingState.ValueType:
    """Deleting wins over suspending, and what stops wins over what trades."""
    if strategy.deleting:
        flatten = strategy.spec.deletion_policy == "Flatten"
        return pb.TRADING_STATE_FLATTEN if flatten else pb.TRADING_STATE_SUSPENDED
    return pb.TRADING_STATE_SUSPENDED if strategy.spec.suspend else pb.TRADING_STATE_ACTIVE


def _binding(strategy: Strategy) -> pb.StrategyBinding:
    return pb.StrategyBinding(strategy=strategy.name, state=trading_state(strategy), labels=strategy.metadata.labels)


def _rule(limit: RiskLimit, venue: VenueConnection, bound: Sequence[Strategy]) -> pb.RiskRule | None:
    """The rule at this gateway; none when the scope selects nothing here."""
    scope = limit.spec.scope
    if not scope.venue_selector.matches(venue.metadata.labels):
        return None
    strategies = [item.name for item in bound if scope.strategy_selector.matches(item.metadata.labels)]
    if not strategies:
        return None
    limits = limit.spec.limits
    rule = pb.RiskRule(
        risk_limit=limit.name,
        generation=limit.metadata.generation,
        strategies=strategies,
        instruments=sorted(scope.instruments),
        aggregate_total=limit.spec.aggregate == "Total",
        max_order_quantity=limits.max_order_quantity or "",
        max_order_notional=limits.max_order_notional or "",
        max_position_quantity=limits.max_position_quantity or "",
        enforce=limit.spec.enforcement == "Enforce",
    )
    if limits.max_order_rate is not None:
        rate = limits.max_order_rate
        rule.max_order_rate.CopyFrom(pb.OrderRate(count=rate.count, window_ns=rate.per_seconds * NANOSECONDS))
    return rule


def unlimited_symbols(config: pb.GatewayConfig, strategy: str, symbols: Iterable[str]) -> list[str]:
    """Instruments of the strategy that no enforced rule covers: the gateway refuses their orders."""
    covering = [rule for rule in config.rules if rule.enforce and strategy in rule.strategies]
    return [
        symbol for symbol in symbols if not any(not rule.instruments or symbol in rule.instruments for rule in covering)
    ]
