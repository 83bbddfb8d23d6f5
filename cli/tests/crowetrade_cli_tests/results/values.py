"""Small results, written out by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from crowetrade_cli.results.result import (
    Code,
    DataFile,
    Fill,
    Holding,
    Holdings,
    InstrumentFacts,
    LimitUse,
    ManifestHash,
    Refused,
    Result,
    Side,
    StrategyFacts,
)

SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
MONDAY_NS = 1_483_315_200 * SECOND_NS  # 2017-01-02
VENUE = "desk/sim"
EMA, PAIR = "desk/ema", "desk/pair"
INSTRUMENTS = {
    (VENUE, "EUR-USD"): InstrumentFacts(Decimal(1), "USD"),
    (VENUE, "FUT"): InstrumentFacts(Decimal(50), "USD"),
    (VENUE, "EUR-GBP"): InstrumentFacts(Decimal(1), "GBP"),
}
HASH = "0123456789abcdef" * 4

Held = tuple[str, str, str]
"""Position, cash and mark."""


def fill(at_ns: int, side: Side, quantity: str, price: str, fee: str = "0", **changes: Any) -> Fill:
    """One of EMA in EUR-USD."""
    made = Fill(
        at_ns, EMA, VENUE, "EUR-USD", side, Decimal(quantity), Decimal(price), Decimal(fee), "USD", "order-1", "exec-1"
    )
    return replace(made, **changes)


def facts(strategy: str = EMA, capital: str = "1000", **changes: Any) -> StrategyFacts:
    """A strategy whose capital is in USD."""
    namespace, name = strategy.split("/")
    made = StrategyFacts(namespace, name, "ema-crossover", {"fast": "4"}, Decimal(capital), "USD", 7, 5, 2)
    return replace(made, **changes)


def holdings(samples: Iterable[tuple[int, Mapping[tuple[str, str], Held]]]) -> Holdings:
    """Of times and, by strategy and symbol, what was held then."""
    made = Holdings()
    for at_ns, held in samples:
        for (strategy, symbol), (position, cash, mark) in held.items():
            value = Decimal(position) * Decimal(mark) * INSTRUMENTS[VENUE, symbol].multiplier
            made.append(Holding(at_ns, strategy, VENUE, symbol, Decimal(position), Decimal(cash), Decimal(mark), value))
    return made


def result(
    samples: Sequence[tuple[int, Mapping[tuple[str, str], Held]]], fills: Sequence[Fill] = (), **changes: Any
) -> Result:
    """A run of EMA alone unless `strategies` says otherwise."""
    made = Result(
        strategies=(facts(),),
        instruments=INSTRUMENTS,
        fills=tuple(fills),
        holdings=holdings(samples).table(),
        refused=(
            Refused(EMA, VENUE, "EUR-USD", "MaxPositionQuantity", "desk/limits", "would hold 20", 2, MONDAY_NS, DAY_NS),
        ),
        limits=(LimitUse("desk/limits", "maxPositionQuantity", EMA, "20", "15", 2),),
        data=(DataFile(VENUE, "EUR-USD", "eurusd.csv", HASH, 100),),
        code=Code("0.1.0", HASH, {"ema-crossover": HASH}),
        manifests=(ManifestHash("Strategy", "desk", "ema", HASH),),
        first_ns=samples[0][0],
        last_ns=samples[-1][0],
        events=100,
        wall_seconds=0.5,
        starts_ns=(samples[0][0],),
    )
    return replace(made, **changes)


def equity_run(equity: Sequence[str], step_ns: int = DAY_NS, **changes: Any) -> Result:
    """One strategy with a capital of equity[0], all of it cash."""
    samples = [
        (MONDAY_NS + index * step_ns, {(EMA, "EUR-USD"): ("0", str(Decimal(value) - Decimal(equity[0])), "1")})
        for index, value in enumerate(equity)
    ]
    return result(samples, strategies=(facts(capital=equity[0]),), **changes)
