"""Exported journals: JSON lines and Parquet, written and read in pieces of bounded size."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from crowetrade_cli.errors import Failed, WrongUse
from crowetrade_cli.journal.rows import Row, rows_of

JOURNAL_SUFFIX = ".journal"
"""Of the file that `crowetrade run` keeps for a venue."""
ROW_GROUP = 10_000

Write = Callable[[Iterable[Row]], None]


class Format(StrEnum):
    """What is written."""

    JSONL = "jsonl"
    PARQUET = "parquet"


def format_of(file: Path, asked: Format | None) -> Format:
    """The format that is asked for, or that the extension says. Raises WrongUse."""
    by_extension = {".jsonl": Format.JSONL, ".ndjson": Format.JSONL, ".parquet": Format.PARQUET}
    found = asked or by_extension.get(file.suffix.lower())
    if found is None:
        raise WrongUse(f"{file} has none of the extensions {', '.join(by_extension)}, which say its format")
    return found


@contextmanager
def write_file(file: Path, file_format: Format) -> Iterator[Write]:
    """Writes rows. The file has its name, and is on disk, only when all of it is written."""
    with (
        whole_or_nothing(file) as part,
        (_write_parquet if file_format is Format.PARQUET else _write_jsonl)(part) as write,
    ):
        yield write


@contextmanager
def whole_or_nothing(file: Path) -> Iterator[Path]:
    """What is written to the path that it gives has the file's name, and is on disk, only at the end."""
    part = file.with_name(f".{file.name}.part")
    try:
        yield part
        _synced(part)
        part.rename(file)
        _synced(file.parent)
    finally:
        part.unlink(missing_ok=True)


def _synced(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _write_jsonl(file: Path) -> Iterator[Write]:
    with file.open("w", encoding="utf-8") as out:

        def write(rows: Iterable[Row]) -> None:
            for row in rows:
                out.write(row.line() + "\n")

        yield write


@contextmanager
def _write_parquet(file: Path) -> Iterator[Write]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("sequence", pa.uint64()),
            ("at_unix_ns", pa.int64()),
            ("kind", pa.string()),
            ("strategy", pa.string()),
            ("symbol", pa.string()),
            ("cl_ord_id", pa.string()),
            ("event", pa.string()),
            ("first_sequence", pa.uint64()),
            ("recorded_unix_ns", pa.int64()),
            ("fencing_token", pa.uint64()),
            ("previous_hash", pa.binary()),
            ("record_hash", pa.binary()),
            ("record", pa.binary()),
        ]
    )
    waiting: list[dict[str, object]] = []
    with pq.ParquetWriter(file, schema, compression="zstd") as out:

        def flush() -> None:
            out.write_table(pa.Table.from_pylist(waiting, schema=schema))
            waiting.clear()

        def write(rows: Iterable[Row]) -> None:
            waiting.extend(parquet_row(row) for row in rows)
            if len(waiting) >= ROW_GROUP:
                flush()

        yield write
        flush()


def parquet_row(row: Row) -> dict[str, object]:
    """The columns of a row; the event is JSON, with decimals as strings."""
    columns: dict[str, object] = {name: getattr(row, name) for name in Row.__slots__}
    return {**columns, "event": json.dumps(row.event)}


def read_file(file: Path, file_format: Format) -> Iterator[bytes]:
    """The records in a file, as they were stored. Raises Failed where the file is not what an export writes, or where a
    row says something else than the bytes of its record; WrongUse where there is no file."""
    if not file.is_file():
        raise WrongUse(f"{file} is no file")
    rows = _read_parquet(file) if file_format is Format.PARQUET else _read_jsonl(file)
    expected: Iterator[object] = iter(())
    for number, (row, record) in enumerate(rows, start=1):
        wanted = next(expected, None)
        if record is not None:
            if wanted is not None:
                raise Failed(f"row {number} of {file} begins a record before the one before has ended")
            yield record
            expected = _as_read(record, file_format)
            wanted = next(expected)
        if row != wanted:
            raise Failed(f"row {number} of {file} says something else than the bytes of its record")
    if next(expected, None) is not None:
        raise Failed(f"{file} ends in the middle of a record")


def _as_read(record: bytes, file_format: Format) -> Iterator[object]:
    for row in rows_of(record):
        yield parquet_row(row) if file_format is Format.PARQUET else json.loads(row.line())


def _read_jsonl(file: Path) -> Iterator[tuple[object, bytes | None]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                encoded = row["record"].get("bytes")
                record = None if encoded is None else base64.b64decode(encoded, validate=True)
            except (ValueError, LookupError, TypeError, AttributeError, binascii.Error) as error:
                raise Failed(f"line {number} of {file} is not what an export writes: {error}") from error
            yield row, record


def _read_parquet(file: Path) -> Iterator[tuple[object, bytes | None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=ROW_GROUP):
                rows: list[dict[str, Any]] = batch.to_pylist()
                for row in rows:
                    yield row, row.get("record")
    except (pa.ArrowException, OSError) as error:
        raise Failed(f"{file} cannot be read as Parquet: {error}") from error
