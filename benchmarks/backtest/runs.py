"""Runs a task in CroweTrade or in a peer: a process each, the same rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet

from benchmarks.backtest.manifests import CLAIM
from benchmarks.backtest.peers.task import Bar, Execution, Quote, Task
from benchmarks.figures import NotMeasurable
from crowetrade_cli.samples import INSTALLED_SAMPLES

ROOT = Path(__file__).parent.parent.parent
PEERS = ROOT / ".venv-peers" / "bin" / "python"
OURS = "benchmarks.backtest.ours"
BACKTRADER = "benchmarks.backtest.peers.backtrader"
BACKTESTING_PY = "benchmarks.backtest.peers.backtesting_py"
NAUTILUS = "benchmarks.backtest.peers.nautilus"
_QUOTES = ROOT.parent / "shared" / "data" / "quotes" / "EUR-USD.oanda.parquet"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run made. `profit` is in the currency of the prices."""

    events: int
    seconds: float
    executions: Sequence[Execution]
    profit: float

    @property
    def per_second(self) -> float:
        """Events per second of the clock."""
        return self.events / self.seconds


def ask(module: str, task: Task) -> Answer:
    """Runs a task. Raises RuntimeError when the process fails."""
    python = sys.executable if module == OURS else str(PEERS)
    command = [python, "-W", "ignore", "-m", module, task.text()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=_environment())
    if done.returncode:
        raise RuntimeError(f"{module} failed:\n{done.stderr[-4000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return Answer(**{**found, "executions": [Execution(*one) for one in found["executions"]]})


def recorded_quotes() -> Iterator[Quote]:
    """All of EUR-USD at OANDA, some days of 2014. Raises NotMeasurable."""
    if not _QUOTES.exists():
        raise NotMeasurable("recorded data is not beside the repository (../shared/data): nothing to replay")
    table = pyarrow.parquet.read_table(_QUOTES, columns=["ts_ns", "bid_px", "ask_px"])
    return map(Quote, *(column.to_pylist() for column in table.columns))


def sample_bars() -> Iterator[Bar]:
    """The hourly bars of EUR-USD that ship with CroweTrade."""
    with (INSTALLED_SAMPLES / "eurusd-1h.csv").open() as file:
        next(file)
        for line in file:
            ts_ns, *prices = line.split(",")[:5]
            yield Bar(int(ts_ns), *map(float, prices))


def written(folder: Path, name: str, rows: Iterable[Quote | Bar]) -> str:
    """Writes rows where both CroweTrade and its peers read them, and returns the path."""
    path = folder / CLAIM / name
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        for number, row in enumerate(rows):
            if not number:
                file.write(",".join(row._fields) + "\n")
            file.write(",".join(map(str, row)) + "\n")
    return str(path)


def _environment() -> dict[str, str]:
    """Bars of progress are for those who watch."""
    return {**os.environ, "TQDM_DISABLE": "1"}
