"""`crowetrade completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import contextlib
import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

PROGRAM = "crowetrade"
VARIABLE = "_CROWETRADE_COMPLETE"
"""By which a shell's script asks the program; the library that parses the command line names it."""
ONLY_THESE = ":4"
"""The directive to kubectl that no files are to be completed beside the lines before it."""


class Shell(StrEnum):
    """Whose language the script is in."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell that reads it.")]) -> None:
    """Print a script that completes crowetrade: source <(crowetrade completion bash)."""
    _ask(f"source_{shell.value}")


def complete_for_kubectl() -> None:
    """`kubectl_complete-crowetrade WORD...`: kubectl runs it for `kubectl crowetrade WORD...` and TAB.

    It writes a line for each word that may come last, and then a directive.
    """
    words = [PROGRAM, *sys.argv[1:]]
    os.environ |= {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    _ask("complete_bash")
    typer.echo(ONLY_THESE)


def _ask(instruction: str) -> None:
    from crowetrade_cli.main import application  # all commands, which nothing else here needs

    os.environ[VARIABLE] = instruction
    try:
        with contextlib.suppress(SystemExit):
            application()(prog_name=PROGRAM)
    finally:
        del os.environ[VARIABLE]
