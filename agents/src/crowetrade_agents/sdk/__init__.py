"""What an author of a model imports: the Model protocol and the values that go in and out of it.

A model is one class. The feature role calls the `on_...` hooks with every market data event of the strategy's
instruments, in the order of each venue; the signal role calls `signal` with what the hooks returned. In topology Split
the two run in different processes, each with its own instance, so `signal` may use nothing but its argument and the
model's parameters. The names of the features are the contract between the two; values are finite numbers.

An instrument is `InstrumentId(venue, symbol)`: a strategy may hold the same symbol at two venues. Events of different
venues come in the order of their arrival, which no clock fixes: only the order within a venue is the same in every run.

Time is the venue's event time (recorded time in a replay). A hook must not look at the wall clock, so that the same
events always give the same features.

What a hook raises, and what it returns that is no such value, is reported in condition ModelFailing of the Strategy;
after some failures in a row trading stands down until the model works again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Protocol

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.market import Bar, Trade
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.sdk.parameters import Parameters

__all__ = [
    "NOT_READY",
    "Bar",
    "Features",
    "Forecast",
    "InstrumentId",
    "Model",
    "ModelFactory",
    "Parameters",
    "Quote",
    "QuoteTerms",
    "Quoting",
    "Side",
    "Trade",
]


class Quote(NamedTuple):
    """Best bid and offer; prices in the instrument's quote currency, quantities in its units."""

    instrument: InstrumentId
    time_ns: int
    bid: Decimal
    ask: Decimal
    bid_quantity: Decimal | None = None
    ask_quantity: Decimal | None = None

    @property
    def mid(self) -> Decimal:
        """Half-way between bid and ask."""
        return (self.bid + self.ask) / 2


class Features(NamedTuple):
    """What a hook computed. `ready` is False while the model warms up; `values` may then be incomplete."""

    ready: bool
    values: Mapping[str, float] = {}


class Forecast(NamedTuple):
    """What the model expects over its horizon.

    `mu` is the expected log return of the weighted position and `sigma` (above 0) its standard deviation, both
    fractions (0.001 = 10 bps); `weights` says which of the strategy's instruments that position holds, -1 to 1 each (a
    pair has two). With `mu` 0 the position to hold is none: that passes the entry gate, so a model that wants out says
    so.
    """

    mu: float
    sigma: float
    weights: Mapping[InstrumentId, float]


@dataclass(frozen=True, slots=True)
class QuoteTerms:
    """How one instrument is quoted: two orders that rest on either side of a price, all of it in fractions.

    - The fair price is the last mid price times 1 + `shift` (above -1, below 1).
    - The reservation price is the fair price while no position is held. With the largest long position it is lower by
      `skew` (0 to 1), a fraction of the fair price; in proportion with a smaller one, and higher with a short one.
    - The orders rest `half_spread` (above 0, below 1), a fraction of the fair price, below and above the reservation
      price, and never at or beyond the opposite best price.
    - Each is `size` (above 0, at most 1) of the largest position, which capital and policy.sizing.maxLeverage say.

    A model is not told the position: the agents know it exactly when they place the orders.
    """

    half_spread: float
    skew: float
    size: float
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class Quoting:
    """What a market maker returns instead of a forecast, in a strategy of policy.execution.style Quote: the terms by
    instrument. An instrument that is absent is not quoted, and what rests there is canceled."""

    quotes: Mapping[InstrumentId, QuoteTerms]


NOT_READY = Features(ready=False)


class Model(Protocol):
    """A model. Its class is called with `(parameters, instruments)`: the manifest's `model.parameters` and instruments.

    Raise ValueError with a sentence for the author of the manifest when a parameter is wrong; Parameters reads them so.
    Subclass this protocol to
    inherit the hooks that a model does not need.
    """

    def on_start(self) -> None:
        """Called once, before the first event."""
        return

    def on_quote(self, quote: Quote) -> Features:
        """Called with each change of the best bid and offer."""
        return NOT_READY

    def on_trade(self, trade: Trade) -> Features:
        """Called with each trade that the venue prints."""
        return NOT_READY

    def on_bar(self, bar: Bar) -> Features:
        """Called at the close of each bar."""
        return NOT_READY

    def signal(self, features: Mapping[str, float]) -> Forecast | Quoting | None:
        """What the features let expect, or how to quote; None for neither, which leaves position and quotes as they
        are."""
        ...


class ModelFactory(Protocol):
    """How the runtime makes a model: usually the class itself."""

    def __call__(self, parameters: Mapping[str, object], instruments: tuple[InstrumentId, ...]) -> Model:
        """Returns a model for the instruments in the order of the manifest; ValueError when a parameter is wrong."""
        ...
