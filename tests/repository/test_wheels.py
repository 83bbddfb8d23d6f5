"""Wheels are installed into clean environments, and what they hold is used from there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
UV = Path(sys.executable).parent / "uv"
PATIENCE_SECONDS = 120
COMMAND = ("contracts", "api", "process", "agents", "cli")
OPERATOR = ("contracts", "api", "process", "operator")

pytestmark = pytest.mark.integration


def _run(*command: str | Path, cwd: Path = ROOT) -> str:
    """What it wrote; fails with that when the command does. Python finds nothing but what the environment holds."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MAKE"))}
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def _install(environment: Path, *what: str | Path) -> None:
    """With the versions that the tests have, and the dependencies that the wheels state."""
    pins = ROOT / "requirements" / "dev.txt"
    _run(UV, "pip", "install", "--python", environment / "bin" / "python", "--constraint", pins, *what)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `make wheels` builds."""
    folder = tmp_path_factory.mktemp("wheels") / "dist"
    _run("make", "--no-print-directory", "wheels", f"WHEELS={folder}")
    return folder


def _environment(folder: Path, wheels: Path, packages: Sequence[str]) -> Path:
    _run(UV, "venv", "--python", sys.executable, folder)
    _install(folder, *(wheel for package in packages for wheel in wheels.glob(f"crowetrade_{package}-*.whl")))
    return folder


@pytest.fixture(scope="module")
def installed(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the command and nothing else."""
    return _environment(tmp_path_factory.mktemp("installed") / "venv", wheels, COMMAND)


def _trade(installed: Path, manifests: str, fill: str, cwd: Path) -> None:
    """Runs manifests until a line matches, then stops as Ctrl-C does."""
    process = subprocess.Popen(
        [installed / "bin" / "crowetrade", "run", manifests, "--plain"],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = threading.Timer(PATIENCE_SECONDS, process.kill)
    deadline.start()
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if re.search(fill, line):
            process.send_signal(signal.SIGINT)
            break
    rest = process.stdout.read()
    code = process.wait()
    deadline.cancel()
    assert code == 0, "".join(lines) + rest
    assert "positions are kept" in rest


def test_the_samples_trade_and_the_journal_verifies(installed: Path, tmp_path: Path) -> None:
    crowetrade = installed / "bin" / "crowetrade"
    assert "crowetrade run samples" in _run(crowetrade, "new", "samples", cwd=tmp_path)
    _trade(installed, "samples", r"eurusd-ema: (Buy|Sell) \d+ EUR-USD at 1\.\d+ on sim-fx", tmp_path)
    journal = ".crowetrade/default/sim-fx.journal"
    assert "are as they were written" in _run(crowetrade, "journal", "verify", journal, cwd=tmp_path)


def test_a_new_project_passes_its_tests_and_trades(wheels: Path, tmp_path: Path) -> None:
    environment = _environment(tmp_path / "venv", wheels, COMMAND)
    # As pip does, which compiles the template as well.
    _run(
        environment / "bin" / "python",
        "-m",
        "compileall",
        "-q",
        *environment.glob("lib/*/site-packages/crowetrade_cli"),
    )
    _run(environment / "bin" / "crowetrade", "new", "strategy", "slow-river", cwd=tmp_path)
    project = tmp_path / "slow-river"
    _install(environment, "--editable", f"{project}[test]")
    assert re.search(r"\d+ passed", _run(environment / "bin" / "python", "-m", "pytest", cwd=project))
    _trade(environment, "manifests", r"slow-river: (Buy|Sell) \d+ EUR-USD at 1\.\d+ on slow-river-sim", project)


IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""


def test_the_command_states_all_that_its_modules_import(installed: Path) -> None:
    packages = ("crowetrade", "crowetrade_api", "crowetrade_process", "crowetrade_agents", "crowetrade_cli")
    _run(installed / "bin" / "python", "-c", IMPORT_ALL, *packages)


def test_the_operator_states_all_that_its_modules_import(wheels: Path, tmp_path: Path) -> None:
    environment = _environment(tmp_path / "venv", wheels, OPERATOR)
    packages = ("crowetrade", "crowetrade_api", "crowetrade_process", "crowetrade_operator")
    _run(environment / "bin" / "python", "-c", IMPORT_ALL, *packages)
