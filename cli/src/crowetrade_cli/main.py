"""The command line's entry point.

A command that fails prints one sentence on standard error: exit code 1, or 2 where the command was used wrongly.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from crowetrade_agents.errors import AgentError
from crowetrade_cli.commands import data, journal, new
from crowetrade_cli.commands.backtest import backtest
from crowetrade_cli.commands.compare import compare
from crowetrade_cli.commands.run import run
from crowetrade_cli.errors import CliError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="CroweTrade from the command line.")
app.add_typer(journal.app, name="journal")
app.add_typer(data.app, name="data")
app.command()(run)
app.command()(backtest)
app.command()(compare)
app.add_typer(new.app, name="new")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"crowetrade {version('crowetrade-cli')}")
        raise typer.Exit


@app.callback()
def crowetrade(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """CroweTrade from the command line."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command that the arguments name (by default those of the process) and exits."""
    try:
        app(arguments, prog_name=_program())
    except (CliError, AgentError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code if isinstance(error, CliError) else 1)


def _program() -> str:
    name = Path(sys.argv[0]).name
    return name.replace("kubectl-", "kubectl ") if name.startswith("kubectl-") else "crowetrade"
