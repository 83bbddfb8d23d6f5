"""`crowetrade compare`: two results of `crowetrade backtest` side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A folder that `crowetrade backtest --out` has written.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The folder to compare it with.")],
    json: Annotated[bool, typer.Option("--json", help="As a JSON object.")] = False,
) -> None:
    """Show the figures of two backtests side by side, and what of their parameters, data and code is different."""
    from pydantic import TypeAdapter
    from rich.console import Console

    from crowetrade_cli.results import compare as comparing
    from crowetrade_cli.results.store import read_run

    comparison = comparing.compare(read_run(a), read_run(b))
    if json:
        typer.echo(TypeAdapter(comparing.Comparison).dump_json(comparison, indent=2))
    else:
        Console().print(comparing.comparison_text(comparison))
