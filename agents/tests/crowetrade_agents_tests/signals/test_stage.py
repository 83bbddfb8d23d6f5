"""The signal stage: one signal for every vector, with Phi(mu / sigma)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest

from crowetrade_agents import sdk
from crowetrade_agents.domain import flow_wire
from crowetrade_agents.domain.flow import FeatureVector, InstrumentQuotes, Weight
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.errors import ModelFailed
from crowetrade_agents.signals.stage import SignalStage, probability_of_edge

from ..messages import BTC, EUR, EUR_B, origin


class Says(sdk.Model):
    """A model that returns what it is given, or raises it."""

    def __init__(self, forecast: object) -> None:
        self._forecast = forecast

    def signal(self, features: Mapping[str, float]) -> sdk.Forecast | None:
        if isinstance(self._forecast, Exception):
            raise self._forecast
        return self._forecast  # type: ignore[return-value]


def stage_that_says(forecast: object) -> SignalStage:
    return SignalStage(Says(forecast), (EUR, BTC, EUR_B))


def vector(name: InstrumentId = EUR, mid: str = "1.1", reason: str = "") -> FeatureVector:
    return FeatureVector(flow_wire.origin(origin(7, name)), Decimal(mid) if mid else None, reason, {"x": 1.0})


def test_a_forecast_becomes_a_signal() -> None:
    signal = stage_that_says(sdk.Forecast(0.001, 0.002, {EUR: 1.0})).on_features(vector())
    assert (signal.ready, signal.reason, signal.mid) == (True, "", Decimal("1.1"))
    assert signal.origin.sequence == 7
    assert (signal.mu, signal.sigma) == (0.001, 0.002)
    assert signal.prob_edge_pos == pytest.approx(0.6914624612740131)
    assert signal.weights == (Weight(EUR, 1.0, Decimal("1.1")),)


def test_a_pair_carries_the_last_mid_price_of_each_leg_also_of_one_symbol_at_two_venues() -> None:
    stage = stage_that_says(sdk.Forecast(0.001, 0.002, {EUR_B: -0.5, EUR: 1.0}))
    alone = stage.on_features(vector())
    assert [(weight.instrument, weight.mid) for weight in alone.weights] == [(EUR, Decimal("1.1")), (EUR_B, None)]
    stage.on_features(vector(name=EUR_B, mid="1.2", reason="WarmingUp"))
    both = stage.on_features(vector(mid=""))
    assert [(weight.weight, weight.mid) for weight in both.weights] == [(1.0, Decimal("1.1")), (-0.5, Decimal("1.2"))]


@pytest.mark.parametrize(
    ("given", "forecast", "reason"),
    [
        (vector(reason="WarmingUp"), sdk.Forecast(0.001, 0.002, {EUR: 1.0}), "WarmingUp"),
        (vector(reason="ModelFailing"), None, "ModelFailing"),
        (vector(reason="InvalidMarketData"), None, "InvalidMarketData"),
        (vector(), None, "NoForecast"),
    ],
)
def test_without_a_forecast_the_signal_says_why(given: FeatureVector, forecast: object, reason: str) -> None:
    signal = stage_that_says(forecast).on_features(given)
    assert (signal.ready, signal.reason, signal.mid) == (False, reason, Decimal("1.1"))
    assert signal.origin.sequence == 7
    assert not signal.weights


@pytest.mark.parametrize(
    ("forecast", "sentence"),
    [
        (sdk.Forecast(float("nan"), 0.002, {EUR: 1.0}), "signal returned mu nan, which is no finite number"),
        (sdk.Forecast(0.001, float("inf"), {EUR: 1.0}), "signal returned sigma inf"),
        (sdk.Forecast(0.001, 0.0, {EUR: 1.0}), "signal returned sigma 0.0; a standard deviation is above 0"),
        (sdk.Forecast(0.001, -1.0, {EUR: 1.0}), "signal returned sigma -1.0; a standard deviation is above 0"),
        (sdk.Forecast(0.001, "0.1", {EUR: 1.0}), "signal returned sigma '0.1'"),  # type: ignore[arg-type]
        (sdk.Forecast(0.001, 0.002, {}), "signal returned weights {}"),
        (sdk.Forecast(0.001, 0.002, {EUR: float("nan")}), "weight of sim/EUR-USD nan"),
        (
            sdk.Forecast(0.001, 0.002, {InstrumentId("sim", "GBP-USD"): 1.0}),
            r"weighs sim/GBP-USD, which is no instrument of the strategy \(sim/BTC-USD, sim/EUR-USD, sim-b/EUR-USD\)",
        ),
        (sdk.Forecast(0.001, 0.002, {"EUR-USD": 1.0}), "weighs 'EUR-USD', which is no"),  # type: ignore[dict-item]
        (KeyError("crossover"), "signal raised KeyError: 'crossover'"),
        (5, "signal returned 5, which is no sdk.Forecast or sdk.Quoting"),
        (sdk.Quoting({EUR: sdk.QuoteTerms(0.0, 0.1, 0.1)}), "half_spread 0.0 of sim/EUR-USD; .* above 0 and below 1"),
        (sdk.Quoting({EUR: sdk.QuoteTerms(1.0, 0.1, 0.1)}), "half_spread 1.0 of sim/EUR-USD"),
        (sdk.Quoting({EUR: sdk.QuoteTerms(0.1, -0.1, 0.1)}), "skew -0.1 of sim/EUR-USD; it must be from 0 to 1"),
        (sdk.Quoting({EUR: sdk.QuoteTerms(0.1, 1.1, 0.1)}), "skew 1.1 of sim/EUR-USD"),
        (sdk.Quoting({EUR: sdk.QuoteTerms(0.1, 0.1, 0.0)}), "size 0.0 of sim/EUR-USD; .* above 0 and at most 1"),
        (sdk.Quoting({EUR: sdk.QuoteTerms(0.1, 0.1, 1.5)}), "size 1.5 of sim/EUR-USD"),
        (sdk.Quoting({EUR: sdk.QuoteTerms(0.1, 0.1, 0.1, -1.0)}), "shift -1.0 of sim/EUR-USD; .* above -1 and below"),
        (sdk.Quoting({EUR: sdk.QuoteTerms(float("nan"), 0.1, 0.1)}), "half_spread of sim/EUR-USD nan, which is no"),
        (sdk.Quoting({EUR: 0.1}), "quotes sim/EUR-USD with 0.1, which is no sdk.QuoteTerms"),  # type: ignore[dict-item]
        (sdk.Quoting(5), "signal returned quotes 5"),  # type: ignore[arg-type]
        (
            sdk.Quoting({InstrumentId("sim", "GBP-USD"): sdk.QuoteTerms(0.1, 0.1, 0.1)}),
            "signal quotes sim/GBP-USD, which is no instrument",
        ),
    ],
)
def test_what_a_broken_model_raises_or_returns_is_named(forecast: object, sentence: str) -> None:
    """Finding G23."""
    with pytest.raises(ModelFailed, match=sentence):
        stage_that_says(forecast).on_features(vector())


def test_quotes_become_a_signal_with_the_last_mid_of_each() -> None:
    terms = sdk.QuoteTerms(half_spread=0.001, skew=0.002, size=0.1, shift=0.0003)
    signal = stage_that_says(sdk.Quoting({EUR_B: terms, EUR: terms})).on_features(vector())
    assert (signal.ready, signal.mid, signal.weights) == (True, Decimal("1.1"), ())
    assert signal.quotes == (
        InstrumentQuotes(EUR, 0.001, 0.002, 0.1, 0.0003, Decimal("1.1")),
        InstrumentQuotes(EUR_B, 0.001, 0.002, 0.1, 0.0003, None),
    )


def test_no_quotes_at_all_are_a_signal_that_withdraws_them() -> None:
    signal = stage_that_says(sdk.Quoting({})).on_features(vector())
    assert (signal.ready, signal.quotes) == (True, ())


FORECAST, QUOTING = sdk.Forecast(0.001, 0.002, {EUR: 1.0}), sdk.Quoting({EUR: sdk.QuoteTerms(0.1, 0.1, 0.1)})


def test_a_model_must_return_what_its_strategy_carries_out() -> None:
    with pytest.raises(ModelFailed, match=r"returned a Forecast, and policy.execution.style is Quote"):
        SignalStage(Says(FORECAST), (EUR,), quoting=True).on_features(vector())
    with pytest.raises(ModelFailed, match=r"returned Quoting, and policy.execution.style is not Quote"):
        SignalStage(Says(QUOTING), (EUR,), quoting=False).on_features(vector())
    assert SignalStage(Says(FORECAST), (EUR,), quoting=False).on_features(vector()).ready
    assert SignalStage(Says(QUOTING), (EUR,), quoting=True).on_features(vector()).ready


def test_the_probability_of_the_other_side_is_the_rest() -> None:
    assert probability_of_edge(0.0, 1.0) == 0.5
    assert probability_of_edge(-0.3, 0.7) == pytest.approx(1 - probability_of_edge(0.3, 0.7))
