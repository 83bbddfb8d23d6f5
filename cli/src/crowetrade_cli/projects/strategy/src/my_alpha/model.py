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

from crowetrade_agents.sdk import NOT_READY, Features, Forecast, InstrumentId, Model, Quote


class MyAlpha(Model):
    """Trades one instrument. Parameters: `window`, a number of quotes from 2 to 10,000; `persistence`, from 0 to 1."""

    def __init__(self, parameters: Mapping[str, object], instruments: tuple[InstrumentId, ...]) -> None:
        if len(instruments) != 1:
            raise ValueError(f"MyAlpha trades exactly one instrument, not {len(instruments)}; list one")
        unknown = sorted(set(parameters) - {"window", "persistence"})
        if unknown:
            raise ValueError(f"model.parameters: MyAlpha has no {', '.join(unknown)}; use window and persistence")
        window = parameters.get("window", 24)
        if not isinstance(window, int) or not 2 <= window <= 10_000:
            raise ValueError(f"model.parameters.window: must be a whole number from 2 to 10000 (got {window!r})")
        # Whole numbers come as int, decimals as text: "0.25".
        persistence = float(str(parameters.get("persistence", "0.25")))
        if not 0 <= persistence <= 1:
            raise ValueError(f"model.parameters.persistence: must be a number from 0 to 1 (got {persistence})")
        (self._instrument,) = instruments
        self._window = window
        self._persistence = persistence
        self._last: float | None = None
        self._changes: deque[float] = deque(maxlen=window)

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
