"""Quotes or trades of one instrument as compact columns: no Python object per row, so a long recording stays small.

A column is kept in chunks. A chunk is one value when all its rows have the same, 64-bit integers with a common number
of decimal places when they fit, and decimals otherwise. An event is made when it is asked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.numbers import CONTEXT, REPEATED
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.venues.port import QuoteChanged, TradePrinted


@dataclass(frozen=True, slots=True)
class Chunk:
    """Decimals: `values` are integers of 10^-places, or one value for all rows, or decimals."""

    values: array[int] | Decimal | tuple[Decimal, ...]
    places: int = 0

    def __getitem__(self, row: int) -> Decimal:
        values = self.values
        if isinstance(values, array):
            return _decimal(values[row], self.places)
        return values if isinstance(values, Decimal) else values[row]


@lru_cache(REPEATED)
def _decimal(value: int, places: int) -> Decimal:
    return CONTEXT.scaleb(Decimal(value), -places)


def chunk_of(values: Sequence[Decimal]) -> Chunk:
    """A chunk out of decimals."""
    return Chunk(values[0]) if len(set(values)) == 1 else Chunk(tuple(values))


@dataclass(slots=True)
class _Rows:
    """Rows of one instrument in time order. `times` are venue time, ns. `left_out`: rows that were not usable. `path`:
    of the recording, where there is one."""

    instrument: InstrumentId
    times: array[int] = field(default_factory=lambda: array("q"))
    left_out: int = 0
    path: Path | None = None
    _starts: array[int] = field(default_factory=lambda: array("q"))
    _chunks: list[tuple[Chunk, ...]] = field(default_factory=list)
    _last: int = 0

    def __len__(self) -> int:
        return len(self.times)

    def _add(self, times: array[int], *columns: Chunk) -> None:
        self._starts.append(len(self.times))
        self._chunks.append(columns)
        self.times.extend(times)

    def _chunk_of(self, row: int) -> int:
        """Rows are most often asked for one after the other, so the chunk of the last row is tried first."""
        starts, last = self._starts, self._last
        if row < starts[last]:
            last = 0
        while last + 1 < len(starts) and starts[last + 1] <= row:
            last += 1
        self._last = last
        return last


@dataclass(slots=True)
class Tape(_Rows):
    """Quotes."""

    def append(self, times: array[int], bid: Chunk, bid_quantity: Chunk, ask: Chunk, ask_quantity: Chunk) -> None:
        """Adds rows at the end; every column has as many rows as there are times, and at least one."""
        self._add(times, bid, bid_quantity, ask, ask_quantity)

    def event(self, sequence: int, row: int, shift_ns: int) -> QuoteChanged:
        """The row as an event of this sequence, its time moved by `shift_ns`."""
        return QuoteChanged(sequence, self.book(row, shift_ns))

    def book(self, row: int, shift_ns: int = 0) -> TopOfBook:
        """The quote of a row, its time moved by `shift_ns`."""
        at = self._chunk_of(row)
        within = row - self._starts[at]
        bid, bid_quantity, ask, ask_quantity = self._chunks[at]
        return TopOfBook(
            self.instrument,
            bid[within],
            bid_quantity[within],
            ask[within],
            ask_quantity[within],
            self.times[row] + shift_ns,
        )


AGGRESSORS = {"buy": 1, "sell": -1}
"""The taker's side as a recording writes it, and as a TradeTape keeps it; 0 when the recording does not say."""
_SIDES = {1: Side.BUY, -1: Side.SELL, 0: None}


@dataclass(slots=True)
class TradeTape(_Rows):
    """Trades of others, beside the quotes or the depth of the same instrument."""

    _aggressors: array[int] = field(default_factory=lambda: array("b"))

    def append(self, times: array[int], price: Chunk, quantity: Chunk, aggressors: array[int]) -> None:
        """Adds rows at the end, as Tape does; `aggressors` are values of AGGRESSORS or 0."""
        self._add(times, price, quantity)
        self._aggressors.extend(aggressors)

    def event(self, sequence: int, row: int, shift_ns: int) -> TradePrinted:
        """The row as an event of this sequence, its time moved by `shift_ns`."""
        at = self._chunk_of(row)
        within = row - self._starts[at]
        price, quantity = self._chunks[at]
        aggressor = _SIDES[self._aggressors[row]]
        return TradePrinted(
            sequence, self.instrument, price[within], quantity[within], aggressor, self.times[row] + shift_ns
        )


AnyTape = Tape | TradeTape
