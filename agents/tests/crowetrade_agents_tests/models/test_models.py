"""The built-in models: what they compute, and what they refuse in the words of the manifest."""

from __future__ import annotations

import math
from collections import deque
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.models.ema_crossover import EmaCrossover
from crowetrade_agents.models.market_maker import MarketMaker
from crowetrade_agents.models.mean_reversion import MeanReversion
from crowetrade_agents.models.pairs import PairReversion, regress
from crowetrade_agents.models.registry import create_model, find_model
from crowetrade_agents.sdk import Features, Forecast, InstrumentId, Model, Quote, QuoteTerms

PRICES = st.lists(st.integers(90_000, 110_000), min_size=60, max_size=90)


A, B, C = InstrumentId("v", "A"), InstrumentId("w", "A"), InstrumentId("v", "C")


def quote(price: float | str, name: InstrumentId = A) -> Quote:
    mid = Decimal(str(price))
    return Quote(name, 0, mid, mid)


def feed(model: Model, prices: list[float]) -> Features:
    features = Features(ready=False)
    for price in prices:
        features = model.on_quote(quote(price))
    return features


def forecast(model: Model, features: Features) -> Forecast:
    result = model.signal(features.values)
    assert isinstance(result, Forecast)
    return result


def test_ema_crossover_is_ready_after_slow_quotes() -> None:
    model = EmaCrossover({"fast": 2, "slow": 5}, (A,))
    assert [model.on_quote(quote(100 + i)).ready for i in range(6)] == [False] * 4 + [True] * 2


@pytest.mark.parametrize(("factor", "sign"), [(1.001, 1), (0.999, -1)], ids=["rising", "falling"])
def test_ema_crossover_follows_a_steady_trend(factor: float, sign: int) -> None:
    model = EmaCrossover({"fast": 3, "slow": 12, "persistence": 1.0}, (A,))
    features = feed(model, [100 * factor**i for i in range(300)])
    # A steady log trend g is recovered exactly: expected over 12 events is 12 g, deviation sqrt(12) |g|.
    trend = math.log(factor)
    assert forecast(model, features).mu == pytest.approx(12 * trend, rel=1e-6)
    assert forecast(model, features).sigma == pytest.approx(math.sqrt(12) * abs(trend), rel=1e-6)
    assert forecast(model, features).weights == {A: 1.0}
    assert math.copysign(1, forecast(model, features).mu) == sign


@pytest.mark.parametrize(
    "model",
    [EmaCrossover({"fast": 2, "slow": 4}, (A,)), MeanReversion({"window": 4}, (A,))],
    ids=["ema-crossover", "mean-reversion"],
)
def test_no_forecast_in_a_market_that_does_not_move(model: Model) -> None:
    features = feed(model, [100.0] * 10)
    assert features.ready
    assert model.signal(features.values) is None


def test_mean_reversion_bets_against_the_deviation() -> None:
    model = MeanReversion({"window": 20}, (A,))
    features = feed(model, [100.0, 100.1] * 10 + [101.0])
    assert features.values["zscore"] > 3
    expected = forecast(model, features)
    assert expected.mu == pytest.approx(-features.values["deviation"] / 2)
    assert expected.sigma == pytest.approx(features.values["scale"] * math.sqrt(0.75))


def test_mean_reversion_of_a_pair_waits_for_both_legs_and_weighs_them() -> None:
    model = MeanReversion({"window": 3, "hedgeRatio": 0.5}, (A, B))
    assert not model.on_quote(quote(100, A)).ready
    for price in (50, 51):
        assert not model.on_quote(quote(price, B)).ready
    features = model.on_quote(quote(49, B))
    assert features.ready
    spreads = [math.log(100) - 0.5 * math.log(price) for price in (50, 51, 49)]
    assert features.values["deviation"] == pytest.approx(spreads[-1] - sum(spreads) / 3)
    assert forecast(model, features).weights == {A: 1.0, B: -0.5}


@given(prices=PRICES)
def test_the_same_quotes_give_the_same_features_and_finite_forecasts(prices: list[int]) -> None:
    for make in (
        lambda: EmaCrossover({"fast": 3, "slow": 10}, (A,)),
        lambda: MeanReversion({"window": 10}, (A,)),
    ):
        first: Model = make()
        second: Model = make()
        numbers = [price / 100_000 for price in prices]
        features = feed(first, numbers)
        assert features == feed(second, numbers)
        result = first.signal(features.values)
        if result is not None:
            assert isinstance(result, Forecast)
            assert math.isfinite(result.mu)
            assert result.sigma > 0


