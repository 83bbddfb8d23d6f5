"""`crowetrade completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

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


def completion(
    context: typer.Context, shell: Annotated[Shell, typer.Argument(help="The shell that reads it.")]
) -> None:
    """Print a script that completes crowetrade: source <(crowetrade completion bash)."""
    _ask(context.find_root().command, f"source_{shell.value}")


def complete_for_kubectl(command_line: Callable[..., Any]) -> None:
    """Writes a line for each word that may come last in the process's arguments, and then a directive."""
    words = [PROGRAM, *sys.argv[1:]]
    os.environ |= {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    _ask(command_line, "complete_bash")
    typer.echo(ONLY_THESE)


def _ask(command_line: Callable[..., Any], instruction: str) -> None:
    os.environ[VARIABLE] = instruction
    try:
        with contextlib.suppress(SystemExit):
            command_line(prog_name=PROGRAM)
    finally:
        del os.environ[VARIABLE]
