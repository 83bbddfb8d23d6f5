"""Binance: the files of data.binance.vision, and the order book files of its API for historical futures data.

Source: github.com/binance/binance-public-data (README), and "Binance Futures Order Book Historical Data" of Binance's
support. Spot files have no header, futures files may have one. Times are UTC, in milliseconds; those of spot files are
in microseconds from 2025-01-01 on, so a file may have both.

- klines: a bar's time is its "open time"; its length runs to the millisecond or microsecond after its "close time".
- aggTrades, trades: the side is the taker's, the opposite of "was the buyer the maker".
- bookTicker: the time is that of the event; the transaction's is exch_ts_ns.
- depth: T_DEPTH files, one row per level. "snap" is a snapshot, "set" the new size of a level, "delete" its end.
  bookDepth files are none: they have sums by distance from the price, no levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow
import pyarrow.compute

from crowetrade_cli.data.field import Field
from crowetrade_cli.data.formats.columns import (
    BOOK_SIDES,
    TAKER_IS_NOT_MAKER,
    Choice,
    Column,
    How,
    Integer,
    Number,
    Text,
    Texts,
    Time,
)
from crowetrade_cli.data.formats.csv_format import ANY, NUMBER, WHOLE, CsvFormat
from crowetrade_cli.data.formats.format import CsvSource
from crowetrade_cli.data.numbers import read_numbers
from crowetrade_cli.data.options import UNITS
from crowetrade_cli.data.times import Counted

_BOOL = r"(?i:true|false)"
_EPOCH = r"[0-9]{13}|[0-9]{16}"


@dataclass(frozen=True, slots=True)
class _Length:
    """From the open time to the close time, both included, in the unit of each."""

    opened: str
    closed: str

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.opened, self.closed)

    def read(self, name: str, texts: Texts, how: How) -> Field:
        opened, closed = Counted().read(texts[self.opened]), Counted().read(texts[self.closed])
        is_micro = pyarrow.compute.equal(pyarrow.compute.binary_length(texts[self.closed]), 16)
        last = pyarrow.compute.if_else(is_micro, UNITS["us"], UNITS["ms"])
        length = pyarrow.compute.add(pyarrow.compute.subtract(closed.values, opened.values), last)
        wrong = pyarrow.compute.fill_null(pyarrow.compute.less_equal(length, 0), True)
        return Field(
            pyarrow.compute.if_else(wrong, None, length), texts[self.closed], wrong, "is no close time of this bar"
        )


@dataclass(frozen=True, slots=True)
class _Size:
    """The size of a level after the update: nothing once it is deleted."""

    size: str
    update: str

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.size, self.update)

    def read(self, name: str, texts: Texts, how: How) -> Field:
        sizes = read_numbers(texts[self.size], how.mark)
        deleted = pyarrow.compute.equal(texts[self.update], "delete")
        return Field(pyarrow.compute.if_else(deleted, "0", sizes.values), sizes.texts, sizes.wrong, sizes.why)


_KLINES = CsvFormat(
    kind="bars",
    layout=(
        "open_time",
        "open",
        "high",
        "low",
        "close",
        "volume",
        "close_time",
        "quote_volume",
        "count",
        "taker_buy_volume",
        "taker_buy_quote_volume",
        "ignore",
    ),
    columns={
        "ts_ns": Time(("open_time",)),
        "open": Number("open"),
        "high": Number("high"),
        "low": Number("low"),
        "close": Number("close"),
        "volume": Number("volume"),
        "interval_ns": _Length("open_time", "close_time"),
    },
    shape=(_EPOCH, *[NUMBER] * 5, _EPOCH, NUMBER, WHOLE, NUMBER, NUMBER, ANY),
)
_AGGREGATED: Mapping[str, Column] = {
    "ts_ns": Time(("transact_time",)),
    "price": Number("price"),
    "size": Number("quantity"),
    "side": Choice("is_buyer_maker", TAKER_IS_NOT_MAKER),
    "trade_id": Text("agg_trade_id"),
}
_AGGREGATED_LAYOUT = (
    "agg_trade_id",
    "price",
    "quantity",
    "first_trade_id",
    "last_trade_id",
    "transact_time",
    "is_buyer_maker",
)
_AGGREGATED_SHAPE = (WHOLE, NUMBER, NUMBER, WHOLE, WHOLE, _EPOCH, _BOOL)
_TRADES: Mapping[str, Column] = {
    "ts_ns": Time(("time",)),
    "price": Number("price"),
    "size": Number("qty"),
    "side": Choice("is_buyer_maker", TAKER_IS_NOT_MAKER),
    "trade_id": Text("id"),
}
_TRADES_LAYOUT = ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker")
_TRADES_SHAPE = (WHOLE, NUMBER, NUMBER, NUMBER, _EPOCH, _BOOL)
_BOOK_TICKER = CsvFormat(
    kind="quotes",
    layout=(
        "update_id",
        "best_bid_price",
        "best_bid_qty",
        "best_ask_price",
        "best_ask_qty",
        "transaction_time",
        "event_time",
    ),
    columns={
        "ts_ns": Time(("event_time",)),
        "bid_px": Number("best_bid_price"),
        "bid_sz": Number("best_bid_qty"),
        "ask_px": Number("best_ask_price"),
        "ask_sz": Number("best_ask_qty"),
        "exch_ts_ns": Time(("transaction_time",)),
    },
    shape=(WHOLE, *[NUMBER] * 4, _EPOCH, _EPOCH),
)
_DEPTH: Mapping[str, Column] = {
    "ts_ns": Time(("timestamp",)),
    "update": Choice("update_type", {"snap": "snapshot", "set": "diff", "delete": "diff"}),
    "side": Choice("side", BOOK_SIDES),
    "px": Number("price"),
    "sz": _Size("qty", "update_type"),
    "first_id": Integer("first_update_id"),
    "last_id": Integer("last_update_id"),
    "prev_last_id": Integer("pu"),
}
_DEPTH_LAYOUT = (
    "symbol",
    "timestamp",
    "first_update_id",
    "last_update_id",
    "side",
    "update_type",
    "price",
    "qty",
)

FORMATS = (
    CsvSource("binance-klines", "Binance klines (bars)", (_KLINES,)),
    CsvSource(
        "binance-aggtrades",
        "Binance aggTrades (trades)",
        (
            CsvFormat("trades", _AGGREGATED_LAYOUT, _AGGREGATED, _AGGREGATED_SHAPE),
            CsvFormat("trades", (*_AGGREGATED_LAYOUT, "is_best_match"), _AGGREGATED, (*_AGGREGATED_SHAPE, _BOOL)),
        ),
    ),
    CsvSource(
        "binance-trades",
        "Binance trades",
        (
            CsvFormat("trades", _TRADES_LAYOUT, _TRADES, _TRADES_SHAPE),
            CsvFormat("trades", (*_TRADES_LAYOUT, "is_best_match"), _TRADES, (*_TRADES_SHAPE, _BOOL)),
        ),
    ),
    CsvSource("binance-bookticker", "Binance bookTicker (quotes)", (_BOOK_TICKER,)),
    CsvSource(
        "binance-depth",
        "Binance T_DEPTH order book snapshots and updates (l2)",
        (CsvFormat("l2", (*_DEPTH_LAYOUT, "pu"), _DEPTH), CsvFormat("l2", _DEPTH_LAYOUT, _DEPTH)),
    ),
)
