"""The feature stage: one vector for every event, whatever the event."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest

from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents import sdk
from crowetrade_agents.domain.flow import MarketEvent
from crowetrade_agents.domain.flow_wire import market_event
from crowetrade_agents.errors import ModelFailed
from crowetrade_agents.features.stage import FeatureStage

from ..messages import EUR, START_NS, event, quote, wire


class Recorder(sdk.Model):
    """Keeps what the hooks were given, and answers with `answer`."""

    def __init__(self, answer: sdk.Features) -> None:
        self.answer = answer
        self.started = False
        self.seen: list[sdk.Quote | sdk.Trade | sdk.Bar] = []

    def on_start(self) -> None:
        self.started = True

    def on_quote(self, quote: sdk.Quote) -> sdk.Features:
        self.seen.append(quote)
        return self.answer

    def on_trade(self, trade: sdk.Trade) -> sdk.Features:
        self.seen.append(trade)
        return self.answer

    def on_bar(self, bar: sdk.Bar) -> sdk.Features:
        self.seen.append(bar)
        return self.answer

    def signal(self, features: Mapping[str, float]) -> sdk.Forecast | None:
        return None


class Hookless(sdk.Model):
    """A model that needs none of the hooks."""

    def signal(self, features: Mapping[str, float]) -> sdk.Forecast | None:
        return None


READY = sdk.Features(ready=True, values={"x": 1.5})
TRADE = market_event(
    pb.MarketData(
        sequence=2,
        event_unix_ns=START_NS,
        trade=pb.Trade(instrument=wire(EUR), price="1.1", quantity="5", aggressor_side=pb.SIDE_SELL),
    )
)
BAR = market_event(
    pb.MarketData(
        sequence=3,
        event_unix_ns=START_NS,
        bar=pb.Bar(instrument=wire(EUR), open="1", high="3", low="0.5", close="2", interval_ns=60),
    )
)


def test_each_kind_of_event_reaches_its_hook_and_gives_one_vector_with_its_origin() -> None:
    model = Recorder(READY)
    stage = FeatureStage(model)
    assert model.started
    vectors = [stage.on_market_event(message) for message in (event(1, "1.1000", "1.1002"), TRADE, BAR)]
    assert [type(event).__name__ for event in model.seen] == ["Quote", "Trade", "Bar"]
    assert [vector.origin.sequence for vector in vectors] == [1, 2, 3]
    assert all(vector.ready and dict(vector.values) == {"x": 1.5} for vector in vectors)
    # The mid price of the last quote goes with the trade and the bar, too.
    assert {vector.mid for vector in vectors} == {Decimal("1.1001")}
    trade = model.seen[1]
    assert isinstance(trade, sdk.Trade)
    assert trade.aggressor is sdk.Side.SELL


@pytest.mark.parametrize(
    "message",
    [
        quote(1, "nan", "1.1"),
        quote(1, "", "1.1"),
        quote(1, "-1", "1.1"),
        quote(1, "1.0", "abc"),
        pb.MarketData(sequence=1),
    ],
    ids=["NaN", "empty", "negative", "text", "no event"],
)
def test_a_bad_event_gives_a_vector_that_is_not_ready(message: pb.MarketData) -> None:
    model = Recorder(READY)
    vector = FeatureStage(model).on_market_event(market_event(message))
    assert vector.origin.sequence == 1
    assert (vector.ready, vector.reason) == (False, "InvalidMarketData")
    assert model.seen == []


def test_features_that_are_not_ready_are_not_passed_on() -> None:
    vector = FeatureStage(Recorder(sdk.Features(ready=False, values={"x": 1.0}))).on_market_event(event(1, "1", "2"))
    assert (vector.ready, vector.reason, vector.mid) == (False, "WarmingUp", Decimal("1.5"))
    assert not vector.values


def test_a_mid_price_with_more_digits_than_the_wire_has_is_rounded() -> None:
    stage = FeatureStage(Recorder(READY))
    vector = stage.on_market_event(event(1, "0.000000000000000001", "0.000000000000000002"))
    assert vector.mid == Decimal("0.000000000000000002")


class Fails(Hookless):
    """A broken model: `answer` is what it returns, or raises."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def on_quote(self, quote: sdk.Quote) -> sdk.Features:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (KeyError("boom"), "on_quote raised KeyError: 'boom'"),
        (5, "on_quote returned 5, which is no sdk.Features"),
        (None, "on_quote returned None, which is no sdk.Features"),
        (sdk.Features(True, {"x": float("nan")}), "feature 'x' is nan; return finite numbers"),
        (sdk.Features(True, {"x": float("inf")}), "feature 'x' is inf; return finite numbers"),
        (sdk.Features(True, {"x": "1"}), "feature 'x' is '1'"),  # type: ignore[dict-item]
        (sdk.Features(True, {1: 1.0}), "feature 1 is 1.0"),  # type: ignore[dict-item]
        (sdk.Features(True, [1.0]), r"Features.values is \[1.0\]; return a mapping"),  # type: ignore[arg-type]
    ],
)
def test_what_a_broken_model_raises_or_returns_is_named(answer: object, sentence: str) -> None:
    """Finding G23."""
    stage = FeatureStage(Fails(answer))
    message = event(1, "1", "2")
    with pytest.raises(ModelFailed, match=sentence):
        stage.on_market_event(message)
    vector = stage.not_ready(message, "ModelFailed")
    assert (vector.origin.sequence, vector.ready, vector.reason) == (1, False, "ModelFailed")
    assert vector.mid == Decimal("1.5")


@pytest.mark.parametrize("message", [event(1, "1", "2"), TRADE, BAR], ids=["quote", "trade", "bar"])
def test_a_model_without_a_hook_is_not_ready(message: MarketEvent) -> None:
    assert not FeatureStage(Hookless()).on_market_event(message).ready
