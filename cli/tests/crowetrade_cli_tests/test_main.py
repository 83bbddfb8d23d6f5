"""The command line as a whole: what it lists, and that a command waits for no other one's libraries."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crowetrade_cli.errors import sentence_of
from crowetrade_cli.main import COMMANDS
from crowetrade_cli_tests.conftest import Run
from crowetrade_operator_tests.servers import program as kubectl_program


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


@pytest.mark.parametrize(
    ("command", "libraries"),
    [(name, ("pyarrow", "nats", "grpc", "cryptography")) for name in ("compare", "data", "new")]
    + [("backtest", ("nats", "grpc", "cryptography"))],
)
def test_a_command_waits_for_no_other_ones_libraries(command: str, libraries: tuple[str, ...]) -> None:
    code = (
        f"import sys; from crowetrade_cli.main import application; application({command!r}); "
        f"sys.exit(not sys.modules.keys().isdisjoint({libraries!r}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_help_needs_nothing_that_linux_alone_has() -> None:
    """macOS has none of these."""
    code = (
        "import os; del os.sched_getaffinity, os.memfd_create; "
        "from crowetrade_cli.backtest.many import usable_cores; assert usable_cores() == os.cpu_count(); "
        "from crowetrade_cli.main import main; main(['--help'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("library", ["pyarrow", "numpy", "jinja2"])
def test_kill_waits_for_no_library_of_backtests(library: str) -> None:
    code = (
        "import sys; from crowetrade_cli.main import application; application('kill'); "
        f"sys.exit({library!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("program", ["crowetrade", "kubectl-crowetrade"])
def test_both_programs_run(program: str) -> None:
    """The name that kubectl looks for is that of a plugin `crowetrade`."""
    command = [str(Path(sys.executable).parent / program), "kill", "--help"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert f"{program.replace('-', ' ')} kill" in shown


@pytest.mark.integration
def test_kubectl_finds_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    command = [str(kubectl_program("kubectl")), "crowetrade", "status", "--kubeconfig", "/nowhere"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: there is no kubeconfig at /nowhere")


def test_ctrl_c_before_a_command_has_begun_ends_it_with_a_sentence(tmp_path: Path) -> None:
    """In the middle of what `run` imports."""
    (tmp_path / "uvloop.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    ended = subprocess.run(
        [Path(sys.executable).parent / "crowetrade", "run", "nowhere"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "Interrupted before anything was done.\n")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            OSError(errno.ENOSPC, "Error writing bytes to file"),
            "no space left on device: make room, or write to another",
        ),
        (OSError(errno.EROFS, "x", "out/a"), "out/a: read-only file system: name a folder that may be written"),
        (OSError(errno.EACCES, "x", "out"), "out: permission denied: name another one, or get the right to it"),
        (OSError(errno.ECONNRESET, "the peer went away"), "[Errno 104] the peer went away"),
        (OSError("only a text"), "only a text"),
    ],
)
def test_what_the_system_refuses_is_a_sentence(error: OSError, expected: str) -> None:
    assert sentence_of(error).startswith(expected)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is of Linux")
def test_a_full_disk_ends_a_command_with_a_sentence() -> None:
    program = Path(sys.executable).parent / "crowetrade"
    with open("/dev/full", "w") as full:
        ended = subprocess.run([program, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (
        1,
        "Error: no space left on device: make room, or write to another disk\n",
    )


@pytest.mark.parametrize("command", ["verify", "show"])
def test_a_journal_that_is_not_there_is_named(run: Run, tmp_path: Path, command: str) -> None:
    ended = run("journal", command, tmp_path / "none.journal")
    assert ended.code == 2
    assert ended.err.startswith(
        f"Error: {tmp_path / 'none.journal'} is no file: name an exported journal, or a .journal "
    )
