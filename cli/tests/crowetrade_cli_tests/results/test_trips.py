from __future__ import annotations

from decimal import Decimal
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_cli.results.result import Fill
from crowetrade_cli.results.trips import round_trips

from .values import EMA, MONDAY_NS, PAIR, fill, result

NOTHING = [(MONDAY_NS, {(EMA, "EUR-USD"): ("0", "0", "1")})]
Side = Literal["Buy", "Sell"]


@pytest.mark.parametrize(
    ("fills", "pnl"),
    [
        ([], []),
        ([("Buy", "10", "1.0", "0")], []),
        ([("Buy", "10", "1.0", "0.5"), ("Sell", "10", "1.2", "0.5")], ["1"]),
        ([("Sell", "10", "1.0", "0"), ("Buy", "10", "1.2", "0")], ["-2"]),
        ([("Buy", "10", "1", "0"), ("Sell", "4", "2", "0"), ("Sell", "6", "3", "0")], ["16"]),
        ([("Buy", "10", "1", "0"), ("Buy", "10", "2", "0"), ("Sell", "20", "2", "0")], ["10"]),
        # Turned: of the fee of 3, one third closes and two thirds open.
        ([("Buy", "10", "1", "0"), ("Sell", "30", "2", "3"), ("Buy", "20", "1", "0")], ["9", "18"]),
        # A rebate is a negative fee.
        ([("Buy", "1", "1", "-0.1"), ("Sell", "1", "1", "-0.1")], ["0.2"]),
    ],
)
def test_round_trips(fills: list[tuple[Side, str, str, str]], pnl: list[str]) -> None:
    made = [fill(MONDAY_NS + index, *values) for index, values in enumerate(fills)]
    assert [trip.pnl for trip in round_trips(result(NOTHING, made))] == [Decimal(value) for value in pnl]


def test_a_round_trip_counts_the_contract_multiplier() -> None:
    made = [fill(1, "Buy", "2", "10", symbol="FUT"), fill(2, "Sell", "2", "11", symbol="FUT")]
    assert [trip.pnl for trip in round_trips(result(NOTHING, made))] == [100]


def test_strategies_and_instruments_do_not_close_each_other() -> None:
    made = [fill(1, "Buy", "1", "1"), fill(2, "Sell", "1", "1", strategy=PAIR), fill(3, "Sell", "1", "1", symbol="FUT")]
    assert list(round_trips(result(NOTHING, made))) == []


def test_each_part_of_a_joined_run_begins_flat() -> None:
    made = [fill(1, "Buy", "1", "1"), fill(10, "Sell", "1", "9"), fill(11, "Buy", "1", "8")]
    trips = list(round_trips(result(NOTHING, made, starts_ns=(0, 10), fills_by_part=(1, 2))))
    assert [(trip.opened_ns, trip.closed_ns, trip.pnl) for trip in trips] == [(10, 11, Decimal(1))]


FILLS = st.lists(
    st.builds(
        fill,
        at_ns=st.just(MONDAY_NS),
        side=st.sampled_from(["Buy", "Sell"]),
        quantity=st.integers(1, 50).map(str),
        price=st.decimals("0.5", 2, places=3).map(str),
        fee=st.decimals(-1, 1, places=2).map(str),
    ),
    max_size=40,
)


@given(FILLS)
def test_round_trips_together_make_the_cash_that_trading_brought(fills: list[Fill]) -> None:
    position = sum((one.quantity if one.side == "Buy" else -one.quantity for one in fills), Decimal(0))
    if position:
        fills = [*fills, fill(MONDAY_NS, "Sell" if position > 0 else "Buy", str(abs(position)), "1.25", "0.03")]
    cash = sum(((1 if one.side == "Sell" else -1) * one.quantity * one.price - one.fee for one in fills), Decimal(0))
    made = sum((trip.pnl for trip in round_trips(result(NOTHING, fills))), Decimal(0))
    assert round(made, 20) == round(cash, 20)
