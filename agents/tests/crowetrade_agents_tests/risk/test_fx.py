"""Rates of exchange: straight, turned over, and none."""

from __future__ import annotations

import pytest

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import Mark, TopOfBook
from crowetrade_agents.risk.fx import MAX_RATE_AGE_NS, pairs, rate
from crowetrade_agents_tests.risk.values import JPY, NOW, D, facts

MARKS, INSTRUMENTS = facts().marks, facts().instruments


def test_straight_and_turned_over() -> None:
    assert rate("USD", "JPY", INSTRUMENTS, MARKS, NOW) == 160
    assert rate("JPY", "USD", INSTRUMENTS, MARKS, NOW) == D(1) / D(160)
    assert rate("USD", "USD", {}, {}, NOW) == 1


@pytest.mark.parametrize(
    ("age", "known"), [(0, True), (MAX_RATE_AGE_NS, True), (MAX_RATE_AGE_NS + 1, False), (-1, False)]
)
def test_a_quote_has_an_age(age: int, known: bool) -> None:
    assert (rate("USD", "JPY", INSTRUMENTS, MARKS, NOW + age) is not None) is known


@pytest.mark.parametrize("bid", ["NaN", "0", "-1", "170", "Infinity"])
def test_a_quote_that_is_none_gives_no_rate(bid: str) -> None:
    book = TopOfBook(JPY, D(bid), None, D("160.01"), None, NOW)
    assert rate("USD", "JPY", INSTRUMENTS, {JPY: Mark(book, NOW)}, NOW) is None


def test_no_pair_is_no_rate_and_one_without_base_currency_is_no_pair() -> None:
    assert rate("EUR", "JPY", INSTRUMENTS, MARKS, NOW) is None
    assert rate("EUR", "USD", INSTRUMENTS, MARKS, NOW) is None
    assert rate("", "USD", INSTRUMENTS, MARKS, NOW) is None
    assert rate("USD", "", INSTRUMENTS, MARKS, NOW) is None


def test_the_first_pair_with_a_usable_quote_counts() -> None:
    second = InstrumentId("sim-fx", "USDJPY-2")
    listed = {**INSTRUMENTS, second: Instrument(second, "JPY", D(1), D(1), D(1), D(1), base_currency="USD")}
    marks = {second: MARKS[JPY]._replace(book=TopOfBook(second, D(150), None, D(150), None, NOW))}
    assert pairs("JPY", "USD", listed) == ((JPY, True), (second, True))
    assert rate("USD", "JPY", listed, marks, NOW) == 150
