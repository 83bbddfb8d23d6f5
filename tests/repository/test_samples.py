"""The samples are what the models accept, with no field that nobody reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from crowetrade_api.gateway_config import compile_config, uncovered_groups, unlimited_symbols
from crowetrade_api.kill_order import kill_order
from crowetrade_api.names import NAMESPACE_NAME_LABEL
from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_cli.samples import sample_manifests

ROOT = Path(__file__).parent.parent.parent
SAMPLES = sorted((ROOT / "samples").glob("*.yaml"))
Sample = Strategy | VenueConnection | RiskLimit | KillSwitch
MODELS: dict[str, type[Sample]] = {
    "Strategy": Strategy,
    "VenueConnection": VenueConnection,
    "RiskLimit": RiskLimit,
    "KillSwitch": KillSwitch,
}


def _unknown(given: Any, known: Any, path: str) -> list[str]:
    """Fields of the sample that the model dropped."""
    if isinstance(given, dict) and isinstance(known, dict):
        below = [_unknown(value, known[key], f"{path}.{key}") for key, value in given.items() if key in known]
        return [f"{path}.{key}" for key in given if key not in known] + [item for found in below for item in found]
    if isinstance(given, list) and isinstance(known, list):
        below = [_unknown(value, other, path) for value, other in zip(given, known, strict=True)]
        return [item for found in below for item in found]
    return []


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_valid(path: Path) -> None:
    manifest = yaml.safe_load(path.read_text())
    read = MODELS[manifest["kind"]].model_validate(
        {**manifest, "metadata": {"namespace": "demo", "uid": "u", "generation": 1, **manifest["metadata"]}}
    )
    assert _unknown(manifest["spec"], read.spec.to_api(), "spec") == []


def test_there_is_a_sample_of_each_kind() -> None:
    assert {yaml.safe_load(path.read_text())["kind"] for path in SAMPLES} == set(MODELS)


def _read() -> list[Sample]:
    """All samples, as they would be in one namespace."""
    found = []
    for path in SAMPLES:
        manifest = yaml.safe_load(path.read_text())
        metadata = {"namespace": "demo", "uid": manifest["metadata"]["name"], "generation": 1, **manifest["metadata"]}
        found.append(MODELS[manifest["kind"]].model_validate({**manifest, "metadata": metadata}))
    return found


def test_each_sample_strategy_has_its_venues_its_instruments_and_a_limit() -> None:
    samples = _read()
    venues = {item.name: item for item in samples if isinstance(item, VenueConnection)}
    strategies = [item for item in samples if isinstance(item, Strategy)]
    limits = [item for item in samples if isinstance(item, RiskLimit)]
    assert strategies
    for strategy in strategies:
        for traded in strategy.spec.instruments:
            venue = venues[traded.venue_ref.name]
            declared = {item.symbol: item for item in venue.spec.instruments}[traded.symbol]
            assert declared.currency == strategy.spec.capital.currency
            assert venue.spec.uncovered() == ""
            config = compile_config(venue, strategies, limits)
            assert unlimited_symbols(config, strategy.name, [traded.symbol]) == []


def test_the_sample_killswitch_stops_nobody_until_it_is_engaged() -> None:
    [switch] = [item for item in _read() if isinstance(item, KillSwitch)]
    assert kill_order(switch) is None


def test_a_sample_trades_several_instruments_at_several_venues() -> None:
    pairs = [item for item in _read() if isinstance(item, Strategy) and len(item.venues) > 1]
    assert [len(item.spec.instruments) for item in pairs] == [2]


LAYOUT = [
    item
    for path in sorted((ROOT / "samples" / "layout").glob("*.yaml"))
    for item in yaml.safe_load_all(path.read_text())
]


def test_in_the_layout_the_researchers_strategy_is_admitted_and_bound_by_the_platform_teams_limits() -> None:
    found = [
        MODELS[item["kind"]].model_validate({**item, "metadata": {"uid": "u", "generation": 1, **item["metadata"]}})
        for item in LAYOUT
        if item["kind"] in MODELS
    ]
    namespaces = {
        item["metadata"]["name"]: {**item["metadata"]["labels"], NAMESPACE_NAME_LABEL: item["metadata"]["name"]}
        for item in LAYOUT
        if item["kind"] == "Namespace"
    }
    assert set(namespaces) == {"cl-venues", "cl-research", "cl-live"}
    for kind in ("ResourceQuota", "RoleBinding"):
        assert {item["metadata"]["namespace"] for item in LAYOUT if item["kind"] == kind} == set(namespaces)
    for labels in namespaces.values():
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    (venue,) = [item for item in found if isinstance(item, VenueConnection)]
    (strategy,) = [item for item in found if isinstance(item, Strategy)]
    limits = [item for item in found if isinstance(item, RiskLimit)]
    config = compile_config(venue, [strategy], limits, namespaces=namespaces)
    assert [item.strategy for item in config.strategies] == ["eurusd-ema.cl-research"]
    assert {rule.risk_limit for rule in config.rules} == {"everyone", "research"}
    assert uncovered_groups(config, "eurusd-ema.cl-research", ["EUR-USD"]) == {}
    moved = strategy.model_copy(update={"metadata": strategy.metadata.model_copy(update={"namespace": "elsewhere"})})
    assert not compile_config(venue, [moved], limits, namespaces={**namespaces, "elsewhere": {}}).strategies


def test_the_command_comes_with_every_sample() -> None:
    folder = ROOT / "cli" / "src" / "crowetrade_cli" / "samples"
    assert [path.resolve() for path in sample_manifests()] == [path.resolve() for path in SAMPLES], (
        f"link each file of samples/ in {folder}: ln -s ../../../../samples/NAME.yaml"
    )
