"""`python -m benchmarks [PART ...]`: measures, prints a JSON line per figure and keeps the lines.

Parts: gateway, identity, backtest, operator, risk, network; without any, all. record.py says where the lines are kept.
docs/performance.md is made of the newest complete run of each part. A figure that cannot be measured here is left out,
the end of the output says which and why, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import Measure, python_loop, synced_write
from benchmarks.record import record
from benchmarks.simulation import simulation


def gateway(folder: Path) -> dict[str, Measure]:
    """The order path, a strategy's process, the simulation."""
    from benchmarks.gateway import engine, order_path, recovery, strategy

    return {
        "the machine's disk": lambda: synced_write(folder),
        "orders in the engine": engine.order,
        "growth": engine.growth,
        "the order path": lambda: order_path.order_path(folder),
        "recovery": lambda: recovery.recovery(_made(folder / "recovery")),
        "a strategy's process": lambda: strategy.strategy_process(_made(folder / "strategy")),
        "the simulation": simulation,
    }


def identity(folder: Path) -> dict[str, Measure]:
    """The price of TLS, and of renewing certificates while orders flow."""
    from benchmarks.gateway.identity import identity as measure

    return {"TLS": lambda: measure(folder)}


def backtest(folder: Path) -> dict[str, Measure]:
    """Backtests, alone and beside others, and the demo."""
    from benchmarks.backtest import demo, speed, sweep

    return {
        "quotes": lambda: speed.quotes(folder),
        "bars": lambda: speed.bars(folder),
        "sweeps": lambda: sweep.sweep(folder),
        "the demo": lambda: demo.demo(_made(folder / "demo")),
    }


def operator(folder: Path) -> dict[str, Measure]:
    """The operator with a fleet; see benchmarks/operator/fleet.py for how large it is."""
    from benchmarks.operator.fleet import plan_from
    from benchmarks.operator.run import measures

    return measures(folder, plan_from())


def risk(folder: Path) -> dict[str, Measure]:
    """Limits, shares, kill orders, how fast they reach every gateway, and permissions the bus."""
    from benchmarks.risk import fleet, judging, kills, policy, shares

    return {
        "orders under every limit": judging.order,
        "revaluation": judging.revaluation,
        "kill orders": lambda: kills.kills(_made(folder / "kills")),
        "shares": lambda: shares.usable(_made(folder / "shares")),
        "twenty gateways": lambda: fleet.fleet(_made(folder / "fleet")),
        "permissions": lambda: policy.policy(_made(folder / "policy")),
    }


def network(folder: Path) -> dict[str, Measure]:
    """How soon a NetworkPolicy is in force on the demo's cluster."""
    from benchmarks.network import policies

    return {"NetworkPolicies": policies}


PARTS: dict[str, Callable[[Path], dict[str, Measure]]] = {
    "gateway": gateway,
    "identity": identity,
    "backtest": backtest,
    "operator": operator,
    "risk": risk,
    "network": network,
}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def main(arguments: list[str]) -> int:
    """Measures, prints and keeps; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    complete = True
    for part in parser.parse_args(arguments).part:
        with tempfile.TemporaryDirectory() as name:
            complete &= record(part, {"the machine": python_loop, **PARTS[part](Path(name))})
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
