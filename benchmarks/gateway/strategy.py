"""One strategy's process, all roles in it (topology Combined), from its start until it is ready to trade.

It runs with the libraries of the agents' image alone (`make .venv/agents/.synced`): the environment of development has
others, which some of ours import when they find them.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import uvloop

from benchmarks.figures import Figure, NotMeasurable, anonymous_mib, cpu_seconds, figure, rss_mib
from benchmarks.gateway.process import connect, gateway_host, write_files
from benchmarks.gateway.workload import INSTRUMENTS, NAMESPACE, STRATEGIES, VENUE
from benchmarks.nats_server import nats_server
from crowetrade_api.files import STRATEGY_FILE, EnvName, StrategyFile

PYTHON = Path(sys.prefix) / "agents" / "bin" / "python"
STARTS = 3
READY_SECONDS = 60
SETTLE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class _Start:
    rss_mib: float
    anonymous_mib: float
    cpu_seconds: float


def strategy_process(folder: Path) -> Iterator[Figure]:
    """agents.strategy.start_cpu_seconds: CPU time from the start until /readyz says yes, which is when the gateway has
    accepted its logon; agents.strategy.rss_mib: memory some seconds later; agents.strategy.anonymous_mib: the part of
    it that one more strategy on a node costs, because the pages of libraries are shared. Raises NotMeasurable."""
    if not PYTHON.exists():
        raise NotMeasurable(f"{PYTHON} is missing: start the benchmarks with make bench-gateway")
    write_files(folder)
    found: list[_Start] = []

    async def run(url: str) -> None:
        client = await connect(url)
        with gateway_host(folder, url) as (host, _):
            (folder / STRATEGY_FILE).write_text(json.dumps(_strategy_file(host.port).content()))
            for _ in range(STARTS):
                found.append(await asyncio.to_thread(_start, folder, url))
        await client.close()

    with nats_server(folder) as url:
        uvloop.run(run(url))
    yield figure("agents.strategy.rss_mib", "MiB", [start.rss_mib for start in found])
    yield figure("agents.strategy.anonymous_mib", "MiB", [start.anonymous_mib for start in found])
    yield figure("agents.strategy.start_cpu_seconds", "s", [start.cpu_seconds for start in found])


def _strategy_file(port: int) -> StrategyFile:
    instrument = INSTRUMENTS[0]
    return StrategyFile.model_validate(
        {
            "namespace": NAMESPACE,
            "name": STRATEGIES[0],
            "spec": {
                "mode": "Paper",
                "capital": {"amount": "1000000", "currency": "USD"},
                "instruments": [{"symbol": instrument.symbol, "venueRef": {"name": VENUE}}],
                "model": {"name": "ema-crossover", "parameters": {"fast": 3, "slow": 8}},
            },
            "gateways": {VENUE: f"127.0.0.1:{port}"},
            "instruments": [
                {
                    "symbol": instrument.symbol,
                    "venue": VENUE,
                    "currency": "USD",
                    "tickSize": "0.00001",
                    "lotSize": "1000",
                    "minQuantity": "1000",
                }
            ],
        }
    )


def _start(folder: Path, nats_url: str) -> _Start:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        EnvName.POD_NAME: f"{STRATEGIES[0]}-0",
        EnvName.NATS_URL: nats_url,
        EnvName.HTTP_PORT: str(port),
        EnvName.CONFIG_FILE: str(folder / STRATEGY_FILE),
        EnvName.TERMINATION_LOG: str(folder / "termination-log"),
    }
    with (folder / "strategy.log").open("w") as log:
        process = subprocess.Popen(
            [PYTHON, "-m", "crowetrade_agents.runtime", "strategy"], env=environment, stdout=log, stderr=log
        )
    try:
        _until_ready(process, port, folder / "strategy.log")
        cpu = cpu_seconds(process.pid)
        time.sleep(SETTLE_SECONDS)
        return _Start(rss_mib(process.pid), anonymous_mib(process.pid), cpu)
    finally:
        process.terminate()
        process.wait(READY_SECONDS)


def _until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                return
        except (URLError, OSError):
            time.sleep(0.02)
    lines = log.read_text().strip().splitlines() or ["it has written nothing"]
    raise NotMeasurable(f"the strategy's process does not become ready: {lines[-1]}")
