from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from crowetrade_cli.results import result as module
from crowetrade_cli.results.result import Holding, Holdings

from .values import EMA, MONDAY_NS, VENUE


def test_no_holdings_are_an_empty_table() -> None:
    table = Holdings().table()
    assert table.num_rows == 0
    assert table.column_names == ["at_ns", "strategy", "venue", "symbol", "position", "cash", "mark", "value"]


def test_rows_keep_their_order_and_numbers_over_several_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_ROWS", 2)
    holdings = Holdings()
    for index in range(5):
        number = Decimal(f"-{index}.000000000000000001")
        mark = None if index == 0 else number
        holdings.append(Holding(MONDAY_NS + index, f"desk/s{index}", VENUE, "EUR-USD", number, number, mark, number))
    rows = holdings.table().to_pylist()
    assert [row["at_ns"] - MONDAY_NS for row in rows] == [0, 1, 2, 3, 4]
    assert [row["strategy"] for row in rows] == [f"desk/s{index}" for index in range(5)]
    assert rows[3]["cash"] == rows[3]["value"] == rows[3]["position"] == Decimal("-3.000000000000000001")
    assert [row["mark"] is None for row in rows] == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("number", "stored"),
    [
        ("1.0000000000000000015", "1.000000000000000002"),
        ("1.0000000000000000025", "1.000000000000000002"),
        ("99999999999999999999.999999999999999999", "99999999999999999999.999999999999999999"),
        ("1E+3", "1000"),
        ("-0", "0"),
        ("-1E-19", "0"),
        ("-99999999999999999999", "-99999999999999999999"),
    ],
)
def test_a_number_is_rounded_to_18_places(number: str, stored: str) -> None:
    holdings = Holdings()
    value = Decimal(number)
    holdings.append(Holding(MONDAY_NS, EMA, VENUE, "EUR-USD", value, value, value, value))
    assert holdings.table()["value"].to_pylist() == [Decimal(stored)]


@pytest.mark.parametrize("number", ["1E+20", "-1E+20", "100000000000000000000.5"])
def test_a_number_that_no_column_holds_is_refused(number: str) -> None:
    holdings = Holdings()
    holdings.append(Holding(MONDAY_NS, EMA, VENUE, "EUR-USD", Decimal(number), Decimal(0), None, Decimal(0)))
    with pytest.raises(pa.ArrowInvalid):
        holdings.table()


def test_a_time_that_is_sampled_again_has_the_later_sample_alone() -> None:
    holdings = Holdings()
    for at_ns, cash in ((1, 10), (2, 20), (2, 21), (3, 30)):
        for symbol in ("EUR-USD", "FUT"):
            zero = Decimal(0)
            holdings.append(Holding(MONDAY_NS + at_ns, EMA, VENUE, symbol, zero, Decimal(cash), None, zero))
    rows = holdings.table().to_pylist()
    assert [(row["at_ns"] - MONDAY_NS, row["cash"]) for row in rows if row["symbol"] == "FUT"] == [
        (1, 10),
        (2, 21),
        (3, 30),
    ]
    assert len(rows) == 6


def test_time_does_not_go_back() -> None:
    holdings, zero = Holdings(), Decimal(0)
    holdings.append(Holding(2, EMA, VENUE, "EUR-USD", zero, zero, None, zero))
    with pytest.raises(ValueError, match="a holding at 1 comes after one at 2"):
        holdings.append(Holding(1, EMA, VENUE, "EUR-USD", zero, zero, None, zero))
