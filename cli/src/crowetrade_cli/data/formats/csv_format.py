"""Sources of delimited text, as tables of columns.

A file is of a source when its header is that of the source (the columns in any order), or, without a header, when
most of its first rows have the shape of the source's rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import IO

import pyarrow

from crowetrade_cli.data.csv_rows import Layout, TextBatch, read_rows
from crowetrade_cli.data.field import Field
from crowetrade_cli.data.files import Input
from crowetrade_cli.data.formats.columns import Column, Constant, How, Number, Texts, Time
from crowetrade_cli.data.kinds import COLUMNS, SIZES
from crowetrade_cli.data.numbers import infer_mark, multiplied
from crowetrade_cli.data.options import MARKS, ReadOptions
from crowetrade_cli.data.parts import BadRow, Part, assemble
from crowetrade_cli.data.sample import Sample
from crowetrade_cli.data.text import as_utf8
from crowetrade_cli.data.times import ISO, Counted, Written, compile_format, midnight_s, zone_of
from crowetrade_cli.errors import Failed, WrongUse

COUNT = r"[0-9]{1,19}(\.[0-9]+)?"
NUMBER = r"[+-]?[0-9.,]*[0-9](\.?[eE][+-]?[0-9]+)?"
WHOLE = r"[0-9]+"
ANY = r".*"
_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_NOTHING = pyarrow.array([], pyarrow.string())
_MARK_NAMES = {mark: name for name, mark in MARKS.items()}


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """`layout`: names of the source's columns in their order. `shape`: one pattern per column, for files without
    header; empty when they have one always. `told_by_shape`: whether that is enough to know the source by.
    `has_header`: files of the source may have one; `any_order`: its columns in any order are enough to know the source
    by. `file_name`: a pattern that the file's name must match to be recognised."""

    kind: str
    layout: tuple[str, ...]
    columns: Mapping[str, Column]
    shape: tuple[str, ...] = ()
    told_by_shape: bool = True
    has_header: bool = True
    any_order: bool = False
    file_name: str = ""

    def fits(self, sample: Sample) -> bool:
        """Whether the file can be read so."""
        if sample.header is not None:
            return self.has_header and sorted(map(normal, sample.header)) == sorted(self.layout)
        return bool(self.shape) and _has_shape(sample, self.shape)

    def recognises(self, sample: Sample) -> bool:
        """Whether the file is so without doubt."""
        if not self.fits(sample):
            return False
        if self.file_name:
            return re.search(self.file_name, sample.source.name, re.IGNORECASE) is not None
        if sample.header is None:
            return self.told_by_shape
        return self.any_order or tuple(map(normal, sample.header)) == self.layout

    def reader(self, sample: Sample, options: ReadOptions) -> CsvReader:
        """A reader of the file. Raises WrongUse where the user has to say more, or said too much."""
        names = self.layout if sample.header is None else tuple(map(normal, sample.header))
        return csv_reader(self.kind, self.columns, names, sample, options)


def normal(name: str) -> str:
    """A header's name without case, angle brackets and blanks."""
    return re.sub(r"[\s]+", "_", name.strip().strip("<>").strip().lower())


def _has_shape(sample: Sample, shape: tuple[str, ...]) -> bool:
    rows = sample.rows[:100]
    return sum(_is_row(row, shape) for row in rows) * 2 > len(rows)


def _is_row(row: list[str], shape: tuple[str, ...]) -> bool:
    return len(row) == len(shape) and all(map(re.fullmatch, shape, map(str.strip, row)))


@dataclass(slots=True)
class CsvReader:
    """Reads one file of delimited text."""

    kind: str
    columns: Mapping[str, Column]
    layout: Layout
    how: How
    encoding: str
    source: Input
    size_factor: Decimal = Decimal(1)

    @property
    def found(self) -> Mapping[str, str]:
        """Encoding, separator, decimal mark, unit of the times."""
        units = ", ".join(_NAMES[unit] for unit in _NAMES if unit in self.how.times["ts_ns"].seen)
        return {
            "encoding": self.encoding.upper().removesuffix("-SIG"),
            "separator": {"\t": "tab", ",": "comma", ";": "semicolon"}.get(
                self.layout.separator, self.layout.separator
            ),
            "decimal mark": _MARK_NAMES.get(self.how.mark, "none"),
            "time unit": units or "written out",
        }

    def parts(self, stream: IO[bytes]) -> Iterator[Part]:
        """The rows in the order of the file."""
        wanted = list(dict.fromkeys(chain.from_iterable(column.sources for column in self.columns.values())))
        for batch in self.texts(stream, wanted):
            yield self.part(batch)

    def texts(self, stream: IO[bytes], wanted: Sequence[str]) -> Iterator[TextBatch]:
        """Some columns of the source as they stand."""
        text = as_utf8(stream, self.encoding, self.source.shown)
        return read_rows(text, self.layout, wanted, self.source.shown)

    def part(self, batch: TextBatch) -> Part:
        """The rows of one batch of texts."""
        first = None
        if batch.misfits:
            line, text = batch.misfits[0]
            first = BadRow(line, f"{text[:40]!r} has not the {len(self.layout.columns)} columns of the other rows")
        columns = batch.columns or {name: _NOTHING for column in self.columns.values() for name in column.sources}
        fields = {
            name: (" ".join(column.sources), self._field(name, column, columns))
            for name, column in self.columns.items()
        }
        rows, bad, bad_row = assemble(self.kind, fields, batch.lines.__getitem__)
        firsts = [row for row in (first, bad_row) if row is not None]
        shown = f"{self.source.shown}, {min(firsts, key=lambda row: row.line)}" if firsts else ""
        return Part(rows, bad + len(batch.misfits), shown, batch.empty)

    def _field(self, name: str, column: Column, texts: Texts) -> Field:
        field = column.read(name, texts, self.how)
        return multiplied(field, self.size_factor) if name in SIZES else field