@pytest.mark.parametrize(
    ("name", "entry_point", "parameters", "instruments", "sentence"),
    [
        ("ema-crossover", "", {"fast": 48, "slow": 12}, (A,), r"fast \(48\) must be less than slow \(12\)"),
        ("ema-crossover", "", {"fast": 0}, (A,), r"model\.parameters\.fast: .* \(got 0\)"),
        (
            "ema-crossover",
            "",
            {"fats": 3},
            (A,),
            r"parameters\.fats: ema-crossover has no such parameter, it has",
        ),
        ("ema-crossover", "", {}, (A, B), "exactly one instrument, not 2"),
        ("mean-reversion", "", {}, (A, B, C), "one instrument or a pair, not 3"),
        ("mean-reversion", "", {"window": 2}, (A,), r"model\.parameters\.window"),
        (
            "emacrossover",
            "",
            {},
            (A,),
            "use one of ema-crossover, market-maker, mean-reversion, pair-reversion, or entryPoint",
        ),
        ("", "", {}, (A,), "exactly one of name and entryPoint"),
        ("ema-crossover", "a:B", {}, (A,), "exactly one of name and entryPoint"),
        ("", "nomodule", {}, (A,), "not of the form package.module:Class"),
        ("", "no.such.module:Model", {}, (A,), "cannot import no.such.module .* install it where the agents run"),
        ("", "math:Model", {}, (A,), "math has no class Model"),
        ("", "fractions:Fraction", {}, (A,), "the model refused its parameters: TypeError"),
        ("ema-crossover", "", {"fast": True}, (A,), r"fast: must be a whole number .* \(got True\)"),
        ("ema-crossover", "", {"fast": "x"}, (A,), r"fast: must be a whole number .* \(got 'x'\)"),
        ("ema-crossover", "", {"fast": 2.5}, (A,), r"fast: must be a whole number .* \(got 2.5\)"),
        ("ema-crossover", "", {"persistence": 0}, (A,), r"persistence: must be a number above 0 and not above 1"),
        ("ema-crossover", "", {"persistence": float("nan")}, (A,), r"persistence: must be a number"),
        ("market-maker", "", {}, (A, B), "quotes exactly one instrument, not 2"),
        ("market-maker", "", {"riskAversion": 0}, (A,), "riskAversion: must be a number above 0 and not above 1e"),
        ("market-maker", "", {"horizon": 0}, (A,), "horizon: must be a whole number from 1 to 100000"),
        ("market-maker", "", {"fillDecayBps": "0"}, (A,), "fillDecayBps: must be a number above 0"),
        ("market-maker", "", {"volatilityWindow": 1}, (A,), "volatilityWindow: must be a whole number from 2"),
        ("market-maker", "", {"size": "1.1"}, (A,), "size: must be a number above 0 and not above 1 "),
        ("market-maker", "", {"gamma": 1}, (A,), "market-maker has no such parameter"),
        ("pair-reversion", "", {}, (A,), "exactly two instruments, not 1"),
        ("pair-reversion", "", {"window": 9}, (A, B), r"window: must be a whole number from 10 to 2000"),
        ("pair-reversion", "", {"entryZ": 1, "exitZ": 1}, (A, B), r"exitZ \(1\) must be less than entryZ \(1\)"),
    ],
)
def test_a_wrong_model_is_refused_with_a_sentence(
    name: str, entry_point: str, parameters: dict[str, object], instruments: tuple[InstrumentId, ...], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        create_model(find_model(name, entry_point), parameters, instruments)


def test_a_model_by_entry_point_is_the_class_that_it_names() -> None:
    factory = find_model("", "crowetrade_agents.models.ema_crossover:EmaCrossover")
    assert isinstance(create_model(factory, {}, (A,)), EmaCrossover)


def test_parameters_may_be_written_as_text() -> None:
    assert EmaCrossover({"fast": "2", "slow": 5.0}, (A,)) is not None


WAVE = [0.001 * math.sin(i / 3) for i in range(60)]


def pair_features(model: PairReversion, residuals: list[float], slope: float = 0.8) -> Features:
    """Quotes of two instruments whose log prices lie on a line of that slope, but for the residuals."""
    features = Features(ready=False)
    for i, residual in enumerate(residuals):
        second = 0.05 * math.cos(i / 7)
        model.on_quote(quote(repr(math.exp(second)), B))
        features = model.on_quote(quote(repr(math.exp(1 + slope * second + residual))))
    return features


def test_a_pair_is_hedged_by_the_slope_and_bets_against_a_large_residual() -> None:
    model = PairReversion({"window": 100, "entryZ": 2, "exitZ": 0.5}, (A, B))
    features = pair_features(model, [*WAVE, 0.01])
    assert features.ready
    # The window holds a point after each quote of either leg; the slope comes out near the true one.
    assert features.values["beta"] == pytest.approx(0.8, abs=0.05)
    assert features.values["zscore"] > 2
    expected = forecast(model, features)
    assert expected.mu == pytest.approx(-features.values["deviation"] / 2)
    assert expected.sigma == pytest.approx(features.values["scale"] * math.sqrt(0.75))
    assert expected.weights == {A: 1.0, B: -features.values["beta"]}


def test_a_pair_with_a_slope_above_one_is_scaled_to_weights_of_at_most_one() -> None:
    model = PairReversion({"window": 100, "entryZ": 0.8}, (A, B))
    values = pair_features(model, [*WAVE, 0.01], slope=2.5).values
    expected = forecast(model, Features(True, values))
    beta = values["beta"]
    assert expected.weights == {A: pytest.approx(1 / beta), B: -1.0}
    assert expected.mu == pytest.approx(-values["deviation"] / 2 / beta)


@pytest.mark.parametrize(
    ("beta", "scale", "zscore", "mu"),
    [
        (0.5, 0.01, 2.0, -0.01),
        (0.5, 0.01, -2.0, 0.01),
        (0.5, 0.01, 1.9, None),
        (0.5, 0.01, -0.6, None),
        (0.5, 0.01, 0.5, 0.0),
        (0.0, 0.01, 3.0, None),
        (-0.5, 0.01, 3.0, None),
        (0.5, 0.0, 0.0, None),
    ],
    ids=["enter short", "enter long", "keep", "keep, other side", "leave", "no slope", "no hedge", "no residual"],
)
def test_a_pair_enters_keeps_and_leaves_by_its_zscore(
    beta: float, scale: float, zscore: float, mu: float | None
) -> None:
    features = {"beta": beta, "scale": scale, "zscore": zscore, "deviation": zscore * scale}
    result = PairReversion({}, (A, B)).signal(features)
    assert (None if result is None else result.mu) == (None if mu is None else pytest.approx(mu))


def test_a_pair_whose_second_leg_does_not_move_gives_no_forecast() -> None:
    model = PairReversion({"window": 10}, (A, B))
    model.on_quote(quote(1, B))
    features = feed(model, [100 + i % 3 for i in range(12)])
    assert features.ready
    assert model.signal(features.values) is None


def test_the_line_is_that_of_least_squares() -> None:
    """Against the closed form on four points: y = 1, 2, 2, 4 on x = 0, 1, 2, 3 has slope 0.9."""
    slope, residual, scale = regress(deque(zip([1.0, 2.0, 2.0, 4.0], [0.0, 1.0, 2.0, 3.0], strict=True)))
    assert slope == pytest.approx(0.9)
    assert residual == pytest.approx(4 - (0.9 + 0.9 * 3))
    assert scale == pytest.approx(math.sqrt((0.1**2 + 0.2**2 + 0.7**2 + 0.4**2) / 2))


def terms(model: MarketMaker, features: Features) -> QuoteTerms:
    (quoted,) = model.signal(features.values).quotes.items()
    assert quoted[0] == A
    return quoted[1]


def test_a_market_maker_quotes_as_avellaneda_and_stoikov_say() -> None:
    # v = 0.001: v^2 T = 0.001^2 x 4 = 0.000004. With g = 50 the lean per quote is 0.0002.
    # k = 10000 / 2 = 5000: (1 / 50) ln(1 + 50 / 5000) = 0.02 ln(1.01) = 0.000199006617; half of the lean is 0.0001.
    given = {"riskAversion": 50, "horizon": 4, "fillDecayBps": 2, "size": "0.25", "volatilityWindow": 2}
    made = terms(MarketMaker(given, (A,)), Features(True, {"volatility": 0.001}))
    assert made.half_spread == pytest.approx(0.000299006617, rel=1e-9)
    # Four quotes are the largest position.
    assert made.skew == pytest.approx(0.0008)
    assert (made.size, made.shift) == (0.25, 0.0)


def test_a_market_maker_is_ready_after_its_window_and_knows_the_volatility() -> None:
    model = MarketMaker({"volatilityWindow": 3}, (A,))
    prices = [100.0, 100 * math.exp(0.001), 100.0, 100 * math.exp(0.001)]
    ready = [model.on_quote(quote(repr(price))) for price in prices]
    assert [one.ready for one in ready] == [False, False, True, True]
    assert ready[-1].values["volatility"] == pytest.approx(0.001)


def test_without_volatility_a_market_maker_does_not_lean_and_quotes_what_fills_are_worth() -> None:
    made = terms(MarketMaker({"riskAversion": "0.001", "fillDecayBps": 3}, (A,)), Features(True, {"volatility": 0.0}))
    # ln(1 + x) / x is 1 for a small x: a risk-neutral market maker quotes 1 / k away.
    assert made.half_spread == pytest.approx(0.0003, rel=1e-6)
    assert made.skew == 0.0


@given(st.floats(1e-6, 1.0), st.floats(0.001, 1000.0), st.floats(0.1, 100.0), st.floats(0.01, 1.0))
def test_more_volatility_and_more_aversion_never_lean_less(
    volatility: float, aversion: float, decay: float, size: float
) -> None:
    def made(volatility: float, aversion: float) -> QuoteTerms:
        given = {"riskAversion": aversion, "fillDecayBps": decay, "size": size}
        return terms(MarketMaker(given, (A,)), Features(True, {"volatility": volatility}))

    base = made(volatility, aversion)
    assert base.half_spread > 0
    assert 0 <= base.skew <= 1
    assert made(2 * volatility, aversion).half_spread > base.half_spread
    assert made(2 * volatility, aversion).skew >= base.skew
    assert made(volatility, 2 * aversion).skew >= base.skew
