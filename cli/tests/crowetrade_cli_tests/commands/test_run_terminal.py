"""`crowetrade run` of the samples in a terminal of the usual size: what matters is among the lines that it shows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from crowetrade_api_tests.samples import change, kill_manifest
from crowetrade_cli.samples import sample_manifests
from crowetrade_cli_tests.desk import PATIENCE_SECONDS
from crowetrade_cli_tests.terminal import CROWETRADE, FILL, LINES, Terminal, tables


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the samples in `manifests`."""
    (tmp_path / "manifests").mkdir()
    for file in sample_manifests():
        shutil.copy(file, tmp_path / "manifests")
    return tmp_path


@pytest.fixture
def terminal(folder: Path) -> Iterator[Terminal]:
    made = Terminal(folder, CROWETRADE, "run", "manifests", "--state", "state")
    yield made
    made.end()


def test_a_terminal_that_is_too_narrow_for_the_table_gets_lines(folder: Path) -> None:
    narrow = Terminal(folder, CROWETRADE, "run", "manifests", "--state", "state", "--for", "1", columns=40)
    try:
        written = narrow.written()
    finally:
        narrow.end()
    assert narrow.process.returncode == 0
    assert "This terminal has 40 columns, too few for the table" in written
    assert "venue sim-fx: " in written
    assert len(tables(written)) == 1


def test_what_matters_is_seen_in_80_columns_and_24_lines(terminal: Terminal, tmp_path: Path) -> None:
    times = [match[1] for match in FILL.finditer(terminal.until(FILL.pattern))]
    assert times == sorted(times, reverse=True)

    strategy = tmp_path / "manifests" / "strategy-pair.yaml"
    text = strategy.read_text()
    strategy.write_text(yaml.safe_dump(change(yaml.safe_load(text), "spec.mode", "Yolo")))
    refused = terminal.until("What runs goes on as it was")
    assert 'Unsupported value: "Yolo"' in " ".join(refused.split())
    strategy.write_text(text)
    terminal.until("The manifests have changed and are taken over")
    terminal.until("The manifests have changed|What runs goes on", absent=True)

    switch = change(kill_manifest("all", "default", engaged=True), "spec.reason", "drill")
    (tmp_path / "manifests" / "killswitch-all.yaml").write_text(yaml.safe_dump(switch))
    assert terminal.until("KillSwitch all").startswith("Stopped until a person has looked")

    terminal.interrupt()
    assert terminal.process.wait(PATIENCE_SECONDS) == 0
    shown = terminal.all_tables()
    assert any("Ctrl-C leaves at once" in " ".join(table.split()) for table in shown)
    assert max(table.count("\n") + 1 for table in shown) <= LINES
