"""What strategies made over time: sums over their instruments at each sampled time, exact, a curve per currency.

Nothing is converted between currencies: no rate of the run is known. What a strategy makes in another currency than
that of its capital is a curve of its own and no part of its equity.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_cli.results.result import Result, StrategyFacts

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Curve:
    """Sums at sampled times, oldest first, in one currency. `pnl` is since the start, less fees and funding; `gross`
    and `net` are the exposure: the sums of the positions' absolute and signed values."""

    currency: str
    at_ns: tuple[int, ...]
    pnl: tuple[Decimal, ...]
    gross: tuple[Decimal, ...]
    net: tuple[Decimal, ...]

    def equity(self, capital: Decimal) -> list[Decimal]:
        """What the capital has become at each time."""
        return [CONTEXT.add(capital, pnl) for pnl in self.pnl]


@dataclass(frozen=True, slots=True)
class InstrumentCurve:
    """An instrument over all strategies. `mark` is None where it has no price; money in the instrument's currency."""

    venue: str
    symbol: str
    currency: str
    at_ns: tuple[int, ...]
    mark: tuple[Decimal | None, ...]
    pnl: tuple[Decimal, ...]


def strategy_curves(result: Result) -> dict[tuple[str, str], Curve]:
    """The curves by strategy and currency. Each strategy has one in the currency of its capital."""
    rows: dict[tuple[str, str], list[tuple[int, Decimal, Decimal, Decimal]]] = defaultdict(list)
    sums = _with_currency(result).group_by(["at_ns", "strategy", "currency"])
    summed = sums.aggregate([("cash", "sum"), ("value", "sum"), ("gross", "sum")]).to_pydict()
    names = ("at_ns", "strategy", "currency", "cash_sum", "value_sum", "gross_sum")
    for at_ns, strategy, currency, cash, value, gross in zip(*(summed[name] for name in names), strict=True):
        rows[strategy, currency].append((at_ns, CONTEXT.add(cash, value), gross, value))
    curves = {key: _curve(key[1], of_key) for key, of_key in rows.items()}
    times = sorted(set(summed["at_ns"])) or [result.first_ns, result.last_ns]
    for facts in result.strategies:
        nothing = [(at_ns, ZERO, ZERO, ZERO) for at_ns in times]
        curves.setdefault((facts.id, facts.currency), _curve(facts.currency, nothing))
    return curves


def total(curves: Iterable[Curve]) -> Curve:
    """The sum of curves of one currency, which are sampled at the same times."""
    first, *others = curves

    def summed(of: Callable[[Curve], tuple[Decimal, ...]]) -> tuple[Decimal, ...]:
        return tuple(sum(values, ZERO) for values in zip(of(first), *map(of, others), strict=True))

    with localcontext(CONTEXT):
        return Curve(
            first.currency,
            first.at_ns,
            summed(lambda curve: curve.pnl),
            summed(lambda curve: curve.gross),
            summed(lambda curve: curve.net),
        )


def currencies(strategies: Sequence[StrategyFacts]) -> list[str]:
    """Those of the strategies' capital, in the order of their names."""
    return sorted({facts.currency for facts in strategies})


def instrument_curves(result: Result) -> list[InstrumentCurve]:
    """The instruments in the order of their names."""
    sums = result.holdings.group_by(["at_ns", "venue", "symbol"])
    asked = [("mark", "max"), ("cash", "sum"), ("value", "sum")]
    columns = sums.aggregate(asked).to_pydict()
    names = ("at_ns", "venue", "symbol", "mark_max", "cash_sum", "value_sum")
    rows = defaultdict(list)
    for at_ns, venue, symbol, mark, cash, value in zip(*(columns[name] for name in names), strict=True):
        rows[venue, symbol].append((at_ns, mark, CONTEXT.add(cash, value)))
    return [
        InstrumentCurve(venue, symbol, result.instruments[venue, symbol].currency, *_columns(rows[venue, symbol]))
        for venue, symbol in sorted(rows)
    ]


def _curve(currency: str, rows: list[tuple[int, Decimal, Decimal, Decimal]]) -> Curve:
    return Curve(currency, *_columns(rows))


def _columns(rows: list[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
    """Grouping keeps no order."""
    return zip(*sorted(rows, key=itemgetter(0)), strict=True)


def _with_currency(result: Result) -> pa.Table:
    """The holdings with the columns `currency` and `gross`, the absolute value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    holdings = result.holdings
    venue, symbol = (pc.cast(holdings[name], pa.string()).combine_chunks() for name in ("venue", "symbol"))
    instruments = pc.binary_join_element_wise(venue, symbol, "\n").dictionary_encode()
    keys = (tuple(key.split("\n")) for key in instruments.dictionary.to_pylist())
    currency = pa.array([result.instruments[venue, symbol].currency for venue, symbol in keys], pa.string())
    with_currency = holdings.append_column("currency", currency.take(instruments.indices))
    return with_currency.append_column("gross", pc.abs(holdings["value"]))
