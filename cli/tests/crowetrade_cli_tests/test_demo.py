"""`make demo`, as the README says it: until the first execution, Ctrl-C, and again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crowetrade_agents.journal.sqlite import SqliteReader
from crowetrade_cli_tests.terminal import CROWETRADE, FILL, Terminal

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What `make demo` needs of the tree, with the environment that the tests have: `make bench-backtest` makes one."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for folder in ("samples", "requirements"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for file in (ROOT / "images" / "sample_data.py", *ROOT.glob("*/pyproject.toml")):
        copied = tmp_path / file.relative_to(ROOT)
        copied.parent.mkdir(exist_ok=True)
        shutil.copy(file, copied)
    laptop = tmp_path / ".venv-laptop"
    laptop.mkdir()
    (laptop / "bin").symlink_to(Path(sys.executable).parent)
    # Newer than all that it is made of.
    (laptop / ".ready").touch()
    return tmp_path


@contextmanager
def demo(tree: Path) -> Iterator[Terminal]:
    """`make demo`, which is interrupted at the end and must end then."""
    terminal = Terminal(tree, "make", "demo")
    try:
        yield terminal
        terminal.interrupt()
        written = terminal.written()
    finally:
        terminal.end()
    # So make ends when it is interrupted, whatever the program says.
    assert terminal.process.returncode == -signal.SIGINT
    assert "positions are kept" in written
    assert "Traceback" not in written


def journal(tree: Path) -> list[bytes]:
    """Its records; fails when it is not as it was written."""
    file = ".crowetrade/default/sim-fx.journal"
    verify = [CROWETRADE, "journal", "verify", file]
    shown = subprocess.run(verify, cwd=tree, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "are as they were written" in shown
    return list(SqliteReader(tree / file).records())


def test_the_demo_trades_ends_cleanly_and_goes_on_where_it_ended(tree: Path) -> None:
    with demo(tree) as first_run:
        first_run.until(FILL.pattern)
    first = journal(tree)
    with demo(tree) as second_run:
        second_run.until("sim-fx +LoggedOn")
    again = journal(tree)
    assert again[: len(first)] == first
    assert len(again) > len(first)
