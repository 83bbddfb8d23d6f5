"""EMA crossover: follows a trend in the mid price of one instrument.

Features, over the natural logarithm p of the mid price:
- `crossover`: EMA(p, fast) - EMA(p, slow). An EMA of span n trails a steady trend of g per event by g (n - 1) / 2, so
  the trend is g = 2 crossover / (slow - fast).
- `volatility`: exponentially weighted standard deviation of the change of p from event to event.

The horizon is `slow` events: mu = persistence * g * slow and sigma = volatility * sqrt(slow), the deviation of a random
walk. `persistence` is the share of the trend that is expected to last over the horizon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from crowetrade_agents.models.online import Ema, ReturnVolatility
from crowetrade_agents.sdk import NOT_READY, Features, Forecast, InstrumentId, Model, Parameters, Quote

CROSSOVER = "crossover"
VOLATILITY = "volatility"


@dataclass(frozen=True, slots=True)
class EmaCrossoverParameters:
    """`model.parameters` of ema-crossover; spans are counted in events (quotes)."""

    fast: int
    slow: int
    volatility_window: int
    persistence: float

    @classmethod
    def read(cls, values: Mapping[str, object]) -> EmaCrossoverParameters:
        """Raises ValueError with a sentence."""
        given = Parameters("ema-crossover", values)
        given.check_names(("fast", "slow", "volatilityWindow", "persistence"))
        fast, slow = given.integer("fast", 12, 1, 100_000), given.integer("slow", 48, 2, 100_000)
        if fast >= slow:
            raise ValueError(f"model.parameters: fast ({fast}) must be less than slow ({slow})")
        return cls(
            fast=fast,
            slow=slow,
            volatility_window=given.integer("volatilityWindow", 100, 2, 100_000),
            persistence=given.number("persistence", 0.25, 0.0, 1.0),
        )


class EmaCrossover(Model):
    """The built-in model `ema-crossover`."""

    def __init__(self, parameters: Mapping[str, object], instruments: tuple[InstrumentId, ...]) -> None:
        if len(instruments) != 1:
            raise ValueError(f"ema-crossover trades exactly one instrument, not {len(instruments)}; list one")
        self._parameters = EmaCrossoverParameters.read(parameters)
        self._instrument = instruments[0]
        self._fast = Ema(self._parameters.fast)
        self._slow = Ema(self._parameters.slow)
        self._volatility = ReturnVolatility(self._parameters.volatility_window)
        self._seen = 0

    def on_quote(self, quote: Quote) -> Features:
        """Updates both averages; ready after `slow` quotes."""
        log_mid = math.log(quote.mid)
        crossover = self._fast.update(log_mid) - self._slow.update(log_mid)
        volatility = self._volatility.update(log_mid)
        self._seen += 1
        if self._seen < self._parameters.slow:
            return NOT_READY
        return Features(ready=True, values={CROSSOVER: crossover, VOLATILITY: volatility})

    def signal(self, features: Mapping[str, float]) -> Forecast | None:
        """The trend carried forward over `slow` events; no forecast in a market that does not move."""
        fast, slow = self._parameters.fast, self._parameters.slow
        sigma = features[VOLATILITY] * math.sqrt(slow)
        if sigma <= 0:
            return None
        trend = 2.0 * features[CROSSOVER] / (slow - fast)
        return Forecast(mu=self._parameters.persistence * trend * slow, sigma=sigma, weights={self._instrument: 1.0})
