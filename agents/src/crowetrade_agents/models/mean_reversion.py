"""Mean reversion: trades one instrument back to its mean, or two instruments back to their usual ratio.

With one instrument the spread is the natural logarithm of its mid price; with two it is
log(first) - hedgeRatio * log(second). Over a rolling window of events:
- `deviation`: spread - mean, a log return.
- `scale`: standard deviation of the spread.
- `zscore`: deviation / scale, for people and dashboards.

The spread is taken for an Ornstein-Uhlenbeck process and the horizon for one half-life of it. Half of the deviation is
then expected to be gone: mu = -deviation / 2, with conditional deviation sigma = scale * sqrt(1 - 1/4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from crowetrade_agents.models.online import RollingWindow
from crowetrade_agents.sdk import NOT_READY, Features, Forecast, InstrumentId, Model, Parameters, Quote

DEVIATION = "deviation"
SCALE = "scale"
ZSCORE = "zscore"

_LEFT_AFTER_HALF_LIFE = 0.5


@dataclass(frozen=True, slots=True)
class MeanReversionParameters:
    """`model.parameters` of mean-reversion; the window is counted in events (quotes)."""

    window: int
    hedge_ratio: float

    @classmethod
    def read(cls, values: Mapping[str, object]) -> MeanReversionParameters:
        """Raises ValueError with a sentence."""
        given = Parameters("mean-reversion", values)
        given.check_names(("window", "hedgeRatio"))
        return cls(
            window=given.integer("window", 100, 3, 10_000), hedge_ratio=given.number("hedgeRatio", 1.0, 0.0, 1.0)
        )


class MeanReversion(Model):
    """The built-in model `mean-reversion`."""

    def __init__(self, parameters: Mapping[str, object], instruments: tuple[InstrumentId, ...]) -> None:
        if len(instruments) not in (1, 2):
            raise ValueError(f"mean-reversion trades one instrument or a pair, not {len(instruments)}; list one or two")
        self._parameters = MeanReversionParameters.read(parameters)
        self._coefficients = dict(zip(instruments, (1.0, -self._parameters.hedge_ratio), strict=False))
        self._log_mids: dict[InstrumentId, float] = {}
        self._window = RollingWindow(self._parameters.window)

    def on_quote(self, quote: Quote) -> Features:
        """Adds the spread to the window; ready when the window is full and every leg has a price."""
        self._log_mids[quote.instrument] = math.log(quote.mid)
        if len(self._log_mids) < len(self._coefficients):
            return NOT_READY
        spread = sum(weight * self._log_mids[name] for name, weight in self._coefficients.items())
        self._window.update(spread)
        if not self._window.full:
            return NOT_READY
        mean, scale = self._window.mean_and_deviation()
        deviation = spread - mean
        zscore = deviation / scale if scale > 0 else 0.0
        return Features(ready=True, values={DEVIATION: deviation, SCALE: scale, ZSCORE: zscore})

    def signal(self, features: Mapping[str, float]) -> Forecast | None:
        """Half of the deviation comes back within a half-life; no forecast when the spread does not move."""
        sigma = features[SCALE] * math.sqrt(1.0 - _LEFT_AFTER_HALF_LIFE**2)
        if sigma <= 0:
            return None
        mu = -(1.0 - _LEFT_AFTER_HALF_LIFE) * features[DEVIATION]
        return Forecast(mu=mu, sigma=sigma, weights=dict(self._coefficients))
