"""The command line as a whole: what it lists, and that a command waits for no other one's libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

from crowetrade_cli.main import COMMANDS
from crowetrade_cli_tests.conftest import Run


def test_the_help_lists_every_command(run: Run) -> None:
    shown = run("--help").out
    assert [name for name in COMMANDS if f" {name} " not in shown] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_of_its_own(run: Run, command: str) -> None:
    ended = run(command, "--help")
    assert (ended.code, f"crowetrade {command}" in ended.out) == (0, True)


def test_an_unknown_command_is_named(run: Run) -> None:
    ended = run("trade")
    assert (ended.code, "No such command 'trade'" in ended.err) == (2, True)


@pytest.mark.parametrize("command", ["compare", "data", "new"])
def test_a_command_waits_for_no_other_ones_libraries(command: str) -> None:
    code = (
        f"import sys; from crowetrade_cli.main import application; application({command!r}); "
        "sys.exit(bool({'pyarrow', 'nats', 'grpc'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
