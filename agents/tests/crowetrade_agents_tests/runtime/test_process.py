"""The command as the kubelet runs it: real processes, signals, exit codes and the termination message."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crowetrade import subjects
from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.runtime.__main__ import main

from ..messages import EUR, NAMESPACE, STRATEGY, VENUE, quote
from .config_files import strategy_json

PROCESS = [sys.executable, "-m", "crowetrade_agents.runtime"]
STOP_SECONDS = 30


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    log = tmp_path / "termination-log"
    log.touch()
    return {
        **os.environ,
        "NATS_URL": "nats://127.0.0.1:1",
        "POD_NAME": "pod-1",
        "HTTP_PORT": "0",
        "CROWETRADE_CONFIG": str(tmp_path / "strategy.json"),
        "CROWETRADE_TERMINATION_LOG": str(log),
    }


def termination_message(environment: dict[str, str]) -> str:
    return Path(environment["CROWETRADE_TERMINATION_LOG"]).read_text()


def write(environment: dict[str, str], content: dict[str, Any]) -> None:
    Path(environment["CROWETRADE_CONFIG"]).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("arguments", "spec", "sentence"),
    [
        (["--roles", "oracle"], {}, "--roles 'oracle': write one or more of"),
        ([], {"model": {"name": "oracle"}}, "model.name 'oracle' is not built in"),
        ([], {"model": {"name": "ema-crossover", "parameters": {"fast": 9, "slow": 3}}}, "fast (9) must be less"),
    ],
    ids=["roles", "model", "parameter"],
)
def test_a_configuration_error_is_told_in_a_sentence_and_exits_78(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    spec: dict[str, Any],
    sentence: str,
) -> None:
    write(environment, strategy_json(**spec))
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert main(["strategy", *arguments]) == 78
    assert sentence in termination_message(environment)
    (line,) = capsys.readouterr().out.splitlines()
    assert sentence in json.loads(line)["error"]


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def start(
    processes: list[subprocess.Popen[str]], arguments: list[str], environment: dict[str, str]
) -> subprocess.Popen[str]:
    process = subprocess.Popen([*PROCESS, *arguments], env=environment, stdout=subprocess.PIPE, text=True)
    processes.append(process)
    return process


@pytest.mark.integration
def test_without_a_bus_it_waits_and_leaves_on_sigterm(
    environment: dict[str, str], processes: list[subprocess.Popen[str]]
) -> None:
    write(environment, strategy_json())
    process = start(processes, ["strategy"], environment)
    assert process.stdout is not None
    for line in process.stdout:
        if "strategy_started" in line:
            break
    process.send_signal(signal.SIGTERM)
    assert process.wait(STOP_SECONDS) == 0


HANGS = """
from crowetrade_agents.sdk import Features, Model
class Hangs(Model):
    def __init__(self, parameters, instruments): pass
    def on_quote(self, quote):
        while True: pass
    def signal(self, features): return None
"""


@pytest.mark.integration
async def test_a_model_that_never_returns_is_named_in_the_termination_message(
    nats_url: str, environment: dict[str, str], processes: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Finding G23: such a pod was restarted by its liveness probe without a word."""
    (tmp_path / "hangs.py").write_text(HANGS)
    write(environment, strategy_json(model={"entryPoint": "hangs:Hangs"}))
    environment |= {"NATS_URL": nats_url, "PYTHONPATH": str(tmp_path)}
    process = start(processes, ["strategy", "--roles", "feature"], environment)
    bus = await NatsBus.connect(nats_url, "test")
    async with asyncio.timeout(STOP_SECONDS):
        while not await bus.ping(subjects.handshake(NAMESPACE, STRATEGY, "feature"), 1.0):
            await asyncio.sleep(0.05)
    await bus.publish(subjects.market_data(NAMESPACE, VENUE, EUR.symbol), quote(1, "1.1", "1.1001"))
    await bus.close()
    assert process.stdout is not None
    line = await asyncio.wait_for(
        asyncio.to_thread(lambda: next(line for line in process.stdout or () if "stage_hangs" in line)), STOP_SECONDS
    )
    assert "the model has not returned to the feature role for 5 s" in json.loads(line)["error"]
    assert "has not returned" in termination_message(environment)


@pytest.mark.parametrize(
    ("process", "others"),
    [
        (
            "strategy_pod",
            ("pyarrow", "pandas", "numpy", "crowetrade_agents.gateway", "crowetrade_agents.venues", "hvac"),
        ),
        ("gateway_pod", ("pyarrow", "pandas", "numpy")),
    ],
)
def test_a_process_does_not_load_what_only_others_need(process: str, others: tuple[str, ...]) -> None:
    """Each of these costs memory in every pod."""
    code = f"import sys, crowetrade_agents.runtime.{process}; print(sorted({set(others)!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
