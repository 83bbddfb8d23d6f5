"""Recorded market data, read in batches: Parquet or CSV (UTF-8, commas, decimal points) with the columns of one kind.

quotes: ts_ns, bid_px, ask_px; optional bid_sz, ask_sz.
trades: ts_ns, price; optional size, side (of the taker: buy, sell, or empty when unknown).
bars:   ts_ns (open time of the bar), close; optional interval_ns (length of the bar).
l2:     ts_ns, update (snapshot or diff), side (bid or ask), px, sz (the level's new total size, 0 when it is gone);
        optional first_id, last_id, prev_last_id: the ids of the update (l2.py).
all:    optional symbol, when one file holds several instruments. Other columns are ignored.

ts_ns and interval_ns are integers, nanoseconds (since 1970-01-01 UTC). Prices and sizes are decimals: text with at most
20 digits before the point and 18 after it, or Parquet's decimal, integer and floating point types. Rows of an
instrument are in time order. A size that is empty or null is unknown: the venue's quoteQuantity is assumed. A size of 0
says that nothing is there.

A quote whose bid is above its offer, or that is not positive, is left out and counted. A trade makes one quote around
its price: half the spread below and above it, rounded outward to the tick size. A bar makes one quote in the same way
around its close, at the bar's END, because its close is not known before. The end is ts_ns + interval_ns; without that
column the most common distance between two bars of the instrument is the length of all its bars. Where the recorded
price is the offer (`price_is_ask`), the bid stands the whole spread below.

An instrument may have two recordings: its market, and beside it its trades. Those then make no quotes: they are events
of their own (port.TradePrinted), and must have sizes; a trade whose price or size is not positive is left out and
counted.

Everything that cannot be read raises DataError: one sentence with the file, what is wrong and what to write.
"""

from __future__ import annotations

import csv
import io
import itertools
import sys
from array import array
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import BinaryIO, NoReturn

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.numbers import CONTEXT, ZERO, parse, round_down, round_up
from crowetrade_agents.errors import DataError, InvalidNumber
from crowetrade_agents.venues.adapters.simulated.l2 import NO_ID, Levels, depth_tape
from crowetrade_agents.venues.adapters.simulated.spec import QuoteMaking, Recording
from crowetrade_agents.venues.adapters.simulated.tape import (
    AGGRESSORS,
    AnyTape,
    Chunk,
    Tape,
    TradeTape,
    chunk_of,
)
from crowetrade_process.confined import OutsideFolder, open_confined

BATCH_ROWS = 16_384
COLUMNS = (
    "quotes need ts_ns, bid_px, ask_px (and may have bid_sz, ask_sz), trades need ts_ns, price (beside a market also "
    "size, and may have side), bars need ts_ns, close (and may have interval_ns), l2 needs ts_ns, update, side, px, sz "
    "(and may have first_id, last_id, prev_last_id); symbol is needed where one file holds several instruments"
)
_BPS = Decimal(10_000)
_GRAMMAR = r"^-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?$"
_MAX_TIME_NS = 2**62
_MAX_INTEGER_DIGITS = 18
_IDS = ("first_id", "last_id", "prev_last_id")
_PRICES = {
    "quotes": ("bid_px", "ask_px"),
    "trades": ("price",),
    "bars": ("close",),
    "l2": ("update", "side", "px", "sz"),
}
_OPTIONAL = {"quotes": ("bid_sz", "ask_sz"), "trades": ("size", "side"), "bars": ("interval_ns",), "l2": _IDS}
_MARKS = {
    b"\xff\xfe": "is UTF-16",
    b"\xfe\xff": "is UTF-16",
    b"\xef\xbb\xbf": "starts with a byte order mark",
    b"PAR1": "is Parquet under another name",
}


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows of a file: columns by name, and the number of the first row, from 1."""

    columns: Mapping[str, pyarrow.Array]
    first_row: int

    def where(self, rows: pyarrow.Array) -> _Batch:
        """The rows of these places."""
        return _Batch({name: column.take(rows) for name, column in self.columns.items()}, self.first_row)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a file is, and the volume that its links may not lead out of."""

    path: Path
    volume: Path | None

    def open(self) -> BinaryIO:
        """Raises DataError."""
        try:
            return self.path.open("rb") if self.volume is None else open_confined(self.path, self.volume)
        except OutsideFolder as error:
            text = f"recorded data {self.path} leads out of its volume, or is no file: put the file itself there"
            raise DataError(text) from error
        except OSError as error:
            raise _unreadable(self.path, error) from error


