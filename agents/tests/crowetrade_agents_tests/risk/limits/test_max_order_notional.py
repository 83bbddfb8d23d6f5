"""maxOrderNotional: the worse of limit price and touch, the multiplier, and nothing that passes by rounding."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import Mark, TopOfBook
from crowetrade_agents.domain.orders import OrderTerms, Side
from crowetrade_agents.risk.limits.max_order_notional import LIMIT
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.limits.exposures import old_rate
from crowetrade_agents_tests.risk.values import BOOK, EUR, JPY, NOW, D, case, check, facts, market, order, reason, rule

BUY, SELL = Side.BUY, Side.SELL

NOTIONAL: dict[str, tuple[OrderTerms, str]] = {
    "a buy below the offer is worth the offer": (order(price=D("1.0000")), "5501"),
    "a buy above the offer is worth its price": (order(price=D("1.2000")), "6000"),
    "a market buy is worth the offer": (market(BUY, "5000"), "5501"),
    "a sell below the bid is worth the bid": (order(side=SELL, price=D("1.0000")), "5500"),
    "a sell above the bid is worth its price": (order(side=SELL, price=D("1.2000")), "6000"),
    "a market sell is worth the bid": (market(SELL, "5000"), "5500"),
    "a contract of ten units": (market(BUY, "2", instrument=JPY), "3200.2"),
}


@pytest.mark.parametrize("what", NOTIONAL)
def test_at_under_and_over(what: str) -> None:
    terms, notional = NOTIONAL[what]
    limited = rule(currency="JPY" if terms.instrument == JPY else "USD")
    judged = case(terms, facts())
    assert judged.notional(limited) == D(notional)
    tick = D("0.000000000000000001")
    assert check(LIMIT, D(notional) + tick, judged, limited) is None
    assert check(LIMIT, D(notional), judged, limited) is None
    assert reason(check(LIMIT, D(notional) - tick, judged, limited)) is Reason.MAX_ORDER_NOTIONAL


def test_a_resting_order_without_a_quote_is_worth_its_price() -> None:
    assert case(order(), facts(marks={})).notional(rule()) == D("5500")


@pytest.mark.parametrize(
    "book",
    [
        BOOK._replace(ask_price=D("NaN")),
        BOOK._replace(bid_price=D("Infinity"), ask_price=D("Infinity")),
        BOOK._replace(bid_price=D(2)),
        BOOK._replace(instrument=JPY),
        None,
    ],
)
def test_without_any_price_it_refuses(book: TopOfBook | None) -> None:
    marks = {} if book is None else {EUR: Mark(book, NOW)}
    judged = case(market(BUY, "5000"), facts(marks=marks))
    assert reason(check(LIMIT, D(10**9), judged, rule())) is Reason.MISSING_MARKET_DATA
    assert LIMIT.admissible(D(10**9), judged, rule()) == 0


def test_the_text_names_both_numbers_and_the_resource() -> None:
    refusal = check(LIMIT, D(5000), case(market(BUY, "5000"), facts()), rule())
    assert refusal is not None
    assert "order notional 5501 is above maxOrderNotional 5000 of desk" in refusal.text
    assert refusal.risk_limit == "desk"


amounts = st.decimals(min_value="0.000000000000000001", max_value="99999999999999999999", places=18)


@settings(deadline=None)
@given(amounts, amounts, amounts, amounts, st.sampled_from(Side))
def test_it_agrees_with_fractions_and_so_does_the_slice(
    quantity: D, price: D, multiplier: D, limit: D, side: Side
) -> None:
    book = TopOfBook(EUR, price, None, price, None, NOW)
    listed = Instrument(EUR, "USD", multiplier, D(1), D(1), D(1))
    known = facts(marks={EUR: Mark(book, NOW)}, instruments={EUR: listed})
    judged = case(order(side=side, quantity=quantity, price=None), known)
    if check(LIMIT, limit, judged, rule()) is None:
        assert Fraction(quantity) * Fraction(price) * Fraction(multiplier) <= Fraction(limit)
    largest = LIMIT.admissible(limit, judged, rule())
    assert isinstance(largest, D)
    assert Fraction(largest) * Fraction(price) * Fraction(multiplier) <= Fraction(limit)


@pytest.mark.parametrize("currency", ["CHF", ""])
def test_without_a_rate_it_refuses_and_names_the_pair_to_list(currency: str) -> None:
    judged = case(order(), facts())
    refusal = check(LIMIT, D(10**12), judged, rule(currency=currency))
    assert refusal is not None
    assert (refusal.reason, refusal.risk_limit) == (Reason.MISSING_EXCHANGE_RATE, "desk")
    assert f"list an instrument with baseCurrency USD and currency {currency}" in refusal.text
    assert LIMIT.admissible(D(10**12), judged, rule(currency=currency)) == refusal


@pytest.mark.parametrize(("age", "expected"), [(60, None), (61, Reason.MISSING_EXCHANGE_RATE)])
def test_a_rate_has_an_age_but_for_a_closing_order(age: int, expected: Reason | None) -> None:
    """5,000 EUR-USD at the offer of 1.1002 are 5,501 USD, or 880,160 JPY."""
    known = old_rate(age)
    yen = rule(currency="JPY")
    assert reason(check(LIMIT, D(880_160), case(market(BUY, "5000"), known), yen)) is expected
    closing = case(market(BUY, "5000", closing=True), known)
    assert check(LIMIT, D(880_160), closing, yen) is None
    assert reason(check(LIMIT, D("880159.99"), closing, yen)) is Reason.MAX_ORDER_NOTIONAL
