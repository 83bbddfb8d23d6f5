"""`run_model`: what it returns, what a model must not do, and what no test may give it."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.errors import DataError
from crowetrade_agents.models.ema_crossover import EmaCrossover
from crowetrade_agents.models.market_maker import MarketMaker
from crowetrade_agents.sdk import (
    NOT_READY,
    Bar,
    Features,
    Forecast,
    InstrumentId,
    Model,
    Quote,
    QuoteTerms,
    Quoting,
    Trade,
)
from crowetrade_agents.sdk.testing import BrokenPromise, Event, quotes, recorded_quotes, run_model

EURUSD = InstrumentId("sim-fx", "EUR-USD")
GOOGL = InstrumentId("sim-equity", "GOOGL")
MIDS = [1.1, 1.2, 1.15, 1.3, 1.25, 1.4]
HOUR_NS = 3_600_000_000_000


def test_a_step_is_what_the_hooks_and_the_signal_return() -> None:
    parameters = {"fast": 2, "slow": 3, "volatilityWindow": 2}
    model = EmaCrossover(parameters, (EURUSD,))
    events = quotes(EURUSD, MIDS)
    steps = run_model("ema-crossover", events, parameters=parameters)
    assert [step.event for step in steps] == events
    for event, step in zip(events, steps, strict=True):
        features = model.on_quote(event)
        assert step.features == (features.values if features.ready else None)
        assert step.forecast == (model.signal(features.values) if features.ready else None)
    assert [step.reason for step in steps] == ["WarmingUp"] * 2 + [""] * 4


def test_a_step_of_a_model_that_quotes_has_its_terms() -> None:
    steps = run_model("market-maker", quotes(EURUSD, MIDS), parameters={"volatilityWindow": 3, "size": "0.2"})
    assert [step.reason for step in steps] == ["WarmingUp"] * 2 + [""] * 4
    assert [step.quoting is None for step in steps] == [True] * 2 + [False] * 4
    assert all(step.forecast is None for step in steps)
    last = steps[-1]
    assert last.features is not None
    model = MarketMaker({"volatilityWindow": 3, "size": "0.2"}, (EURUSD,))
    assert last.quoting == model.signal(last.features)


class Good(Model):
    """Looks at every kind of event; holds half of its first instrument."""

    def __init__(self, parameters: Mapping[str, object], instruments: tuple[InstrumentId, ...]) -> None:
        self.parameters, self.instruments = parameters, instruments
        self.seen = 0

    def on_quote(self, quote: Quote) -> Features:
        self.seen += 1
        return Features(ready=True, values={"x": float(quote.mid)})

    def on_trade(self, trade: Trade) -> Features:
        return Features(ready=True, values={"x": float(trade.price)})

    def on_bar(self, bar: Bar) -> Features:
        return Features(ready=True, values={"x": float(bar.close)})

    def signal(self, features: Mapping[str, float]) -> Forecast | None:
        return Forecast(mu=features["x"], sigma=1.0, weights={self.instruments[0]: 0.5})


def test_quotes_that_differ_from_run_to_run_are_a_broken_promise() -> None:
    widths = itertools.count(1)

    class Wanders(Good):
        def signal(self, features: Mapping[str, float]) -> Quoting:  # type: ignore[override]
            return Quoting({EURUSD: QuoteTerms(half_spread=next(widths) / 1000, skew=0.0, size=0.1)})

    with pytest.raises(BrokenPromise, match="quoting differ in two runs over the same events"):
        run_model(Wanders, quotes(EURUSD, MIDS))


def test_each_kind_of_event_goes_to_its_hook() -> None:
    events: list[Event] = [
        Quote(EURUSD, 1, Decimal("1.0"), Decimal("1.2")),
        Trade(EURUSD, 2, Decimal("1.3"), Decimal(5)),
        Bar(EURUSD, 3, Decimal(1), Decimal(2), Decimal(1), Decimal("1.4"), None, 60),
    ]
    forecasts = [step.forecast for step in run_model(Good, events)]
    assert [forecast.mu for forecast in forecasts if forecast is not None] == [1.1, 1.3, 1.4]


def test_an_event_without_a_hook_is_not_ready() -> None:
    trade = Trade(EURUSD, 1, Decimal("1.3"), Decimal(5))
    (step,) = run_model("ema-crossover", [trade])
    assert (step.features, step.forecast, step.reason) == (None, None, "EventNotUsed")


def test_instruments_are_those_of_the_events_or_those_that_are_given() -> None:
    events = sorted(quotes(GOOGL, [700]) + quotes(EURUSD, [1.1], start_ns=1), key=lambda event: event.time_ns)
    by_events, given_ones = run_model(Good, events), run_model(Good, events, instruments=[GOOGL, EURUSD])
    assert [step.forecast and list(step.forecast.weights) for step in by_events] == [[EURUSD]] * 2
    assert [step.forecast and list(step.forecast.weights) for step in given_ones] == [[GOOGL]] * 2


def test_an_entry_point_names_a_model_as_in_a_manifest() -> None:
    steps = run_model("crowetrade_agents.models.ema_crossover:EmaCrossover", quotes(EURUSD, MIDS))
    assert steps == run_model(EmaCrossover, quotes(EURUSD, MIDS))


class Raises(Good):
    def on_quote(self, quote: Quote) -> Features:
        return Features(ready=True, values={"x": 1 / 0})


class NotANumber(Good):
    def on_quote(self, quote: Quote) -> Features:
        return Features(ready=True, values={"x": float("nan")})


class NoFeatures(Good):
    def on_quote(self, quote: Quote) -> Features:
        return {"x": 1.0}  # type: ignore[return-value]


class NoSigma(Good):
    def signal(self, features: Mapping[str, float]) -> Forecast | None:
        return Forecast(mu=0.1, sigma=0.0, weights={EURUSD: 1.0})


class Foreign(Good):
    def signal(self, features: Mapping[str, float]) -> Forecast | None:
        return Forecast(mu=0.1, sigma=1.0, weights={GOOGL: 1.0})


class Heavy(Good):
    def signal(self, features: Mapping[str, float]) -> Forecast | None:
        return Forecast(mu=0.1, sigma=1.0, weights={EURUSD: -1.5})


class LooksAtTheClock(Good):
    def on_quote(self, quote: Quote) -> Features:
        return Features(ready=True, values={"x": time.perf_counter()})


class Outlives(Good):
    """Counts in the class, so that a second instance goes on where the first one ended."""

    count = itertools.count()

    def on_quote(self, quote: Quote) -> Features:
        return Features(ready=True, values={"x": float(next(self.count))})


class Remembers(Good):
    def signal(self, features: Mapping[str, float]) -> Forecast | None:
        return Forecast(mu=0.1, sigma=1.0, weights={EURUSD: 1.0}) if self.seen > 1 else None


class NeedsStart(Good):
    def on_start(self) -> None:
        raise RuntimeError("no model file")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (Raises, "event 1 of 2, a quote of sim-fx/EUR-USD at 1700.*: on_quote raised ZeroDivisionError"),
        (NotANumber, "event 1 of 2.*feature 'x' is nan; return finite numbers"),
        (NoFeatures, "on_quote returned .*, which is no sdk.Features"),
        (NoSigma, "sigma 0.0; a standard deviation is above 0"),
        (Foreign, "signal weighs sim-equity/GOOGL, which is no instrument"),
        (Heavy, "weight -1.5 of sim-fx/EUR-USD; a weight is from -1 to 1"),
        (LooksAtTheClock, "event 1 of 2.*features differ in two runs over the same events: use no clock"),
        (Outlives, "features differ in two runs .*outlives an instance: {'x': 0.0} and {'x': 2.0}"),
        (Remembers, "event 2 of 2.*forecast differ when hooks and signal are asked of one instance and of two"),
        (NeedsStart, "on_start raised RuntimeError: no model file"),
    ],
)
def test_a_model_that_breaks_a_promise_fails_with_event_and_remedy(model: type[Good], sentence: str) -> None:
    with pytest.raises(BrokenPromise, match=sentence):
        run_model(model, quotes(EURUSD, MIDS[:2]))


def test_what_a_hook_raised_is_the_cause_so_that_a_test_shows_its_line() -> None:
    with pytest.raises(BrokenPromise) as failed:
        run_model(Raises, quotes(EURUSD, MIDS))
    assert failed.value.__cause__ is not None
    assert isinstance(failed.value.__cause__.__cause__, ZeroDivisionError)


def _quote(**changes: Any) -> Quote:
    values = {"instrument": EURUSD, "time_ns": 1, "bid": Decimal("1.1"), "ask": Decimal("1.2"), **changes}
    return Quote(**values)


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([], "there are no events"),
        ([_quote(bid=1.1)], "bid is a float"),
        ([_quote(bid=Decimal(0))], "bid must be a Decimal above 0"),
        ([_quote(ask=Decimal("NaN"))], "ask must be a Decimal above 0"),
        ([_quote(bid=Decimal("1.3"))], "the bid is above the ask"),
        ([_quote(time_ns=2), _quote(time_ns=1)], "event 2 of 2.*is earlier than the one before it"),
        ([_quote(instrument=GOOGL)], r"is of none of the strategy's instruments \(sim-fx/EUR-USD\)"),
    ],
)
def test_events_that_no_agent_gives_are_refused(events: list[Quote], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        run_model(Good, events, instruments=[EURUSD])


@pytest.mark.parametrize("value", [0.25, True, None])
def test_a_parameter_that_no_manifest_has_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r'as text, such as "0\.25"'):
        run_model(Good, quotes(EURUSD, MIDS), parameters={"share": value})


def test_a_parameter_that_the_model_refuses_is_its_sentence() -> None:
    with pytest.raises(ValueError, match=r"fast \(5\) must be less than slow \(3\)"):
        run_model("ema-crossover", quotes(EURUSD, MIDS), parameters={"fast": 5, "slow": 3})


PRICES = st.lists(st.decimals("0.01", "1000", places=4), min_size=1, max_size=40)


@given(mids=PRICES, model=st.sampled_from(["ema-crossover", "mean-reversion"]))
def test_the_built_in_models_keep_their_promises(mids: list[Decimal], model: str) -> None:
    assert len(run_model(model, quotes(EURUSD, mids, spread="0.001"))) == len(mids)


@given(pairs=st.lists(st.tuples(st.booleans(), st.decimals("1", "9", places=2)), min_size=2, max_size=40))
def test_the_pair_keeps_its_promises(pairs: list[tuple[bool, Decimal]]) -> None:
    events = [
        Quote(EURUSD if first else GOOGL, number, mid, mid + Decimal("0.01"))
        for number, (first, mid) in enumerate(pairs, 1)
    ]
    steps = run_model("pair-reversion", events, parameters={"window": 10}, instruments=[EURUSD, GOOGL])
    assert len(steps) == len(events)


@given(mids=PRICES, spread=st.decimals("0", "0.01", places=4))
def test_quotes_stand_around_their_mids(mids: list[Decimal], spread: Decimal) -> None:
    made = quotes(EURUSD, mids, spread=spread, start_ns=5, every_ns=7)
    assert [quote.mid for quote in made] == mids
    assert {quote.ask - quote.bid for quote in made} == {spread}
    assert [quote.time_ns for quote in made] == [5 + 7 * number for number in range(len(mids))]


def test_a_float_is_the_price_that_was_written() -> None:
    assert quotes(EURUSD, [1.1], spread=0)[0].bid == Decimal("1.1")


def test_a_recording_gives_the_quotes_that_its_venue_plays(tmp_path: Path) -> None:
    bars = tmp_path / "bars.csv"
    bars.write_text(f"ts_ns,close\n{HOUR_NS},2.0000\n{2 * HOUR_NS},3.0000\n")
    made = recorded_quotes(bars, EURUSD, spread_bps=10, tick_size="0.0001")
    assert [(quote.time_ns, quote.bid, quote.ask) for quote in made] == [
        (2 * HOUR_NS, Decimal("1.9990"), Decimal("2.0010")),
        (3 * HOUR_NS, Decimal("2.9985"), Decimal("3.0015")),
    ]
    assert len(run_model("ema-crossover", made)) == 2


def test_a_recording_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.csv is missing"):
        recorded_quotes(tmp_path / "missing.csv", EURUSD)


def test_what_a_model_imports_does_not_load_the_harness() -> None:
    loaded = "import crowetrade_agents.sdk, sys; print(*sorted(sys.modules))"
    modules = subprocess.check_output([sys.executable, "-c", loaded], text=True).split()
    heavy = {"crowetrade_agents.sdk.testing", "crowetrade_agents.features.stage", "pyarrow", "google.protobuf"}
    assert heavy & set(modules) == set()


def test_not_ready_carries_no_features() -> None:
    class Waits(Good):
        def on_quote(self, quote: Quote) -> Features:
            return NOT_READY

    assert [step.features for step in run_model(Waits, quotes(EURUSD, MIDS))] == [None] * len(MIDS)


def test_recorded_quotes_are_those_of_the_file(shared_data: Path) -> None:
    """Needs ../shared/data; skips without it."""
    path = shared_data / "quotes" / "ETH-USDT.binance-spot.parquet"
    eth = InstrumentId("spot", "ETH-USDT")
    recorded = [
        (row["ts_ns"], Decimal(row["bid_px"]), Decimal(row["ask_px"]))
        for row in pyarrow.parquet.read_table(path).to_pylist()
    ]
    made = recorded_quotes(path, eth)
    assert [(quote.time_ns, quote.bid, quote.ask) for quote in made] == recorded
    steps = run_model("mean-reversion", made[:5000], parameters={"window": 20})
    assert {step.reason for step in steps} <= {"", "WarmingUp", "NoForecast"}
