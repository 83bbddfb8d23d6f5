"""Pair reversion: trades two instruments, which may be of two venues, back to their usual relation.

The relation is the least-squares line of the first log mid price on the second over a rolling window of events, as in
the first step of Engle and Granger (1987, "Co-integration and Error Correction", Econometrica 55); the entry by
deviations of its residual follows Gatev, Goetzmann and Rouwenhorst (2006, "Pairs Trading", Review of Financial Studies
19), who take two. Features:
- `beta`: slope of the line, the hedge: units of log price of the second per one of the first.
- `deviation`: residual of the newest event, a log return.
- `scale`: standard deviation of the residuals over the window (n - 2 degrees of freedom).
- `zscore`: deviation / scale.

Beyond `entryZ` the residual is expected to lose half of its deviation within a half-life, as in mean_reversion.py:
mu = -deviation / 2, sigma = scale * sqrt(3/4), for the position of 1 in the first and -beta in the second, divided by
the larger of the two. Within `exitZ` no position is wanted (mu 0). Between the two there is no forecast, and what is
held is kept. A slope that is not positive is no hedge: no forecast.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from crowetrade_agents.sdk import NOT_READY, Features, Forecast, InstrumentId, Model, Parameters, Quote

BETA = "beta"
DEVIATION = "deviation"
SCALE = "scale"
ZSCORE = "zscore"

_LEFT_AFTER_HALF_LIFE = 0.5


@dataclass(frozen=True, slots=True)
class PairReversionParameters:
    """`model.parameters` of pair-reversion; the window is counted in events (quotes of either instrument)."""

    window: int
    entry_z: float
    exit_z: float

    @classmethod
    def read(cls, values: Mapping[str, object]) -> PairReversionParameters:
        """Raises ValueError with a sentence."""
        given = Parameters("pair-reversion", values)
        given.check_names(("window", "entryZ", "exitZ"))
        entry_z = given.number("entryZ", 2.0, 0.0, 10.0)
        exit_z = given.number("exitZ", 0.5, 0.0, 10.0)
        if exit_z >= entry_z:
            raise ValueError(f"model.parameters: exitZ ({exit_z:g}) must be less than entryZ ({entry_z:g})")
        return cls(window=given.integer("window", 120, 10, 2000), entry_z=entry_z, exit_z=exit_z)


class PairReversion(Model):
    """The built-in model `pair-reversion`."""

    def __init__(self, parameters: Mapping[str, object], instruments: tuple[InstrumentId, ...]) -> None:
        if len(instruments) != 2:
            raise ValueError(f"pair-reversion trades exactly two instruments, not {len(instruments)}; list two")
        self._parameters = PairReversionParameters.read(parameters)
        self._first, self._second = instruments
        self._log_mids: dict[InstrumentId, float] = {}
        self._window: deque[tuple[float, float]] = deque(maxlen=self._parameters.window)

    def on_quote(self, quote: Quote) -> Features:
        """Adds the pair of prices to the window; ready when the window is full."""
        self._log_mids[quote.instrument] = math.log(quote.mid)
        if len(self._log_mids) < 2:
            return NOT_READY
        self._window.append((self._log_mids[self._first], self._log_mids[self._second]))
        if len(self._window) < self._parameters.window:
            return NOT_READY
        beta, deviation, scale = regress(self._window)
        zscore = deviation / scale if scale > 0 else 0.0
        return Features(ready=True, values={BETA: beta, DEVIATION: deviation, SCALE: scale, ZSCORE: zscore})

    def signal(self, features: Mapping[str, float]) -> Forecast | None:
        """Half of the deviation comes back within a half-life; see the module for when there is no forecast."""
        beta, scale, zscore = features[BETA], features[SCALE], abs(features[ZSCORE])
        if beta <= 0 or scale <= 0 or self._parameters.exit_z < zscore < self._parameters.entry_z:
            return None
        size = max(1.0, beta)
        wanted = 0.0 if zscore <= self._parameters.exit_z else -(1.0 - _LEFT_AFTER_HALF_LIFE) * features[DEVIATION]
        return Forecast(
            mu=wanted / size,
            sigma=scale * math.sqrt(1.0 - _LEFT_AFTER_HALF_LIFE**2) / size,
            weights={self._first: 1.0 / size, self._second: -beta / size},
        )


def regress(pairs: deque[tuple[float, float]]) -> tuple[float, float, float]:
    """(slope, newest residual, standard deviation of the residuals) of the first on the second; all 0 when the second
    does not move. Summed from the values, so no rounding error adds up."""
    count = len(pairs)
    mean_y = math.fsum(y for y, _ in pairs) / count
    mean_x = math.fsum(x for _, x in pairs) / count
    variance = math.fsum((x - mean_x) ** 2 for _, x in pairs)
    if variance <= 0:
        return 0.0, 0.0, 0.0
    slope = math.fsum((x - mean_x) * (y - mean_y) for y, x in pairs) / variance
    residuals = [(y - mean_y) - slope * (x - mean_x) for y, x in pairs]
    return slope, residuals[-1], math.sqrt(math.fsum(residual**2 for residual in residuals) / (count - 2))
