"""`crowetrade data convert`: a file of market data as a recording that a simulated venue replays."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pyarrow
import typer

from crowetrade_cli.commands.data.options import (
    Files,
    From,
    Gap,
    Outlier,
    disorder_sentence,
    parse_length,
    refuse_empty,
    refuse_unreadable,
    takes_read_options,
)
from crowetrade_cli.commands.data.progress import with_progress
from crowetrade_cli.data.checks import Checks
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.data.reading import Reading, open_reading
from crowetrade_cli.data.report import lines
from crowetrade_cli.data.sorting import sorted_batches
from crowetrade_cli.data.writing import write_recording
from crowetrade_cli.errors import Failed, WrongUse


@takes_read_options
def convert(
    files: Files,
    options: ReadOptions,
    format_name: From = "",
    symbol: Annotated[str, typer.Option(help="The instrument's symbol, written into each row.")] = "",
    out: Annotated[
        Path | None, typer.Option(metavar="OUT.parquet", help="The file to write; it must not exist.")
    ] = None,
    sort: Annotated[
        bool, typer.Option("--sort", help="Sort rows by time; those of the same time keep their order.")
    ] = False,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Leave rows out that cannot be read, and count them.")
    ] = False,
    gap: Gap = "60s",
    outlier_percent: Outlier = 10.0,
) -> None:
    """Convert market data to Parquet as simulated venues replay it; say what is odd about it.

    Nothing is dropped, sorted or filled in unless an option says so. Nothing is written when rows are refused.
    """
    gap_ns = parse_length("--gap", gap)
    target = _target(out, files[0])
    reading = open_reading(files, format_name, replace(options, symbol=symbol))
    checks = Checks(reading.kind, gap_ns, outlier_percent / 100)
    metadata = {
        "kind": reading.kind,
        "format": reading.format,
        "source": ", ".join(sample.source.shown for sample, _ in reading.sources),
        "instrument": symbol,
        "side": options.side,
    }
    with write_recording(target, metadata) as write, _in_order(reading, target.parent, sort) as batches:
        for rows in batches:
            checks.take(rows)
            write(rows)
        refuse_empty(reading)
        if not skip_bad_rows:
            refuse_unreadable(reading)
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


def _target(out: Path | None, first: Path) -> Path:
    target = out or Path(f"{first.name.split('.')[0]}.parquet")
    if target.suffix != ".parquet":
        raise WrongUse(f"--out {target} is not named .parquet: name it so")
    if target.exists():
        raise WrongUse(f"{target} exists: name a file that does not, with --out")
    if not target.parent.is_dir():
        raise WrongUse(f"{target.parent} is no folder: make it before, or name another with --out")
    return target


def _summary(reading: Reading, checks: Checks, target: Path) -> str:
    parts = [f"{reading.rows} rows of {reading.kind} are in {target}"]
    if reading.bad:
        parts.append(f"left out: {reading.bad} rows that cannot be read, first {reading.first_bad}")
    if reading.empty:
        parts.append(f"left out: {reading.empty} rows without a value, such as empty lines")
    for symbol, found in checks.by_symbol.items():
        parts += [f"{symbol + ': ' if symbol else ''}{name}: {text}" for name, text in lines(found) if name != "rows"]
    return "\n".join(parts)
