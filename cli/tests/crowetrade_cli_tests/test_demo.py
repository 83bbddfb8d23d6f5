"""`make demo`, as the README says it: until the first execution, Ctrl-C, and again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crowetrade_cli_tests.desk import PATIENCE_SECONDS
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


@pytest.fixture
def demo(tree: Path) -> Iterator[Terminal]:
    """In a terminal of 80 columns and 24 lines."""
    made = Terminal(tree, "make", "demo")
    yield made
    made.end()


def journal(tree: Path) -> list[str]:
    """Its lines; fails when it is not as it was written."""
    shown = [
        subprocess.run(
            [CROWETRADE, "journal", command, ".crowetrade/default/sim-fx.journal"],
            cwd=tree,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        for command in ("verify", "show")
    ]
    assert "are as they were written" in shown[0]
    return shown[1].splitlines()


def test_the_demo_trades_ends_cleanly_and_goes_on_where_it_ended(demo: Terminal, tree: Path) -> None:
    demo.until(FILL.pattern)
    demo.interrupt()
    written = demo.written()
    # So make ends when it is interrupted, whatever the program says.
    assert demo.process.returncode == -signal.SIGINT
    assert "positions are kept" in written
    assert "Traceback" not in written
    first = journal(tree)

    ended = subprocess.run(
        ["make", "demo", "FOR=1"], cwd=tree, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
    )
    assert "[1/3]" not in ended.stdout
    again = journal(tree)
    assert again[: len(first)] == first
    assert len(again) > len(first)
