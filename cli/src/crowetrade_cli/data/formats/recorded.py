"""What the simulated venue reads itself: Parquet or CSV with the columns of docs/data.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from crowetrade_cli.data.field import Field
from crowetrade_cli.data.files import Input
from crowetrade_cli.data.formats.columns import Choice, Column, Integer, Number, Text, Time
from crowetrade_cli.data.formats.csv_format import csv_reader
from crowetrade_cli.data.kinds import BATCH_ROWS, COLUMNS, PRICES, REQUIRED, SIZES, kind_of, schema_of
from crowetrade_cli.data.numbers import read_numbers
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.data.parts import Part, Reader, assemble
from crowetrade_cli.data.sample import Sample
from crowetrade_cli.errors import Failed, WrongUse

_PARQUET = b"PAR1"
_WORDS = {
    "quotes": {},
    "bars": {},
    "trades": {"side": {"buy": "buy", "sell": "sell"}},
    "l2": {"side": {"bid": "bid", "ask": "ask"}, "update": {"snapshot": "snapshot", "diff": "diff"}},
}


def _column(kind: str, name: str) -> Column:
    if name in _WORDS[kind]:
        return Choice(name, _WORDS[kind][name])
    if name in {"ts_ns", "exch_ts_ns"}:
        return Time((name,), unit="ns")
    if name in PRICES or name in SIZES:
        return Number(name)
    return Integer(name) if COLUMNS[kind].get(name) == pyarrow.int64() else Text(name)


@dataclass(frozen=True, slots=True)
class _Csv:
    name: str
    title: str

    def recognises(self, sample: Sample) -> bool:
        return sample.header is not None and kind_of(set(sample.header)) is not None

    def reader(self, sample: Sample, options: ReadOptions) -> Reader:
        kind = kind_of(set(sample.header or ()))
        if kind is None or sample.header is None:
            raise Failed(f"{sample.source.shown} has not the columns of any kind: {_wanted()}")
        columns = {name: _column(kind, name) for name in (*COLUMNS[kind], "symbol") if name in sample.header}
        return csv_reader(kind, columns, sample.header, sample, options)


def _wanted() -> str:
    return "; ".join(f"{kind} have {', '.join(names)}" for kind, names in REQUIRED.items())


@dataclass(slots=True)
class _ParquetReader:
    """Reads a Parquet file from its path, in batches."""

    source: Input
    kind: str
    names: tuple[str, ...]

    @property
    def found(self) -> Mapping[str, str]:
        return {"encoding": "Parquet", "time unit": "nanoseconds"}

    def parts(self, stream: IO[bytes]) -> Iterator[Part]:
        """The rows in the order of the file; row numbers count from 1."""
        row = 1
        try:
            with pyarrow.parquet.ParquetFile(self.source.path) as file:
                for batch in file.iter_batches(BATCH_ROWS, columns=list(self.names)):
                    yield self._part(batch, row)
                    row += batch.num_rows
        except (pyarrow.ArrowException, OSError) as error:
            raise _unreadable(self.source, error) from error

    def _part(self, batch: pyarrow.RecordBatch, first_row: int) -> Part:
        fields = {name: (name, _field(self.kind, name, batch.column(name))) for name in self.names}
        rows, bad, first = assemble(self.kind, fields, lambda place: first_row + place)
        return Part(rows, bad, f"{self.source.shown}, row {first.line}: {first.why}" if first else "")


def _field(kind: str, name: str, column: pyarrow.Array) -> Field:
    wanted = schema_of(kind, {name}).field(name).type
    texts = column.cast(pyarrow.string()) if not pyarrow.types.is_floating(column.type) else _plain(column)
    if wanted == pyarrow.int64():
        return Field(column.cast(pyarrow.int64()), texts)
    if name not in PRICES and name not in SIZES:
        return Field(texts, texts)
    numbers = read_numbers(pyarrow.compute.fill_null(texts, ""))
    return Field(numbers.values, numbers.texts, numbers.wrong, numbers.why)


def _unreadable(source: Input, error: Exception) -> Failed:
    """What Arrow says has ends of lines."""
    return Failed(f"{source.shown} is not readable Parquet: {' '.join(str(error).split())}; write the file again")


def _is_whole(kind: pyarrow.DataType) -> bool:
    is_text = pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)
    return bool(is_text or pyarrow.types.is_integer(kind) or pyarrow.types.is_null(kind))


def _plain(column: pyarrow.Array) -> pyarrow.Array:
    """Floating point numbers in their shortest form."""
    return pyarrow.array([None if value is None else repr(value) for value in column.to_pylist()], pyarrow.string())


@dataclass(frozen=True, slots=True)
class _Parquet:
    name: str
    title: str

    def recognises(self, sample: Sample) -> bool:
        return sample.start.startswith(_PARQUET)

    def reader(self, sample: Sample, options: ReadOptions) -> Reader:
        if not sample.start.startswith(_PARQUET) or sample.source.member:
            raise Failed(f"{sample.source.shown} is not Parquet: name another format with --from")
        if replace(options, symbol="", member="") != ReadOptions():
            raise WrongUse("a recording states all of its columns itself: leave the options about them out")
        try:
            schema = pyarrow.parquet.read_schema(sample.source.path)
        except (pyarrow.ArrowException, OSError) as error:
            raise _unreadable(sample.source, error) from error
        names = schema.names
        kind = kind_of(set(names))
        if kind is None:
            raise Failed(f"{sample.source.shown} has the columns {', '.join(names[:20])}: {_wanted()}")
        for name in names:
            if COLUMNS[kind].get(name) == pyarrow.int64() and not _is_whole(schema.field(name).type):
                # The numbers in a timestamp may be of another unit; a float has not the digits for nanoseconds.
                raise Failed(
                    f"{sample.source.shown} has {name} as {schema.field(name).type}: write 64-bit integers, of times "
                    "nanoseconds since 1970 UTC"
                )
        return _ParquetReader(sample.source, kind, tuple(name for name in (*COLUMNS[kind], "symbol") if name in names))


FORMATS = (
    _Parquet("recorded", "what the simulated venue reads, Parquet"),
    _Csv("recorded-csv", "what the simulated venue reads, CSV"),
)
