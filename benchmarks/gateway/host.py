"""`python -m benchmarks.gateway.host FILE`: the gateway's process as it is, which notes when each order was sent.

When it ends it writes to FILE what a gateway counts into its histograms: of each order sent the wall clock and the time
since it was received, and the time of each append to the journal.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import uvloop

from crowetrade_agents import metrics
from crowetrade_agents.runtime.gateway_pod import run_gateway


class Recorder:
    """Stands for a histogram: keeps every observation with the wall clock."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def observe(self, seconds: float) -> None:
        self.seen.append((time.time_ns(), round(seconds * 1e9)))

    @contextmanager
    def time(self) -> Iterator[None]:
        begin = time.perf_counter_ns()
        yield
        self.seen.append((time.time_ns(), time.perf_counter_ns() - begin))


def main(more: Mapping[str, Sequence[tuple[int, int]]] = MappingProxyType({})) -> None:
    """Runs the gateway until SIGTERM. `more` is written to FILE, too."""
    orders, appends = Recorder(), Recorder()
    metrics.ORDER_SECONDS = orders  # type: ignore[assignment]
    metrics.JOURNAL_SECONDS = appends  # type: ignore[assignment]
    try:
        uvloop.run(run_gateway(os.environ))
    finally:
        Path(sys.argv[1]).write_text(json.dumps({"orders": orders.seen, "appends": appends.seen, **more}))


if __name__ == "__main__":
    main()
