from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from crowetrade_api.names import gateway_address, strategy_object
from crowetrade_api.v1alpha1.common import LabelRequirement, LabelSelector, fitting, plain
from crowetrade_api.v1alpha1.strategy import Strategy, StrategyPhase
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_api_tests.samples import (
    change,
    stored,
    strategy,
    strategy_manifest,
    unreadable_strategy,
    venue,
    venue_manifest,
)

SELECTORS = {
    "an empty selector selects all": (LabelSelector(), {}, True),
    "a label must be there": (LabelSelector(match_labels={"a": "1"}), {}, False),
    "a label must have the value": (LabelSelector(match_labels={"a": "1"}), {"a": "2"}, False),
    "a label that matches": (LabelSelector(match_labels={"a": "1"}), {"a": "1", "b": "2"}, True),
}
REQUIREMENTS = {
    "In with the value": ("In", ["1"], {"a": "1"}, True),
    "In without the label": ("In", ["1"], {}, False),
    "NotIn without the label": ("NotIn", ["1"], {}, True),
    "NotIn with the value": ("NotIn", ["1"], {"a": "1"}, False),
    "Exists": ("Exists", [], {"a": ""}, True),
    "Exists without": ("Exists", [], {}, False),
    "DoesNotExist": ("DoesNotExist", [], {"a": "1"}, False),
    "DoesNotExist without": ("DoesNotExist", [], {}, True),
}


@pytest.mark.parametrize("case", SELECTORS)
def test_labels(case: str) -> None:
    selector, labels, expected = SELECTORS[case]
    assert selector.matches(labels) is expected


@pytest.mark.parametrize("case", REQUIREMENTS)
def test_requirements(case: str) -> None:
    operator, values, labels, expected = REQUIREMENTS[case]
    requirement = LabelRequirement.model_validate({"key": "a", "operator": operator, "values": values})
    assert LabelSelector(match_expressions=[requirement]).matches(labels) is expected


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
def test_plain_keeps_the_value(value: Decimal) -> None:
    text = plain(value)
    assert Decimal(text) == value
    assert "E" not in text
    assert text != "-0"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.071246033991160504694835680751173708921", "0.071246033991160504694835680751173708921"),
        ("1." + "3" * 80, "1." + "3" * 62),
        ("-1." + "3" * 80, "-1." + "3" * 61),
        ("1" * 62 + ".5", "1" * 62 + ".5"),
        ("1" * 63 + ".5", "1." + "1" * 48 + "E+62"),
        ("-" + "9" * 100, "-1." + "0" * 48 + "E+100"),
    ],
)
def test_a_number_of_any_length_fits(text: str, shown: str) -> None:
    assert fitting(text) == shown
    assert len(fitting(text)) <= 64


@given(st.decimals(allow_nan=False, allow_infinity=False).filter(lambda value: abs(value.adjusted()) < 200))
def test_a_number_that_is_cut_is_still_the_number(value: Decimal) -> None:
    text = format(value, "f")
    assert len(fitting(text)) <= 64
    assert abs(Decimal(fitting(text)) - value) <= max(abs(value) * Decimal("1e-40"), Decimal("1e-60"))


STATUSES: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "a phase of another version": ({"phase": "Dreaming", "configHash": "x"}, {"phase": "", "config_hash": "x"}),
    "a number that is none": ({"orders": {"open": "many", "sentTotal": 3}}, {"orders.sent_total": 3, "orders.open": 0}),
    "a list that is none": ({"position": 5, "configHash": "x"}, {"config_hash": "x"}),
    "an item without its key": (
        {"position": [{"symbol": "A"}, {"symbol": "B", "venue": "v", "quantity": "1"}]},
        {"position.0.symbol": "B"},
    ),
    "a status that is none": ({"conditions": None, "agents": None}, {"agents.ready": 0}),
    "a field of another version": ({"mood": "good", "configHash": "x"}, {"config_hash": "x"}),
}


@pytest.mark.parametrize("case", STATUSES)
def test_a_status_is_read_as_far_as_it_can_be(case: str) -> None:
    given, expected = STATUSES[case]
    read = Strategy.model_validate({**stored(strategy_manifest()), "status": given})
    for path, value in expected.items():
        found: Any = read.status
        for part in path.split("."):
            found = found[int(part)] if part.isdigit() else getattr(found, part)
        assert found == value


def test_no_status_is_an_empty_one() -> None:
    nothing: tuple[Any, ...] = (None, "gone", [])
    for status in nothing:
        read = Strategy.model_validate({**stored(strategy_manifest()), "status": status})
        assert read.status.phase == StrategyPhase.UNKNOWN


def test_what_cannot_be_read_still_says_who_it_is() -> None:
    found = unreadable_strategy(uid="u-7", labels={"desk": "fx"})
    assert (found.name, found.metadata.uid, found.venues) == ("ema", "u-7", ["sim-fx"])
    assert "spec.mode" in found.problem


RECORDINGS: dict[str, tuple[list[dict[str, str]], list[str], bool]] = {
    "one for each": ([{"symbol": "A", "sample": "a"}, {"symbol": "B", "sample": "b"}], ["B", "A"], True),
    "one without symbol": ([{"sample": "a"}], ["A", "B"], True),
    "one with its trades": ([{"symbol": "A", "sample": "a"}, {"symbol": "A", "sample": "b"}], ["A"], True),
    "one is missing": ([{"symbol": "A", "sample": "a"}], ["A", "B"], False),
    "one is twice": ([{"symbol": "A", "sample": "a"}, {"symbol": "A", "sample": "b"}], ["A", "B"], False),
    "one too many": ([{"symbol": "A", "sample": "a"}, {"symbol": "B", "sample": "b"}], ["A"], False),
    "two without symbol": ([{"sample": "a"}, {"sample": "b"}], ["A", "B"], False),
    "one of two without symbol": ([{"symbol": "A", "sample": "a"}, {"sample": "b"}], ["A", "B"], False),
}


@pytest.mark.parametrize("case", RECORDINGS)
def test_each_instrument_has_a_recording(case: str) -> None:
    data, symbols, covered = RECORDINGS[case]
    first = venue_manifest()["spec"]["instruments"][0]
    manifest = change(venue_manifest(), "spec.simulated.data", data)
    manifest = change(manifest, "spec.instruments", [{**first, "symbol": symbol} for symbol in symbols])
    assert bool(VenueConnection.model_validate(stored(manifest)).spec.uncovered()) is not covered


def test_models_are_frozen_and_speak_camel_case() -> None:
    one = strategy()
    assert one.spec.to_api()["deletionPolicy"] == "Cancel"
    with pytest.raises(ValidationError):
        one.spec.suspend = True


def test_fields_of_a_newer_version_are_ignored() -> None:
    assert Strategy.model_validate(stored(change(strategy_manifest(), "spec.new", {"a": 1}))).name == "ema"


def test_annotations() -> None:
    assert strategy(annotations={"trading.crowetrade.io/paused": "true"}).paused
    assert venue(annotations={"trading.crowetrade.io/force-delete": "True"}).force_delete
    assert not strategy(annotations={"trading.crowetrade.io/paused": "no"}).paused


def test_names() -> None:
    assert strategy_object("x") == "strategy-x"
    assert strategy_object("x", "signal") == "agent-signal-x"
    assert gateway_address("ns", "v") == "venue-v.ns.svc:50051"
    assert gateway_address("ns", "v", "cluster.local") == "venue-v.ns.svc.cluster.local:50051"
