"""LOBSTER: a message file and an order book file, row by row of the same event, CSV without header.

Source: lobsterdata.com, "Data structure". Times are seconds after midnight in New York, with up to nine decimals; the
date is in the name, TICKER_YYYY-MM-DD_START_END_message_LEVELS.csv. Prices are dollars times 10,000. Name the message
file; the order book file is found beside it by its name.

- lobster-quotes: the best level of the order book after each event.
- lobster-l2: the whole order book after each event, as a snapshot whose id is the event's line; a level that is empty
  has no row.
- lobster-trades: executions, of visible (type 4) and hidden (type 5) orders; the side is the taker's, the opposite of
  the order's direction. Messages of other types are no trades.

A side without orders has the price 9999999999 or -9999999999 there and size 0: such a row is no quote and cannot be
read. Trading halts (type 7) leave the order book as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO

import pyarrow
import pyarrow.compute

from crowetrade_cli.data.csv_rows import Layout, Lines, TextBatch, read_rows
from crowetrade_cli.data.field import Field
from crowetrade_cli.data.files import Input, find_input, open_input
from crowetrade_cli.data.formats.columns import (
    BOOK_SIDES,
    Choice,
    Column,
    Constant,
    How,
    Integer,
    Number,
    OneSource,
    Text,
    Texts,
    Time,
)
from crowetrade_cli.data.formats.csv_format import CsvReader, OfTable, csv_reader
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.data.parts import Part, Reader
from crowetrade_cli.data.sample import Sample
from crowetrade_cli.data.text import as_utf8
from crowetrade_cli.errors import Failed

_NAME = re.compile(
    r"^(?P<ticker>.+)_(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})_[0-9]+_[0-9]+_(?P<what>message|orderbook)_(?P<levels>[0-9]+)\.csv"
)
_MESSAGE = ("time", "type", "order_id", "size", "price", "direction")
_PLACES = 4
_NO_PRICE = pyarrow.array(["9999999999", "-9999999999"])
_EXECUTIONS = pyarrow.array(["4", "5"])
_NO_ROWS = TextBatch({}, Lines(1), [])
ZONE = "America/New_York"


@dataclass(frozen=True, slots=True)
class _Level(OneSource):
    """A price that is missing where the level is empty."""

    def read(self, name: str, texts: Texts, how: How) -> Field:
        values = texts[self.source]
        empty = pyarrow.compute.is_in(values, value_set=_NO_PRICE)
        number = Number(self.source, _PLACES).read(name, {self.source: pyarrow.compute.if_else(empty, "", values)}, how)
        return Field(number.values, values, number.wrong, number.why or "is no price: this side is empty")


def _names(levels: int) -> tuple[str, ...]:
    return tuple(
        f"{name}_{level}" for level in range(1, levels + 1) for name in ("ask_px", "ask_sz", "bid_px", "bid_sz")
    )


@dataclass(slots=True)
class _Trades(OfTable):
    """Executions of the message file."""

    def parts(self, stream: IO[bytes]) -> Iterator[Part]:
        """One row per execution."""
        for batch in self.table.texts(stream, _MESSAGE):
            yield self.table.part(_executions(batch))


def _executions(batch: TextBatch) -> TextBatch:
    if not batch.columns:
        return batch
    taken = pyarrow.compute.indices_nonzero(pyarrow.compute.is_in(batch.columns["type"], value_set=_EXECUTIONS))
    return _taken(batch, taken)


def _taken(batch: TextBatch, rows: pyarrow.Array) -> TextBatch:
    """Some rows of a batch, with their lines."""
    columns = {name: column.take(rows) for name, column in batch.columns.items()}
    first = batch.lines.first
    places = pyarrow.array([batch.lines[row] - first for row in rows.to_pylist()], pyarrow.int64())
    return TextBatch(columns, Lines(first, (), places), batch.misfits)


@dataclass(slots=True)
class _Book(OfTable):
    """The order book after each message: its best level, or all."""

    book: Input
    levels: int

    def parts(self, stream: IO[bytes]) -> Iterator[Part]:
        """Both files, row by row."""
        names = _names(self.levels)
        shown = f"{self.table.source.shown} and {self.book.shown}"
        with open_input(self.book) as levels_stream:
            messages = self.table.texts(stream, ["time"])
            wanted = names if self.kind == "l2" else names[:4]
            text = as_utf8(levels_stream, self.table.encoding, self.book.shown)
            levels = read_rows(text, Layout(",", names, 1), wanted, self.book.shown)
            for batch in _beside(messages, levels, shown):
                yield self.table.part(_by_level(batch, self.levels) if self.kind == "l2" else batch)


def _beside(messages: Iterator[TextBatch], levels: Iterator[TextBatch], shown: str) -> Iterator[TextBatch]:
    """Rows of both files in one. Raises Failed when one has more."""
    left, right, line = _NO_ROWS, _NO_ROWS, 1
    while True:
        left = left if len(left) else _whole(next(messages, _NO_ROWS), shown)
        right = right if len(right) else _whole(next(levels, _NO_ROWS), shown)
        rows = min(len(left), len(right))
        if not rows:
            break
        yield TextBatch({**_sliced(left, 0, rows), **_sliced(right, 0, rows)}, Lines(line), [])
        line += rows
        left, right = (TextBatch(_sliced(side, rows), Lines(line), []) for side in (left, right))
    if len(left) or len(right):
        raise Failed(f"{shown} have not the same number of rows: get both files again")


def _whole(batch: TextBatch, shown: str) -> TextBatch:
    if batch.misfits:
        raise Failed(f"{shown}: line {batch.misfits[0][0]} has another number of columns: get both files again")
    return batch


def _sliced(batch: TextBatch, start: int, rows: int | None = None) -> dict[str, pyarrow.Array]:
    return {name: column.slice(start, rows) for name, column in batch.columns.items()}


def _by_level(batch: TextBatch, levels: int) -> TextBatch:
    """One row per level that is there, from the best on, in the columns time, event, side, px, sz."""
    rows, sides = len(batch), [(side, level) for level in range(1, levels + 1) for side in ("ask", "bid")]
    by_row = pyarrow.array([place * rows + row for row in range(rows) for place in range(len(sides))], pyarrow.int64())
    event = pyarrow.array([row for row in range(rows) for _ in sides], pyarrow.int64())
    px, sz = (
        pyarrow.concat_arrays([batch.columns[f"{side}_{what}_{level}"] for side, level in sides]).take(by_row)
        for what in ("px", "sz")
    )
    columns = {
        "time": batch.columns["time"].take(event),
        "event": pyarrow.compute.add(event, batch.lines.first).cast(pyarrow.string()),
        "side": pyarrow.array([side for side, _ in sides] * rows, pyarrow.string()),
        "px": px,
        "sz": sz,
    }
    there = pyarrow.compute.invert(pyarrow.compute.is_in(px, value_set=_NO_PRICE))
    kept = pyarrow.compute.indices_nonzero(there)
    return TextBatch(
        {name: column.take(kept) for name, column in columns.items()},
        Lines(batch.lines.first, (), event.take(kept)),
        [],
    )


_KINDS: Mapping[str, Mapping[str, Column]] = {
    "quotes": {
        "bid_px": _Level("bid_px_1"),
        "bid_sz": Number("bid_sz_1"),
        "ask_px": _Level("ask_px_1"),
        "ask_sz": Number("ask_sz_1"),
    },
    "l2": {
        "update": Constant("snapshot", "time"),
        "side": Choice("side", BOOK_SIDES),
        "px": Number("px", _PLACES),
        "sz": Number("sz"),
        "first_id": Integer("event"),
        "last_id": Integer("event"),
    },
    "trades": {
        "price": Number("price", _PLACES),
        "size": Number("size"),
        "side": Choice("direction", {"1": "sell", "-1": "buy"}),
        "trade_id": Text("order_id"),
    },
}


@dataclass(frozen=True, slots=True)
class _Lobster:
    name: str
    title: str
    kind: str

    def recognises(self, sample: Sample) -> bool:
        match = _NAME.match(sample.source.name)
        return match is not None and match["what"] == "message"

    def reader(self, sample: Sample, options: ReadOptions) -> Reader:
        match = _NAME.match(sample.source.name)
        if match is None or match["what"] != "message":
            raise Failed(
                f"{sample.source.shown} is not named as LOBSTER's message files are, "
                "TICKER_YYYY-MM-DD_START_END_message_LEVELS.csv: name that file, with the order book file beside it"
            )
        time = Time(("time",), unit="s", zone=ZONE, date=match["date"].replace("-", ""))
        levels = int(match["levels"])
        if self.kind == "trades":
            return _Trades(self._table(_MESSAGE, time, sample, options))
        path = sample.source.path
        book = find_input(path.with_name(path.name.replace("_message_", "_orderbook_")))
        names = ("time", *(_names(levels) if self.kind == "quotes" else ("event", "side", "px", "sz")))
        return _Book(self._table(names, time, sample, options), book, levels)

    def _table(self, names: tuple[str, ...], time: Time, sample: Sample, options: ReadOptions) -> CsvReader:
        table = csv_reader(self.kind, {"ts_ns": time, **_KINDS[self.kind]}, names, sample, options)
        table.layout = Layout(",", _MESSAGE, 1)
        return table


FORMATS = (
    _Lobster("lobster-quotes", "LOBSTER, best level of the order book (quotes)", "quotes"),
    _Lobster("lobster-trades", "LOBSTER, executions (trades)", "trades"),
    _Lobster("lobster-l2", "LOBSTER, all levels of the order book (l2)", "l2"),
)
