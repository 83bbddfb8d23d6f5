"""A crossover that trades one lot by market orders at the next quote makes the executions and the profit of two other
backtesters, each with a matching engine of its own.

The prices are recorded, the times are not: they are one latency apart, so that an order always meets the next quote.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pytest
from benchmarks.backtest.peers.task import Bar, Quote, Task
from benchmarks.backtest.runs import (
    BACKTESTING_PY,
    NAUTILUS,
    OURS,
    PEERS,
    Answer,
    ask,
    recorded_quotes,
    sample_bars,
    written,
)
from benchmarks.figures import NotMeasurable

pytestmark = pytest.mark.skipif(not PEERS.exists(), reason="no environment of peers here: `make bench-backtest`")

T = TypeVar("T")
START_NS, STEP_MILLIS = 1_400_000_000_000_000_000, 1_000
QUOTES = 6_000
CENT = Decimal("0.01")
FEES_BPS = ("0", "0.2")


def timed(values: Iterable[T]) -> Iterator[tuple[int, T]]:
    """One value at each step."""
    return zip(itertools.count(START_NS, STEP_MILLIS * 1_000_000), values, strict=False)


def trades(answer: Answer) -> list[tuple[int, Decimal, Decimal]]:
    """Time, price and signed quantity. A peer may reverse by two orders, one that closes and one that opens."""
    traded: dict[tuple[int, Decimal], Decimal] = defaultdict(Decimal)
    for execution in answer.executions:
        traded[execution.at_ns, Decimal(str(execution.price))] += Decimal(str(execution.quantity))
    return sorted((at_ns, price, quantity) for (at_ns, price), quantity in traded.items())


def cents(amount: float) -> Decimal:
    """To the cent."""
    return Decimal(str(amount)).quantize(CENT)


@pytest.mark.parametrize("fee_bps", FEES_BPS)
def test_backtesting_py(tmp_path: Path, fee_bps: str) -> None:
    """It fills at the open of the next bar and knows no spread: a bar of one price is a quote of that price."""
    closes = [bar.close for bar in sample_bars()]
    quotes = written(tmp_path, "quotes.csv", (Quote(at, str(price), str(price)) for at, price in timed(closes)))
    bars = written(tmp_path, "bars.csv", (Bar(at, price, price, price, price) for at, price in timed(closes)))
    ours = ask(OURS, Task(quotes, 10, 20, STEP_MILLIS, fee_bps))
    theirs = ask(BACKTESTING_PY, Task(bars, 10, 20, fee_bps=fee_bps))
    assert len(trades(ours)) > 200
    assert trades(ours) == trades(theirs)
    assert cents(ours.profit) == cents(theirs.profit)


@pytest.mark.parametrize("fee_bps", FEES_BPS)
def test_nautilus_trader(tmp_path: Path, fee_bps: str) -> None:
    """It fills at the recorded bid and ask, and rounds the commission of each execution to cents, where CroweTrade has
    it exact: that is all of the difference. Needs ../shared/data; skips without it."""
    try:
        recorded = list(itertools.islice(recorded_quotes(), QUOTES))
    except NotMeasurable as error:
        pytest.skip(str(error))
    quotes = written(tmp_path, "quotes.csv", (quote._replace(ts_ns=at) for at, quote in timed(recorded)))
    task = Task(quotes, 10, 20, STEP_MILLIS, fee_bps)
    ours, theirs = ask(OURS, task), ask(NAUTILUS, task)
    assert len(trades(ours)) > 200
    assert trades(ours) == trades(theirs)
    fees = [Decimal(str(execution.fee)) for execution in ours.executions]
    assert [fee.quantize(CENT) for fee in fees] == [cents(execution.fee) for execution in theirs.executions]
    rounding = sum(fee.quantize(CENT) - fee for fee in fees)
    assert (Decimal(str(ours.profit)) - rounding).quantize(CENT) == cents(theirs.profit)
