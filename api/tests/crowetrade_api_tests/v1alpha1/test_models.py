from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from crowetrade_api.names import gateway_address, strategy_object
from crowetrade_api.v1alpha1.common import LabelRequirement, LabelSelector, plain
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api_tests.samples import change, stored, strategy, strategy_manifest, venue

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
    assert strategy_object("x", "signal") == "strategy-x-signal"
    assert gateway_address("ns", "v") == "venue-v.ns.svc:50051"
    assert gateway_address("ns", "v", "cluster.local") == "venue-v.ns.svc.cluster.local:50051"
