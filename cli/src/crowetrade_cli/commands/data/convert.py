"""`crowetrade data convert`: a file of market data as a recording that a simulated venue replays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from crowetrade_cli.commands.data.options import Files, From, Gap, Outlier, parse_length, takes_read_options
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.errors import WrongUse


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
    # Here, because only this command needs Arrow.
    from crowetrade_cli.commands.data.conversion import convert_files

    convert_files(
        files,
        format_name,
        replace(options, symbol=symbol),
        _target(out, files[0]),
        gap_ns=parse_length("--gap", gap),
        outlier=outlier_percent / 100,
        sort=sort,
        skip_bad_rows=skip_bad_rows,
    )


def _target(out: Path | None, first: Path) -> Path:
    target = out or Path(f"{first.name.split('.')[0]}.parquet")
    if target.suffix != ".parquet":
        raise WrongUse(f"--out {target} is not named .parquet: name it so")
    if target.exists():
        raise WrongUse(f"{target} exists: name a file that does not, with --out")
    if not target.parent.is_dir():
        raise WrongUse(f"{target.parent} is no folder: make it before, or name another with --out")
    return target
