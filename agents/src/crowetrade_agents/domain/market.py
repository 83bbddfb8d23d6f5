"""The market as a decision sees it. Tuples, because one of each is made for every event."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import CONTEXT
from crowetrade_agents.domain.orders import Side

MAX_FEED_SILENCE_NS = 5_000_000_000
"""A market data session that has been silent for longer than this is stale: nothing is judged by its quotes."""
_TWO = Decimal(2)


class TopOfBook(NamedTuple):
    """Best bid and offer. Prices in quote currency, quantities in units (None when the source does not say).

    `event_ns` is venue time, nanoseconds since the Unix epoch.
    """

    instrument: InstrumentId
    bid_price: Decimal
    bid_quantity: Decimal | None
    ask_price: Decimal
    ask_quantity: Decimal | None
    event_ns: int

    @property
    def mid(self) -> Decimal:
        """Mean of bid and offer."""
        return CONTEXT.divide(CONTEXT.add(self.bid_price, self.ask_price), _TWO)

    @property
    def is_usable(self) -> bool:
        """Prices are finite, positive and not crossed."""
        return self.bid_price.is_finite() and self.ask_price.is_finite() and 0 < self.bid_price <= self.ask_price


class Mark(NamedTuple):
    """A quote with the wall-clock time at which the gateway received it, nanoseconds since the Unix epoch."""

    book: TopOfBook
    received_ns: int


class Trade(NamedTuple):
    """One trade that printed; `aggressor` is the taker's side, None where the venue does not say."""

    instrument: InstrumentId
    time_ns: int
    price: Decimal
    quantity: Decimal
    aggressor: Side | None = None


class Bar(NamedTuple):
    """One open-high-low-close bar; `time_ns` is its close, `interval_ns` its length."""

    instrument: InstrumentId
    time_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    interval_ns: int
