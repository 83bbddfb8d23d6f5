"""The files of pods: built from the resources, read again the same, and refused where a value is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from crowetrade_api.files import ListedInstrument, StrategyFile, VenueFile
from crowetrade_api_tests.samples import UNSET, change, strategy, strategy_manifest, venue

Object = dict[str, Any]


def strategy_file(manifest: Object | None = None) -> StrategyFile:
    resource, declared = strategy(manifest), venue().spec.instruments[0]
    return StrategyFile(
        namespace=resource.namespace,
        name=resource.name,
        generation=resource.metadata.generation,
        spec=resource.spec,
        gateways={"sim-fx": "venue-sim-fx.desk.svc:50051"},
        instruments=[ListedInstrument(**declared.model_dump(), venue="sim-fx")],
    )


def venue_file() -> VenueFile:
    resource = venue()
    return VenueFile(namespace=resource.namespace, name=resource.name, spec=resource.spec)


def test_what_is_written_is_read_again() -> None:
    assert StrategyFile.model_validate(strategy_file().content()) == strategy_file()
    assert VenueFile.model_validate(venue_file().content()) == venue_file()


def test_defaults_are_written_out() -> None:
    content = strategy_file(change(strategy_manifest(), "spec.policy", {})).content()
    assert content["spec"]["policy"]["sizing"] == {"method": "TemperedKelly", "fraction": "0.25", "maxLeverage": "1"}
    assert content["spec"]["policy"]["execution"]["limitOffsetBps"] == "1"


def test_suspend_is_in_no_file() -> None:
    suspended = strategy_file(change(strategy_manifest(), "spec.suspend", True))
    assert suspended.content() == strategy_file().content()
    assert "suspend" not in venue_file().content()["spec"]


@pytest.mark.parametrize("path", ["hedging", "spec.hedging", "spec.policy.sizing.floor", "instruments.0.isin"])
def test_a_field_of_a_newer_operator_is_ignored(path: str) -> None:
    assert StrategyFile.model_validate(change(strategy_file().content(), path, "1")) == strategy_file()


WRONG: dict[str, tuple[type[StrategyFile] | type[VenueFile], str, Any]] = {
    "a mode that is not known": (StrategyFile, "spec.mode", "Live"),
    "a fraction of zero": (StrategyFile, "spec.policy.sizing.fraction", "0.00"),
    "a fraction above one": (StrategyFile, "spec.policy.sizing.fraction", "1.5"),
    "an exponent": (StrategyFile, "spec.capital.amount", "1E6"),
    "a capital of zero": (StrategyFile, "spec.capital.amount", "0"),
    "a tick size of zero": (StrategyFile, "instruments.0.tickSize", "0"),
    "a speed in words": (VenueFile, "spec.simulated.replay.speed", "fast"),
    "no settings of its type": (VenueFile, "spec.simulated", UNSET),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_refused(case: str) -> None:
    model, path, value = WRONG[case]
    content = strategy_file().content() if model is StrategyFile else venue_file().content()
    with pytest.raises(ValidationError):
        model.model_validate(change(content, path, value))
