"""The columns of recorded market data, as the simulated venue reads them; docs/data.md explains each.

Times are int64 nanoseconds (since 1970-01-01 UTC), prices and sizes are text with the digits of the source.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow

TIME = pyarrow.int64()
TEXT = pyarrow.string()

COLUMNS: Mapping[str, Mapping[str, pyarrow.DataType]] = {
    "quotes": {"ts_ns": TIME, "bid_px": TEXT, "bid_sz": TEXT, "ask_px": TEXT, "ask_sz": TEXT, "exch_ts_ns": TIME},
    "trades": {"ts_ns": TIME, "price": TEXT, "size": TEXT, "side": TEXT, "trade_id": TEXT, "exch_ts_ns": TIME},
    "bars": {
        "ts_ns": TIME,
        "open": TEXT,
        "high": TEXT,
        "low": TEXT,
        "close": TEXT,
        "volume": TEXT,
        "interval_ns": TIME,
    },
    "l2": {
        "ts_ns": TIME,
        "update": TEXT,
        "side": TEXT,
        "px": TEXT,
        "sz": TEXT,
        "first_id": TIME,
        "last_id": TIME,
        "prev_last_id": TIME,
        "exch_ts_ns": TIME,
    },
}
"""Per kind the columns in the order in which they are written. Every kind may have `symbol` besides."""

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "quotes": ("ts_ns", "bid_px", "ask_px"),
    "trades": ("ts_ns", "price"),
    "bars": ("ts_ns", "close"),
    "l2": ("ts_ns", "update", "side", "px", "sz"),
}
"""Columns without which a kind cannot be recognised, and whose values are in every row."""

PRICES = frozenset({"bid_px", "ask_px", "price", "open", "high", "low", "close", "px"})
SIZES = frozenset({"bid_sz", "ask_sz", "size", "volume", "sz"})

BATCH_ROWS = 65_536
"""Rows that are worked on at once, at most."""

MAX_TIME_NS = 2**62
"""Times are up to the year 2116."""


def kind_of(names: set[str]) -> str | None:
    """The kind whose required columns are all there."""
    return next((kind for kind, required in REQUIRED.items() if names.issuperset(required)), None)


def schema_of(kind: str, names: set[str]) -> pyarrow.Schema:
    """The schema of those columns of the kind that are there, with `symbol` last."""
    fields = [pyarrow.field(name, value) for name, value in COLUMNS[kind].items() if name in names]
    if "symbol" in names:
        fields.append(pyarrow.field("symbol", TEXT))
    return pyarrow.schema(fields)
