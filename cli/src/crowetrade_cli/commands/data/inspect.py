"""`crowetrade data inspect`: what a file of market data holds, and what is odd about it."""

from __future__ import annotations

from typing import Annotated

import typer

from crowetrade_cli.commands.data.options import Files, From, Gap, Outlier, parse_length, takes_read_options
from crowetrade_cli.data.options import ReadOptions


@takes_read_options
def inspect(
    files: Files,
    options: ReadOptions,
    format_name: From = "",
    gap: Gap = "60s",
    outlier_percent: Outlier = 10.0,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show rows, range, gaps, duplicates, disorder, crossed quotes, outliers and zero sizes of market data.

    Exits with 1, and a sentence, when a venue could not replay it as it is: rows that cannot be read, or out of order.
    """
    # Here, because only this command needs Arrow.
    from crowetrade_cli.commands.data.inspection import inspect_files

    inspect_files(files, format_name, options, parse_length("--gap", gap), outlier_percent / 100, json)
