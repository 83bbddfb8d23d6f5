"""strategy.json: read as the operator writes it, and refused with a sentence where it is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from crowetrade_agents.domain.orders import TimeInForce
from crowetrade_agents.errors import ConfigurationError
from crowetrade_agents.execution.policy import Style
from crowetrade_agents.runtime.config import (
    execution_policy,
    instrument_ids,
    listings,
    load_strategy,
    parse_roles,
    portfolio_policy,
    quoting,
    read_pod,
    shadow,
)
from crowetrade_agents.runtime.strategy import create_strategy_model, started
from crowetrade_agents.sdk import Forecast, Model
from crowetrade_api.files import STRATEGY_FILE, VENUE_FILE, StrategyFile
from crowetrade_api.names import Role

from ..messages import EUR, EUR_B, OTHER_VENUE, VENUE
from .config_files import strategy_config, strategy_json


def written(folder: Path, content: dict[str, Any] | str) -> Path:
    path = folder / "strategy.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_file_becomes_policies(tmp_path: Path) -> None:
    config = load_strategy(written(tmp_path, strategy_json()))
    assert (instrument_ids(config), config.venues, shadow(config)) == ((EUR,), (VENUE,), False)
    portfolio = portfolio_policy(config)
    assert portfolio.capital == Decimal(1_000_000)
    assert (portfolio.min_prob_edge, portfolio.max_sigma, portfolio.kelly_fraction) == (0.55, 0.03, 0.3)
    assert (portfolio.data_gap_ns, portfolio.spike_sigma) == (30_000_000_000, 4.0)
    assert portfolio.instruments[EUR].lot_size == 1000
    assert portfolio.instruments[EUR].multiplier == 1
    execution = execution_policy(config)
    assert execution.style is Style.LIMIT
    assert execution.time_in_force is TimeInForce.IOC
    assert execution.limit_offset_bps == 1
    assert execution.participation_cap is None
    assert (execution.slice_to_limits, execution.data_gap_ns) == (False, 30_000_000_000)


def test_the_same_symbol_may_be_held_on_two_venues() -> None:
    config = strategy_config(instruments=(EUR_B, EUR))
    assert (instrument_ids(config), config.venues) == ((EUR_B, EUR), (OTHER_VENUE, VENUE))
    assert [listed.id for listed in listings(config).values()] == [EUR_B, EUR]


def test_multiplier_and_slicing_are_read() -> None:
    content = strategy_json(policy={"execution": {"sliceToLimits": True}})
    content["instruments"][0]["multiplier"] = "1000"
    config = StrategyFile.model_validate(content)
    assert execution_policy(config).slice_to_limits
    assert listings(config)[EUR].multiplier == 1000


def test_style_quote_is_read_for_every_stage() -> None:
    config = strategy_config(policy={"execution": {"style": "Quote", "timeInForce": "DAY", "requoteTicks": 7}})
    assert quoting(config)
    assert portfolio_policy(config).quoting
    execution = execution_policy(config)
    assert (execution.style, execution.time_in_force, execution.requote_ticks) == (Style.QUOTE, TimeInForce.DAY, 7)
    plain = strategy_config(policy={})
    assert not quoting(plain)
    assert not portfolio_policy(plain).quoting
    assert execution_policy(plain).requote_ticks == 1


def test_rules_that_are_not_asked_for_are_off() -> None:
    portfolio = portfolio_policy(strategy_config(policy={}))
    assert (portfolio.max_sigma, portfolio.data_gap_ns, portfolio.spike_sigma) == (None, None, None)


def test_defaults_are_those_of_the_schema() -> None:
    config = strategy_config(policy={})
    assert portfolio_policy(config).kelly_fraction == 0.25
    assert execution_policy(config).limit_offset_bps == 1


def test_what_a_newer_operator_adds_is_ignored(tmp_path: Path) -> None:
    content = strategy_json(hedging={"venue": "other"}) | {"epoch": 7}
    content["spec"]["policy"]["sizing"]["floor"] = "0.1"
    assert load_strategy(written(tmp_path, content)).spec.capital.amount == "1000000"


def without(key: str) -> dict[str, Any]:
    content = strategy_json()
    del content[key]
    return content


def with_detail(**changes: object) -> dict[str, Any]:
    content = strategy_json()
    content["instruments"][0] |= changes
    return content


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        (without("spec"), "spec: Field required"),
        (strategy_json(capital={"amount": "-1", "currency": "USD"}), r"spec\.capital\.amount: .* \(got '-1'\)"),
        (strategy_json(capital={"amount": "NaN", "currency": "USD"}), r"spec\.capital\.amount"),
        (strategy_json(instruments=()), r"spec\.instruments"),
        (strategy_json(policy={"sizing": {"fraction": "1.5"}}), r"spec\.policy\.sizing\.fraction"),
        (strategy_json(policy={"execution": {"timeInForce": "GTD"}}), r"spec\.policy\.execution\.timeInForce"),
        (
            strategy_json(capital={"amount": "1", "currency": "EUR"}),
            "is quoted in USD and the capital is in EUR",
        ),
        (
            strategy_json(instruments=(EUR, EUR)),
            "names an instrument twice",
        ),
        (with_detail(symbol="GBP-USD"), "VenueConnection sim has no instrument EUR-USD: add it"),
        (with_detail(tickSize="0"), r"instruments\.0\.tickSize"),
        (strategy_json() | {"gateways": {}}, "no gateway address is known for VenueConnection sim"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path, content: dict[str, Any] | str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        load_strategy(written(tmp_path, content))


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is the ConfigMap mounted"):
        load_strategy(tmp_path / "nothing.json")


def test_a_wrong_model_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="not built in"):
        create_strategy_model(strategy_config(model={"name": "oracle"}))


class FailsToStart(Model):
    """A model whose `on_start` raises."""

    def on_start(self) -> None:
        raise RuntimeError("no licence")

    def signal(self, features: Mapping[str, float]) -> Forecast | None:
        return None


def test_a_model_that_fails_to_start_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="the model's on_start raised RuntimeError: no licence"):
        started(FailsToStart())


def test_roles_come_in_the_order_of_the_data() -> None:
    assert parse_roles("execution, feature") == (Role.FEATURE, Role.EXECUTION)
    for wrong in ("", "gateway", "feature,,singal"):
        with pytest.raises(ConfigurationError, match="write one or more of feature, signal"):
            parse_roles(wrong)


def test_the_environment_of_the_pod() -> None:
    pod = read_pod(
        {"NATS_URL": "nats://n:4222", "POD_NAME": "p", "CONFIG_HASH": "sha256:1", "HTTP_PORT": "0"}, VENUE_FILE
    )
    assert (pod.name, pod.nats_url, pod.config_hash, pod.http_port) == ("p", "nats://n:4222", "sha256:1", 0)
    assert str(read_pod({"NATS_URL": "n"}, STRATEGY_FILE).config_path) == "/etc/crowetrade/strategy.json"
    for wrong in ({}, {"NATS_URL": "n", "HTTP_PORT": "http"}, {"NATS_URL": "n", "HTTP_PORT": "65536"}):
        with pytest.raises(ConfigurationError, match="environment variable"):
            read_pod(wrong, STRATEGY_FILE)
