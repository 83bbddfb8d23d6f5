"""Rows sorted by time in bounded memory: sorted runs on disk, merged. Rows of the same time keep their order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pyarrow.compute
import pyarrow.ipc

RUN_ROWS = 200_000
"""Rows that are sorted in memory at once."""
_MERGED_ROWS = 2_048
"""Rows of each run that are in memory while runs are merged, so that a hundred runs are some 50 MB."""


def sorted_batches(
    batches: Iterator[pyarrow.RecordBatch], folder: Path, run_rows: int = RUN_ROWS
) -> Iterator[pyarrow.RecordBatch]:
    """The same rows by ts_ns. Writes into the folder, which must exist, about as much as the result takes."""
    runs = list(_write_runs(batches, folder, run_rows))
    yield from _merge([_Run(path) for path in runs])


def _write_runs(batches: Iterator[pyarrow.RecordBatch], folder: Path, run_rows: int) -> Iterator[Path]:
    held: list[pyarrow.RecordBatch] = []
    number = rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        if rows >= run_rows:
            yield _write_run(held, folder / f"{number}.arrows")
            held, rows, number = [], 0, number + 1
    if held:
        yield _write_run(held, folder / f"{number}.arrows")


def _write_run(batches: list[pyarrow.RecordBatch], path: Path) -> Path:
    table = _by_time(pyarrow.Table.from_batches(batches))
    options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=_MERGED_ROWS)
    return path


def _by_time(table: pyarrow.Table) -> pyarrow.Table:
    """Arrow's sort is stable."""
    return table.take(pyarrow.compute.sort_indices(table, sort_keys=[("ts_ns", "ascending")]))


class _Run:
    """A sorted run, of which one batch at a time is in memory."""

    def __init__(self, path: Path) -> None:
        self._batches = iter(pyarrow.ipc.open_stream(pyarrow.OSFile(str(path))))
        self._rows: pyarrow.RecordBatch | None = None
        self._refill()

    @property
    def is_empty(self) -> bool:
        return self._rows is None

    @property
    def last_ns(self) -> int:
        """The latest time in memory."""
        assert self._rows is not None, "callers ask only runs that have rows"
        return int(self._rows.column("ts_ns")[-1].as_py())

    def take_until(self, ts_ns: int) -> Iterator[pyarrow.RecordBatch]:
        """All rows up to this time, included."""
        while self._rows is not None:
            times = self._rows.column("ts_ns")
            count = pyarrow.compute.sum(pyarrow.compute.less_equal(times, ts_ns)).as_py()
            if count:
                yield self._rows.slice(0, count)
            if count < len(times):
                self._rows = self._rows.slice(count)
                return
            self._refill()

    def _refill(self) -> None:
        self._rows = next(self._batches, None)


def _merge(runs: list[_Run]) -> Iterator[pyarrow.RecordBatch]:
    """Up to the earliest of the runs' last times in memory nothing can come after; rows of the same time are taken
    from the runs in their order, so the order of the source stays."""
    while left := [run for run in runs if not run.is_empty]:
        until = min(run.last_ns for run in left)
        taken = [batch for run in left for batch in run.take_until(until)]
        yield from _by_time(pyarrow.Table.from_batches(taken)).combine_chunks().to_batches()
