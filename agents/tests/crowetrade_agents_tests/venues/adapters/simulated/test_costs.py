"""Fees by what was traded before, day by day; and no sale of what is not held where that is forbidden."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import OrdStatus, Side, TimeInForce
from crowetrade_agents.domain.position import Position
from crowetrade_agents.venues.adapters.simulated.costs import (
    DAY_NS,
    SECOND_NS,
    TIER_DAYS,
    FeeSchedule,
    FundingSchedule,
    RolloverSchedule,
    share,
)
from crowetrade_agents.venues.adapters.simulated.exchange import Exchange, VenueReason
from crowetrade_agents.venues.adapters.simulated.requests import Cancel, NewOrder, Replace, Request
from crowetrade_agents.venues.adapters.simulated.spec import (
    Fees,
    FeeTier,
    Funding,
    Rollover,
    ShortSelling,
)
from crowetrade_agents.venues.port import Charged, ChargeKind, Ended, Executed, OrderEvent, Replaced, RequestRejected

from ...values import BTC, BTC_PERP, EUR, EUR_USD, MIDNIGHT_NS, D, Quote, at, book, terms

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


def utc_ns(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp()) * SECOND_NS


@pytest.mark.parametrize(
    ("hours", "after", "due"),
    [
        (8, "2024-08-08T00:00:00", "2024-08-08T08:00:00"),
        (8, "2024-08-08T15:59:59", "2024-08-08T16:00:00"),
        (1, "2024-08-08T23:30:00", "2024-08-09T00:00:00"),
        (24, "2024-08-08T00:00:01", "2024-08-09T00:00:00"),
    ],
)
def test_funding_comes_at_the_hours_of_utc(hours: int, after: str, due: str) -> None:
    schedule = FundingSchedule(Funding("X", D(1), hours))
    assert schedule.next_ns(utc_ns(after)) == utc_ns(due)


@pytest.mark.parametrize(
    ("after", "due", "days"),
    [
        ("2024-07-01T12:00:00", "2024-07-01T21:00:00", 1),
        ("2024-07-01T21:00:00", "2024-07-02T21:00:00", 1),
        ("2024-07-02T21:00:00", "2024-07-03T21:00:00", 3),
        # Friday's is the last of its week; the next one is Monday's.
        ("2024-07-05T20:59:59", "2024-07-05T21:00:00", 1),
        ("2024-07-05T21:00:00", "2024-07-08T21:00:00", 1),
        ("2024-07-07T09:00:00", "2024-07-08T21:00:00", 1),
        # New York leaves summer time on 3 November 2024.
        ("2024-11-01T12:00:00", "2024-11-01T21:00:00", 1),
        ("2024-11-01T21:00:00", "2024-11-04T22:00:00", 1),
        ("2024-07-03T21:30:00", "2024-07-04T21:00:00", 1),
    ],
)
def test_rollover_comes_at_the_end_of_the_day_in_its_zone(after: str, due: str, days: int) -> None:
    schedule = RolloverSchedule(Rollover("X", D(2), D("-0.5")))
    assert schedule.next_ns(utc_ns(after)) == utc_ns(due)
    assert schedule.bps(utc_ns(due), is_long=True) == 2 * days
    assert schedule.bps(utc_ns(due), is_long=False) == D("-0.5") * days


def test_a_rollover_after_midnight_utc_belongs_to_its_own_day() -> None:
    """18:00 on a Wednesday in Honolulu is Thursday in UTC."""
    schedule = RolloverSchedule(Rollover("X", D(2), D(0), "18:00", "Pacific/Honolulu"))
    due = schedule.next_ns(utc_ns("2024-07-03T12:00:00"))
    assert due == utc_ns("2024-07-04T04:00:00")
    assert schedule.bps(due, is_long=True) == 6


EIGHT = FundingSchedule(Funding("BTC-PERP", D(1), 8))
NIGHT = RolloverSchedule(Rollover("EUR-USD", D(2), D("0.5"), "00:00", "UTC"))
HOUR = 3600


def charged_market() -> Exchange:
    """At noon; funding comes at 16:00 and midnight, rollover at midnight, which is then Wednesday."""
    venue = Exchange({EUR: EUR_USD, BTC: BTC_PERP}, charges=(EIGHT, NIGHT), retain=None)
    venue.start(at(0))
    venue.on_quote(book(Quote(0, "1.0998", "1.1000")))
    venue.on_quote(TopOfBook(BTC, D(59_990), D(99), D(60_010), D(99), at(0)))
    return venue


def test_positions_are_charged_at_the_middle_of_their_last_quote() -> None:
    venue = charged_market()
    ask(venue, NewOrder(terms("a", Side.SELL, "4000", "1.0998")))
    ask(venue, NewOrder(terms("b", Side.BUY, "3", "60010", instrument=BTC)))
    events = venue.on_quote(TopOfBook(BTC, D(50_000), D(99), D(50_000), D(99), at(4 * HOUR)))
    # 3 contracts of 0.01 at 60,000: the quote of that very time comes after it.
    assert events == [Charged("x3", ChargeKind.FUNDING, BTC, D(3), D(60_000), D("0.18"), at(4 * HOUR))]
    assert venue.next_ns() == at(12 * HOUR)
    events = venue.advance(at(13 * HOUR))
    assert events == [
        Charged("x4", ChargeKind.ROLLOVER, EUR, D(-4000), D("1.0999"), D("0.65994"), at(12 * HOUR)),
        Charged("x5", ChargeKind.FUNDING, BTC, D(3), D(50_000), D("0.15"), at(12 * HOUR)),
    ]
    assert list(venue.ledger.charges)[-2:] == events


def test_a_short_position_receives_funding() -> None:
    venue = charged_market()
    ask(venue, NewOrder(terms("a", Side.SELL, "3", "59990", instrument=BTC)))
    (charged,) = venue.advance(at(4 * HOUR))
    assert isinstance(charged, Charged)
    assert (charged.quantity, charged.amount) == (D(-3), D("-0.18"))


def test_what_is_not_held_is_not_charged_and_nothing_is_after_the_end() -> None:
    venue = charged_market()
    assert venue.advance(at(5 * HOUR)) == []
    ask(venue, NewOrder(terms("a", Side.BUY, "3", "60010", instrument=BTC)))
    venue.end_trading()
    assert venue.advance(at(99 * HOUR)) == []
    assert venue.next_ns() is None


times = st.lists(st.tuples(st.integers(1, 90_000), st.integers(-9, 9)), min_size=1, max_size=12)


@given(times)
def test_equity_is_cash_and_positions_at_every_step_with_charges(steps: list[tuple[int, int]]) -> None:
    """By plain sums: what is held at each hour of funding pays for it, in the order of time."""
    venue, now, held, cash = charged_market(), 0, D(0), D(0)
    position = Position()
    expected: list[tuple[int, Decimal]] = []
    due = [at(hour * HOUR) for hour in range(4, 400, 8)]
    for number, (seconds, lots) in enumerate(steps):
        before, now = now, now + seconds
        passed = [when for when in due if at(before) < when <= at(now) and held]
        expected += [(when, held * D("0.01") * 60_000 / 10_000) for when in passed]
        events = venue.advance(at(now))
        side = Side.BUY if lots > 0 else Side.SELL
        if lots:
            wanted = terms(f"o{number}", side, str(abs(lots)), None, instrument=BTC)
            venue.send(NewOrder(wanted), at(now))
            events += venue.advance(at(now))
        for event in events:
            if isinstance(event, Charged):
                cash -= event.amount
                position = position.charged(event.amount)
            elif isinstance(event, Executed):
                signed = event.quantity * event.side.sign
                held, cash = held + signed, cash - signed * event.price * D("0.01")
                position = position.filled(signed, event.price * D("0.01"), D(0))
        profit = position.realized + position.unrealized(D(600)) - position.fees
        assert abs(cash + held * 600 - profit) < D("1e-20")
    assert [(item.at_ns, item.amount) for item in venue.ledger.charges] == expected
