"""How much of all cores a sweep uses. `python -m benchmarks.backtest.sweep FILE CORES RUNS` runs one and prints the
seconds that it took; what a process loads once is loaded before."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import structlog

from benchmarks.backtest.manifests import CAPITAL, plan
from benchmarks.backtest.peers.task import Task
from benchmarks.backtest.runs import ROOT, sample_bars, written
from benchmarks.backtest.speed import BAR_SPANS, TURNS
from benchmarks.figures import Figure, figure
from crowetrade_cli.backtest.many import Candidate, Runner
from crowetrade_cli.backtest.run import WHOLE

RUNS = 100
BARS = 3_000
"""About half a year."""
RUNS_ALONE = 5


def sweep(folder: Path) -> Iterator[Figure]:
    """backtest.sweep.efficiency: what the runs of a sweep take one after the other in one process, divided by the
    cores and by what the sweep takes on them, its processes started and ended. All runs are alike.
    backtest.sweep.machine_share: what one run takes alone, divided by what it takes beside as many more as there are
    cores, in processes that share nothing. No sweep on this machine gets above it."""
    rows, cores = written(folder, "sweep.csv", islice(sample_bars(), BARS)), len(os.sched_getaffinity(0))
    alone, beside, together = [], [], []
    for _ in range(TURNS):
        alone += [one / RUNS_ALONE for one in _seconds(rows, 1, RUNS_ALONE, at_once=1)]
        beside.append(max(_seconds(rows, 1, RUNS_ALONE, at_once=cores)) / RUNS_ALONE)
        together += _seconds(rows, cores, RUNS, at_once=1)
    shares = [RUNS * one / (cores * all_) for one, all_ in zip(alone, together, strict=True)]
    notes = {"run_alone_seconds": _rounded(alone), "sweep_seconds": _rounded(together)}
    yield figure("backtest.sweep.efficiency", "share", shares, cores=cores, runs=RUNS, **notes)
    bounds = [one / loaded for one, loaded in zip(alone, beside, strict=True)]
    yield figure("backtest.sweep.machine_share", "share", bounds, cores=cores)


def _seconds(rows: str, cores: int, runs: int, at_once: int) -> list[float]:
    """Of each of `at_once` processes that run a sweep each at the same time."""
    command = [sys.executable, "-m", "benchmarks.backtest.sweep", rows, str(cores), str(runs)]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(at_once)]
    said = [process.communicate()[0] for process in started]
    for process in started:
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
    return [float(text) for text in said]


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 3) for value in values]


def main(rows: str, cores: int, runs: int) -> None:
    """Runs a sweep and prints."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    task = Task(rows, *BAR_SPANS)
    plans = [plan(task, CAPITAL + number) for number in range(runs)]
    candidates = [Candidate({"capital": str(number)}, one) for number, (one, _) in enumerate(plans)]
    recordings = plans[0][1]
    Runner(candidates[:1], recordings, 1, _nothing).sweep(WHOLE)
    begin = time.perf_counter()
    Runner(candidates, recordings, cores, _nothing).sweep(WHOLE)
    print(time.perf_counter() - begin)


def _nothing() -> None:
    """Nobody watches."""


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
