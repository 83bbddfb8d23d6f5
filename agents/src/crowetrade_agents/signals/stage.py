"""Asks the model what the features mean. Every FeatureVector gives exactly one Signal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from crowetrade_agents import sdk
from crowetrade_agents.domain.flow import FeatureVector, InstrumentQuotes, Signal, Weight
from crowetrade_agents.domain.hold_reasons import HoldReason
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.errors import ModelFailed

_ROOT_OF_TWO = math.sqrt(2.0)
# The fields of sdk.QuoteTerms, and what they must be.
_TERMS: tuple[tuple[str, str, Callable[[float], bool]], ...] = (
    ("half_spread", "above 0 and below 1", lambda value: 0 < value < 1),
    ("skew", "from 0 to 1", lambda value: 0 <= value <= 1),
    ("size", "above 0 and at most 1", lambda value: 0 < value <= 1),
    ("shift", "above -1 and below 1", lambda value: -1 < value < 1),
)


class SignalStage:
    """The signal role of one strategy. It keeps the last mid price of each instrument for the sizing of pairs.

    `quoting` says what the strategy carries out: quotes (policy.execution.style Quote) or forecasts; None: both.
    """

    def __init__(self, model: sdk.Model, instruments: Iterable[InstrumentId], quoting: bool | None = None) -> None:
        self._model = model
        self._quoting = quoting
        self._instruments = frozenset(instruments)
        self._mids: dict[InstrumentId, Decimal] = {}

    def on_features(self, vector: FeatureVector) -> Signal:
        """The signal of one vector; raises ModelFailed, and then `not_ready` makes the signal."""
        if vector.mid is not None:
            self._mids[vector.origin.instrument] = vector.mid
        if vector.reason:
            return self.not_ready(vector, vector.reason)
        forecast = self._ask(vector)
        if forecast is None:
            return self.not_ready(vector, HoldReason.NO_FORECAST)
        if isinstance(forecast, sdk.Quoting):
            return Signal(vector.origin, vector.mid, "", quotes=self._quotes(forecast))
        mu, sigma, weights = self._checked(forecast)
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

    def _ask(self, vector: FeatureVector) -> sdk.Forecast | sdk.Quoting | None:
        try:
            forecast = self._model.signal(dict(vector.values))
        except (Exception, SystemExit) as error:
            raise ModelFailed(f"signal raised {type(error).__name__}: {error}") from error
        if forecast is None:
            return None
        if isinstance(forecast, sdk.Forecast):
            if self._quoting:
                raise ModelFailed(
                    "signal returned a Forecast, and policy.execution.style is Quote: return sdk.Quoting, or set the "
                    "style to Limit"
                )
            return forecast
        if not isinstance(forecast, sdk.Quoting):
            raise ModelFailed(f"signal returned {forecast!r:.80}, which is no sdk.Forecast or sdk.Quoting")
        if self._quoting is False:
            raise ModelFailed(
                "signal returned Quoting, and policy.execution.style is not Quote: set it, or return an sdk.Forecast"
            )
        return forecast

    def _checked(self, forecast: sdk.Forecast) -> tuple[float, float, dict[InstrumentId, float]]:
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
                raise ModelFailed(f"signal weighs {self._unknown(name)}")
            checked[InstrumentId(*name)] = _finite(weight, "weight of", name)
        return checked

    def _quotes(self, quoting: sdk.Quoting) -> tuple[InstrumentQuotes, ...]:
        """Sorted by instrument."""
        if not isinstance(quoting.quotes, Mapping):
            raise ModelFailed(f"signal returned quotes {quoting.quotes!r:.80}; return sdk.QuoteTerms by InstrumentId")
        checked = []
        for name, terms in quoting.quotes.items():
            if name not in self._instruments:
                raise ModelFailed(f"signal quotes {self._unknown(name)}")
            if not isinstance(terms, sdk.QuoteTerms):
                raise ModelFailed(f"signal quotes {name} with {terms!r:.80}, which is no sdk.QuoteTerms")
            checked.append(_instrument_quotes(InstrumentId(*name), terms, self._mids.get(name)))
        return tuple(sorted(checked))

    def _unknown(self, name: object) -> str:
        known = ", ".join(str(name) for name in sorted(self._instruments))
        shown = str(name) if isinstance(name, InstrumentId) else repr(name)
        return f"{shown:.80}, which is no instrument of the strategy ({known})"


def probability_of_edge(mu: float, sigma: float) -> float:
    """Phi(mu / sigma): the probability that a normal return of mean `mu` and deviation `sigma` (> 0) is positive."""
    return 0.5 * math.erfc(-mu / sigma / _ROOT_OF_TWO)


def _instrument_quotes(name: InstrumentId, terms: sdk.QuoteTerms, mid: Decimal | None) -> InstrumentQuotes:
    values = []
    for field, words, is_inside in _TERMS:
        value = _finite(getattr(terms, field), field, "of", name)
        if not is_inside(value):
            raise ModelFailed(f"signal returned {field} {value} of {name}; it must be {words}")
        values.append(value)
    half_spread, skew, size, shift = values
    return InstrumentQuotes(name, half_spread, skew, size, shift, mid)


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
