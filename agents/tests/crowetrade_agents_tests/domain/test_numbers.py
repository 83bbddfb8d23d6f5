"""Decimals as they travel."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.numbers import is_multiple, parse, parse_optional, render, round_down, round_up
from crowetrade_agents.errors import InvalidNumber

steps = st.decimals(min_value=Decimal("0.00001"), max_value=Decimal(1000), places=5, allow_nan=False)
values = st.decimals(min_value=Decimal(-(10**9)), max_value=Decimal(10**9), places=8, allow_nan=False)


@pytest.mark.parametrize("text", ["", "NaN", "sNaN", "Infinity", "-inf", "1,5", "one", "0x10"])
def test_text_that_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidNumber):
        parse(text)


def test_empty_text_is_nothing_where_it_may_be() -> None:
    assert parse_optional("") is None
    assert parse_optional("1.50") == Decimal("1.5")


@pytest.mark.parametrize(
    ("value", "text"),
    [("1.500", "1.5"), ("1E+3", "1000"), ("-0", "0"), ("0.00", "0"), ("100", "100"), ("-2.50", "-2.5")],
)
def test_a_number_has_one_form(value: str, text: str) -> None:
    assert render(Decimal(value)) == text


@given(values)
def test_what_is_rendered_is_parsed_to_the_same_value(value: Decimal) -> None:
    assert parse(render(value)) == value


@given(values, steps)
def test_rounding_gives_the_nearest_multiples(value: Decimal, step: Decimal) -> None:
    below, above = round_down(value, step), round_up(value, step)
    assert below <= value <= above
    assert above - below in (0, step)
    assert is_multiple(below, step)
    assert is_multiple(above, step)
