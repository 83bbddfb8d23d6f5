"""Recorded market data as a list of quotes: Parquet or CSV with the columns of one of three kinds.

quotes: ts_ns, bid_px, bid_sz, ask_px, ask_sz (sizes may be empty). trades: ts_ns, price, size.
bars: ts_ns (open time), open, high, low, close, volume; optionally interval_ns.

A bar makes one quote at the bar's end: half the spread below and above its close, rounded outward to the tick size.
A trade makes one quote in the same way around its price. Where the recording is of offers (`price_is` ask), close is
the offer and the bid stands the whole spread below.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.numbers import CONTEXT, parse, parse_optional, round_down, round_up
from crowetrade_agents.errors import DataError, InvalidNumber

BPS = Decimal(10_000)
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class QuoteMaking:
    """How bars and trades become quotes: spread in bps of price, quantity shown on each side in base units."""

    spread_bps: Decimal = Decimal(1)
    quantity: Decimal = Decimal(1_000_000)
    # True when the recorded price is the offer.
    price_is_ask: bool = False


def read(path: Path, instrument: Instrument, making: QuoteMaking) -> list[TopOfBook]:
    """Quotes in time order, crossed ones left out; raises DataError naming the file and what is wrong with it."""
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path.name} holds no rows: point the venue at recorded quotes, trades or bars")
    columns = set(rows[0])
    try:
        if {"ts_ns", "bid_px", "ask_px"} <= columns:
            books = [_quote(row, instrument.symbol) for row in rows]
        elif {"ts_ns", "close"} <= columns:
            interval = _interval(rows)
            books = [_around(row, "close", interval, instrument, making) for row in rows]
        elif {"ts_ns", "price"} <= columns:
            books = [_around(row, "price", 0, instrument, making) for row in rows]
        else:
            raise DataError(
                f"{path.name} has columns {sorted(columns)}: quotes, trades or bars are needed (see the docs)"
            )
    except (InvalidNumber, TypeError, ValueError, KeyError) as error:
        raise DataError(f"{path.name} cannot be read: {error}") from error
    if any(later.event_ns < earlier.event_ns for earlier, later in itertools.pairwise(books)):
        raise DataError(f"{path.name} goes back in time: sort it by ts_ns")
    usable = [book for book in books if 0 < book.bid_price <= book.ask_price]
    if not usable:
        raise DataError(f"{path.name} holds no usable quote: bids are above offers or not positive")
    return usable


def _rows(path: Path) -> Iterator[Row]:
    if not path.is_file():
        raise DataError(f"recorded data {path} is missing: check spec.simulated.data")
    if path.suffix == ".parquet":
        try:
            yield from pyarrow.parquet.read_table(path).to_pylist()
        except pyarrow.ArrowException as error:
            raise DataError(f"{path.name} is not readable Parquet: {error}") from error
        return
    with path.open(newline="") as lines:
        yield from csv.DictReader(lines)


def _quote(row: Row, symbol: str) -> TopOfBook:
    return TopOfBook(
        symbol=symbol,
        bid_price=parse(str(row["bid_px"])),
        bid_quantity=parse_optional(str(row.get("bid_sz") or "")),
        ask_price=parse(str(row["ask_px"])),
        ask_quantity=parse_optional(str(row.get("ask_sz") or "")),
        event_ns=int(str(row["ts_ns"])),
    )


def _interval(rows: list[Row]) -> int:
    """Length of a bar in ns: the shortest distance between two bars."""
    times = [int(str(row["ts_ns"])) for row in rows]
    return min((b - a for a, b in itertools.pairwise(times) if b > a), default=0)


def _around(row: Row, column: str, later_ns: int, instrument: Instrument, making: QuoteMaking) -> TopOfBook:
    price = parse(str(row[column]))
    spread = CONTEXT.divide(CONTEXT.multiply(price, making.spread_bps), BPS)
    ask = price if making.price_is_ask else price + spread / 2
    return TopOfBook(
        symbol=instrument.symbol,
        bid_price=round_down(ask - spread, instrument.tick_size),
        bid_quantity=making.quantity,
        ask_price=round_up(ask, instrument.tick_size),
        ask_quantity=making.quantity,
        event_ns=int(str(row["ts_ns"])) + later_ns,
    )
