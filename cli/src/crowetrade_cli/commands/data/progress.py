"""How far a command is, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow
from rich.console import Console


def with_progress(batches: Iterator[pyarrow.RecordBatch]) -> Iterator[pyarrow.RecordBatch]:
    """The same batches, while a line on standard error counts their rows. Elsewhere than on a terminal no line."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from batches
        return
    rows = 0
    with console.status("reading") as status:
        for batch in batches:
            rows += batch.num_rows
            status.update(f"{rows:,} rows")
            yield batch