@dataclass(slots=True)
class OfTable:
    """What reads rows of another form as if they were those of a table."""

    table: CsvReader

    @property
    def kind(self) -> str:
        """The kind of the table."""
        return self.table.kind

    @property
    def found(self) -> Mapping[str, str]:
        """What was told from the file."""
        return self.table.found


def text_encoding(sample: Sample) -> str:
    """Raises Failed for a file that is no text."""
    if sample.encoding is None:
        raise Failed(
            f"{sample.source.shown} is not text: write its encoding with --encoding, or its format with --from"
        )
    return sample.encoding


def csv_reader(
    kind: str, columns: Mapping[str, Column], names: tuple[str, ...], sample: Sample, options: ReadOptions
) -> CsvReader:
    """A reader of a file whose columns have these names."""
    encoding = text_encoding(sample)
    if options.side:
        raise WrongUse("--side is for files with bars of bids and asks, this is none: leave it out")
    if options.price_digits is not None:
        raise WrongUse("--price-digits is for prices that are whole numbers, in .bi5 files: leave it out")
    present = {name: column for name, column in columns.items() if set(column.sources) <= set(names)}
    for source in chain.from_iterable(column.sources for column in present.values()):
        if names.count(source) > 1:
            raise Failed(f"{sample.source.shown} has column {source} twice: name each column once")
    if options.interval_ns:
        if kind != "bars":
            raise WrongUse(f"--interval is for bars, these are {kind}: leave it out")
        if "interval_ns" in present:
            raise WrongUse("--interval is known from the format: leave it out")
        present["interval_ns"] = Constant(options.interval_ns, names[0])
    ordered = {name: present[name] for name in (*COLUMNS[kind], "symbol") if name in present}
    samples = {name: [row[place] for row in sample.rows if len(row) == len(names)] for place, name in enumerate(names)}
    numbers = [text for column in ordered.values() if isinstance(column, Number) for text in samples[column.source]]
    mark = MARKS[options.decimal_mark] if options.decimal_mark else infer_mark(numbers)
    times = {
        name: time_reader(column, samples, options) for name, column in ordered.items() if isinstance(column, Time)
    }
    how = How(mark, times)
    layout = Layout(sample.separator, names, sample.data_line)
    return CsvReader(kind, ordered, layout, how, encoding, sample.source, options.size_factor)


def time_reader(time: Time, samples: Mapping[str, list[str]], options: ReadOptions) -> Counted | Written:
    """What reads a column of times, by what the source states, what the user says and what the first rows show."""
    if time.zone and options.zone:
        raise WrongUse(f"--tz is known from the format ({time.zone}): leave it out")
    zone_name = time.zone or options.zone
    zone = zone_of(zone_name) if zone_name else None
    texts = [" ".join(parts).strip() for parts in zip(*(samples[source] for source in time.sources), strict=True)]
    if time.date:
        if options.unit or options.time_format:
            raise WrongUse("the times are counted since midnight: leave --unit and --time-format out")
        return Counted(time.unit, midnight_s(time.date), zone)
    if options.time_format:
        return Written(compile_format(options.time_format), zone)
    if options.unit or not time.formats:
        if options.zone:
            raise WrongUse("--tz is for local times; times that are counted since 1970 are UTC: leave it out")
        return Counted(options.unit or time.unit)
    patterns = [(ISO if text == "iso" else compile_format(text)) for text in time.formats]
    for pattern in patterns:
        matching = sum(re.search(pattern, text) is not None for text in texts)
        if matching * 2 > len(texts):
            return Written(pattern, zone)
    return Written(patterns[0], zone)
