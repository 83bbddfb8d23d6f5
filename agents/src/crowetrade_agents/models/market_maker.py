"""Market maker: quotes one instrument on both sides, and leans against what it holds.

After Avellaneda and Stoikov (2008, "High-frequency trading in a limit order book", Quantitative Finance 8): for a
market maker of risk aversion g who holds q units, with a mid price s that is a random walk of deviation v per unit of
time, a horizon T and orders that are filled exp(-k d) times as often at the distance d from the mid price,

    reservation price = s - q g v^2 T
    spread = g v^2 T + (2 / g) ln(1 + g / k).

The horizon is always `horizon` events ahead instead of a fixed end of day, as for a stationary problem. Everything is
in fractions of the price, and q counts quotes (orders of the size that is quoted), so that the parameters mean the same
for every instrument and capital:
- g, `riskAversion`: of the money that one quote is worth; a pure number. Twice of it leans twice as much.
- k = 10000 / `fillDecayBps`: an order that many basis points further away is filled e = 2.72 times less often.
- v, feature `volatility`: exponentially weighted standard deviation of the log return from event to event, over
  `volatilityWindow` events.
- `size`: share of the largest position that one quote is; the largest position is 1 / size quotes, with a skew of
  g v^2 T / size, at most 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from crowetrade_agents.models.online import ReturnVolatility
from crowetrade_agents.sdk import (
    NOT_READY,
    Features,
    InstrumentId,
    Model,
    Parameters,
    Quote,
    QuoteTerms,
    Quoting,
)

VOLATILITY = "volatility"
_BPS = 10_000.0


@dataclass(frozen=True, slots=True)
class MarketMakerParameters:
    """`model.parameters` of market-maker; window and horizon are counted in events (quotes)."""

    risk_aversion: float
    horizon: int
    fill_decay_bps: float
    volatility_window: int
    size: float

    @classmethod
    def read(cls, values: Mapping[str, object]) -> MarketMakerParameters:
        """Raises ValueError with a sentence."""
        given = Parameters("market-maker", values)
        given.check_names(("riskAversion", "horizon", "fillDecayBps", "volatilityWindow", "size"))
        return cls(
            risk_aversion=given.number("riskAversion", 10.0, 0.0, 1e6),
            horizon=given.integer("horizon", 10, 1, 100_000),
            fill_decay_bps=given.number("fillDecayBps", 1.0, 0.0, 1000.0),
            volatility_window=given.integer("volatilityWindow", 100, 2, 100_000),
            size=given.number("size", 0.1, 0.0, 1.0),
        )


class MarketMaker(Model):
    """The built-in model `market-maker`."""

    def __init__(self, parameters: Mapping[str, object], instruments: tuple[InstrumentId, ...]) -> None:
        if len(instruments) != 1:
            raise ValueError(f"market-maker quotes exactly one instrument, not {len(instruments)}; list one")
        self._parameters = MarketMakerParameters.read(parameters)
        self._instrument = instruments[0]
        self._volatility = ReturnVolatility(self._parameters.volatility_window)
        self._seen = 0

    def on_quote(self, quote: Quote) -> Features:
        """Updates the volatility; ready after `volatilityWindow` quotes."""
        volatility = self._volatility.update(math.log(quote.mid))
        self._seen += 1
        if self._seen < self._parameters.volatility_window:
            return NOT_READY
        return Features(ready=True, values={VOLATILITY: volatility})

    def signal(self, features: Mapping[str, float]) -> Quoting:
        """Half of the spread, and the lean with the largest position."""
        given = self._parameters
        lean = given.risk_aversion * features[VOLATILITY] ** 2 * given.horizon
        decay = _BPS / given.fill_decay_bps
        half_spread = lean / 2 + math.log1p(given.risk_aversion / decay) / given.risk_aversion
        return Quoting(
            {self._instrument: QuoteTerms(half_spread=half_spread, skew=min(lean / given.size, 1.0), size=given.size)}
        )
