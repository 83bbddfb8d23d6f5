"""What an author of a model imports: the Model protocol and the values that go in and out of it.

A model is one class. The feature role calls the `on_...` hooks with every market data event of the strategy's
instruments, in the order of the venue; the signal role calls `signal` with what the hooks returned. In topology Split
the two run in different processes, each with its own instance, so `signal` may use nothing but its argument and the
model's parameters. The names of the features are the contract between the two; values are finite numbers.

Time is the venue's event time (recorded time in a replay). A hook must not look at the wall clock, so that the same
events always give the same features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Protocol


class Side(Enum):
    """Side of an aggressor."""

    BUY = "Buy"
    SELL = "Sell"


@dataclass(frozen=True, slots=True)
class Quote:
    """Best bid and offer; prices in the instrument's quote currency, quantities in the base asset."""

    symbol: str
    venue: str
    time_ns: int
    bid: Decimal
    ask: Decimal
    bid_quantity: Decimal | None = None
    ask_quantity: Decimal | None = None

    @property
    def mid(self) -> Decimal:
        """Half-way between bid and ask."""
        return (self.bid + self.ask) / 2


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade that printed; `aggressor` is the taker's side, where the venue tells it."""

    symbol: str
    venue: str
    time_ns: int
    price: Decimal
    quantity: Decimal
    aggressor: Side | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """One open-high-low-close bar; `time_ns` is its close, `interval_ns` its length."""

    symbol: str
    venue: str
    time_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    interval_ns: int


@dataclass(frozen=True, slots=True)
class Features:
    """What a hook computed. `ready` is False while the model warms up; `values` may then be incomplete."""

    ready: bool
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the model expects over its horizon.

    `mu` is the expected log return of the weighted position and `sigma` its standard deviation, both fractions
    (0.001 = 10 bps); `weights` says which instruments that position holds, -1 to 1 each (a pair has two).
    """

    mu: float
    sigma: float
    weights: Mapping[str, float]


NOT_READY = Features(ready=False)


class Model(Protocol):
    """A model. Its class is called with `(parameters, instruments)`: the manifest's `model.parameters` and the symbols.

    Raise ValueError with a sentence for the author of the manifest when a parameter is wrong. Subclass this protocol to
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

    def signal(self, features: Mapping[str, float]) -> Opinion | None:
        """The expectation that the features give; None for no opinion."""
        ...


class ModelFactory(Protocol):
    """How the runtime makes a model: usually the class itself."""

    def __call__(self, parameters: Mapping[str, object], instruments: tuple[str, ...]) -> Model:
        """Returns a model, or raises ValueError when a parameter is wrong."""
        ...
