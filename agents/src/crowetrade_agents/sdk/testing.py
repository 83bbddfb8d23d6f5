"""Runs a model in a test as the agents run it, and checks what a model promises.

    from crowetrade_agents.sdk import InstrumentId
    from crowetrade_agents.sdk.testing import quotes, run_model

    EURUSD = InstrumentId("sim-fx", "EUR-USD")

    def test_it_follows_a_rising_price() -> None:
        steps = run_model(MyAlpha, quotes(EURUSD, ["1.1", "1.2", "1.3"]), parameters={"window": 2})
        assert steps[-1].forecast is not None and steps[-1].forecast.mu > 0

Events go through the feature stage and the signal stage of the agents. As there, the signal is asked of an instance of
its own, which no hook is called on. A model that breaks a promise raises BrokenPromise, an AssertionError that names
the event. The promises:
- Features are finite numbers by name. mu is finite, sigma above 0, weights are of the strategy's instruments, -1 to 1.
  The terms of quotes are as sdk.QuoteTerms says.
- The same events give the same features and forecasts, in another instance as well.
- `signal` uses nothing but its argument and the parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from crowetrade_agents.domain.flow import MarketEvent
from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.errors import ModelFailed
from crowetrade_agents.features.stage import FeatureStage
from crowetrade_agents.models.registry import create_model, find_model
from crowetrade_agents.sdk import (
    Bar,
    Forecast,
    InstrumentId,
    Model,
    ModelFactory,
    Quote,
    QuoteTerms,
    Quoting,
    Trade,
)
from crowetrade_agents.signals.stage import SignalStage
from crowetrade_agents.venues.adapters.simulated import recording
from crowetrade_agents.venues.adapters.simulated.spec import QuoteMaking, Recording
from crowetrade_agents.venues.adapters.simulated.tape import Tape

__all__ = ["BrokenPromise", "Event", "Step", "quotes", "recorded_quotes", "run_model"]

Event = Quote | Trade | Bar

SECOND_NS = 1_000_000_000
DEFAULT_START_NS = 1_700_000_000 * SECOND_NS
PRICES = frozenset({"bid", "ask", "price", "open", "high", "low", "close"})


class BrokenPromise(AssertionError):
    """The model did what no model may do; the message says at which event, and what to do instead."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event, and what the model made of it.

    `features` is None while the model is not ready. `reason` says why there is no forecast, in the words of the
    Strategy's status (WarmingUp, NoForecast), and is empty when there is one. Of a model that quotes there is `quoting`
    instead.
    """

    event: Event
    features: Mapping[str, float] | None
    forecast: Forecast | None
    reason: str
    quoting: Quoting | None = None


def run_model(
    model: ModelFactory | str,
    events: Iterable[Event],
    *,
    parameters: Mapping[str, int | str] | None = None,
    instruments: Sequence[InstrumentId] | None = None,
) -> list[Step]:
    """One step per event.

    `model` is the class, or what a manifest calls it: the name of a built-in model, or an entry point
    package.module:Class. `parameters` are as a manifest has them. `instruments` are those of the strategy in the order
    of its manifest; by default those of the events, in the order in which they come first.

    Raises BrokenPromise for what the model must not do, and ValueError when it refuses its parameters, and when the
    events or parameters are such as no agent gives to a model.
    """
    given = tuple(events)
    traded = (
        tuple(instruments) if instruments is not None else tuple(dict.fromkeys(event.instrument for event in given))
    )
    _check_events(given, traded)
    _check_parameters(parameters or {})
    factory = _factory(model)

    def instance() -> Model:
        return create_model(factory, parameters or {}, traded)

    steps = _run(instance(), instance(), given, traded)
    _compare(
        steps,
        _run(instance(), instance(), given, traded),
        "in two runs over the same events: use no clock, no random number, and nothing that outlives an instance",
    )
    both = instance()
    _compare(
        steps,
        _run(both, both, given, traded),
        "when hooks and signal are asked of one instance and of two: the agents ask two, so signal may use nothing but "
        "its argument and the parameters",
    )
    return steps


def quotes(
    instrument: InstrumentId,
    mids: Iterable[Decimal | int | str | float],
    *,
    spread: Decimal | int | str = "0.0002",
    start_ns: int = DEFAULT_START_NS,
    every_ns: int = SECOND_NS,
) -> list[Quote]:
    """One quote per mid price, half of the spread below and above it; `spread` is in the unit of the price."""
    half = Decimal(spread) / 2
    made = []
    for number, mid in enumerate(mids):
        # repr: the shortest text of a float, as it was written.
        price = Decimal(repr(mid)) if isinstance(mid, float) else Decimal(mid)
        made.append(Quote(instrument, start_ns + number * every_ns, price - half, price + half))
    return made


def recorded_quotes(
    path: Path | str,
    instrument: InstrumentId,
    *,
    spread_bps: Decimal | int | str = 1,
    tick_size: Decimal | int | str = "0.00001",
) -> list[Quote]:
    """The quotes that a simulated venue plays of a recording of quotes, depth, trades or bars, CSV or Parquet.

    Around the price of a trade or a bar it makes a quote, `spread_bps` basis points wide, on the grid of `tick_size`.
    Raises DataError with one sentence when the file cannot be read.
    """
    declared = Instrument(instrument, "", Decimal(1), Decimal(tick_size), Decimal(1), Decimal(1))
    making = QuoteMaking(spread_bps=Decimal(spread_bps))
    tapes = recording.read([Recording(Path(path), instrument.symbol, making)], [declared])
    books = (tape.book(row) for tape in tapes if isinstance(tape, Tape) for row in range(len(tape)))
    return [
        Quote(instrument, book.event_ns, book.bid_price, book.ask_price, book.bid_quantity, book.ask_quantity)
        for book in books
    ]


def _factory(model: ModelFactory | str) -> ModelFactory:
    if not isinstance(model, str):
        return model
    return find_model("", model) if ":" in model else find_model(model, "")


def _run(
    computing: Model, forecasting: Model, events: Sequence[Event], instruments: tuple[InstrumentId, ...]
) -> list[Step]:
    """Features by the hooks of one instance, forecasts by the signal of the other."""
    try:
        features, signals = FeatureStage(computing), SignalStage(forecasting, instruments)
    except Exception as error:
        raise BrokenPromise(f"on_start raised {type(error).__name__}: {error}") from error
    steps = []
    for number, event in enumerate(events, 1):
        try:
            steps.append(_step(features, signals, number, event))
        except ModelFailed as error:
            raise BrokenPromise(f"{_place(number, events, event)}: {error}") from error
    return steps


def _step(features: FeatureStage, signals: SignalStage, number: int, event: Event) -> Step:
    vector = features.on_market_event(MarketEvent(number, event.time_ns, event.instrument, _body(event)))
    signal = signals.on_features(vector)
    values = vector.values if vector.ready else None
    if not signal.ready:
        return Step(event, values, None, str(signal.reason))
    if not signal.weights:
        terms = {one.instrument: QuoteTerms(one.half_spread, one.skew, one.size, one.shift) for one in signal.quotes}
        return Step(event, values, None, "", Quoting(terms))
    weights = {item.instrument: item.weight for item in signal.weights}
    for instrument, weight in weights.items():
        if not -1.0 <= weight <= 1.0:
            raise ModelFailed(f"signal returned weight {weight} of {instrument}; a weight is from -1 to 1")
    return Step(event, values, Forecast(signal.mu, signal.sigma, weights), "")


def _body(event: Event) -> TopOfBook | Trade | Bar:
    if not isinstance(event, Quote):
        return event
    return TopOfBook(event.instrument, event.bid, event.bid_quantity, event.ask, event.ask_quantity, event.time_ns)


def _compare(steps: Sequence[Step], others: Sequence[Step], when: str) -> None:
    for number, (step, other) in enumerate(zip(steps, others, strict=True), 1):
        for name in ("features", "forecast", "reason", "quoting"):
            one, two = getattr(step, name), getattr(other, name)
            if one != two:
                raise BrokenPromise(
                    f"event {number} of {len(steps)}, {step.event}: {name} differ {when}: {one} and {two}"
                )


def _place(number: int, sequence: Sequence[object], event: Event) -> str:
    kind = type(event).__name__.lower()
    return f"event {number} of {len(sequence)}, a {kind} of {event.instrument} at {event.time_ns}"


def _check_events(events: Sequence[Event], instruments: tuple[InstrumentId, ...]) -> None:
    """What a venue never sends is a mistake of the test."""
    if not events:
        raise ValueError("there are no events: give run_model at least one quote, trade or bar")
    last: dict[str, int] = {}
    for number, event in enumerate(events, 1):
        place = _place(number, events, event)
        if event.instrument not in instruments:
            raise ValueError(f"{place}, is of none of the strategy's instruments ({', '.join(map(str, instruments))})")
        if event.time_ns < last.get(event.instrument.venue, 0):
            raise ValueError(f"{place}, is earlier than the one before it at its venue: sort the events by time_ns")
        last[event.instrument.venue] = event.time_ns
        for name, value in event._asdict().items():
            if isinstance(value, float):
                raise ValueError(f'{place}: {name} is a float; agents give Decimals, such as Decimal("1.05")')
            if name in PRICES and not (isinstance(value, Decimal) and value.is_finite() and value > 0):
                raise ValueError(f"{place}: {name} must be a Decimal above 0")
        if isinstance(event, Quote) and event.bid > event.ask:
            raise ValueError(f"{place}: the bid is above the ask")


def _check_parameters(parameters: Mapping[str, int | str]) -> None:
    for name, value in parameters.items():
        if not isinstance(value, int | str) or isinstance(value, bool):
            raise ValueError(
                f"parameter {name} is {value!r}; a manifest has whole numbers and text only: write decimals and truth "
                'values as text, such as "0.25"'
            )
