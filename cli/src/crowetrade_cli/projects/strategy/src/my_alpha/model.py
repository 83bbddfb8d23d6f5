"""Momentum: expects a share of the drift of the last `window` quotes to last for as many more.

Features, over the changes of the natural logarithm of the mid price from quote to quote:
- `drift`: their mean over the window.
- `volatility`: their standard deviation over the window.

The horizon is `window` quotes: mu = persistence * drift * window, and sigma = volatility * sqrt(window), the deviation
of a random walk.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from statistics import fmean, stdev

from crowetrade_agents.sdk import NOT_READY, Features, Forecast, InstrumentId, Model, Parameters, Quote


class MyAlpha(Model):
    """Trades one instrument. Parameters: `window`, a number of quotes; `persistence`, a share above 0, at most 1."""

    def __init__(self, parameters: Mapping[str, object], instruments: tuple[InstrumentId, ...]) -> None:
        if len(instruments) != 1:
            raise ValueError(f"MyAlpha trades exactly one instrument, not {len(instruments)}; list one")
        given = Parameters("MyAlpha", parameters)
        given.check_names(("window", "persistence"))
        self._window = given.integer("window", 24, 2, 10_000)
        self._persistence = given.number("persistence", 0.25, above=0.0, maximum=1.0)
        (self._instrument,) = instruments
        self._last: float | None = None
        self._changes: deque[float] = deque(maxlen=self._window)

    def on_quote(self, quote: Quote) -> Features:
        """Not ready until the window is full."""
        log_mid = math.log(quote.mid)
        if self._last is not None:
            self._changes.append(log_mid - self._last)
        self._last = log_mid
        if len(self._changes) < self._window:
            return NOT_READY
        return Features(ready=True, values={"drift": fmean(self._changes), "volatility": stdev(self._changes)})

    def signal(self, features: Mapping[str, float]) -> Forecast | None:
        """No forecast while the price does not move. Uses nothing but the features and the parameters."""
        if features["volatility"] <= 0:
            return None
        return Forecast(
            mu=self._persistence * features["drift"] * self._window,
            sigma=features["volatility"] * math.sqrt(self._window),
            weights={self._instrument: 1.0},
        )
