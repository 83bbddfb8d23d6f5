"""The feature stage: one vector for every event, whatever the event."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents import sdk
from crowetrade_agents.features.stage import FeatureStage

from ..messages import EUR, START_NS, VENUE, quote


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

    def signal(self, features: Mapping[str, float]) -> sdk.Opinion | None:
        return None


class Hookless(sdk.Model):
    """A model that needs none of the hooks."""

    def signal(self, features: Mapping[str, float]) -> sdk.Opinion | None:
        return None


READY = sdk.Features(ready=True, values={"x": 1.5})
TRADE = pb.MarketData(
    sequence=2,
    event_unix_ns=START_NS,
    trade=pb.Trade(symbol=EUR, venue=VENUE, price="1.1", quantity="5", aggressor_side=pb.SIDE_SELL),
)
BAR = pb.MarketData(
    sequence=3,
    event_unix_ns=START_NS,
    bar=pb.Bar(symbol=EUR, venue=VENUE, open="1", high="3", low="0.5", close="2", interval_ns=60),
)


def test_each_kind_of_event_reaches_its_hook_and_gives_one_vector_with_its_origin() -> None:
    model = Recorder(READY)
    stage = FeatureStage(model)
    assert model.started
    vectors = [stage.on_market_data(message) for message in (quote(1, "1.1000", "1.1002"), TRADE, BAR)]
    assert [type(event).__name__ for event in model.seen] == ["Quote", "Trade", "Bar"]
    assert [vector.origin.sequence for vector in vectors] == [1, 2, 3]
    assert all(vector.ready and dict(vector.values) == {"x": 1.5} for vector in vectors)
    # The mid price of the last quote goes with the trade and the bar, too.
    assert {vector.mid_price for vector in vectors} == {"1.1001"}
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
    vector = FeatureStage(model).on_market_data(message)
    assert vector.origin.sequence == 1
    assert not vector.ready
    assert model.seen == []


@pytest.mark.parametrize(
    "answer",
    [sdk.NOT_READY, sdk.Features(ready=True, values={"x": float("nan")})],
    ids=["warming up", "not finite"],
)
def test_features_that_are_not_ready_or_not_finite_are_not_passed_on(answer: sdk.Features) -> None:
    vector = FeatureStage(Recorder(answer)).on_market_data(quote(1, "1", "2"))
    assert not vector.ready
    assert not vector.values
    assert vector.mid_price == "1.5"


@pytest.mark.parametrize("message", [quote(1, "1", "2"), TRADE, BAR], ids=["quote", "trade", "bar"])
def test_a_model_without_a_hook_is_not_ready(message: pb.MarketData) -> None:
    assert not FeatureStage(Hookless()).on_market_data(message).ready
