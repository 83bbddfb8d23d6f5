"""The built-in models: what they compute, and what they refuse in the words of the manifest."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.models.ema_crossover import EmaCrossover
from crowetrade_agents.models.mean_reversion import MeanReversion
from crowetrade_agents.models.registry import create_model, find_model
from crowetrade_agents.sdk import Features, Model, Opinion, Quote

PRICES = st.lists(st.integers(90_000, 110_000), min_size=60, max_size=90)


def quote(price: float | str, symbol: str = "A") -> Quote:
    mid = Decimal(str(price))
    return Quote(symbol, "v", 0, mid, mid)


def feed(model: Model, prices: list[float]) -> Features:
    features = Features(ready=False)
    for price in prices:
        features = model.on_quote(quote(price))
    return features


def opinion(model: Model, features: Features) -> Opinion:
    result = model.signal(features.values)
    assert result is not None
    return result


def test_ema_crossover_is_ready_after_slow_quotes() -> None:
    model = EmaCrossover({"fast": 2, "slow": 5}, ("A",))
    assert [model.on_quote(quote(100 + i)).ready for i in range(6)] == [False] * 4 + [True] * 2


@pytest.mark.parametrize(("factor", "sign"), [(1.001, 1), (0.999, -1)], ids=["rising", "falling"])
def test_ema_crossover_follows_a_steady_trend(factor: float, sign: int) -> None:
    model = EmaCrossover({"fast": 3, "slow": 12, "persistence": 1.0}, ("A",))
    features = feed(model, [100 * factor**i for i in range(300)])
    # A steady log trend g is recovered exactly: expected over 12 events is 12 g, deviation sqrt(12) |g|.
    trend = math.log(factor)
    assert opinion(model, features).mu == pytest.approx(12 * trend, rel=1e-6)
    assert opinion(model, features).sigma == pytest.approx(math.sqrt(12) * abs(trend), rel=1e-6)
    assert opinion(model, features).weights == {"A": 1.0}
    assert math.copysign(1, opinion(model, features).mu) == sign


@pytest.mark.parametrize(
    "model",
    [EmaCrossover({"fast": 2, "slow": 4}, ("A",)), MeanReversion({"window": 4}, ("A",))],
    ids=["ema-crossover", "mean-reversion"],
)
def test_no_opinion_in_a_market_that_does_not_move(model: Model) -> None:
    features = feed(model, [100.0] * 10)
    assert features.ready
    assert model.signal(features.values) is None


def test_mean_reversion_bets_against_the_deviation() -> None:
    model = MeanReversion({"window": 20}, ("A",))
    features = feed(model, [100.0, 100.1] * 10 + [101.0])
    assert features.values["zscore"] > 3
    expected = opinion(model, features)
    assert expected.mu == pytest.approx(-features.values["deviation"] / 2)
    assert expected.sigma == pytest.approx(features.values["scale"] * math.sqrt(0.75))


def test_mean_reversion_of_a_pair_waits_for_both_legs_and_weighs_them() -> None:
    model = MeanReversion({"window": 3, "hedgeRatio": 0.5}, ("A", "B"))
    assert not model.on_quote(quote(100, "A")).ready
    for price in (50, 51):
        assert not model.on_quote(quote(price, "B")).ready
    features = model.on_quote(quote(49, "B"))
    assert features.ready
    spreads = [math.log(100) - 0.5 * math.log(price) for price in (50, 51, 49)]
    assert features.values["deviation"] == pytest.approx(spreads[-1] - sum(spreads) / 3)
    assert opinion(model, features).weights == {"A": 1.0, "B": -0.5}


@given(prices=PRICES)
def test_the_same_quotes_give_the_same_features_and_finite_opinions(prices: list[int]) -> None:
    for make in (
        lambda: EmaCrossover({"fast": 3, "slow": 10}, ("A",)),
        lambda: MeanReversion({"window": 10}, ("A",)),
    ):
        first: Model = make()
        second: Model = make()
        numbers = [price / 100_000 for price in prices]
        features = feed(first, numbers)
        assert features == feed(second, numbers)
        result = first.signal(features.values)
        assert result is None or (math.isfinite(result.mu) and result.sigma > 0)


@pytest.mark.parametrize(
    ("name", "entry_point", "parameters", "instruments", "sentence"),
    [
        ("ema-crossover", "", {"fast": 48, "slow": 12}, ("A",), r"fast \(48\) must be less than slow \(12\)"),
        ("ema-crossover", "", {"fast": 0}, ("A",), r"model\.parameters\.fast: .* \(got 0\)"),
        ("ema-crossover", "", {"fats": 3}, ("A",), r"model\.parameters\.fats: Extra inputs"),
        ("ema-crossover", "", {}, ("A", "B"), "exactly one instrument, not 2"),
        ("mean-reversion", "", {}, ("A", "B", "C"), "one instrument or a pair, not 3"),
        ("mean-reversion", "", {"window": 2}, ("A",), r"model\.parameters\.window"),
        ("emacrossover", "", {}, ("A",), "not built in; use one of ema-crossover, mean-reversion, or entryPoint"),
        ("", "", {}, ("A",), "exactly one of name and entryPoint"),
        ("ema-crossover", "a:B", {}, ("A",), "exactly one of name and entryPoint"),
        ("", "nomodule", {}, ("A",), "not of the form package.module:Class"),
        ("", "no.such.module:Model", {}, ("A",), "cannot import no.such.module .* is it in agents.image"),
        ("", "math:Model", {}, ("A",), "math has no class Model"),
        ("", "fractions:Fraction", {}, ("A",), "the model refused its parameters"),
    ],
)
def test_a_wrong_model_is_refused_with_a_sentence(
    name: str, entry_point: str, parameters: dict[str, object], instruments: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        create_model(find_model(name, entry_point), parameters, instruments)


def test_a_model_by_entry_point_is_the_class_that_it_names() -> None:
    factory = find_model("", "crowetrade_agents.models.ema_crossover:EmaCrossover")
    assert isinstance(create_model(factory, {}, ("A",)), EmaCrossover)
