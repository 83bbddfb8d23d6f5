from __future__ import annotations

from typing import Any

import pytest

from crowetrade.config.v1 import config_pb2 as pb
from crowetrade_api.gateway_config import (
    MAX_CONFIG_BYTES,
    Halt,
    compile_config,
    revision_of,
    rule_hash,
    trading_state,
    unlimited_symbols,
    with_record,
)
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnectionStatus
from crowetrade_api_tests.samples import (
    UNSET,
    change,
    limit,
    limit_manifest,
    strategy,
    strategy_manifest,
    unreadable_strategy,
    unreadable_venue,
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


@pytest.mark.parametrize(
    ("policy", "expected"), [("Flatten", pb.TRADING_STATE_FLATTEN), ("Cancel", pb.TRADING_STATE_SUSPENDED)]
)
def test_a_namespace_that_ends_stops_its_strategies_as_their_deletion_would(
    policy: str, expected: pb.TradingState.ValueType
) -> None:
    config = compile_config(venue(), [strategy_with(deletionPolicy=policy)], [limit()], terminating={"desk"})
    assert [item.state for item in config.strategies] == [expected]


def test_a_gateway_knows_which_strategies_are_closed_when_they_are_deleted() -> None:
    flattens, keeps = strategy_with(deletionPolicy="Flatten"), strategy(strategy_manifest("keeps"))
    config = compile_config(venue(), [flattens, keeps], [limit()])
    assert {item.strategy: item.flatten_when_deleted for item in config.strategies} == {"ema": True, "keeps": False}


def values(rule: pb.RiskRule) -> dict[str, dict[str, str]]:
    return {item.name: dict(item.values) for item in rule.limits}


def test_the_rule_has_all_that_the_limit_says() -> None:
    config = compile_config(venue(), [strategy()], [limit(generation=4, uid="u-1")])
    assert [item.strategy for item in config.strategies] == ["ema"]
    rule = config.rules[0]
    assert (rule.risk_limit, rule.uid, rule.generation) == ("fx-desk", "u-1", 4)
    assert list(rule.strategies) == ["ema"]
    assert list(rule.symbols) == []
    assert rule.aggregate_total
    assert rule.enforce
    assert values(rule) == {
        "maxOrderNotional": {"value": "250000"},
        "maxOrderQuantity": {"value": "200000"},
        "maxOrderRate": {"count": "20", "perSeconds": "1"},
        "maxPositionQuantity": {"value": "500000"},
    }


def test_a_day_of_its_own_travels_and_its_hour_is_midnight_by_default() -> None:
    def compiled(day: dict[str, str]) -> pb.TradingDay:
        return compile_config(venue(), [strategy()], [limit_with("spec.day", day)]).rules[0].day

    assert compiled({"timeZone": "America/New_York", "startsAt": "17:00"}) == pb.TradingDay(
        time_zone="America/New_York", starts_at="17:00"
    )
    assert compiled({"timeZone": "Europe/Zurich"}).starts_at == "00:00"


def test_what_is_left_out_is_not_set() -> None:
    only = limit_with("spec.limits", {"maxOrderQuantity": "1"})
    rule = compile_config(venue(), [strategy()], [only]).rules[0]
    assert values(rule) == {"maxOrderQuantity": {"value": "1"}}
    # A gateway that knows no day of its own blocks under a rule that says one.
    assert not rule.HasField("day")


def test_a_limit_of_another_version_travels_by_its_name() -> None:
    newer = {"maxVega": "12.5", "killOnGap": True, "repeatedExecution": {"count": 50, "perSeconds": 10}}
    rule = compile_config(venue(), [strategy()], [limit_with("spec.limits", newer)]).rules[0]
    assert values(rule) == {
        "killOnGap": {"value": "true"},
        "maxVega": {"value": "12.5"},
        "repeatedExecution": {"count": "50", "perSeconds": "10"},
    }


def test_a_risk_limit_without_any_limit_still_is_a_rule() -> None:
    rule = compile_config(venue(), [strategy()], [limit_with("spec.limits", {})]).rules[0]
    assert values(rule) == {}
    assert list(rule.strategies) == ["ema"]


def test_a_limit_that_selects_nothing_here_is_left_out() -> None:
    elsewhere = limit_with("spec.scope.venueSelector", {"matchLabels": {"region": "eu"}})
    others = limit_with("spec.scope.strategySelector", {"matchLabels": {"desk": "rates"}})
    assert list(compile_config(venue(), [strategy()], [elsewhere, others]).rules) == []
    here = venue(venue_manifest(labels={"region": "eu"}))
    assert len(compile_config(here, [strategy()], [elsewhere, others]).rules) == 1


def test_only_strategies_of_the_venue_are_bound() -> None:
    other = strategy(change(strategy_manifest("other"), "spec.instruments.0.venueRef.name", "elsewhere"))
    assert [item.strategy for item in compile_config(venue(), [other, strategy()], []).strategies] == ["ema"]


SUSPENDED = venue(change(venue_manifest(), "spec.suspend", True))
HALTS: dict[str, tuple[Any, Halt | None, str]] = {
    "nothing": (venue(), None, ""),
    "suspended": (SUSPENDED, None, "VenueSuspended"),
    "deleted": (venue(**DELETING), None, "VenueDeleted"),
    "deleted and suspended": (
        venue(change(venue_manifest(), "spec.suspend", True), **DELETING),
        None,
        "VenueDeleted",
    ),
    "something worse": (SUSPENDED, Halt("LimitUnreadable", "of another version"), "LimitUnreadable"),
    "unreadable": (unreadable_venue(), None, "VenueUnreadable"),
    "unreadable and deleted": (unreadable_venue(**DELETING), None, "VenueUnreadable"),
}


@pytest.mark.parametrize("case", HALTS)
def test_halted(case: str) -> None:
    resource, halt, reason = HALTS[case]
    config = compile_config(resource, [strategy()], [limit()], halt)
    assert config.halted_reason == reason
    assert bool(config.halted_message) is bool(reason)
    assert [item.strategy for item in config.strategies] == ["ema"]


def test_a_strategy_that_cannot_be_read_is_suspended_where_it_trades() -> None:
    config = compile_config(venue(), [unreadable_strategy(), strategy(strategy_manifest("b"))], [limit()])
    assert {item.strategy: item.state for item in config.strategies} == {
        "ema": pb.TRADING_STATE_SUSPENDED,
        "b": pb.TRADING_STATE_ACTIVE,
    }
    assert list(config.rules[0].strategies) == ["b", "ema"]


BROKEN_INSTRUMENTS: tuple[Any, ...] = (UNSET, 5, ["x"], [{"venueRef": "sim-fx"}], [{"venueRef": {}}])


@pytest.mark.parametrize("instruments", BROKEN_INSTRUMENTS)
def test_a_strategy_that_names_no_venue_is_bound_nowhere(instruments: Any) -> None:
    assert unreadable_strategy("spec.instruments", instruments).venues == []


def test_a_strategy_that_cannot_be_read_flattens_when_it_says_so() -> None:
    broken = change(strategy_manifest(), "spec.mode", "Quantum")
    assert trading_state(unreadable_strategy(**DELETING)) == pb.TRADING_STATE_SUSPENDED
    assert unreadable_strategy("spec", {**broken["spec"], "deletionPolicy": "Flatten"}).flattens


def test_the_revision_is_over_everything_but_itself_and_the_record() -> None:
    config = compile_config(venue(), [strategy()], [limit()])
    assert config.revision == revision_of(config)
    status = VenueConnectionStatus.model_validate(
        {"session": {"fencingToken": 7, "pod": "p"}, "journal": {"sequence": 812}}
    )
    recorded = with_record(config, status)
    assert (recorded.on_record.fencing_token, recorded.on_record.sequence, recorded.on_record.pod) == (7, 812, "p")
    assert revision_of(recorded) == config.revision
    cleared = venue(annotations={"trading.crowetrade.io/clear-halt": "B@2, A@1,,B@2"})
    assert list(compile_config(cleared, [], []).cleared_halts) == ["A@1", "B@2"]
    assert compile_config(cleared, [], []).revision != compile_config(venue(), [], []).revision


BREACH = "maxDailyLoss/ema@sim-fx-7"
OTHER = "maxDrawdown/-@sim-fx-9"
# What the annotation clear-halt says: halts, and breaches with their reasons.
CLEARED: dict[str, tuple[str, list[str], dict[str, str]]] = {
    "halts": ("B@2, A@1,,B@2", ["A@1", "B@2"], {}),
    "a halt with a reason": ("A@1: compared with the venue", ["A@1"], {}),
    "a breach": (f"{BREACH}: the limit is gone", [], {BREACH: "the limit is gone"}),
    "both": (f"A@1, B@2; {BREACH}: a: b, c;{OTHER} : d", ["A@1", "B@2"], {BREACH: "a: b, c", OTHER: "d"}),
    "a breach without a reason": (f"A@1; {BREACH}", ["A@1"], {}),
    "a breach with an empty reason": (f"{BREACH}: ", [], {}),
    "a breach among halts": (f"A@1, {BREACH}", ["A@1"], {}),
}


@pytest.mark.parametrize("case", CLEARED)
def test_what_is_cleared_at_the_venue(case: str) -> None:
    text, halts, breaches = CLEARED[case]
    config = compile_config(venue(annotations={"trading.crowetrade.io/clear-halt": text}), [], [])
    assert list(config.cleared_halts) == halts
    assert {item.breach: item.reason for item in config.cleared_breaches} == breaches
    assert all(item.at_venue and not item.risk_limit for item in config.cleared_breaches)


def test_a_cleared_breach_names_the_risk_limit_that_asks_for_it() -> None:
    def asking(name: str, reason: str) -> RiskLimit:
        return limit(name=name, annotations={"trading.crowetrade.io/clear-breach": f"{BREACH}: {reason}"})

    config = compile_config(venue(), [strategy()], [asking("fx-desk", "hedged"), asking("another", "I want to trade")])
    assert [(item.risk_limit, item.breach, item.reason, item.at_venue) for item in config.cleared_breaches] == [
        ("another", BREACH, "I want to trade", False),
        ("fx-desk", BREACH, "hedged", False),
    ]


def test_the_hash_of_a_rule_tells_one_risk_limit_from_another_of_its_name() -> None:
    def hashed(**metadata: Any) -> str:
        return rule_hash(compile_config(venue(), [strategy()], [limit(**metadata)]).rules[0])

    assert hashed() == hashed()
    assert len({hashed(), hashed(uid="other"), hashed(generation=2)}) == 3


def test_what_is_too_large_halts_and_is_small() -> None:
    many = [strategy(strategy_manifest(f"{'s' * 30}-{number}")) for number in range(1000)]
    limits = [limit(limit_manifest(f"limit-{number}")) for number in range(30)]
    config = compile_config(venue(), many, limits)
    assert config.halted_reason == "ConfigurationTooLarge"
    assert "1000 strategies and 30 RiskLimits" in config.halted_message
    assert config.ByteSize() < 1024
    assert config.revision == revision_of(config)
    fits = compile_config(venue(), many, limits[:5])
    assert fits.halted_reason == ""
    assert fits.ByteSize() < MAX_CONFIG_BYTES + 100


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
