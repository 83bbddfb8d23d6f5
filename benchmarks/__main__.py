"""`python -m benchmarks [PART ...]`: measures, prints a JSON line per figure and keeps the lines.

Parts: gateway, identity, backtest, operator, risk; without any, all. The lines of a run go to
benchmarks/results/TIME.jsonl, those of each part to a latest*.jsonl of its own beside it as well, of which
docs/performance.md is made.
A figure that cannot be measured in this tree is left out, and a line says why.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import figures
from benchmarks.figures import Figure
from benchmarks.simulation import NoSimulation, simulation

RESULTS = Path(__file__).parent / "results"
LATEST = {
    "gateway": RESULTS / "latest.jsonl",
    "identity": RESULTS / "latest-identity.jsonl",
    "backtest": RESULTS / "latest-backtest.jsonl",
    "operator": RESULTS / "latest-operator.jsonl",
    "risk": RESULTS / "latest-risk.jsonl",
}


def gateway() -> Iterator[Figure]:
    """The order path, a strategy's process, the simulation."""
    from benchmarks.gateway import engine, order_path, recovery, strategy

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield figures.python_loop()
        yield figures.synced_write(folder)
        yield from engine.order()
        yield from engine.growth()
        yield from order_path.order_path(folder)
        yield from recovery.recovery(_made(folder / "recovery"))
        yield from _if_possible(lambda: strategy.strategy_process(_made(folder / "strategy")), strategy.NotReady)
        yield from _if_possible(simulation, NoSimulation)


def identity() -> Iterator[Figure]:
    """The price of TLS, and of renewing certificates while orders flow."""
    from benchmarks.gateway.identity import identity as measure

    with tempfile.TemporaryDirectory() as name:
        yield figures.python_loop()
        yield from measure(Path(name))


def backtest() -> Iterator[Figure]:
    """Backtests, alone and beside others, and the demo."""
    from benchmarks.backtest import demo, runs, speed, sweep

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield figures.python_loop()
        yield from _if_possible(lambda: speed.quotes(folder), runs.NotRecorded)
        yield from speed.bars(folder)
        yield from sweep.sweep(folder)
        yield from demo.demo(_made(folder / "demo"))


def operator() -> Iterator[Figure]:
    """The operator with a fleet; see benchmarks/operator/fleet.py for how large it is."""
    from benchmarks.operator.fleet import plan_from
    from benchmarks.operator.run import fleet
    from benchmarks.risk.fleet import NoApiServer

    with tempfile.TemporaryDirectory() as name:
        yield figures.python_loop()
        yield from _if_possible(lambda: fleet(Path(name), plan_from()), NoApiServer)


def risk() -> Iterator[Figure]:
    """Limits, shares, kill orders, and how fast they reach every gateway."""
    from benchmarks.risk import fleet, judging, kills, shares

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield figures.python_loop()
        yield from judging.order()
        yield from judging.revaluation()
        yield from kills.kills(_made(folder / "kills"))
        yield from shares.usable(_made(folder / "shares"))
        yield from _if_possible(lambda: fleet.fleet(_made(folder / "fleet")), fleet.NoApiServer)


PARTS: dict[str, Callable[[], Iterator[Figure]]] = {
    "gateway": gateway,
    "identity": identity,
    "backtest": backtest,
    "operator": operator,
    "risk": risk,
}


def _if_possible(measure: Callable[[], Iterator[Figure]], missing: type[Exception]) -> Iterator[Figure]:
    try:
        yield from measure()
    except missing as error:
        print(f"left out: {error}", file=sys.stderr)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def main(arguments: list[str]) -> None:
    """Measures, prints and keeps."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    for part in parser.parse_args(arguments).part:
        lines = []
        for item in PARTS[part]():
            lines.append(figures.line(item))
            print(lines[-1], flush=True)
        content = "\n".join(lines) + "\n"
        (RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{part}.jsonl").write_text(content)
        if part in LATEST:
            LATEST[part].write_text(content)


if __name__ == "__main__":
    main(sys.argv[1:])
