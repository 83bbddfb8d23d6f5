"""The API server itself refuses a bad manifest, naming the field."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tools.demo.clusters import Cluster
from tools.demo.kubernetes import Kubectl, Object

from tests.e2e import manifests

_DELETE = object()
_SHA256 = "0" * 64
_KEY = {"vault": {"path": "secret/data/x", "role": "x"}}
_INSTRUMENT = {"symbol": manifests.SYMBOL, "venueRef": {"name": "sim"}}


def _changed(base: Object, path: str, value: Any) -> Object:
    changed = copy.deepcopy(base)
    *parents, last = path.split(".")
    place = changed
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is _DELETE:
        del place[last]
    else:
        place[last] = value
    return changed


def _strategy(path: str, value: Any) -> Object:
    return _changed(manifests.strategy("ema"), path, value)


def _venue(path: str, value: Any) -> Object:
    return _changed(manifests.venue(), path, value)


def _risk(path: str, value: Any) -> Object:
    return _changed(manifests.risk_limit(), path, value)


REFUSED = {
    "a strategy without instruments": (_strategy("spec.instruments", []), "spec.instruments"),
    "an instrument twice": (_strategy("spec.instruments", [_INSTRUMENT, _INSTRUMENT]), "spec.instruments"),
    "money as a number": (_strategy("spec.capital.amount", 1000000.5), "spec.capital.amount"),
    "money below zero": (_strategy("spec.capital.amount", "-1"), "spec.capital.amount"),
    "a mode that does not exist yet": (_strategy("spec.mode", "Live"), "spec.mode"),
    "a model that is not built in": (_strategy("spec.model.name", "oracle"), "spec.model.name"),
    "a model by name and by entry point": (_strategy("spec.model.entryPoint", "a.b:C"), "spec.model"),
    "a model parameter with a dash": (_strategy("spec.model.parameters", {"a-b": 1}), "spec.model.parameters"),
    "a probability above one": (_strategy("spec.policy.entryGate.minProbEdge", "1.5"), "entryGate.minProbEdge"),
    "a topology that does not exist": (_strategy("spec.agents.topology", "Both"), "spec.agents.topology"),
    "a misspelt field": (_strategy("spec.modle", {}), "spec.modle"),
    "a name with a dot": (_strategy("metadata.name", "my.strategy"), "metadata.name"),
    "a venue type that does not exist yet": (_venue("spec.type", "FIX"), "spec.type"),
    "a venue without data": (_venue("spec.simulated.data", []), "spec.simulated.data"),
    "a venue whose instrument has no recording": (
        _venue("spec.simulated.data", [{"symbol": "GBP-USD", "sample": "eurusd-1h"}]),
        "spec.simulated.data",
    ),
    "a calendar in small letters": (_venue("spec.calendar", "xnys"), "spec.calendar"),
    "a replay that stands still": (_venue("spec.simulated.replay.speed", "0"), "spec.simulated.replay.speed"),
    "credentials that nobody asks for": (_venue("spec.credentials", _KEY), "spec.credentials"),
    "a hash without credentials": (_venue("spec.simulated.apiKeySha256", _SHA256), "spec.simulated.apiKeySha256"),
    "a risk limit without limits": (_risk("spec.limits", {}), "spec.limits"),
    "an order rate of zero": (_risk("spec.limits.maxOrderRate", {"count": 0, "perSeconds": 1}), "maxOrderRate.count"),
    "a breach that nobody can act on": (_risk("spec.onBreach", "Pray"), "spec.onBreach"),
}


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Kubectl:
    return cluster.kubectl()


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_name_of_the_field(api: Kubectl, case: str) -> None:
    manifest, field = REFUSED[case]
    refusal = api.refusal(manifest, "default")
    assert refusal is not None, f"the API server took {case}"
    assert field in refusal


@pytest.mark.parametrize("good", [manifests.strategy("ema"), manifests.venue(), manifests.risk_limit()])
def test_what_they_were_made_from_is_accepted(api: Kubectl, good: Object) -> None:
    assert api.refusal(good, "default") is None
