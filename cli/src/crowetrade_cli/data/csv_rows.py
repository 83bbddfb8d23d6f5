"""The rows of a delimited text as batches of text columns, with the number of each row's line.

Rows with another number of columns than the first are handed over apart, with their lines. Rows without a value in any
wanted column, such as empty lines, are left out and counted.
"""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

import pyarrow
import pyarrow.compute
import pyarrow.csv

from crowetrade_cli.data.field import is_any
from crowetrade_cli.errors import Failed

SEPARATORS = ",;\t|"
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    """`separator` between columns; `columns` their names in order; `first_line` of the data, from 1."""

    separator: str
    columns: tuple[str, ...]
    first_line: int


@dataclass(slots=True)
class TextBatch:
    """Columns by name. `lines` are the numbers of the rows' lines. `misfits` are rows of another length: line, text.
    `empty` is the number of rows without a value."""

    columns: Mapping[str, pyarrow.Array]
    lines: Lines
    misfits: list[tuple[int, str]]
    empty: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


@dataclass(slots=True)
class Lines:
    """Line numbers of a batch: consecutive from `first` but for those that are left out. `kept`: rows of the block that
    are in the batch, None for all."""

    first: int
    left_out: Sequence[int] = ()
    kept: pyarrow.Array | None = None

    def __getitem__(self, row: int) -> int:
        place = row if self.kept is None else self.kept[row].as_py()
        line = self.first + place
        # Each line that is left out before this one moves it by one, and may bring another one before it.
        while (moved := self.first + place + bisect_right(self.left_out, line)) != line:
            line = moved
        return line


@dataclass(slots=True)
class _Misfits:
    rows: list[tuple[int, str]] = field(default_factory=list)

    def take(self, first: int, rows: int) -> list[tuple[int, str]]:
        """Those between the lines of so many rows, from the line `first` on. The reader is ahead of what it gives."""
        end, count = first + rows, 0
        while count < len(self.rows) and self.rows[count][0] < end + count:
            count += 1
        taken, self.rows = self.rows[:count], self.rows[count:]
        return taken

    def __call__(self, row: pyarrow.csv.InvalidRow) -> str:
        self.rows.append((row.number, row.text))
        return "skip"


def read_rows(stream: IO[bytes], layout: Layout, wanted: Sequence[str], what: str) -> Iterator[TextBatch]:
    """Batches of the wanted columns. Raises Failed for what is no delimited text; `what` names the file."""
    positions = {name: str(place) for place, name in enumerate(layout.columns)}
    names = list(positions.values())
    misfits = _Misfits()
    try:
        reader = pyarrow.csv.open_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=_BLOCK_BYTES, column_names=names, skip_rows=layout.first_line - 1
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=layout.separator, ignore_empty_lines=False, invalid_row_handler=misfits
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pyarrow.string()),
                include_columns=[positions[name] for name in wanted],
                strings_can_be_null=False,
            ),
        )
        line = layout.first_line
        for batch in reader:
            found = misfits.take(line, batch.num_rows)
            columns = {name: batch.column(place) for place, name in enumerate(wanted)}
            rows = _without_empty(TextBatch(columns, Lines(line, [number for number, _ in found]), found))
            line += batch.num_rows + len(found)
            yield rows
    except pyarrow.ArrowInvalid as error:
        raise _refusal(what, str(error)) from error
    if misfits.rows:
        yield TextBatch({}, Lines(line), misfits.rows)


def _without_empty(batch: TextBatch) -> TextBatch:
    empty = None
    for column in batch.columns.values():
        without = pyarrow.compute.equal(column, "")
        empty = without if empty is None else pyarrow.compute.and_(empty, without)
        if not is_any(empty):
            return batch
    kept = pyarrow.compute.indices_nonzero(pyarrow.compute.invert(empty))
    columns = {name: column.take(kept) for name, column in batch.columns.items()}
    lines = Lines(batch.lines.first, batch.lines.left_out, kept)
    return TextBatch(columns, lines, batch.misfits, len(batch) - len(kept))


def _refusal(what: str, message: str) -> Failed:
    if "Empty CSV" in message:
        return Failed(f"{what} holds no rows: name a file with market data")
    return Failed(
        f"{what} is not a table of delimited text ({message.splitlines()[0][:120]}): check it, and --separator"
    )


def sniff_separator(lines: Sequence[str]) -> str:
    """The separator that cuts the most lines into the same number of columns, the more columns the better."""

    def fit(separator: str) -> tuple[int, int]:
        counts = [len(row) for row in split_rows(lines, separator)]
        common = max(set(counts), key=counts.count)
        return (counts.count(common) if common > 1 else 0), common

    return max(SEPARATORS, key=fit) if any(map(str.strip, lines)) else ","


def split_rows(lines: Sequence[str], separator: str) -> list[list[str]]:
    """The values of some lines. Raises Failed for a line that is no row of a table."""
    try:
        return [row for row in csv.reader(lines, delimiter=separator) if row]
    except csv.Error as error:
        raise Failed(f"the file is not a table of delimited text ({error}): check it, and --separator") from error