@dataclass(frozen=True, slots=True)
class _File:
    """A file with its recordings, before its rows are read."""

    source: _Source
    recordings: list[Recording]
    names: list[str]
    kind: str

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.source.path

    def symbols(self, instruments: Sequence[Instrument]) -> set[str]:
        """What it may hold."""
        declared = {instrument.id.symbol for instrument in instruments}
        return {item.symbol for item in self.recordings if item.symbol} or declared


@dataclass(slots=True)
class _Reading:
    """One instrument of one file while it is read. Of bars, `tape.times` holds open times until the end. `prints` is
    set for trades beside the market of the same instrument."""

    file: str
    kind: str
    instrument: Instrument
    making: QuoteMaking
    tape: Tape
    prints: TradeTape | None = None
    levels: Levels = field(default_factory=Levels)
    rows: int = 0
    last_ns: int = 0
    last_end_ns: int = 0
    distances: Counter[int] = field(default_factory=Counter)


class _NoPandas(MetaPathFinder):
    """While it is asked, pandas is not installed."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def _keep_pandas_out() -> None:
    """At its first array pyarrow imports pandas wherever that is installed (for exchange_calendars): seconds and 60 MB
    that nothing here needs. It looks once, and is shown none."""
    if "pandas" in sys.modules:
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pyarrow.array([0])
    finally:
        sys.meta_path.remove(finder)


def read(recordings: Sequence[Recording], instruments: Sequence[Instrument]) -> list[AnyTape]:
    """The tapes in the order of `instruments`: of each its trades, where it has them beside its market, and its market.
    Raises DataError also for an instrument without a market, and for one with two."""
    _keep_pandas_out()
    files = [_file(path, group) for path, group in _by_path(recordings).items()]
    others = (file.symbols(instruments) for file in files if file.kind != "trades")
    markets = {symbol for symbols in others for symbol in symbols}
    tapes: dict[tuple[str, bool], AnyTape] = {}
    for file in files:
        for tape in _read_file(file, instruments, markets):
            key = tape.instrument.symbol, isinstance(tape, Tape)
            if key in tapes:
                raise DataError(f"{file.path.name} holds {key[0]}, and so does another recording: name it once in data")
            tape.path = file.path
            tapes[key] = tape
    missing = [item.id.symbol for item in instruments if (item.id.symbol, True) not in tapes]
    if missing:
        raise DataError(
            f"no recording holds {', '.join(missing)}: add one to spec.simulated.data, or remove the instrument"
        )
    keys = [(item.id.symbol, is_market) for item in instruments for is_market in (False, True)]
    return [tapes[key] for key in keys if key in tapes]


def _by_path(recordings: Sequence[Recording]) -> dict[Path, list[Recording]]:
    grouped: dict[Path, list[Recording]] = {}
    for recording in recordings:
        grouped.setdefault(recording.path, []).append(recording)
    return grouped


def _file(path: Path, recordings: list[Recording]) -> _File:
    source = _Source(path, recordings[0].volume)
    names = _column_names(source)
    return _File(source, recordings, names, _kind(path, names))


def _read_file(file: _File, instruments: Sequence[Instrument], markets: set[str]) -> list[AnyTape]:
    path, names, kind = file.path, file.names, file.kind
    readings = {
        instrument.id.symbol: _reading(file, instrument, making, markets)
        for instrument, making in _wanted(path, file.recordings, instruments, has_symbols="symbol" in names)
    }
    optional = ("symbol", *_OPTIONAL[kind])
    columns = ["ts_ns", *_PRICES[kind], *(name for name in optional if name in names)]
    rows = 0
    for batch in _batches(file.source, columns):
        rows += len(batch.columns["ts_ns"])
        for symbol, part in _split(path, batch, readings):
            _take(readings[symbol], part)
    if not rows:
        raise DataError(f"{path.name} holds no rows: point the venue at recorded market data ({COLUMNS})")
    return [
        _finished(reading)
        for reading in readings.values()
        if reading.rows or not _is_optional(reading, file.recordings)
    ]


def _reading(file: _File, instrument: Instrument, making: QuoteMaking, markets: set[str]) -> _Reading:
    reading = _Reading(file.path.name, file.kind, instrument, making, Tape(instrument.id))
    if file.kind == "trades" and instrument.id.symbol in markets:
        if "size" not in file.names:
            raise DataError(f"{file.path.name} has no column size, which trades beside a market need: add it")
        reading.prints = TradeTape(instrument.id)
    return reading


def _is_optional(reading: _Reading, recordings: list[Recording]) -> bool:
    """An instrument that is in the file only if its symbol column says so; `read` notices when no file has it."""
    return all(recording.symbol != reading.instrument.id.symbol for recording in recordings)


def _wanted(
    path: Path, recordings: list[Recording], instruments: Sequence[Instrument], *, has_symbols: bool
) -> list[tuple[Instrument, QuoteMaking]]:
    declared = {instrument.id.symbol: instrument for instrument in instruments}
    wanted: dict[str, QuoteMaking] = {}
    for recording in recordings:
        if recording.symbol and recording.symbol not in declared:
            raise DataError(
                f"{path.name} is the recording of {recording.symbol}, which is not among the venue's instruments: "
                f"write one of {', '.join(declared)}"
            )
        for symbol in [recording.symbol] if recording.symbol else declared:
            wanted[symbol] = recording.making
    if not has_symbols and len(wanted) > 1:
        raise DataError(
            f"{path.name} has no column symbol, so it cannot hold {', '.join(wanted)}: add the column, or write one "
            "file per instrument"
        )
    return [(declared[symbol], making) for symbol, making in wanted.items()]


# Files


def _column_names(source: _Source) -> list[str]:
    path = source.path
    if not path.is_file():
        raise DataError(f"recorded data {path} is missing: check spec.simulated.data")
    if path.suffix == ".parquet":
        try:
            with source.open() as file:
                return list(pyarrow.parquet.read_schema(file).names)
        except (pyarrow.ArrowException, OSError) as error:
            raise _unreadable_parquet(path, error) from error
    try:
        with source.open() as file:
            start = file.read(4)
    except OSError as error:
        raise _unreadable(path, error) from error
    for mark, what in _MARKS.items():
        if start.startswith(mark):
            raise DataError(f"{path.name} {what}: save it as CSV in UTF-8 without byte order mark")
    if b"\0" in start:
        raise DataError(f"{path.name} is not text in UTF-8: save it as CSV in UTF-8")
    rows = _csv_rows(source)
    header = next(rows, [])
    rows.close()
    if len(header) == 1 and ";" in header[0]:
        raise DataError(f"{path.name} separates its columns by semicolons: write commas, and points in decimals")
    return header


def _kind(path: Path, names: list[str]) -> str:
    if "ts_ns" in names:
        for kind, prices in _PRICES.items():
            if set(prices) <= set(names):
                doubled = [name for name, count in Counter(names).items() if count > 1]
                if doubled:
                    raise DataError(f"{path.name} has column {doubled[0]} twice: name each column once")
                return kind
    shown = ", ".join(names[:20]) or "no header"
    raise DataError(f"{path.name} has the columns {shown}, which are none of quotes, trades, bars or l2: {COLUMNS}")


def _batches(source: _Source, columns: list[str]) -> Iterator[_Batch]:
    first_row = 1
    for batch in (_parquet_batches if source.path.suffix == ".parquet" else _csv_batches)(source, columns):
        yield _Batch(batch, first_row)
        first_row += len(batch["ts_ns"])


def _parquet_batches(source: _Source, columns: list[str]) -> Iterator[dict[str, pyarrow.Array]]:
    try:
        with source.open() as opened, pyarrow.parquet.ParquetFile(opened) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                if batch.num_rows:
                    yield {name: batch.column(name) for name in columns}
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable_parquet(source.path, error) from error


def _csv_batches(source: _Source, columns: list[str]) -> Iterator[dict[str, pyarrow.Array]]:
    rows = _csv_rows(source)
    header = next(rows)
    places = [(name, header.index(name)) for name in columns]
    collected: list[list[str]] = []
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise DataError(
                f"{source.path.name}, row {number} has {len(row)} values for {len(header)} columns: write as many"
            )
        collected.append(row)
        if len(collected) == BATCH_ROWS:
            yield _texts(collected, places)
            collected = []
    if collected:
        yield _texts(collected, places)


def _csv_rows(source: _Source) -> Generator[list[str], None, None]:
    """Rows that are not empty."""
    path = source.path
    try:
        with source.open() as opened, io.TextIOWrapper(opened, encoding="utf-8", newline="") as file:
            for row in csv.reader(file, strict=True):
                if row:
                    yield row
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 ({error.reason}): save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path.name} is not readable CSV: {error}; write {COLUMNS}") from error


def _texts(rows: list[list[str]], places: list[tuple[str, int]]) -> dict[str, pyarrow.Array]:
    return {name: pyarrow.array([row[place] or None for row in rows], pyarrow.string()) for name, place in places}


def _unreadable_parquet(path: Path, error: Exception) -> DataError:
    """What Arrow says has ends of lines."""
    return DataError(f"{path.name} is not readable Parquet: {' '.join(str(error).split())}; write the file again")


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"recorded data {path} cannot be read: {error.strerror}; check who may read it, and its disk")


def _split(path: Path, batch: _Batch, readings: Mapping[str, _Reading]) -> Iterator[tuple[str, _Batch]]:
    """A batch by instrument. Symbols that are not wanted are ignored."""
    symbols = batch.columns.get("symbol")
    if symbols is None:
        yield next(iter(readings)), batch
        return
    if symbols.null_count:
        raise DataError(f"{path.name} has rows without a symbol: write one in each row")
    texts = symbols.cast(pyarrow.string())
    for symbol in pyarrow.compute.unique(texts).to_pylist():
        if symbol in readings:
            rows = pyarrow.compute.indices_nonzero(pyarrow.compute.equal(texts, symbol))
            yield symbol, batch.where(rows)


# Rows


def _take(reading: _Reading, batch: _Batch) -> None:
    times = _integers(reading, batch, "ts_ns")
    _check_order(reading, times)
    reading.rows += len(times)
    if reading.kind == "quotes":
        _take_quotes(reading, batch, times)
    elif reading.kind == "l2":
        _take_levels(reading, batch, times)
    elif reading.prints is not None:
        _take_prints(reading, reading.prints, batch, times)
    elif reading.kind == "trades":
        _take_prices(reading, batch, "price", times)
    elif "interval_ns" in batch.columns:
        _take_prices(reading, batch, "close", _ends(reading, times, _integers(reading, batch, "interval_ns")))
    else:
        reading.distances.update(b - a for a, b in itertools.pairwise(times) if b > a)
        _take_prices(reading, batch, "close", times)


def _check_order(reading: _Reading, times: array[int]) -> None:
    last = reading.last_ns
    if reading.kind == "bars" and reading.rows and times[0] > last:
        reading.distances[times[0] - last] += 1
    for at_ns in times:
        if at_ns < last:
            raise DataError(
                f"{reading.file} goes back in time at {at_ns} of {reading.instrument.id.symbol}: sort it by ts_ns"
            )
        last = at_ns
    reading.last_ns = last


def _ends(reading: _Reading, times: array[int], intervals: array[int]) -> array[int]:
    ends = array("q")
    for at_ns, interval_ns in zip(times, intervals, strict=True):
        end_ns = at_ns + interval_ns
        if interval_ns <= 0 or end_ns < reading.last_end_ns:
            raise DataError(
                f"{reading.file}: the bar at {at_ns} with interval_ns {interval_ns} ends before the one before it, "
                "or at its own beginning: write the length of each bar in nanoseconds"
            )
        reading.last_end_ns = end_ns
        ends.append(end_ns)
    return ends


def _take_quotes(reading: _Reading, batch: _Batch, times: array[int]) -> None:
    bid, ask = _decimals(reading, batch, "bid_px"), _decimals(reading, batch, "ask_px")
    bid_sz, ask_sz = _sizes(reading, batch, "bid_sz", len(times)), _sizes(reading, batch, "ask_sz", len(times))
    usable = [place for place in range(len(times)) if ZERO < bid[place] <= ask[place]]
    reading.tape.left_out += len(times) - len(usable)
    if not usable:
        return
    rows = pyarrow.array(usable)
    columns = [_chunk_of_text(column.take(rows)) for column in (bid.texts, bid_sz, ask.texts, ask_sz)]
    reading.tape.append(array("q", [times[place] for place in usable]), *columns)


def _take_prints(reading: _Reading, tape: TradeTape, batch: _Batch, times: array[int]) -> None:
    prices, sizes = _decimals(reading, batch, "price"), _decimals(reading, batch, "size")
    aggressors = _aggressors(reading, batch, len(times))
    usable = [place for place in range(len(times)) if prices[place] > ZERO and sizes[place] > ZERO]
    tape.left_out += len(times) - len(usable)
    if usable:
        rows = pyarrow.array(usable)
        price, size = (_chunk_of_text(column.texts.take(rows)) for column in (prices, sizes))
        kept = array("b", [aggressors[place] for place in usable])
        tape.append(array("q", [times[place] for place in usable]), price, size, kept)


def _take_levels(reading: _Reading, batch: _Batch, times: array[int]) -> None:
    levels = reading.levels
    snapshots, bids = (
        _one_of(reading, batch, "update", "snapshot", "diff"),
        _one_of(reading, batch, "side", "bid", "ask"),
    )
    prices, sizes = _filled(reading, batch, "px"), _filled(reading, batch, "sz")
    not_above_0 = pyarrow.compute.match_substring_regex(prices, r"^(-|0(\.0*)?$)")
    if pyarrow.compute.any(not_above_0).as_py():
        _refuse(reading, batch, "px", not_above_0, "is not a price above 0")
    negative = pyarrow.compute.starts_with(sizes, "-")
    if pyarrow.compute.any(negative).as_py():
        _refuse(reading, batch, "sz", negative, "is negative: write what is there, 0 for a level that is gone")
    levels.times.extend(times)
    levels.snapshots.extend(snapshots)
    levels.bids.extend(bids)
    try:
        levels.add_prices(*_whole(prices))
        levels.add_sizes(*_whole(sizes))
    except OverflowError:
        raise DataError(
            f"{reading.file} has prices or sizes of more than 18 digits: write fewer decimal places"
        ) from None
    for name, column in zip(_IDS, (levels.first_ids, levels.last_ids, levels.prev_last_ids), strict=True):
        column.extend(_ids(batch, name, len(times)))


def _whole(texts: pyarrow.Array) -> tuple[array[int], int]:
    without_zeros = pyarrow.compute.replace_substring_regex(texts, r"(\.[0-9]*?)0+$", r"\1")
    whole = _integers_of_text(pyarrow.compute.utf8_rtrim(without_zeros, "."))
    if whole is None:
        raise OverflowError
    return whole


def _one_of(reading: _Reading, batch: _Batch, name: str, one: str, other: str) -> bytes:
    """1 where the column has the one word, 0 where it has the other."""
    column = batch.columns[name].cast(pyarrow.string())
    known = pyarrow.compute.is_in(column, pyarrow.array([one, other]))
    if not pyarrow.compute.all(known).as_py():
        _refuse(reading, batch, name, pyarrow.compute.invert(known), f"is neither {one} nor {other}: write one of them")
    return bytes(pyarrow.compute.equal(column, one).to_pylist())


def _ids(batch: _Batch, name: str, rows: int) -> array[int]:
    if name not in batch.columns:
        return array("q", [NO_ID] * rows)
    column = batch.columns[name]
    if pyarrow.types.is_string(column.type):
        column = pyarrow.compute.if_else(pyarrow.compute.equal(column, ""), None, column)
    return array("q", pyarrow.compute.fill_null(column.cast(pyarrow.int64()), NO_ID).to_pylist())


def _aggressors(reading: _Reading, batch: _Batch, rows: int) -> array[int]:
    if "side" not in batch.columns:
        return array("b", [0] * rows)
    sides = batch.columns["side"].cast(pyarrow.string())
    known = pyarrow.compute.is_in(sides, pyarrow.array(["", None, *AGGRESSORS]))
    if not pyarrow.compute.all(known).as_py():
        _refuse(reading, batch, "side", pyarrow.compute.invert(known), "is no side: write buy, sell, or nothing")
    return array("b", [AGGRESSORS.get(side, 0) for side in sides.to_pylist()])


def _take_prices(reading: _Reading, batch: _Batch, name: str, times: array[int]) -> None:
    prices = _decimals(reading, batch, name)
    usable = [place for place in range(len(times)) if prices[place] > ZERO]
    made = [_around(prices[place], reading.instrument, reading.making) for place in usable]
    kept = [place for place, (bid, _) in zip(usable, made, strict=True) if bid > ZERO]
    made = [pair for pair in made if pair[0] > ZERO]
    reading.tape.left_out += len(times) - len(kept)
    if kept:
        quantity = chunk_of([reading.making.quantity])
        bids, asks = _chunk([bid for bid, _ in made]), _chunk([ask for _, ask in made])
        reading.tape.append(array("q", [times[place] for place in kept]), bids, quantity, asks, quantity)


def _chunk(values: Sequence[Decimal]) -> Chunk:
    return _chunk_of_text(pyarrow.array([format(value, "f") for value in values], pyarrow.string()))


def _chunk_of_text(texts: pyarrow.Array) -> Chunk:
    """A chunk out of texts of the decimal grammar, without nulls."""
    whole = _integers_of_text(texts)
    if whole is None:
        return chunk_of([Decimal(text) for text in texts.to_pylist()])
    values, places = whole
    if values.count(values[0]) == len(values):
        return Chunk(CONTEXT.scaleb(Decimal(values[0]), -places))
    return Chunk(values, places)


def _integers_of_text(texts: pyarrow.Array) -> tuple[array[int], int] | None:
    """Texts of the decimal grammar, without nulls, as 64-bit integers of 10^-places, and the places; None when they do
    not fit."""
    points = pyarrow.compute.find_substring(texts, ".")
    lengths = pyarrow.compute.binary_length(texts)
    fractions = pyarrow.compute.if_else(
        pyarrow.compute.greater_equal(points, 0),
        pyarrow.compute.subtract(pyarrow.compute.subtract(lengths, points), 1),
        0,
    )
    places: int = pyarrow.compute.max(fractions).as_py()
    if pyarrow.compute.max(lengths).as_py() + places > _MAX_INTEGER_DIGITS:
        return None
    decimals = texts.cast(pyarrow.decimal128(38, places))
    words = array("q")
    # A decimal128 is 16 bytes, little endian on the machines that this runs on; the low half holds what fits here.
    words.frombytes(decimals.buffers()[1].slice(decimals.offset * 16, len(decimals) * 16).to_pybytes())
    if sys.byteorder == "big":
        words.byteswap()
    return words[::2], places


def _around(price: Decimal, instrument: Instrument, making: QuoteMaking) -> tuple[Decimal, Decimal]:
    spread = CONTEXT.divide(CONTEXT.multiply(price, making.spread_bps), _BPS)
    ask = price if making.price_is_ask else CONTEXT.add(price, CONTEXT.divide(spread, Decimal(2)))
    bid = CONTEXT.subtract(ask, spread)
    return round_down(bid, instrument.tick_size), round_up(ask, instrument.tick_size)


def _finished(reading: _Reading) -> AnyTape:
    tape, symbol = reading.tape, reading.instrument.id.symbol
    if not reading.rows:
        raise DataError(f"{reading.file} holds no row of {symbol}: write the symbol as the venue's instruments have it")
    if reading.prints is not None:
        if not len(reading.prints):
            raise DataError(f"{reading.file} holds no usable trade of {symbol}: prices or sizes are not positive")
        return reading.prints
    if reading.kind == "l2":
        tape = depth_tape(reading.file, reading.instrument, reading.levels)
    if not len(tape):
        raise DataError(f"{reading.file} holds no usable quote of {symbol}: bids are above offers, or not positive")
    if reading.kind == "bars" and not reading.last_end_ns:
        if not reading.distances:
            raise DataError(
                f"{reading.file} holds a single bar of {symbol} without interval_ns: write its length in ns"
            )
        # Of two that are equally common the longer: a close that is known too late is harmless, one too early is not.
        length_ns = max(reading.distances.items(), key=lambda item: (item[1], item[0]))[0]
        tape.times = array("q", [at_ns + length_ns for at_ns in tape.times])
    return tape


# Values


@dataclass(frozen=True, slots=True)
class _Decimals:
    """Texts of the grammar with their values."""

    texts: pyarrow.Array
    values: Sequence[Decimal]

    def __getitem__(self, place: int) -> Decimal:
        return self.values[place]


def _integers(reading: _Reading, batch: _Batch, name: str) -> array[int]:
    column = batch.columns[name]
    if column.null_count:
        _refuse(reading, batch, name, column.is_null(), "is empty: write nanoseconds as a whole number")
    is_text = pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)
    if is_text:
        wrong = pyarrow.compute.invert(pyarrow.compute.match_substring_regex(column, r"^[0-9]{1,18}[0-9]?$"))
        if pyarrow.compute.any(wrong).as_py():
            _refuse(reading, batch, name, wrong, "is not nanoseconds as a whole number: write it so")
    elif not pyarrow.types.is_integer(column.type):
        raise DataError(f"{reading.file} has {name} as {column.type}: write 64-bit integers, nanoseconds")
    try:
        numbers = array("q", column.cast(pyarrow.int64()).to_pylist())
    except pyarrow.ArrowException as error:
        raise DataError(f"{reading.file} has {name} beyond 64 bits ({error}): write nanoseconds") from error
    if min(numbers) < 0 or max(numbers) > _MAX_TIME_NS:
        raise DataError(f"{reading.file} has {name} below 0 or after the year 2116: write nanoseconds since 1970")
    return numbers


def _sizes(reading: _Reading, batch: _Batch, name: str, rows: int) -> pyarrow.Array:
    """Texts; what is unknown is the assumed quantity."""
    assumed = format(reading.making.quantity, "f")
    if name not in batch.columns:
        return pyarrow.array([assumed] * rows)
    texts = _grammatical(reading, batch, name, pyarrow.compute.fill_null(_as_text(batch.columns[name]), assumed))
    negative = pyarrow.compute.starts_with(texts, "-")
    if pyarrow.compute.any(negative).as_py():
        _refuse(reading, batch, name, negative, "is negative: write what is there, 0 for nothing, or leave it empty")
    return texts


def _decimals(reading: _Reading, batch: _Batch, name: str) -> _Decimals:
    texts = _filled(reading, batch, name)
    return _Decimals(texts, [Decimal(text) for text in texts.to_pylist()])


def _filled(reading: _Reading, batch: _Batch, name: str) -> pyarrow.Array:
    """Texts of the grammar; none is empty."""
    column = batch.columns[name]
    if column.null_count:
        _refuse(reading, batch, name, column.is_null(), "is empty: write a decimal number, or leave the row out")
    return _grammatical(reading, batch, name, _as_text(column))


def _grammatical(reading: _Reading, batch: _Batch, name: str, texts: pyarrow.Array) -> pyarrow.Array:
    wrong = pyarrow.compute.invert(pyarrow.compute.match_substring_regex(texts, _GRAMMAR))
    if pyarrow.compute.any(wrong).as_py():
        place = pyarrow.compute.index(wrong, True).as_py()
        try:
            parse(texts[place].as_py())
        except InvalidNumber as error:
            raise DataError(f"{reading.file}, {_row(reading, batch, place)}: {name} {error}") from error
    return texts


def _as_text(column: pyarrow.Array) -> pyarrow.Array:
    """A column as texts. Floating point numbers in their shortest form, without an exponent."""
    if pyarrow.types.is_string(column.type):
        return pyarrow.compute.if_else(pyarrow.compute.equal(column, ""), None, column)
    if pyarrow.types.is_large_string(column.type) or pyarrow.types.is_dictionary(column.type):
        return _as_text(column.cast(pyarrow.string()))
    if pyarrow.types.is_integer(column.type):
        return column.cast(pyarrow.string())
    return pyarrow.array([_plain(value) for value in column.to_pylist()], pyarrow.string())


def _plain(value: object) -> str | None:
    if value is None:
        return None
    number = Decimal(repr(value)) if isinstance(value, float) else value
    if not isinstance(number, Decimal) or not number.is_finite():
        return str(value)[:40]
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _row(reading: _Reading, batch: _Batch, place: int) -> str:
    at_ns = batch.columns["ts_ns"][place].as_py()
    return f"row {batch.first_row + place} ({reading.instrument.id.symbol} at {at_ns})"


def _refuse(reading: _Reading, batch: _Batch, name: str, wrong: pyarrow.Array, what: str) -> NoReturn:
    place = pyarrow.compute.index(wrong, True).as_py()
    value = batch.columns[name][place].as_py()
    shown = "" if value is None else f" {str(value)[:40]!r}"
    raise DataError(f"{reading.file}, {_row(reading, batch, place)}: {name}{shown} {what}")
