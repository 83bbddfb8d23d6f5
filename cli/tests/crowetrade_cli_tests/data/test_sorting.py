"""Sorting in runs is a stable sort of the whole."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_cli.data import sorting
from crowetrade_cli.data.sorting import sorted_batches


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), min_size=1, max_size=8),
    st.integers(1, 20),
)
def test_it_is_a_stable_sort(batches: list[list[int]], run_rows: int) -> None:
    times = [at for batch in batches for at in batch]
    rows, number = [], 0
    for batch in batches:
        rows.append(pyarrow.record_batch({"ts_ns": batch, "row": [number + place for place in range(len(batch))]}))
        number += len(batch)
    with tempfile.TemporaryDirectory() as folder:
        found = [row for part in sorted_batches(iter(rows), Path(folder), run_rows) for row in part.to_pylist()]
    wanted = sorted(enumerate(times), key=lambda item: item[1])
    assert [(row["row"], row["ts_ns"]) for row in found] == wanted


def test_many_rows_of_many_runs(tmp_path: Path) -> None:
    """Runs that are longer than what is read of them at once."""
    rows = sorting._MERGED_ROWS * 5 + 17
    times = [place * 7919 % 1009 for place in range(rows)]
    batches = pyarrow.table({"ts_ns": times, "row": list(range(rows))}).to_batches(max_chunksize=1000)
    table = pyarrow.Table.from_batches(sorted_batches(iter(batches), tmp_path, run_rows=sorting._MERGED_ROWS * 2))
    wanted = sorted(enumerate(times), key=lambda item: item[1])
    assert list(zip(table["row"].to_pylist(), table["ts_ns"].to_pylist(), strict=True)) == wanted
