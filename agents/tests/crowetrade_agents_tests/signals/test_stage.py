"""The signal stage: one signal for every vector, with Phi(mu / sigma)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents import sdk
from crowetrade_agents.signals.stage import SignalStage, probability_of_edge

from ..messages import BTC, EUR, origin


class Says(sdk.Model):
    """A model with a fixed opinion, or an error."""

    def __init__(self, opinion: sdk.Opinion | Exception | None) -> None:
        self._opinion = opinion

    def signal(self, features: Mapping[str, float]) -> sdk.Opinion | None:
        if isinstance(self._opinion, Exception):
            raise self._opinion
        return self._opinion


def vector(ready: bool = True, symbol: str = EUR, mid: str = "1.1") -> pb.FeatureVector:
    return pb.FeatureVector(origin=origin(7, symbol), ready=ready, values={"x": 1.0}, mid_price=mid)


def test_an_opinion_becomes_a_signal() -> None:
    signal = SignalStage(Says(sdk.Opinion(0.001, 0.002, {EUR: 1.0}))).on_features(vector())
    assert signal.ready
    assert signal.origin.sequence == 7
    assert (signal.mu, signal.sigma) == (0.001, 0.002)
    assert signal.prob_edge_pos == pytest.approx(0.6914624612740131)
    assert dict(signal.weights) == {EUR: 1.0}
    assert dict(signal.mid_prices) == {EUR: "1.1"}


def test_mid_prices_of_all_instruments_seen_go_with_the_signal() -> None:
    stage = SignalStage(Says(None))
    stage.on_features(vector(symbol=BTC, mid="9000"))
    assert dict(stage.on_features(vector(mid="")).mid_prices) == {BTC: "9000"}
    assert dict(stage.on_features(vector()).mid_prices) == {BTC: "9000", EUR: "1.1"}


@pytest.mark.parametrize(
    ("opinion", "ready"),
    [
        (sdk.Opinion(0.001, 0.002, {EUR: 1.0}), False),
        (None, True),
        (sdk.Opinion(float("nan"), 0.002, {EUR: 1.0}), True),
        (sdk.Opinion(0.001, float("inf"), {EUR: 1.0}), True),
        (sdk.Opinion(0.001, 0.0, {EUR: 1.0}), True),
        (sdk.Opinion(0.001, 0.002, {}), True),
        (sdk.Opinion(0.001, 0.002, {EUR: float("nan")}), True),
        (KeyError("crossover"), True),
        (ZeroDivisionError(), True),
    ],
    ids=["warming up", "none", "NaN mu", "inf sigma", "no sigma", "no weights", "NaN weight", "KeyError", "division"],
)
def test_no_usable_opinion_gives_a_signal_that_is_not_ready(
    opinion: sdk.Opinion | Exception | None, ready: bool
) -> None:
    signal = SignalStage(Says(opinion)).on_features(vector(ready))
    assert not signal.ready
    assert signal.origin.sequence == 7
    assert not signal.weights


def test_the_probability_of_the_other_side_is_the_rest() -> None:
    assert probability_of_edge(0.0, 1.0) == 0.5
    assert probability_of_edge(-0.3, 0.7) == pytest.approx(1 - probability_of_edge(0.3, 0.7))
