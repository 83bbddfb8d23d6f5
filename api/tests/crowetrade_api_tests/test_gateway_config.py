from __future__ import annotations

from typing import Any

import pytest

from crowetrade.config.v1 import config_pb2 as pb
from crowetrade_api.gateway_config import compile_config, trading_state, unlimited_symbols
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api_tests.samples import (
    UNSET,
    change,
    limit,
    limit_manifest,
    strategy,
    strategy_manifest,
    venue,
    venue_manifest,
)

Object = dict[str, Any]
DELETING: Object = {"deletion_timestamp": "2026-01-05T10:00:00Z"}
STATES: dict[str, tuple[Object, Object, pb.TradingState.ValueType]] = {
    "a running strategy": ({}, {}, pb.TRADING_STATE_ACTIVE),
    "a suspended strategy": ({"suspend": True}, {}, pb.TRADING_STATE_SUSPENDED),
    "a deleted strategy": ({}, DELETING, pb.TRADING_STATE_SUSPENDED),
    "a deleted strategy that flattens": ({"deletionPolicy": "Flatten"}, DELETING, pb.TRADING_STATE_FLATTEN),
    "a suspended and deleted strategy that flattens": (
        {"suspend": True, "deletionPolicy": "Flatten"},
        DELETING,
        pb.TRADING_STATE_FLATTEN,
    ),
}


def strategy_with(metadata: Object | None = None, **spec: Any) -> Strategy:
    manifest = strategy_manifest()
    manifest["spec"] |= spec
    return strategy(manifest, **(metadata or {}))


def limit_with(path: str, value: Any) -> RiskLimit:
    return limit(change(limit_manifest(), path, value))


@pytest.mark.parametrize("case", STATES)
def test_trading_state(case: str) -> None:
    spec, metadata, expected = STATES[case]
    assert trading_state(strategy_with(metadata, **spec)) == expected


def test_the_rule_has_all_that_the_limit_says() -> None:
    config = compile_config(venue(), [strategy()], [limit(generation=4)])
    assert [item.strategy for item in config.strategies] == ["ema"]
    assert dict(config.strategies[0].labels) == {"desk": "fx"}
    rule = config.rules[0]
    assert (rule.risk_limit, rule.generation) == ("fx-desk", 4)
    assert list(rule.strategies) == ["ema"]
    assert list(rule.instruments) == []
    assert rule.aggregate_total
    assert rule.enforce
    assert (rule.max_order_quantity, rule.max_order_notional) == ("200000", "250000")
    assert rule.max_position_quantity == "500000"
    assert (rule.max_order_rate.count, rule.max_order_rate.window_ns) == (20, 1_000_000_000)


def test_what_is_left_out_is_not_set() -> None:
    only = limit_with("spec.limits", {"maxOrderQuantity": "1"})
    rule = compile_config(venue(), [strategy()], [only]).rules[0]
    assert rule.max_order_notional == ""
    assert not rule.HasField("max_order_rate")


def test_a_limit_that_selects_nothing_here_is_left_out() -> None:
    elsewhere = limit_with("spec.scope.venueSelector", {"matchLabels": {"region": "eu"}})
    others = limit_with("spec.scope.strategySelector", {"matchLabels": {"desk": "rates"}})
    assert list(compile_config(venue(), [strategy()], [elsewhere, others]).rules) == []
    here = venue(venue_manifest(labels={"region": "eu"}))
    assert len(compile_config(here, [strategy()], [elsewhere, others]).rules) == 1


def test_only_strategies_of_the_venue_are_bound() -> None:
    other = strategy(change(strategy_manifest("other"), "spec.instruments.0.venueRef.name", "elsewhere"))
    assert [item.strategy for item in compile_config(venue(), [other, strategy()], []).strategies] == ["ema"]


@pytest.mark.parametrize(
    ("resource", "halted"),
    [
        (venue(), False),
        (venue(change(venue_manifest(), "spec.suspend", True)), True),
        (venue(**DELETING), True),
    ],
)
def test_halted(resource: Any, halted: bool) -> None:
    assert compile_config(resource, [], []).halted is halted


def test_the_revision_depends_on_content_alone() -> None:
    second = strategy(strategy_manifest("b"))
    one = compile_config(venue(), [strategy(), second], [limit()])
    other = compile_config(venue(), [second, strategy()], [limit()])
    assert one == other
    assert one.revision != compile_config(venue(), [strategy()], [limit()]).revision
    assert one.revision != compile_config(venue(), [strategy(), second], [limit(generation=2)]).revision


def test_unlimited_symbols() -> None:
    def missing(*limits: RiskLimit) -> list[str]:
        return unlimited_symbols(compile_config(venue(), [strategy()], limits), "ema", ["EUR-USD", "GBP-USD"])

    assert missing() == ["EUR-USD", "GBP-USD"]
    assert missing(limit()) == []
    assert missing(limit_with("spec.scope.instruments", ["EUR-USD"])) == ["GBP-USD"]
    assert missing(limit_with("spec.enforcement", "Observe")) == ["EUR-USD", "GBP-USD"]
    assert missing(limit(change(limit_manifest(), "spec.scope", UNSET))) == []
