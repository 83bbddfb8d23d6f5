"""Fees by what was traded before, day by day; and no sale of what is not held where that is forbidden."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.orders import OrdStatus, Side, TimeInForce
from crowetrade_agents.venues.adapters.simulated.costs import DAY_NS, TIER_DAYS, FeeSchedule, share
from crowetrade_agents.venues.adapters.simulated.exchange import Exchange, VenueReason
from crowetrade_agents.venues.adapters.simulated.requests import Cancel, NewOrder, Replace, Request
from crowetrade_agents.venues.adapters.simulated.spec import Fees, FeeTier, ShortSelling
from crowetrade_agents.venues.port import Ended, Executed, OrderEvent, Replaced, RequestRejected

from ...values import EUR, EUR_USD, MIDNIGHT_NS, D, Quote, at, book, terms

TIERS = Fees(D(2), D(5), (FeeTier(D(1000), D(1), D(4)), FeeTier(D(5000), D("-0.5"), D(3))))
TODAY = MIDNIGHT_NS // DAY_NS


@pytest.mark.parametrize(
    ("notional", "bps", "expected"),
    [("1000", "2", "0.2"), ("1000", "-0.5", "-0.05"), ("0.00005", "1", "0.00000000"), ("0.00015", "1", "0.00000002")],
)
def test_a_share_is_rounded_half_to_even(notional: str, bps: str, expected: str) -> None:
    assert share(D(notional), D(bps)) == D(expected)


@pytest.mark.parametrize(
    ("traded", "maker", "taker"),
    [
        ([], 2, 5),
        ([(0, 999)], 2, 5),
        ([(0, 1000)], 1, 4),
        ([(0, 400), (0, 600)], 1, 4),
        ([(-29, 600), (-1, 400)], 1, 4),
        ([(-30, 600), (-1, 400)], 2, 5),
        ([(-40, 9000), (-29, 4999), (0, 1)], D("-0.5"), 3),
    ],
)
def test_the_tier_is_that_of_the_last_thirty_days(traded: list[tuple[int, int]], maker: int, taker: int) -> None:
    fees = FeeSchedule(TIERS)
    for day, notional in traded:
        fees.count("USD", D(notional), (TODAY + day) * DAY_NS + 7)
    now = MIDNIGHT_NS + DAY_NS - 1
    assert fees.fee("USD", D(10_000), now, maker=True) == D(maker)
    assert fees.fee("USD", D(10_000), now, maker=False) == D(taker)
    assert fees.fee("EUR", D(10_000), now, maker=False) == 5


def test_an_execution_does_not_count_for_its_own_fee() -> None:
    """400,000 EUR at 1.1 in parts of 1,000: the first costs 5 bps, the next ones less."""
    venue = Exchange({EUR: EUR_USD}, TIERS)
    fees = []
    for number in range(7):
        venue.on_quote(book(Quote(number, "1.0998", "1.1000", "1000")))
        venue.send(NewOrder(terms(f"a{number}", quantity="1000")), at(number))
        fees += [event.fee for event in venue.advance(at(number)) if isinstance(event, Executed)]
    assert fees == [D("0.55"), *[D("0.44")] * 4, *[D("0.33")] * 2]


@given(st.lists(st.tuples(st.integers(0, 80), st.integers(1, 3000)), max_size=30))
def test_what_counts_is_the_plain_sum_of_the_days(executions: list[tuple[int, int]]) -> None:
    fees, seen = FeeSchedule(TIERS), list[tuple[int, int]]()
    for day, notional in sorted(executions):
        assert fees.traded("USD", day * DAY_NS) == sum(n for when, n in seen if when > day - TIER_DAYS)
        fees.count("USD", D(notional), day * DAY_NS)
        seen.append((day, notional))


def cash_market() -> Exchange:
    """Short sales are forbidden; 5,000 are held."""
    venue = Exchange({EUR: EUR_USD}, short_selling=ShortSelling.FORBIDDEN, retain=None)
    venue.on_quote(book(Quote(0, "1.0998", "1.1000")))
    ask(venue, NewOrder(terms("held", quantity="5000")))
    return venue


def ask(venue: Exchange, request: Request) -> OrderEvent:
    venue.send(request, venue.now_ns)
    return venue.advance(venue.now_ns)[-1]


@pytest.mark.parametrize(
    ("working", "quantity", "price", "taken"),
    [
        ([], "5000", "1.0998", True),
        ([], "6000", "1.0998", False),
        ([], "6000", None, False),
        (["2000", "2000"], "1000", "1.2000", True),
        (["2000", "2000"], "2000", "1.2000", False),
    ],
)
def test_no_more_is_sold_than_is_held(working: list[str], quantity: str, price: str | None, taken: bool) -> None:
    venue = cash_market()
    for number, size in enumerate(working):
        ask(venue, NewOrder(terms(f"w{number}", Side.SELL, size, "1.3000")))
    answer = ask(venue, NewOrder(terms("a", Side.SELL, quantity, price)))
    refused = isinstance(answer, Ended) and answer.status is OrdStatus.REJECTED
    assert refused is not taken
    if isinstance(answer, Ended) and refused:
        sold = sum(map(int, working))
        assert answer.reason == VenueReason.SHORT_SALE
        assert answer.text == (f"the account holds 5000 and sells {sold} already; short sales are forbidden here")


@pytest.mark.parametrize(("quantity", "taken"), [("5000", True), ("6000", False)])
def test_a_replacement_counts_for_what_it_has_left(quantity: str, taken: bool) -> None:
    """2,000 of 4,000 are sold, so 3,000 are held, and the whole may be 5,000."""
    venue = cash_market()
    ask(venue, NewOrder(terms("a", Side.SELL, "4000", "1.1010")))
    venue.on_quote(book(Quote(1, "1.1010", "1.1012", "2000")))
    answer = ask(venue, Replace(terms("b", Side.SELL, quantity, "1.1020"), "a", ""))
    assert isinstance(answer, Replaced if taken else RequestRejected)


def test_what_is_cancelled_may_be_sold_again() -> None:
    venue = cash_market()
    ask(venue, NewOrder(terms("a", Side.SELL, "5000", "1.2000")))
    ask(venue, Cancel("c", "a", ""))
    ask(venue, NewOrder(terms("b", Side.SELL, "5000", "1.2000", TimeInForce.GTC)))
    assert [order.terms.cl_ord_id for order in venue.ledger.open_orders()] == ["b"]
