"""What is odd about market data, told batch by batch. Pure.

Rows are compared with the row before them of the same symbol. Comparisons of prices are of floats: statistics of a
recording, not money. Two different prices may be the same float only beyond 15 digits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow
import pyarrow.compute

from crowetrade_cli.data.field import is_any
from crowetrade_cli.data.kinds import SIZES

_PRICE = {"quotes": ("bid_px", "ask_px"), "trades": ("price",), "bars": ("close",), "l2": ("px",)}


@dataclass(frozen=True, slots=True)
class Place:
    """A row of one symbol: its number from 1 in the order of the files, its time, and what is meant of it."""

    row: int
    ts_ns: int
    what: str = ""


@dataclass(slots=True)
class Oddity:
    """How often something was seen, and where first."""

    count: int = 0
    first: Place | None = None

    def see(self, mask: pyarrow.Array, first_row: int, times: pyarrow.Array, what: str = "") -> None:
        """Counts the true values of a mask over the rows of a batch."""
        count = pyarrow.compute.sum(mask).as_py()
        if not count:
            return
        if self.first is None:
            place = pyarrow.compute.index(mask, True).as_py()
            self.first = Place(first_row + place, times[place].as_py(), what)
        self.count += count


@dataclass(slots=True)
class SymbolChecks:
    """The rows of one symbol, folded. `symbol` is empty when the rows name none.

    `gap_ns`: a pause longer than this between quotes, trades or updates is a gap. Bars have a gap where the distance to
    the bar before is longer than a bar. `outlier`: a price that differs by more than this share from the one before.
    """

    kind: str
    symbol: str
    gap_ns: int
    outlier: float
    rows: int = 0
    first_ns: int = 0
    last_ns: int = 0
    disorder: Oddity = field(default_factory=Oddity)
    same_time: Oddity = field(default_factory=Oddity)
    duplicates: Oddity = field(default_factory=Oddity)
    gaps: Oddity = field(default_factory=Oddity)
    longest_gap_ns: int = 0
    longest_gap: Place | None = None
    crossed: Oddity = field(default_factory=Oddity)
    locked: Oddity = field(default_factory=Oddity)
    not_positive: Oddity = field(default_factory=Oddity)
    zero_sizes: Oddity = field(default_factory=Oddity)
    negative_sizes: Oddity = field(default_factory=Oddity)
    broken_bars: Oddity = field(default_factory=Oddity)
    outliers: Oddity = field(default_factory=Oddity)
    largest_move: float = 0.0
    largest_move_at: Place | None = None
    distances: Counter[int] = field(default_factory=Counter)
    _last: pyarrow.RecordBatch | None = None
    _last_price: float | None = None

    @property
    def interval_ns(self) -> int:
        """The most common distance of bars, 0 when there is none."""
        return max(self.distances.items(), key=lambda item: (item[1], item[0]))[0] if self.distances else 0

    @property
    def absent_bars(self) -> int:
        """Bars that would fill the gaps between bars."""
        interval = self.interval_ns
        return sum((distance // interval - 1) * count for distance, count in self.distances.items() if interval)

    @property
    def bar_gaps(self) -> int:
        """Distances of bars that are longer than a bar."""
        interval = self.interval_ns
        return sum(count for distance, count in self.distances.items() if distance > interval)

    def take(self, rows: pyarrow.RecordBatch) -> None:
        """The next rows of this symbol."""
        first_row, times = self.rows + 1, rows.column("ts_ns")
        self._check_times(rows, first_row, times)
        self._check_prices(rows, first_row, times)
        self._check_sizes(rows, first_row, times)
        if not self.rows:
            self.first_ns = times[0].as_py()
        bounds = pyarrow.compute.min_max(times).as_py()
        self.first_ns, self.last_ns = min(self.first_ns, bounds["min"]), max(self.last_ns, bounds["max"])
        self.rows += rows.num_rows
        self._last = rows.slice(rows.num_rows - 1)

    def _check_times(self, rows: pyarrow.RecordBatch, first_row: int, times: pyarrow.Array) -> None:
        before = times[:1] if self._last is None else self._last.column("ts_ns")
        previous = pyarrow.concat_arrays([before, times[:-1]])
        steps = pyarrow.compute.subtract(times, previous)
        self.disorder.see(pyarrow.compute.less(steps, 0), first_row, times)
        same = pyarrow.compute.equal(steps, 0)
        if self._last is None:
            same = pyarrow.compute.and_(same, _not_first(len(same)))
        if is_any(same):
            self.same_time.see(same, first_row, times)
            self.duplicates.see(self._repeated(rows, same), first_row, times)
        if self.kind == "bars":
            for counted in pyarrow.compute.value_counts(steps).to_pylist():
                if counted["values"] > 0:
                    self.distances[counted["values"]] += counted["counts"]
        longest = pyarrow.compute.max(steps).as_py()
        if longest > self.longest_gap_ns:
            place = pyarrow.compute.index(steps, longest).as_py()
            self.longest_gap_ns = longest
            self.longest_gap = Place(first_row + place, previous[place].as_py())
        self.gaps.see(pyarrow.compute.greater(steps, self.gap_ns), first_row, previous)

    def _repeated(self, rows: pyarrow.RecordBatch, same: pyarrow.Array) -> pyarrow.Array:
        """Which rows are, value by value, the row before."""
        joined = rows if self._last is None else pyarrow.concat_batches([self._last, rows])
        shift = joined.num_rows - rows.num_rows
        places = pyarrow.compute.indices_nonzero(same)
        here = joined.take(pyarrow.compute.add(places, shift))
        before = joined.take(pyarrow.compute.subtract(pyarrow.compute.add(places, shift).cast(pyarrow.int64()), 1))
        equal = None
        for mine, other in zip(here.columns, before.columns, strict=True):
            both_null = pyarrow.compute.and_(mine.is_null(), other.is_null())
            alike = pyarrow.compute.or_(pyarrow.compute.fill_null(pyarrow.compute.equal(mine, other), False), both_null)
            equal = alike if equal is None else pyarrow.compute.and_(equal, alike)
        return pyarrow.compute.replace_with_mask(same, same, equal)

    def _check_prices(self, rows: pyarrow.RecordBatch, first_row: int, times: pyarrow.Array) -> None:
        prices = {name: rows.column(name).cast(pyarrow.float64()) for name in _PRICE[self.kind]}
        for name, values in prices.items():
            self.not_positive.see(pyarrow.compute.less_equal(values, 0.0), first_row, times, name)
        if self.kind == "quotes":
            bid, ask = prices["bid_px"], prices["ask_px"]
            self.crossed.see(pyarrow.compute.greater(bid, ask), first_row, times)
            self.locked.see(pyarrow.compute.equal(bid, ask), first_row, times)
            self._check_moves(pyarrow.compute.multiply(pyarrow.compute.add(bid, ask), 0.5), first_row, times)
        elif self.kind in {"trades", "bars"}:
            self._check_moves(prices[_PRICE[self.kind][0]], first_row, times)
        if self.kind == "bars" and {"open", "high", "low"} <= set(rows.schema.names):
            self._check_bars(rows, prices["close"], first_row, times)

    def _check_bars(
        self, rows: pyarrow.RecordBatch, close: pyarrow.Array, first_row: int, times: pyarrow.Array
    ) -> None:
        opened, high, low = (rows.column(name).cast(pyarrow.float64()) for name in ("open", "high", "low"))
        above = pyarrow.compute.greater(pyarrow.compute.max_element_wise(opened, close, low), high)
        below = pyarrow.compute.less(pyarrow.compute.min_element_wise(opened, close, high), low)
        self.broken_bars.see(pyarrow.compute.or_(above, below), first_row, times)

    def _check_moves(self, prices: pyarrow.Array, first_row: int, times: pyarrow.Array) -> None:
        before = prices[:1] if self._last_price is None else pyarrow.array([self._last_price])
        previous = pyarrow.concat_arrays([before, prices[:-1]])
        self._last_price = prices[-1].as_py()
        usable = pyarrow.compute.and_(pyarrow.compute.greater(previous, 0.0), pyarrow.compute.greater(prices, 0.0))
        divisor = pyarrow.compute.if_else(usable, previous, 1.0)
        change = pyarrow.compute.abs(pyarrow.compute.subtract(pyarrow.compute.divide(prices, divisor), 1.0))
        moves = pyarrow.compute.if_else(usable, change, 0.0)
        self.outliers.see(pyarrow.compute.greater(moves, self.outlier), first_row, times)
        largest = pyarrow.compute.max(moves).as_py()
        if largest > self.largest_move:
            place = pyarrow.compute.index(moves, largest).as_py()
            self.largest_move = largest
            self.largest_move_at = Place(first_row + place, times[place].as_py())

    def _check_sizes(self, rows: pyarrow.RecordBatch, first_row: int, times: pyarrow.Array) -> None:
        for name in rows.schema.names:
            if name not in SIZES or rows.column(name).null_count == rows.num_rows:
                continue
            sizes = rows.column(name).cast(pyarrow.float64())
            self.zero_sizes.see(_known(pyarrow.compute.equal(sizes, 0.0)), first_row, times, name)
            self.negative_sizes.see(_known(pyarrow.compute.less(sizes, 0.0)), first_row, times, name)


def _known(mask: pyarrow.Array) -> pyarrow.Array:
    return pyarrow.compute.fill_null(mask, False)


def _not_first(rows: int) -> pyarrow.Array:
    return pyarrow.array([False] + [True] * (rows - 1), pyarrow.bool_())


@dataclass(slots=True)
class Checks:
    """All symbols of a stream of batches."""

    kind: str
    gap_ns: int
    outlier: float
    by_symbol: dict[str, SymbolChecks] = field(default_factory=dict)

    def take(self, rows: pyarrow.RecordBatch) -> None:
        """The next rows."""
        for symbol, part in _split(rows):
            checks = self.by_symbol.get(symbol)
            if checks is None:
                checks = self.by_symbol[symbol] = SymbolChecks(self.kind, symbol, self.gap_ns, self.outlier)
            checks.take(part)

    @property
    def disorder(self) -> SymbolChecks | None:
        """The first symbol whose rows go back in time."""
        return next((checks for checks in self.by_symbol.values() if checks.disorder.count), None)


def _split(rows: pyarrow.RecordBatch) -> Iterator[tuple[str, pyarrow.RecordBatch]]:
    if "symbol" not in rows.schema.names:
        yield "", rows
        return
    column = rows.column("symbol")
    symbols: Sequence[str] = pyarrow.compute.unique(column).to_pylist()
    for symbol in symbols:
        part = rows if len(symbols) == 1 else rows.filter(pyarrow.compute.equal(column, symbol))
        yield symbol, part
