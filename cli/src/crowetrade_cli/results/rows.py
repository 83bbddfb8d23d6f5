"""The columns of fills.parquet, equity.parquet and holdings.parquet: times in UTC, numbers as decimal128(38, 18)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from crowetrade_cli.results.curves import Curve
from crowetrade_cli.results.result import DECIMAL_DIGITS, DECIMAL_PLACES, Fill, StrategyFacts, column_decimal

if TYPE_CHECKING:
    import pyarrow as pa


def fill_rows(fills: Sequence[Fill]) -> pa.Table:
    """A row per fill, in the order in which they were made."""
    return _table(
        {
            "at": [fill.at_ns for fill in fills],
            "strategy": [fill.strategy for fill in fills],
            "venue": [fill.venue for fill in fills],
            "symbol": [fill.symbol for fill in fills],
            "side": [fill.side for fill in fills],
            "quantity": [column_decimal(fill.quantity) for fill in fills],
            "price": [column_decimal(fill.price) for fill in fills],
            "fee": [column_decimal(fill.fee) for fill in fills],
            "currency": [fill.currency for fill in fills],
            "cl_ord_id": [fill.cl_ord_id for fill in fills],
            "exec_id": [fill.exec_id for fill in fills],
        },
        decimals={"quantity", "price", "fee"},
    )


def equity_rows(strategies: Sequence[StrategyFacts], curves: Mapping[tuple[str, str], Curve]) -> pa.Table:
    """A row per strategy, currency and sampled time. `equity` is empty in currencies other than that of the capital."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("at", "strategy", "currency", "pnl", "equity", "gross_exposure", "net_exposure")
    }
    capital = {(facts.id, facts.currency): facts.capital for facts in strategies}
    for key, curve in sorted(curves.items()):
        times = len(curve.at_ns)
        columns["at"] += curve.at_ns
        columns["strategy"] += [key[0]] * times
        columns["currency"] += [key[1]] * times
        columns["pnl"] += curve.pnl
        columns["equity"] += curve.equity(capital[key]) if key in capital else [None] * times
        columns["gross_exposure"] += curve.gross
        columns["net_exposure"] += curve.net
    return _table(columns, decimals={"pnl", "equity", "gross_exposure", "net_exposure"})


def holding_rows(holdings: pa.Table) -> pa.Table:
    """A row per strategy, instrument and sampled time, with the columns of Holding."""
    import pyarrow.compute as pc

    times = pc.cast(holdings["at_ns"], _time())
    return holdings.drop_columns("at_ns").add_column(0, "at", times)


def figure_column(values: Sequence[Decimal | float | None]) -> pa.Array:
    """Money as decimals; ratios and counts as they are."""
    import pyarrow as pa

    if any(isinstance(value, Decimal) for value in values):
        decimals = [column_decimal(value) if isinstance(value, Decimal) else None for value in values]
        return pa.array(decimals, pa.decimal128(DECIMAL_DIGITS, DECIMAL_PLACES))
    known = [value for value in values if value is not None]
    return pa.array(values, pa.int64() if known and all(isinstance(value, int) for value in known) else pa.float64())


def _time() -> pa.DataType:
    import pyarrow as pa

    return pa.timestamp("ns", tz="UTC")


def _table(columns: Mapping[str, Sequence[object]], decimals: set[str]) -> pa.Table:
    import pyarrow as pa

    def kind(name: str) -> pa.DataType:
        if name == "at":
            return _time()
        return pa.decimal128(DECIMAL_DIGITS, DECIMAL_PLACES) if name in decimals else pa.string()

    schema = pa.schema([(name, kind(name)) for name in columns])
    return pa.table([pa.array(values, schema.field(name).type) for name, values in columns.items()], schema=schema)
