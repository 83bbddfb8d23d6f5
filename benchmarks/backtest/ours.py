"""CroweTrade's own run of what its peers run, in a process of its own: `python -m benchmarks.backtest.ours TASK`.

The clock runs in what `crowetrade backtest` does once its recordings are read: gateway, journal, limits and strategy
are made, every event is handled, and executions, holdings and the use of limits are collected. What a process does once
(imports, the hashes of the code) is done before.
"""

from __future__ import annotations

import logging
import time

import structlog

from benchmarks.backtest.manifests import plan
from benchmarks.backtest.peers.task import Execution, answer, given
from crowetrade_cli.backtest.run import WHOLE, Range, run, span_of
from crowetrade_cli.results.result import Result


def main() -> None:
    """Runs the task of this process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    wanted, recordings = plan(given())
    first_ns = span_of([recordings.of(file) for file in wanted.traded], WHOLE).from_ns
    run(wanted, recordings, Range(first_ns, first_ns + 1))
    begin = time.perf_counter()
    result = run(wanted, recordings, WHOLE)
    seconds = time.perf_counter() - begin
    answer(result.events, seconds, _executions(result), _profit(result))


def _executions(result: Result) -> list[Execution]:
    return [
        Execution(
            fill.at_ns,
            float(fill.quantity if fill.side == "Buy" else -fill.quantity),
            float(fill.price),
            float(fill.fee),
        )
        for fill in result.fills
    ]


def _profit(result: Result) -> float:
    last = result.holdings.slice(result.holdings.num_rows - 1).to_pylist()[0]
    return float(last["cash"] + last["value"])


if __name__ == "__main__":
    main()
