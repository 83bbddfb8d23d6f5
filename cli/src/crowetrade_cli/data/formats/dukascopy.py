"""Dukascopy: CSV exports of bars and ticks, and .bi5 files of ticks.

Source: the headers of exports of Dukascopy's Historical Data Feed and of JForex, and the description of
`{HH}h_ticks.bi5` shared by the readers of it (dukascopy-node, duka): LZMA over records of 20 bytes, big-endian: the
milliseconds since the begin of the hour, ask and bid in points, and both sizes as 32-bit floats.

- "Gmt time" and "Time (UTC)" are UTC, "Local time" has its offset in each row, "Time (EET)" is EET.
- A bar's time is its begin. A file has bars of bids or of asks, and does not say which.
- Of a .bi5 file the hour is in its path, YEAR/MONTH/DAY/HHh_ticks.bi5, where January is 00. How many decimals a point
  has is not in the file: --price-digits, 5 for most pairs and 3 for those in JPY.
- dukascopy-node writes "timestamp", in ms; its bars are recognised by the side in their name, as eurusd-m1-bid-....csv.
- Sizes are as Dukascopy writes them, in millions for pairs: --multiply-sizes 1000000 makes them units.
"""

from __future__ import annotations

import array
import lzma
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO

import pyarrow
import pyarrow.compute

from crowetrade_cli.data.field import Field
from crowetrade_cli.data.files import Input
from crowetrade_cli.data.formats.columns import Column, Number, Time
from crowetrade_cli.data.formats.csv_format import CsvFormat
from crowetrade_cli.data.formats.format import CsvSource
from crowetrade_cli.data.kinds import schema_of
from crowetrade_cli.data.numbers import multiplied, read_numbers, shift_point
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.data.parts import Part, Reader
from crowetrade_cli.data.sample import Sample
from crowetrade_cli.errors import Failed, WrongUse

_RECORD_BYTES = 20
_RECORDS = 32_768
_PATH = re.compile(r"([0-9]{4})/([0-9]{2})/([0-9]{2})/([0-9]{2})h_ticks\.bi5$")
_WRITTEN = ("%d.%m.%Y %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S", "%Y.%m.%d %H:%M:%S", "%Y.%m.%d %H:%M:%S.%f", "iso")
_TIMES = {
    "gmt_time": Time(("gmt_time",), _WRITTEN, zone="UTC"),
    "time_(utc)": Time(("time_(utc)",), _WRITTEN, zone="UTC"),
    "time_(eet)": Time(("time_(eet)",), _WRITTEN, zone="EET"),
    "local_time": Time(("local_time",), tuple(f"{text} GMT%z" for text in _WRITTEN[:4])),
}
_PRICES = ("open", "high", "low", "close")
_TICKS = ("ask", "bid", "askvolume", "bidvolume")


@dataclass(slots=True)
class _Bi5Reader:
    """Reads the ticks of one hour."""

    source: Input
    hour_ns: int
    options: ReadOptions
    kind: str = "quotes"

    @property
    def found(self) -> Mapping[str, str]:
        return {"encoding": ".bi5", "time unit": "milliseconds"}

    def parts(self, stream: IO[bytes]) -> Iterator[Part]:
        """Batches in the order of the file; none when the hour has no ticks."""
        decompressor = lzma.LZMADecompressor()
        rest = b""
        is_empty = True
        try:
            while chunk := stream.read(1 << 16):
                is_empty = False
                rest += decompressor.decompress(chunk)
                whole = len(rest) // _RECORD_BYTES * _RECORD_BYTES
                for start in range(0, whole, _RECORDS * _RECORD_BYTES):
                    yield self._part(rest[start : min(start + _RECORDS * _RECORD_BYTES, whole)])
                rest = rest[whole:]
        except lzma.LZMAError as error:
            raise Failed(f"{self.source.shown} is damaged: {error}; get the file again") from error
        # By its records alone a file that was cut off could look whole.
        if rest or not (is_empty or decompressor.eof):
            raise Failed(f"{self.source.shown} is cut off: get the file again")

    def _part(self, records: bytes) -> Part:
        words = array.array("I", records)
        floats = array.array("f", records)
        if sys.byteorder == "little":
            words.byteswap()
            floats.byteswap()
        counts = [pyarrow.array(words[place::5], pyarrow.int64()) for place in range(3)]
        times = pyarrow.compute.add(pyarrow.compute.multiply(counts[0], 1_000_000), self.hour_ns)
        ask, bid = (shift_point(count.cast(pyarrow.string()), self.options.price_digits or 0) for count in counts[1:])
        ask_sz, bid_sz = (self._sizes(floats[place::5]) for place in (3, 4))
        columns = {"ts_ns": times, "bid_px": bid, "bid_sz": bid_sz, "ask_px": ask, "ask_sz": ask_sz}
        schema = schema_of("quotes", set(columns))
        return Part(pyarrow.record_batch([columns[name] for name in schema.names], schema=schema))

    def _sizes(self, floats: array.array[float]) -> pyarrow.Array:
        """The shortest decimals that are these 32-bit floats: the source has no others."""
        numbers = read_numbers(pyarrow.array(floats, pyarrow.float32()).cast(pyarrow.string()))
        sizes: Field = multiplied(numbers, self.options.size_factor)
        return sizes.values


