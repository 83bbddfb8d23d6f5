"""Wheels are installed into clean environments, and what they hold is used from there."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from crowetrade_api.files import ExitCode
from tests.repository.environments import (
    AGENTS,
    COMMAND,
    GATEWAY,
    OPERATOR,
    PATIENCE_SECONDS,
    ROOT,
    environment_of,
    run,
)
from tests.repository.test_packages import GATEWAY_MODULES

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def installed(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the command and nothing else."""
    return environment_of(COMMAND, wheels, tmp_path_factory.mktemp("installed") / "venv")


def _trade(
    environment: Path,
    manifests: str,
    fill: str,
    cwd: Path,
    *options: str,
    then: Callable[[list[str]], object] = lambda lines: None,
) -> None:
    """Runs manifests until a line matches, calls `then` with the lines until there, and stops as Ctrl-C does."""
    process = subprocess.Popen(
        [environment / "bin" / "crowetrade", "run", manifests, "--plain", *options],
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
            try:
                then(lines)
            except BaseException:
                process.kill()
                raise
            process.send_signal(signal.SIGINT)
            break
    rest = process.stdout.read()
    code = process.wait()
    deadline.cancel()
    assert code == 0, "".join(lines) + rest
    assert "positions are kept" in rest


def test_the_samples_trade_and_the_journal_verifies(installed: Path, tmp_path: Path) -> None:
    crowetrade = installed / "bin" / "crowetrade"
    version = (ROOT / "VERSION").read_text().strip()
    assert run(crowetrade, "--version", cwd=tmp_path) == f"crowetrade {version}\n"
    assert "crowetrade run samples" in run(crowetrade, "new", "samples", cwd=tmp_path)
    _trade(installed, "samples", r"eurusd-ema: (Buy|Sell) \d+ EUR-USD at 1\.\d+ on sim-fx", tmp_path)
    journal = ".crowetrade/default/sim-fx.journal"
    assert "are as they were written" in run(crowetrade, "journal", "verify", journal, cwd=tmp_path)


def _page_of(lines: list[str]) -> None:
    (address,) = [line.split()[-1] for line in lines if line.startswith("The page is at ")]
    with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as answer:
        assert b"<!doctype html>" in answer.read().lower()


def test_the_page_of_a_run_is_served(installed: Path, tmp_path: Path) -> None:
    run(installed / "bin" / "crowetrade", "new", "samples", cwd=tmp_path)
    _trade(installed, "samples", "venue sim-fx: LoggedOn", tmp_path, "--web", "--web-port", "0", then=_page_of)


def test_backtests_and_data_work(installed: Path, tmp_path: Path) -> None:
    def crowetrade(*arguments: str) -> str:
        return run(installed / "bin" / "crowetrade", *arguments, cwd=tmp_path)

    crowetrade("new", "samples")
    files = [f"samples/{name}.yaml" for name in ("strategy-eurusd-ema", "venue-sim-fx", "risklimit-fx-desk")]
    fast, dates = "strategy/eurusd-ema:spec.model.parameters.fast", ("--from", "2017-01-02", "--to", "2017-01-20")
    for out, value in (("a", "4"), ("b", "6")):
        crowetrade("backtest", *files, *dates, "--set", f"{fast}={value}", "--out", out)
    assert "<!doctype html>" in (tmp_path / "a" / "report.html").read_text().lower()
    assert re.search(r"parameter .* fast +4 +6", crowetrade("compare", "a", "b"))
    walked = crowetrade("backtest", *files, *dates, "--set", f"{fast}=4,6", "--folds", "2", "--metric", "pnl")
    assert "2 tested, each with the values that were best before it" in walked

    (tmp_path / "quotes.csv").write_text(
        "ts_ns,bid_px,bid_sz,ask_px,ask_sz\n1483315200000000000,1.1,5,1.2,5\n1483315201000000000,1.1,5,1.2,5\n"
    )
    assert re.search(r"rows +2\n", crowetrade("data", "inspect", "quotes.csv"))
    crowetrade("data", "convert", "quotes.csv", "--out", "quotes.parquet")
    assert re.search(r"rows +2\n", crowetrade("data", "inspect", "quotes.parquet"))


def test_a_new_project_passes_its_tests_and_trades(wheels: Path, tmp_path: Path) -> None:
    environment = environment_of(COMMAND, wheels, tmp_path / "venv")
    commands = environment / "bin"
    # As pip does, which compiles the template as well.
    run(commands / "python", "-m", "compileall", "-q", *environment.glob("lib/*/site-packages/crowetrade_cli"))
    run(commands / "crowetrade", "new", "strategy", "slow-river", cwd=tmp_path)
    project = tmp_path / "slow-river"
    run(commands / "pip", "install", "--editable", ".[test]", cwd=project)
    assert re.search(r"\d+ passed", run(commands / "pytest", cwd=project))
    _trade(environment, "manifests", r"slow-river: (Buy|Sell) \d+ EUR-USD at 1\.\d+ on slow-river-sim", project)


FIND_MODEL = """
from crowetrade_agents.models.registry import find_model
print(find_model("", "slow_river.model:SlowRiver"))
"""


def test_the_agents_find_the_model_that_the_dockerfile_of_a_project_installs(
    installed: Path, wheels: Path, tmp_path: Path
) -> None:
    run(installed / "bin" / "crowetrade", "new", "strategy", "slow-river", cwd=tmp_path)
    project = tmp_path / "slow-river"
    installs = r"^RUN /opt/build/bin/pip --python /opt/venv/bin/python (.*) /usr/src/slow-river$"
    (options,) = re.findall(installs, (project / "Dockerfile").read_text(), re.MULTILINE)
    python = environment_of(AGENTS, wheels, tmp_path / "venv") / "bin" / "python"
    run(python, "-m", "pip", *options.split(), project)
    assert run(python, "-c", FIND_MODEL, cwd=tmp_path) == "<class 'slow_river.model.SlowRiver'>\n"


IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        # The first starts a process; the second needs the extra `testing`.
        if not module.name.endswith(("__main__", "sdk.testing")):
            importlib.import_module(module.name)
            print(module.name)
"""
# Folders that two packages share are not walked from above, because they have no __init__.py.
SHARED = ("crowetrade", "crowetrade_api", "crowetrade_process")
NAMESPACES = ("crowetrade_agents", "crowetrade_agents.risk", "crowetrade_agents.runtime")


def test_the_command_states_all_that_its_modules_import(installed: Path) -> None:
    run(installed / "bin" / "python", "-c", IMPORT_ALL, *SHARED, *NAMESPACES, "crowetrade_cli")
    run(installed / "bin" / "python", "-c", "import crowetrade_agents.sdk.testing")


def test_the_agents_state_all_that_their_modules_import_and_bring_no_gateway(wheels: Path, tmp_path: Path) -> None:
    python = environment_of(AGENTS, wheels, tmp_path / "venv") / "bin" / "python"
    modules = run(python, "-c", IMPORT_ALL, *NAMESPACES, cwd=tmp_path).split()
    assert "crowetrade_agents.runtime.strategy_pod" in modules
    assert not GATEWAY_MODULES.intersection(modules)
    refused = "crowetrade-gateway is not installed"
    for command in ("gateway", "risk-auditor"):
        ended = subprocess.run([python, "-m", "crowetrade_agents.runtime", command], capture_output=True, text=True)
        assert (ended.returncode, refused in ended.stdout + ended.stderr) == (ExitCode.CONFIGURATION_ERROR, True)


def test_the_gateway_states_all_that_its_modules_import(wheels: Path, tmp_path: Path) -> None:
    environment = environment_of(GATEWAY, wheels, tmp_path / "venv")
    modules = run(environment / "bin" / "python", "-c", IMPORT_ALL, *NAMESPACES).split()
    assert {"crowetrade_agents.runtime.gateway_pod", "crowetrade_agents.risk.gate"} <= set(modules)


def test_the_operator_states_all_that_its_modules_import(wheels: Path, tmp_path: Path) -> None:
    environment = environment_of(OPERATOR, wheels, tmp_path / "venv")
    run(environment / "bin" / "python", "-c", IMPORT_ALL, *SHARED, "crowetrade_operator")
