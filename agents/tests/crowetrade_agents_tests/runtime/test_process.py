"""The command as the kubelet runs it: real processes, signals, exit codes and the termination message."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from crowetrade_agents.errors import AgentError, ConfigurationError, InvalidNumber, Overtaken
from crowetrade_agents.runtime import __main__
from crowetrade_agents.runtime.__main__ import main

from ..gateway.harness import NAMESPACE, SYMBOL, VENUE, books, configuration, configure, status_when
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
    assert sentence in Path(environment["CROWETRADE_TERMINATION_LOG"]).read_text()
    (line,) = capsys.readouterr().out.splitlines()
    assert sentence in json.loads(line)["error"]


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigurationError("c"), 78), (Overtaken("o"), 75), (InvalidNumber("i"), 1), (None, 0)]
)
def test_the_exit_code_tells_what_a_new_start_would_help(
    error: AgentError | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(__main__, "_gateway", run)
    assert main(["gateway"]) == code


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


@pytest.mark.integration
async def test_a_gateway_process_and_four_role_processes_trade_over_a_bar_file(
    bus: Client, nats_url: str, environment: dict[str, str], processes: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    await configure(bus, configuration())
    rows = "".join(f"{quote.event_ns},{quote.bid_price},{quote.ask_price}\n" for quote in books(40))
    (tmp_path / "quotes.csv").write_text("ts_ns,bid_px,ask_px\n" + rows)
    venue = {
        "namespace": NAMESPACE,
        "name": VENUE,
        "spec": {
            "type": "Simulated",
            "simulated": {
                "data": {"configMap": {"name": "quotes", "key": "quotes.csv"}},
                "replay": {"speed": "max", "loop": False},
            },
            "instruments": [
                {
                    "symbol": SYMBOL,
                    "currency": "USD",
                    "tickSize": "0.00001",
                    "lotSize": "1000",
                    "minQuantity": "1000",
                }
            ],
        },
    }
    (tmp_path / "venue.json").write_text(json.dumps(venue))
    environment |= {"NATS_URL": nats_url, "GRPC_PORT": "0"}
    gateway = start(
        processes,
        ["gateway"],
        {**environment, "CROWETRADE_CONFIG": str(tmp_path / "venue.json"), "CROWETRADE_DATA": str(tmp_path)},
    )
    assert gateway.stdout is not None
    port = next(
        match.group(1) for line in gateway.stdout if (match := re.search(r'gateway serves.*"port": (\d+)', line)
        or re.search(r'"port": (\d+).*gateway serves', line))
    )  # fmt: skip
    capital = {"amount": "5000", "currency": "USD"}
    write(environment, strategy_json(f"127.0.0.1:{port}", capital=capital))
    roles = [
        start(processes, ["strategy", "--roles", role], environment)
        for role in ("execution", "portfolio", "signal", "feature")
    ]
    status = await status_when(bus, "s.session == pb.SESSION_STATE_ENDED")
    assert status.accounts[0].positions[0].quantity == "9000"
    for process in [*roles, gateway]:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(STOP_SECONDS) for process in [*roles, gateway]] == [0] * 5
