"""Coinbase: candles as JSON, in both forms of the API, and as CSV with the same columns.

Source: docs.cdp.coinbase.com, "Get product candles" of the Exchange API (arrays of time, low, high, open, close,
volume) and of the Advanced Trade API (objects with start, low, high, open, close, volume, in a list or under
"candles"). Times are UTC, in seconds, and are the begin of a candle; intervals without a trade have none. An answer of
the API is newest first, so it needs --sort. JSON is read whole, up to MAX_JSON_BYTES; its numbers are not made floats.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO

import pyarrow

from crowetrade_cli.data.csv_rows import Layout, Lines, TextBatch
from crowetrade_cli.data.formats.columns import Column, Number, Time
from crowetrade_cli.data.formats.csv_format import CsvFormat, OfTable, csv_reader
from crowetrade_cli.data.formats.format import CsvSource
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.data.parts import Part, Reader
from crowetrade_cli.data.sample import Sample
from crowetrade_cli.errors import Failed

MAX_JSON_BYTES = 64 * 1024 * 1024
_NAMES = ("time", "low", "high", "open", "close", "volume")
_COLUMNS: Mapping[str, Column] = {
    "ts_ns": Time(("time",), unit="s"),
    **{name: Number(name) for name in ("open", "high", "low", "close", "volume")},
}


def _is_json(sample: Sample) -> bool:
    return sample.encoding is not None and sample.start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{")


@dataclass(slots=True)
class _JsonReader(OfTable):
    """The rows of a JSON document."""

    @property
    def found(self) -> Mapping[str, str]:
        return {"encoding": "JSON", "time unit": "seconds"}

    def parts(self, stream: IO[bytes]) -> Iterator[Part]:
        """All rows at once."""
        content = stream.read(MAX_JSON_BYTES + 1)
        shown = self.table.source.shown
        if len(content) > MAX_JSON_BYTES:
            raise Failed(f"{shown} is JSON of more than {MAX_JSON_BYTES >> 20} MiB: convert it to CSV, or cut it")
        try:
            document = json.loads(content, parse_float=str, parse_int=str)
        except RecursionError as error:
            raise Failed(f"{shown} is not readable JSON: it is nested too deep; get the file again") from error
        except ValueError as error:
            raise Failed(f"{shown} is not readable JSON: {error}; get the file again") from error
        rows = [_row(shown, number, candle) for number, candle in enumerate(_candles(shown, document), 1)]
        columns = {
            name: pyarrow.array([row[place] for row in rows], pyarrow.string()) for place, name in enumerate(_NAMES)
        }
        yield self.table.part(TextBatch(columns, Lines(1), []))


def _candles(shown: str, document: object) -> list[object]:
    candles = document.get("candles") if isinstance(document, dict) else document
    if not isinstance(candles, list):
        raise Failed(f"{shown} has no list of candles: save the whole answer of the API")
    return candles


def _row(shown: str, number: int, candle: object) -> list[str]:
    values: list[object] = []
    if isinstance(candle, dict):
        values = [candle.get("start" if name == "time" and "start" in candle else name) for name in _NAMES]
    elif isinstance(candle, list):
        values = candle
    if len(values) != len(_NAMES) or not all(isinstance(value, str) for value in values):
        raise Failed(f"{shown}: candle {number} has not {', '.join(_NAMES)} as numbers: get the file again")
    return [str(value) for value in values]


@dataclass(frozen=True, slots=True)
class _Json:
    name: str
    title: str

    def recognises(self, sample: Sample) -> bool:
        return _is_json(sample) and any(mark in sample.start for mark in (b'"start"', b'"low"', b"[["))

    def reader(self, sample: Sample, options: ReadOptions) -> Reader:
        if not _is_json(sample):
            raise Failed(f"{sample.source.shown} is not JSON: name another format with --from")
        table = csv_reader("bars", _COLUMNS, _NAMES, sample, options)
        table.layout = Layout(",", _NAMES, 1)
        return _JsonReader(table)


FORMATS = (
    _Json("coinbase-candles-json", "Coinbase candles, an answer of the API (bars)"),
    CsvSource(
        "coinbase-candles",
        "Coinbase candles, CSV (bars)",
        (
            CsvFormat("bars", _NAMES, _COLUMNS, (r"[0-9]{9,10}", *[r"[0-9.eE+-]+"] * 5), told_by_shape=False),
            CsvFormat(
                "bars",
                ("start", *_NAMES[1:]),
                {**_COLUMNS, "ts_ns": Time(("start",), unit="s")},
            ),
        ),
    ),
)
