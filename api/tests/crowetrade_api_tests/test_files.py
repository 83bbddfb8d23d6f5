"""The files of pods: built from the resources, read again the same, and refused where a value is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from crowetrade_api.files import (
    DataMount,
    ListedInstrument,
    RecordingFile,
    StrategyFile,
    VenueFile,
    data_mounts,
    recording_files,
)
from crowetrade_api.v1alpha1.venueconnection import SimulatedData
from crowetrade_api_tests.samples import UNSET, change, strategy, strategy_manifest, venue, venue_manifest

Object = dict[str, Any]


def strategy_file(manifest: Object | None = None) -> StrategyFile:
    resource, declared = strategy(manifest), venue().spec.instruments[0]
    return StrategyFile(
        namespace=resource.namespace,
        name=resource.name,
        spec=resource.spec,
        gateways={"sim-fx": "venue-sim-fx.desk.svc:50051"},
        instruments=[ListedInstrument.of(venue(), declared)],
    )


def venue_file() -> VenueFile:
    resource = venue()
    assert resource.spec.simulated is not None
    return VenueFile(
        namespace=resource.namespace,
        name=resource.name,
        spec=resource.spec,
        recordings=recording_files(resource.spec.simulated.data),
    )


def claim(symbol: str, name: str, path: str) -> SimulatedData:
    return SimulatedData.model_validate({"symbol": symbol, "persistentVolumeClaim": {"claimName": name, "path": path}})


def config_map(symbol: str, name: str, key: str) -> SimulatedData:
    return SimulatedData.model_validate({"symbol": symbol, "configMap": {"name": name, "key": key}})


def test_each_volume_is_mounted_once_and_each_recording_has_its_path() -> None:
    data = [
        SimulatedData(symbol="EUR-USD", sample="eurusd-1h"),
        claim("A", "ticks", "2026/a.parquet"),
        config_map("B", "small", "b.csv"),
        claim("C", "ticks", "2026/c.parquet"),
        config_map("D", "small", "d.csv"),
        config_map("E", "ticks", "e.csv"),
        config_map("F", "small", "b.csv"),
    ]
    assert data_mounts(data) == [
        DataMount(0, claim_name="ticks"),
        DataMount(1, config_map="small", keys=("b.csv", "d.csv")),
        DataMount(2, config_map="ticks", keys=("e.csv",)),
    ]
    assert [(item.origin, item.path) for item in recording_files(data)] == [
        ("Sample", "eurusd-1h.csv"),
        ("Data", "0/2026/a.parquet"),
        ("Data", "1/b.csv"),
        ("Data", "0/2026/c.parquet"),
        ("Data", "1/d.csv"),
        ("Data", "2/e.csv"),
        ("Data", "1/b.csv"),
    ]


def test_a_recording_says_how_its_gaps_are_filled() -> None:
    given = {"configMap": {"name": "m", "key": "k.csv"}, "spreadBps": "0.5", "quoteQuantity": "300"}
    assert recording_files([SimulatedData.model_validate(given)]) == [
        RecordingFile(origin="Data", path="0/k.csv", spread_bps="0.5", quote_quantity="300")
    ]


def test_what_is_written_is_read_again() -> None:
    assert StrategyFile.model_validate(strategy_file().content()) == strategy_file()
    assert VenueFile.model_validate(venue_file().content()) == venue_file()


def test_defaults_are_written_out() -> None:
    content = strategy_file(change(strategy_manifest(), "spec.policy", {})).content()
    assert content["spec"]["policy"]["sizing"] == {"method": "TemperedKelly", "fraction": "0.25", "maxLeverage": "1"}
    assert content["spec"]["policy"]["execution"]["limitOffsetBps"] == "1"


def test_an_instrument_says_where_short_sales_are_forbidden() -> None:
    forbids = venue(change(venue_manifest(), "spec.simulated.shortSelling", "Forbidden"))
    listed = [ListedInstrument.of(where, where.spec.instruments[0]) for where in (venue(), forbids)]
    assert [item.short_selling for item in listed] == [None, "Forbidden"]
    assert "shortSelling" not in strategy_file().content()["instruments"][0]


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
    "a recording without a path": (VenueFile, "recordings", []),
    "an instrument without a recording": (VenueFile, "spec.simulated.data.0.symbol", "GBP-USD"),
    "a multiplier of zero": (VenueFile, "spec.instruments.0.multiplier", "0"),
    "a calendar in small letters": (VenueFile, "spec.calendar", "xnys"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_value_is_refused(case: str) -> None:
    model, path, value = WRONG[case]
    content = strategy_file().content() if model is StrategyFile else venue_file().content()
    with pytest.raises(ValidationError):
        model.model_validate(change(content, path, value))
