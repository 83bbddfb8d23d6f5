"""What `crowetrade data convert` does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow
import typer

from crowetrade_cli.commands.data.progress import with_progress
from crowetrade_cli.commands.data.refusals import disorder_sentence, refuse_empty, refuse_unreadable
from crowetrade_cli.data.checks import Checks
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.data.reading import Reading, open_reading
from crowetrade_cli.data.report import lines
from crowetrade_cli.data.sorting import sorted_batches
from crowetrade_cli.data.writing import write_recording
from crowetrade_cli.errors import Failed


def convert_files(
    files: Sequence[Path],
    format_name: str,
    options: ReadOptions,
    target: Path,
    *,
    gap_ns: int,
    outlier: float,
    sort: bool,
    skip_bad_rows: bool,
) -> None:
    """Writes the target and prints what is in it, or raises Failed or WrongUse and writes nothing."""
    reading = open_reading(files, format_name, options)
    checks = Checks(reading.kind, gap_ns, outlier)
    metadata = {
        "kind": reading.kind,
        "format": reading.format,
        "source": ", ".join(sample.source.shown for sample, _ in reading.sources),
        "instrument": options.symbol,
        "side": options.side,
    }
    with write_recording(target, metadata) as write, _in_order(reading, target.parent, sort) as batches:
        for rows in batches:
            checks.take(rows)
            write(rows)
        refuse_empty(reading)
        if not skip_bad_rows:
            refuse_unreadable(reading, "add --skip-bad-rows")
        if disordered := checks.disorder:
            raise Failed(f"{disorder_sentence(disordered)}: name files in the order of time, or add --sort")
    typer.echo(_summary(reading, checks, target))


@contextmanager
def _in_order(reading: Reading, folder: Path, sort: bool) -> Iterator[Iterator[pyarrow.RecordBatch]]:
    """The rows as they come, or sorted, with what does not fit into memory in a folder that is gone afterwards."""
    if not sort:
        yield with_progress(reading.batches())
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix=".sort-") as runs:
        yield sorted_batches(with_progress(reading.batches()), Path(runs))


def _summary(reading: Reading, checks: Checks, target: Path) -> str:
    parts = [f"{reading.rows} rows of {reading.kind} are in {target}"]
    if reading.bad:
        parts.append(f"left out: {reading.bad} rows that cannot be read, first {reading.first_bad}")
    if reading.empty:
        parts.append(f"left out: {reading.empty} rows without a value, such as empty lines")
    for symbol, found in checks.by_symbol.items():
        parts += [f"{symbol + ': ' if symbol else ''}{name}: {text}" for name, text in lines(found) if name != "rows"]
    return "\n".join(parts)
