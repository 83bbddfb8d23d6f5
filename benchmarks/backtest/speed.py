"""Events per second of one backtest, alone and beside its peers on the same rows.

Each run is a process of its own; what it takes is measured after its rows are read, until the last event is handled
(ours.py and peers/ say what that includes). CroweTrade and its peers take turns, and a ratio is that of a turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.backtest.peers.task import Task
from benchmarks.backtest.runs import (
    BACKTESTING_PY,
    BACKTRADER,
    NAUTILUS,
    OURS,
    Answer,
    ask,
    recorded_quotes,
    sample_bars,
    written,
)
from benchmarks.figures import Figure, figure

TURNS = 3
QUOTE_SPANS = 260, 520
"""About 10 and 20 minutes of this recording."""
BAR_SPANS = 10, 20


def quotes(folder: Path) -> Iterator[Figure]:
    """backtest.quotes_per_second and backtest.vs_nautilus, of all quotes of EUR-USD. Raises NotMeasurable."""
    task = Task(written(folder, "quotes.csv", recorded_quotes()), *QUOTE_SPANS)
    turns = [_turn((OURS, NAUTILUS), task) for _ in range(TURNS)]
    yield _per_second("backtest.quotes_per_second", turns)
    yield _against("backtest.vs_nautilus", NAUTILUS, turns)


def bars(folder: Path) -> Iterator[Figure]:
    """backtest.bars_per_second, backtest.vs_backtrader and backtest.vs_backtestingpy, of the sample's hourly bars."""
    task = Task(written(folder, "bars.csv", sample_bars()), *BAR_SPANS)
    turns = [_turn((OURS, BACKTRADER, BACKTESTING_PY), task) for _ in range(TURNS)]
    yield _per_second("backtest.bars_per_second", turns)
    yield _against("backtest.vs_backtrader", BACKTRADER, turns)
    yield _against("backtest.vs_backtestingpy", BACKTESTING_PY, turns)


def _turn(modules: tuple[str, ...], task: Task) -> dict[str, Answer]:
    return {module: ask(module, task) for module in modules}


def _per_second(name: str, turns: list[dict[str, Answer]]) -> Figure:
    one = turns[0][OURS]
    values = [turn[OURS].per_second for turn in turns]
    return figure(name, "1/s", values, events=one.events, executions=len(one.executions))


def _against(name: str, peer: str, turns: list[dict[str, Answer]]) -> Figure:
    ratios = [turn[OURS].per_second / turn[peer].per_second for turn in turns]
    theirs = [round(turn[peer].per_second) for turn in turns]
    return figure(name, "times", ratios, peer_per_second=theirs)
