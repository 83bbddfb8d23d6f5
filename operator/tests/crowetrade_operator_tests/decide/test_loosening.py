"""What is tightened is in force before anything is loosened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_api.conditions import ConditionType
from crowetrade_api.gateway_config import compile_config, revision_of, rule_hash
from crowetrade_api.v1alpha1.risklimit import RiskLimit, RiskLimitStatus
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_operator.decide.loosening import Change, awaited, change, held, holding, tightened
from crowetrade_operator.decide.observed import GatewayView, NamespaceView
from crowetrade_operator.decide.risklimit import Observed
from crowetrade_operator.decide.risklimit_status import report
from crowetrade_operator_tests.decide.scenes import NOW, fresh, namespace_view, told, two_venues
from crowetrade_operator_tests.samples import (
    account,
    gateway_status,
    limit,
    limit_manifest,
    strategy,
    venue,
    venue_manifest,
)

Object = dict[str, Any]
Config = config_pb2.GatewayConfig


def rule(limits: Object | None = None, **fields: Any) -> config_pb2.RiskRule:
    """A rule of one limit, unless others are given."""
    given = {"maxOrderQuantity": {"value": "100"}} if limits is None else limits
    defaults: Object = {
        "risk_limit": "a",
        "strategies": ["x", "y"],
        "symbols": ["A", "B"],
        "enforce": True,
        "on_breach": "Block",
        "currency": "USD",
        "limits": [config_pb2.Limit(name=name, values=values) for name, values in given.items()],
    }
    return config_pb2.RiskRule(**(defaults | fields))


def rated(count: str, seconds: str = "1") -> config_pb2.RiskRule:
    return rule({"maxOrderRate": {"count": count, "perSeconds": seconds}})


def valued(name: str, value: str) -> config_pb2.RiskRule:
    return rule({name: {"value": value}})


CHANGES: dict[str, tuple[config_pb2.RiskRule | None, config_pb2.RiskRule | None, Change]] = {
    "nothing": (rule(), rule(), Change.NOTHING),
    "another version of the same": (rule(generation=1), rule(generation=2, warn_at="0.5"), Change.NOTHING),
    "it comes": (None, rule(), Change.TIGHTENS),
    "it goes": (rule(), None, Change.LOOSENS),
    "one that only observed goes": (rule(enforce=False), None, Change.NOTHING),
    "it binds fewer strategies": (rule(), rule(strategies=["x"]), Change.LOOSENS),
    "it binds more strategies": (rule(), rule(strategies=["x", "y", "z"]), Change.TIGHTENS),
    "it binds others": (rule(), rule(strategies=["x", "z"]), Change.TIGHTENS),
    "it binds fewer symbols": (rule(), rule(symbols=["A"]), Change.LOOSENS),
    "it binds all symbols": (rule(), rule(symbols=[]), Change.TIGHTENS),
    "it no longer binds all symbols": (rule(symbols=[]), rule(), Change.LOOSENS),
    "it observes": (rule(), rule(enforce=False), Change.LOOSENS),
    "it enforces": (rule(enforce=False), rule(), Change.TIGHTENS),
    "a harder action": (rule(), rule(on_breach="Flatten"), Change.TIGHTENS),
    "a milder action": (rule(), rule(on_breach="Alert"), Change.LOOSENS),
    "an action that is neither harder nor milder": (rule(), rule(on_breach="CloseOnly"), Change.TIGHTENS),
    "the other way round": (rule(on_breach="CloseOnly"), rule(), Change.TIGHTENS),
    "an action that nobody knows": (rule(), rule(on_breach="Freeze"), Change.TIGHTENS),
    "another currency": (rule(), rule(currency="EUR"), Change.TIGHTENS),
    "a day of its own": (rule(), rule(day=config_pb2.TradingDay(time_zone="UTC", starts_at="00:00")), Change.TIGHTENS),
    "another way to count": (rule(), rule(aggregate_total=True), Change.TIGHTENS),
    "a higher number": (valued("maxOrderQuantity", "100"), valued("maxOrderQuantity", "100.5"), Change.LOOSENS),
    "a lower number": (valued("maxOrderQuantity", "100"), valued("maxOrderQuantity", "99"), Change.TIGHTENS),
    "the same number in other words": (
        valued("maxOrderQuantity", "1"),
        valued("maxOrderQuantity", "1.0"),
        Change.NOTHING,
    ),
    "a longer window for duplicates": (
        valued("duplicateWindowMillis", "100"),
        valued("duplicateWindowMillis", "200"),
        Change.TIGHTENS,
    ),
    "a shorter window for duplicates": (
        valued("duplicateWindowMillis", "200"),
        valued("duplicateWindowMillis", "100"),
        Change.LOOSENS,
    ),
    "a higher rate": (rated("10"), rated("20"), Change.LOOSENS),
    "a lower rate": (rated("20"), rated("10"), Change.TIGHTENS),
    "a rate in another window": (rated("10"), rated("20", "2"), Change.TIGHTENS),
    "a switch": (valued("selfMatchPrevention", "true"), valued("selfMatchPrevention", "false"), Change.TIGHTENS),
    "fewer restricted instruments": (
        valued("restrictedInstruments", "A,B"),
        valued("restrictedInstruments", "A"),
        Change.LOOSENS,
    ),
    "more restricted instruments": (
        valued("restrictedInstruments", "A"),
        valued("restrictedInstruments", "A,B"),
        Change.TIGHTENS,
    ),
    "a limit comes": (rule({}), valued("maxOpenOrders", "5"), Change.TIGHTENS),
    "a limit goes": (valued("maxOpenOrders", "5"), rule({}), Change.LOOSENS),
    "a limit of another shape": (valued("maxVega", "5"), rule({"maxVega": {"from": "1", "to": "5"}}), Change.TIGHTENS),
    "a number that is none": (valued("maxVega", "few"), valued("maxVega", "many"), Change.TIGHTENS),
    "one looser, one tighter": (rule(), rule(strategies=["x"], on_breach="Flatten"), Change.TIGHTENS),
    "two looser": (rule(), rule(strategies=["x"], on_breach="Alert"), Change.LOOSENS),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_a_change_does(case: str) -> None:
    before, after, expected = CHANGES[case]
    assert change(before, after) is expected


# --- over the gateways of a namespace


def config(*rules: config_pb2.RiskRule) -> Config:
    out = Config(rules=rules)
    out.revision = revision_of(out)
    return out


LIMIT = st.sampled_from([None, "1", "2", "3"])
"""Highest quantity at one venue; no rule there."""
VENUES = ("a", "b", "c")


def configs(limits: Sequence[str | None]) -> dict[str, Config]:
    found = zip(VENUES, limits, strict=True)
    return {name: config(valued("maxOrderQuantity", value)) if value is not None else config() for name, value in found}


THREE = st.tuples(LIMIT, LIMIT, LIMIT)


@given(THREE, THREE, st.lists(st.tuples(st.sampled_from(["put", "acknowledge"]), st.sampled_from(VENUES)), max_size=40))
def test_whatever_the_order_nothing_is_loosened_before_all_is_tightened_and_all_ends_as_wanted(
    old: tuple[str | None, ...], new: tuple[str | None, ...], steps: list[tuple[str, str]]
) -> None:
    """By what gateways enforce, which knows nothing of the functions that are tested."""
    wanted, on_the_bus, enforced = configs(new), configs(old), configs(old)
    pending: dict[str, dict[str, str]] = {name: {} for name in VENUES}

    def put(name: str) -> None:
        waits = {other: list(rules) for other, rules in pending.items()}
        found = held(name, wanted, on_the_bus, waits)
        after = holding(wanted[name], on_the_bus[name], found) if found else wanted[name]
        pending[name] |= tightened(on_the_bus[name], after)
        on_the_bus[name] = after

    def acknowledge(name: str) -> None:
        enforced[name] = on_the_bus[name]
        pending[name].clear()

    def highest(of: Config) -> int:
        return min((int(item.limits[0].values["value"]) for item in of.rules), default=99)

    def check() -> None:
        looser = any(highest(enforced[name]) > highest(configs(old)[name]) for name in VENUES)
        missing = any(highest(enforced[name]) > highest(wanted[name]) for name in VENUES)
        assert not (looser and missing)

    for step, name in steps:
        put(name) if step == "put" else acknowledge(name)
        check()
    for _ in range(2):
        for name in VENUES:
            put(name)
            acknowledge(name)
            check()
    assert enforced == wanted


def test_a_version_that_was_replaced_is_not_waited_for() -> None:
    """The gateway may never acknowledge it: the others would keep their rule for ever."""
    wide, narrow, between = (config(valued("maxOrderQuantity", value)) for value in ("100", "50", "70"))
    known = awaited({}, wide, narrow)
    assert known == {"a": rule_hash(narrow.rules[0])}
    assert awaited(known, narrow, narrow) == known, "nothing has changed"
    assert awaited(known, narrow, between) == {"a": rule_hash(between.rules[0])}
    assert awaited({}, narrow, between) == {}, "it was acknowledged"
    assert awaited(known, narrow, config()) == {}, "it is gone"


def test_a_gateway_that_was_never_told_anything_is_not_waited_for() -> None:
    wanted = configs((None, "1", None))
    assert held("a", wanted, {"a": configs(("1", None, None))["a"]}, {}) == {}
    assert held("a", wanted, configs(("1", None, None)), {}) == {"a": ["b"]}


# --- in what a reconcile sees

BOTH = strategy(two_venues())
EU: VenueConnection = venue(venue_manifest(labels={"region": "eu"}))
US: VenueConnection = venue(venue_manifest("sim-b", labels={"region": "us"}))


def of_region(region: str, generation: int) -> RiskLimit:
    manifest = limit_manifest()
    manifest["spec"]["scope"] = {"venueSelector": {"matchLabels": {"region": region}}}
    return limit(manifest, generation=generation)


BEFORE, AFTER = of_region("eu", 1), of_region("us", 2)


def compiled(at: VenueConnection, under: RiskLimit) -> Config:
    return compile_config(at, [BOTH], [under], venues=[EU, US])


def saying(at: VenueConnection, under: RiskLimit) -> status_pb2.GatewayStatus:
    return gateway_status(compiled(at, under), [account()], name=at.name)


def moving(views: dict[str, GatewayView], there: RiskLimit, **fields: Any) -> NamespaceView:
    """The scope moves from one venue to the other, where the configuration is that of the limit `there`."""
    on_the_bus = {"sim-fx": compiled(EU, BEFORE), "sim-b": compiled(US, there)}
    return namespace_view([BOTH], [EU, US], [AFTER], views, on_the_bus=on_the_bus, **fields)


OLD_VIEWS = {"sim-fx": fresh(saying(EU, BEFORE)), "sim-b": fresh(saying(US, BEFORE))}
NEW_HASH = {"sim-b": {"fx-desk": gateway_status(compiled(US, AFTER)).risk_acknowledgements[0].hash}}


def test_a_limit_that_moves_stays_where_it_was_until_it_is_in_force_where_it_goes() -> None:
    first = moving(OLD_VIEWS, BEFORE)
    assert [item.generation for item in first.config(EU).rules] == [1]
    assert [item.generation for item in first.config(US).rules] == [2]
    assert first.config(EU).revision == compiled(EU, BEFORE).revision, "nothing else has changed there"

    put = moving(OLD_VIEWS, AFTER, tightened=NEW_HASH)
    assert [item.generation for item in put.config(EU).rules] == [1], "it is on the bus and not acknowledged"

    acknowledged = moving({**OLD_VIEWS, "sim-b": fresh(saying(US, AFTER))}, AFTER, tightened=NEW_HASH)
    assert list(acknowledged.config(EU).rules) == []


def test_whoever_waits_says_for_whom() -> None:
    status = report(Observed(AFTER, moving(OLD_VIEWS, BEFORE), NOW), RiskLimitStatus())
    assert status.pending == ["sim-b", "sim-fx"]
    found = told(status.conditions, ConditionType.ENFORCED)
    assert found.status == "False"
    words = "At sim-fx it is loosened when the gateways of sim-b have confirmed what it tightens there."
    assert found.message == words


def test_a_gateway_without_a_pod_is_not_waited_for() -> None:
    around = moving(OLD_VIEWS, BEFORE, gateway_deployments=frozenset({"sim-fx"}))
    assert list(around.config(EU).rules) == []


def test_what_is_not_known_to_be_on_the_bus_holds_nothing() -> None:
    around = namespace_view([BOTH], [EU, US], [AFTER], OLD_VIEWS)
    assert list(around.config(EU).rules) == []
