"""What a peer is asked, and what it answers: one JSON object each."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

LOT = 100_000
"""What is held, in units of the base currency."""


@dataclass(frozen=True, slots=True)
class Task:
    """`rows`: a CSV file with the columns of Bar or of Quote. Spans are in rows. `latency_millis`: from an order's
    leaving to its arrival, where that is modelled. `fee_bps`: of the notional of an execution, in basis points."""

    rows: str
    fast: int
    slow: int
    latency_millis: int = 0
    fee_bps: str = "0"

    @property
    def fee(self) -> float:
        """As a share of the notional."""
        return float(self.fee_bps) / 10_000

    def text(self) -> str:
        """As an argument."""
        return json.dumps(asdict(self))


class Bar(NamedTuple):
    """A bar; `ts_ns` is when it begins."""

    ts_ns: int
    open: float
    high: float
    low: float
    close: float


class Quote(NamedTuple):
    """Best bid and ask, as text with the digits of the recording."""

    ts_ns: int
    bid_px: str
    ask_px: str


class Execution(NamedTuple):
    """`quantity` is signed."""

    at_ns: int
    quantity: float
    price: float
    fee: float


def given() -> Task:
    """The task of this process."""
    return Task(**json.loads(sys.argv[1]))


def bars(task: Task) -> Iterator[Bar]:
    """The rows of a file of bars."""
    for ts_ns, *prices in _rows(task):
        yield Bar(int(ts_ns), *map(float, prices))


def quotes(task: Task) -> Iterator[Quote]:
    """The rows of a file of quotes."""
    for ts_ns, bid, ask in _rows(task):
        yield Quote(int(ts_ns), bid, ask)


def answer(events: int, seconds: float, executions: Sequence[Execution], profit: float) -> None:
    """Prints the answer. `profit` is what the account has at the end, less what it had."""
    print(json.dumps({"events": events, "seconds": seconds, "executions": executions, "profit": profit}))


def _rows(task: Task) -> Iterator[list[str]]:
    with open(task.rows, newline="") as file:
        rows = csv.reader(file)
        next(rows)
        yield from rows
