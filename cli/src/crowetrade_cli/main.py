"""The command line's entry point.

A command that fails prints one sentence on standard error: exit code 1, or 2 where the command was used wrongly.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from crowetrade_agents.errors import AgentError
from crowetrade_cli.commands.completion import complete_for_kubectl
from crowetrade_cli.errors import CliError, sentence_of
from crowetrade_cli.identity import SERVER_NAME_VARIABLE, TLS_FILES, VARIABLE
from crowetrade_process.audit.errors import AuditError

COMMANDS = (
    "run",
    "status",
    "describe",
    "top",
    "logs",
    "suspend",
    "resume",
    "kill",
    "rearm",
    "clear-breach",
    "backtest",
    "compare",
    "data",
    "journal",
    "audit",
    "new",
    "support-bundle",
    "completion",
)
"""In the order of the help. Each is the name of a module in commands/, with _ for -: one with commands of its own has
an `app`, one without has a function of its name."""


def application(command: str = "") -> typer.Typer:
    """The whole command line, or as much of it as `command` needs: what the others import takes a second and 60 MiB."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="CroweTrade from the command line.")
    app.callback()(crowetrade)
    for name in (command,) if command in COMMANDS else COMMANDS:
        in_python = name.replace("-", "_")
        module = import_module(f"crowetrade_cli.commands.{in_python}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command()(getattr(module, in_python))
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"crowetrade {version('crowetrade-cli')}")
        raise typer.Exit


def crowetrade(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    tls_directory: Annotated[
        str,
        typer.Option(
            metavar="DIR",
            envvar=VARIABLE,
            help="Certificate of an administrator for the bus and gateways: tls.crt, tls.key and ca.crt.",
        ),
    ] = "",
    nats_server_name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            envvar=SERVER_NAME_VARIABLE,
            help="The name in the certificate of NATS, where it is not the host of its address.",
        ),
    ] = "",
) -> None:
    """CroweTrade from the command line."""
    TLS_FILES.directory = tls_directory
    TLS_FILES.nats_server_name = nats_server_name


def main(arguments: list[str] | None = None) -> None:
    """Runs the command that the arguments name (by default those of the process) and exits."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        application(*given[:1])(given, prog_name=_program())
    except (CliError, AgentError, AuditError) as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code if isinstance(error, CliError) else 1)
    except OSError as error:
        typer.echo(f"Error: {sentence_of(error)}", err=True)
        sys.exit(1)


def complete() -> None:
    """`kubectl_complete-crowetrade WORD...`: kubectl runs it for `kubectl crowetrade WORD...` and TAB."""
    complete_for_kubectl(application())


def _program() -> str:
    name = Path(sys.argv[0]).name
    return name.replace("kubectl-", "kubectl ") if name.startswith("kubectl-") else "crowetrade"
