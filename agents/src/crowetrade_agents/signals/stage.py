"""Asks the model what the features mean. Every FeatureVector gives exactly one Signal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal

from crowetrade_agents import sdk
from crowetrade_agents.domain.flow import FeatureVector, Signal, Weight
from crowetrade_agents.domain.hold_reasons import HoldReason
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.errors import ModelFailed

_ROOT_OF_TWO = math.sqrt(2.0)


class SignalStage:
    """The signal role of one strategy. It keeps the last mid price of each instrument for the sizing of pairs."""

    def __init__(self, model: sdk.Model, instruments: Iterable[InstrumentId]) -> None:
        self._model = model
        self._instruments = frozenset(instruments)
        self._mids: dict[InstrumentId, Decimal] = {}

    def on_features(self, vector: FeatureVector) -> Signal:
        """The signal of one vector; raises ModelFailed, and then `not_ready` makes the signal."""
        if vector.mid is not None:
            self._mids[vector.origin.instrument] = vector.mid
        if vector.reason:
            return self.not_ready(vector, vector.reason)
        forecast = self._forecast(vector)
        if forecast is None:
            return self.not_ready(vector, HoldReason.NO_FORECAST)
        mu, sigma, weights = forecast
        return Signal(
            vector.origin,
            vector.mid,
            "",
            mu,
            sigma,
            probability_of_edge(mu, sigma),
            tuple([Weight(name, weights[name], self._mids.get(name)) for name in sorted(weights)]),
        )

    def not_ready(self, vector: FeatureVector, reason: str) -> Signal:
        """The signal of a vector without a forecast."""
        return Signal(vector.origin, vector.mid, reason)

    def _forecast(self, vector: FeatureVector) -> tuple[float, float, dict[InstrumentId, float]] | None:
        try:
            forecast = self._model.signal(dict(vector.values))
        except Exception as error:
            raise ModelFailed(f"signal raised {type(error).__name__}: {error}") from error
        if forecast is None:
            return None
        if not isinstance(forecast, sdk.Forecast):
            raise ModelFailed(f"signal returned {forecast!r:.80}, which is no sdk.Forecast")
        sigma = _finite(forecast.sigma, "sigma")
        if sigma <= 0:
            raise ModelFailed(f"signal returned sigma {sigma}; a standard deviation is above 0")
        return _finite(forecast.mu, "mu"), sigma, self._weights(forecast.weights)

    def _weights(self, weights: object) -> dict[InstrumentId, float]:
        if not isinstance(weights, Mapping) or not weights:
            raise ModelFailed(f"signal returned weights {weights!r:.80}; return a weight by InstrumentId")
        checked = {}
        for name, weight in weights.items():
            if name not in self._instruments:
                known = ", ".join(str(name) for name in sorted(self._instruments))
                shown = str(name) if isinstance(name, InstrumentId) else repr(name)
                raise ModelFailed(f"signal weighs {shown:.80}, which is no instrument of the strategy ({known})")
            checked[InstrumentId(*name)] = _finite(weight, "weight of", name)
        return checked


def probability_of_edge(mu: float, sigma: float) -> float:
    """Phi(mu / sigma): the probability that a normal return of mean `mu` and deviation `sigma` (> 0) is positive."""
    return 0.5 * math.erfc(-mu / sigma / _ROOT_OF_TWO)


def _finite(value: object, *names: object) -> float:
    """The value, which the names are those of, as a float."""
    if type(value) is float and math.isfinite(value):
        return value
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ModelFailed(f"signal returned {' '.join(map(str, names))} {value!r:.80}, which is no finite number")
    return number
