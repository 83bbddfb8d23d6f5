"""Positions against an independent recomputation: lots matched one by one at their average cost."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.position import Position

D = Decimal
fills = st.lists(
    st.tuples(
        st.integers(-50, 50).filter(bool),
        st.decimals(min_value=D("0.5"), max_value=D(2), places=5, allow_nan=False),
        st.decimals(min_value=D(0), max_value=D(1), places=4, allow_nan=False),
    ),
    max_size=40,
)


@pytest.mark.parametrize(
    ("sequence", "quantity", "average", "realized"),
    [
        ([], "0", "0", "0"),
        ([("10", "1.1")], "10", "1.1", "0"),
        ([("10", "1.0"), ("10", "2.0")], "20", "1.5", "0"),
        ([("10", "1.0"), ("-4", "1.5")], "6", "1.0", "2.0"),
        ([("10", "1.0"), ("-10", "0.5")], "0", "0", "-5.0"),
        ([("10", "1.0"), ("-15", "1.5")], "-5", "1.5", "5.0"),
        ([("-10", "2.0"), ("10", "1.0")], "0", "0", "10.0"),
    ],
)
def test_average_cost(sequence: list[tuple[str, str]], quantity: str, average: str, realized: str) -> None:
    position = Position()
    for signed, price in sequence:
        position = position.filled(D(signed), D(price), D(0))
    assert (position.quantity, position.average_price, position.realized) == (D(quantity), D(average), D(realized))


@given(fills, st.decimals(min_value=D("0.5"), max_value=D(2), places=5, allow_nan=False))
def test_realized_and_unrealized_add_up_to_cash_and_holding(
    sequence: list[tuple[int, Decimal, Decimal]], mark: Decimal
) -> None:
    position, cash, fees = Position(), Fraction(0), Fraction(0)
    for signed, price, fee in sequence:
        position = position.filled(D(signed), price, fee)
        cash -= signed * Fraction(price)
        fees += Fraction(fee)
    held = sum(signed for signed, _, _ in sequence)
    assert position.quantity == held
    assert Fraction(position.fees) == fees
    # 38 digits are kept, so what an average rounds away is far below a billionth.
    total = Fraction(position.realized) + Fraction(position.unrealized(mark))
    assert abs(total - (cash + held * Fraction(mark))) < Fraction(1, 10**25)