@dataclass(frozen=True, slots=True)
class _Bi5:
    name: str
    title: str

    def recognises(self, sample: Sample) -> bool:
        return sample.source.name.endswith("h_ticks.bi5")

    def reader(self, sample: Sample, options: ReadOptions) -> Reader:
        place = f"{sample.source.path.resolve().as_posix()}/{sample.source.member}".rstrip("/")
        match = _PATH.search(place)
        if match is None:
            raise WrongUse(
                f"{sample.source.shown} has no hour in its path: keep YEAR/MONTH/DAY/HHh_ticks.bi5 as the feed has it "
                "(January is 00)"
            )
        if options.price_digits is None:
            raise WrongUse(
                f"{sample.source.shown} has prices as whole numbers: write --price-digits, 5 for most pairs, 3 for JPY"
            )
        year, month, day, hour = (int(text) for text in match.groups())
        try:
            begin = datetime(year, month + 1, day, hour, tzinfo=UTC)
        except ValueError as error:
            raise WrongUse(f"{match[0]} is no hour: {error}; January is 00") from error
        return _Bi5Reader(sample.source, int(begin.timestamp()) * 1_000_000_000, options)


_BAR: Mapping[str, Column] = {name: Number(name) for name in (*_PRICES, "volume")}
_TICK: Mapping[str, Column] = {
    "bid_px": Number("bid"),
    "bid_sz": Number("bidvolume"),
    "ask_px": Number("ask"),
    "ask_sz": Number("askvolume"),
}
# dukascopy-node writes volumes when it is asked to.
_NODE_TIME = Time(("timestamp",), unit="ms")
_NODE_TICK: Mapping[str, Column] = {**_TICK, "bid_px": Number("bidprice"), "ask_px": Number("askprice")}
_NODE_NAME = r"-(bid|ask)-"

FORMATS = (
    CsvSource(
        "dukascopy-bars",
        "Dukascopy bars, CSV, also of dukascopy-node",
        (
            *(CsvFormat("bars", (name, *_PRICES, "volume"), {"ts_ns": time, **_BAR}) for name, time in _TIMES.items()),
            *(
                CsvFormat(
                    "bars",
                    ("timestamp", *_PRICES, *volume),
                    {"ts_ns": _NODE_TIME, **_BAR},
                    file_name=_NODE_NAME,
                )
                for volume in (("volume",), ())
            ),
        ),
    ),
    CsvSource(
        "dukascopy-ticks",
        "Dukascopy ticks, CSV, also of dukascopy-node (quotes)",
        (
            *(CsvFormat("quotes", (name, *_TICKS), {"ts_ns": time, **_TICK}) for name, time in _TIMES.items()),
            *(
                CsvFormat(
                    "quotes",
                    ("timestamp", "askprice", "bidprice", *volumes),
                    {"ts_ns": _NODE_TIME, **_NODE_TICK},
                )
                for volumes in (("askvolume", "bidvolume"), ())
            ),
        ),
    ),
    _Bi5("dukascopy-bi5", "Dukascopy ticks, .bi5 (quotes)"),
)
