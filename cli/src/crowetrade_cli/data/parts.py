"""Rows of ours as they are read, and those that could not be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Protocol

import pyarrow
import pyarrow.compute

from crowetrade_cli.data.field import Field
from crowetrade_cli.data.kinds import PRICES, REQUIRED, schema_of

_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Part:
    """`rows` in our columns. `bad` is the number of rows that cannot be read, `first_bad` a sentence about one.
    `empty` is the number of rows without any value."""

    rows: pyarrow.RecordBatch
    bad: int = 0
    first_bad: str = ""
    empty: int = 0


class Reader(Protocol):
    """Reads one file. `found` is what was told from the file itself, for people, and is full at its end."""

    @property
    def kind(self) -> str: ...

    def parts(self, stream: IO[bytes]) -> Iterator[Part]:
        """The rows in the order of the file."""
        ...

    @property
    def found(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read."""

    line: int
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.why}"


def assemble(
    kind: str, fields: Mapping[str, tuple[str, Field]], line_of: Callable[[int], int]
) -> tuple[pyarrow.RecordBatch, int, BadRow | None]:
    """The rows without those that have something wrong, the number of those, and the first of them. `fields` are
    ours, each with the name that the source has for it."""
    bad, first = None, None
    for name, (source, field) in fields.items():
        wrong = field.wrong
        why = field.why
        if (name in REQUIRED[kind] or name in PRICES) and field.values.null_count:
            wrong, why = field.values.is_null(), field.why or "is empty"
        if wrong is None:
            continue
        bad = wrong if bad is None else pyarrow.compute.or_(bad, wrong)
        row = pyarrow.compute.index(wrong, True).as_py()
        if first is None or row < first[0]:
            text = field.texts[row].as_py()
            shown = f" {text[:_SHOWN]!r}" if text else ""
            first = (row, f"{source}{shown} {why if text else 'is empty'}")
    schema = schema_of(kind, set(fields))
    columns = [fields[name][1].values for name in schema.names]
    batch = pyarrow.record_batch(columns, schema=schema)
    if bad is None or first is None:
        return batch, 0, None
    count = pyarrow.compute.sum(bad).as_py()
    return batch.filter(pyarrow.compute.invert(bad)), count, BadRow(line_of(first[0]), first[1])
