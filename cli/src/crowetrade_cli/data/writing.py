"""A recording as Parquet, complete or not there at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow
import pyarrow.parquet

ROW_GROUP_ROWS = 65_536


@contextmanager
def write_recording(path: Path, metadata: Mapping[str, str]) -> Iterator[Callable[[pyarrow.RecordBatch], None]]:
    """A function that appends rows. The file has its name once all went well; of an error nothing is left."""
    partial = path.with_name(f".{path.name}.partial")
    writer = _Writer(partial, metadata)
    try:
        yield writer.append
        writer.close()
        os.replace(partial, path)
    finally:
        writer.abandon()
        partial.unlink(missing_ok=True)


class _Writer:
    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        self._path = path
        self._metadata = {name: value for name, value in metadata.items() if value}
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._held: list[pyarrow.RecordBatch] = []
        self._rows = 0

    def append(self, rows: pyarrow.RecordBatch) -> None:
        self._held.append(rows)
        self._rows += rows.num_rows
        if self._rows >= ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        if self._held:
            self._flush()
        self.abandon()

    def abandon(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _flush(self) -> None:
        table = pyarrow.Table.from_batches(self._held)
        if self._writer is None:
            schema = table.schema.with_metadata(self._metadata)
            self._writer = pyarrow.parquet.ParquetWriter(self._path, schema, compression="zstd")
        self._writer.write_table(table.replace_schema_metadata(self._metadata), row_group_size=ROW_GROUP_ROWS)
        self._held, self._rows = [], 0
