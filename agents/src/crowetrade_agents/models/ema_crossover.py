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
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crowetrade_agents.models.online import Ema, ReturnVolatility
from crowetrade_agents.sdk import NOT_READY, Features, Model, Opinion, Quote

CROSSOVER = "crossover"
VOLATILITY = "volatility"


class EmaCrossoverParameters(BaseModel):
    """`model.parameters` of ema-crossover; spans are counted in events (quotes)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fast: Annotated[int, Field(ge=1, le=100_000)] = 12
    slow: Annotated[int, Field(ge=2, le=100_000)] = 48
    volatilityWindow: Annotated[int, Field(ge=2, le=100_000)] = 100
    persistence: Annotated[float, Field(gt=0, le=1)] = 0.25

    @model_validator(mode="after")
    def _fast_is_faster(self) -> EmaCrossoverParameters:
        if self.fast >= self.slow:
            raise ValueError(f"fast ({self.fast}) must be less than slow ({self.slow})")
        return self


class EmaCrossover(Model):
    """The built-in model `ema-crossover`."""

    def __init__(self, parameters: Mapping[str, object], instruments: tuple[str, ...]) -> None:
        if len(instruments) != 1:
            raise ValueError(f"ema-crossover trades exactly one instrument, not {len(instruments)}; list one")
        self._parameters = EmaCrossoverParameters.model_validate(dict(parameters))
        self._symbol = instruments[0]
        self._fast = Ema(self._parameters.fast)
        self._slow = Ema(self._parameters.slow)
        self._volatility = ReturnVolatility(self._parameters.volatilityWindow)
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

    def signal(self, features: Mapping[str, float]) -> Opinion | None:
        """The trend carried forward over `slow` events; no opinion in a market that does not move."""
        fast, slow = self._parameters.fast, self._parameters.slow
        sigma = features[VOLATILITY] * math.sqrt(slow)
        if sigma <= 0:
            return None
        trend = 2.0 * features[CROSSOVER] / (slow - fast)
        return Opinion(mu=self._parameters.persistence * trend * slow, sigma=sigma, weights={self._symbol: 1.0})
