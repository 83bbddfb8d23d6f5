"""Asks the model what the features mean. Every FeatureVector gives exactly one Signal."""

from __future__ import annotations

import math
from statistics import NormalDist

from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents import sdk

_STANDARD_NORMAL = NormalDist()


class SignalStage:
    """The signal role of one strategy. It keeps the last mid price of each instrument for the sizing of pairs."""

    def __init__(self, model: sdk.Model) -> None:
        self._model = model
        self._mids: dict[str, str] = {}

    def on_features(self, vector: pb.FeatureVector) -> pb.Signal:
        """The signal of one vector; not ready when the model has no opinion or gives a number that is not finite."""
        if vector.mid_price:
            self._mids[vector.origin.symbol] = vector.mid_price
        signal = pb.Signal(origin=vector.origin, mid_prices=self._mids)
        opinion = self._opinion(vector)
        if opinion is None:
            return signal
        signal.ready = True
        signal.mu = opinion.mu
        signal.sigma = opinion.sigma
        signal.prob_edge_pos = probability_of_edge(opinion.mu, opinion.sigma)
        signal.weights.update(opinion.weights)
        return signal

    def _opinion(self, vector: pb.FeatureVector) -> sdk.Opinion | None:
        if not vector.ready:
            return None
        try:
            opinion = self._model.signal(dict(vector.values))
        except (KeyError, ValueError, ArithmeticError):
            return None
        if opinion is None:
            return None
        numbers = (opinion.mu, opinion.sigma, *opinion.weights.values())
        valid = all(math.isfinite(number) for number in numbers) and opinion.sigma > 0 and bool(opinion.weights)
        return opinion if valid else None


def probability_of_edge(mu: float, sigma: float) -> float:
    """Phi(mu / sigma): the probability that a normal return of mean `mu` and deviation `sigma` (> 0) is positive."""
    return _STANDARD_NORMAL.cdf(mu / sigma)
