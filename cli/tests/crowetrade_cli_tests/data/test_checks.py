"""What checks count, against values written by hand, a plain count in Python, and the figures published with the
recorded data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_cli.data.checks import Checks, Oddity, SymbolChecks
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.data.reading import open_reading
from crowetrade_cli.data.report import as_json, duration, instant, lines

SECOND = 1_000_000_000
ROOT = Path(__file__).parents[4]


def checked(kind: str, columns: dict[str, Sequence[object]], batch_rows: int = 1000) -> SymbolChecks:
    checks = Checks(kind, 60 * SECOND, 0.1)
    table = pyarrow.table(
        {
            name: pyarrow.array(values, pyarrow.int64() if name.endswith("_ns") else pyarrow.string())
            for name, values in columns.items()
        }
    )
    for batch in table.to_batches(max_chunksize=batch_rows):
        checks.take(batch)
    (only,) = checks.by_symbol.values()
    return only


def seen(oddity: Oddity) -> tuple[int, int]:
    """How often, and in which row first."""
    return oddity.count, oddity.first.row if oddity.first else 0


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_quotes(batch_rows: int) -> None:
    checks = checked(
        "quotes",
        {
            "ts_ns": [second * SECOND for second in (0, 1, 1, 1, 70, 69, 200)],
            "bid_px": ["1.0", "1.0", "1.0", "1.1", "1.2", "2.0", "0"],
            "bid_sz": ["1", "0", "0", None, "1", "1", "-1"],
            "ask_px": ["1.1", "1.1", "1.1", "1.1", "1.1", "2.1", "1"],
        },
        batch_rows,
    )
    assert checks.rows == 7
    assert (checks.first_ns, checks.last_ns) == (0, 200 * SECOND)
    assert seen(checks.disorder) == (1, 6)
    assert seen(checks.same_time) == (2, 3)
    assert seen(checks.duplicates) == (1, 3)
    assert seen(checks.gaps) == (2, 5)
    assert checks.longest_gap_ns == 131 * SECOND
    assert checks.longest_gap is not None
    assert checks.longest_gap.ts_ns == 69 * SECOND
    assert seen(checks.locked) == (1, 4)
    assert seen(checks.crossed) == (1, 5)
    assert seen(checks.not_positive) == (1, 7)
    assert seen(checks.zero_sizes) == (2, 2)
    assert seen(checks.negative_sizes) == (1, 7)
    assert seen(checks.outliers) == (2, 6)  # 1.15 to 2.05, and to 0.5: the middle of 0 and 1
    assert checks.largest_move == pytest.approx(2.05 / 1.15 - 1)


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_bars(batch_rows: int) -> None:
    checks = checked(
        "bars",
        {
            "ts_ns": [minute * 60 * SECOND for minute in (0, 1, 2, 5, 6, 7, 7)],
            "open": ["1", "1", "1", "1", "3", "1", "1"],
            "high": ["1", "1", "1", "1", "2", "1", "1"],
            "low": ["1", "1", "1", "1", "1", "1.05", "1"],
            "close": ["1", "1", "1", "1", "1", "1", "1"],
        },
        batch_rows,
    )
    assert checks.interval_ns == 60 * SECOND
    assert (checks.bar_gaps, checks.absent_bars) == (1, 2)
    assert seen(checks.broken_bars) == (2, 5)
    assert seen(checks.same_time) == (1, 7)
    assert seen(checks.duplicates) == (0, 0)


def test_symbols_are_compared_with_themselves_alone() -> None:
    checks = Checks("trades", 60 * SECOND, 0.1)
    rows = {"ts_ns": [2, 1, 3, 2], "price": ["1", "100", "1", "100"], "symbol": ["A", "B", "A", "B"]}
    checks.take(pyarrow.record_batch(rows))
    assert {symbol: found.rows for symbol, found in checks.by_symbol.items()} == {"A": 2, "B": 2}
    assert checks.disorder is None
    assert not any(found.outliers.count for found in checks.by_symbol.values())


rows = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(["1", "1.05", "1.2", "0"]), st.sampled_from(["0", "1", None])),
    min_size=1,
    max_size=30,
)


@settings(deadline=None)
@given(rows, st.integers(1, 30))
def test_batches_make_no_difference(values: list[tuple[int, str, str | None]], batch_rows: int) -> None:
    """The same as counting pair by pair."""
    times = [at * 20 * SECOND for at, _, _ in values]
    checks = checked(
        "trades",
        {"ts_ns": times, "price": [price for _, price, _ in values], "size": [size for _, _, size in values]},
        batch_rows,
    )
    pairs = list(pairwise(zip(times, values, strict=True)))
    assert checks.disorder.count == sum(b[0] < a[0] for a, b in pairs)
    assert checks.same_time.count == sum(b[0] == a[0] for a, b in pairs)
    assert checks.duplicates.count == sum(b == a for a, b in pairs)
    assert checks.gaps.count == sum(b[0] - a[0] > 60 * SECOND for a, b in pairs)
    assert checks.not_positive.count == sum(price == "0" for _, price, _ in values)
    assert checks.zero_sizes.count == sum(size == "0" for _, _, size in values)
    prices = [(float(a[1][1]), float(b[1][1])) for a, b in pairs]
    assert checks.outliers.count == sum(a > 0 and b > 0 and abs(b / a - 1) > 0.1 for a, b in prices)


FIGURES: dict[str, dict[str, object]] = {
    # From the tables "Checks" and "Oddities seen" of the recorded data's README.
    "quotes/EUR-USD.oanda": {"rows": 144725, "same_time": 756, "gaps": 510, "longest_gap_hours": 48.0},
    "quotes/NZD-USD.fxcm": {"rows": 66638, "crossed_quotes": 1271, "locked_quotes": 865, "gaps": 41},
    "bars_1m/EUR-USD.oanda.bid": {"rows": 5481, "gaps": 218, "absent_bars": 3159, "longest_gap_hours": 48.0},
    "bars_1m/BTC-EUR.coinbase": {"rows": 3663, "gaps": 156, "absent_bars": 657, "longest_gap_hours": 7.2},
    "bars_4h/BTC-USD.coinbase": {"rows": 20695, "gaps": 3, "absent_bars": 5, "longest_gap_hours": 16.0},
    "l2/BTC-USDT.binance-spot": {"rows": 126090, "zero_sizes": 59187},
    "trades/BTC-USDT.binance-spot": {"rows": 9757, "same_time": 0, "zero_sizes": 0},
}


@pytest.mark.parametrize("name", FIGURES)
def test_the_recorded_files_have_their_published_oddities(name: str) -> None:
    """Needs ../shared/data; skips without it."""
    path = ROOT.parent / "shared" / "data" / f"{name}.parquet"
    if not path.is_file():
        pytest.skip("recorded data is not beside the repository (../shared/data): nothing to check")
    reading = open_reading([path], "", ReadOptions())
    checks = Checks(reading.kind, 60 * SECOND, 0.1)
    for batch in reading.batches():
        checks.take(batch)
    (found,) = checks.by_symbol.values()
    figures = as_json(found)
    figures["longest_gap_hours"] = round(found.longest_gap_ns / 3600 / SECOND, 1)
    assert {key: figures[key] for key in FIGURES[name]} == FIGURES[name]


def test_what_was_not_seen_is_not_said() -> None:
    fine = checked("trades", {"ts_ns": [0, SECOND], "price": ["1", "1"], "size": ["1", "1"]})
    assert dict(lines(fine)) == {
        "rows": "2",
        "range": "1970-01-01 00:00:00 UTC to 1970-01-01 00:00:01 UTC",
        "gaps": "none over 1 min, longest 1 s after 1970-01-01 00:00:00 UTC",
    }


@pytest.mark.parametrize(
    ("ns", "wanted"),
    [(172_800 * SECOND, "2 d"), (90 * 60 * SECOND, "1.5 h"), (1_500_000_000, "1.5 s"), (250_000_000, "250 ms")],
)
def test_lengths_of_time(ns: int, wanted: str) -> None:
    assert duration(ns) == wanted


@pytest.mark.parametrize(
    ("ns", "wanted"),
    [
        (0, "1970-01-01 00:00:00 UTC"),
        (1_500_000_000, "1970-01-01 00:00:01.500 UTC"),
        (1, "1970-01-01 00:00:00.000000001 UTC"),
    ],
)
def test_instants(ns: int, wanted: str) -> None:
    assert instant(ns) == wanted
