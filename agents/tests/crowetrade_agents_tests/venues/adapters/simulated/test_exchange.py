"""The exchange never gives more than was shown nor a price worse than asked, and loses no quantity."""

from __future__ import annotations

from decimal import Decimal

import exchange_calendars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import OrdStatus, Side, TimeInForce
from crowetrade_agents.venues.adapters.simulated.exchange import Exchange
from crowetrade_agents.venues.adapters.simulated.faults import FaultKind
from crowetrade_agents.venues.adapters.simulated.ledger import IDS_KEPT
from crowetrade_agents.venues.adapters.simulated.requests import Cancel, NewOrder, Query, Replace, Request
from crowetrade_agents.venues.adapters.simulated.spec import Fees
from crowetrade_agents.venues.calendar import calendar_of
from crowetrade_agents.venues.port import (
    Accepted,
    Busted,
    Ended,
    Executed,
    OrderEvent,
    OrderState,
    Replaced,
    RequestRejected,
)

from ....risk.limits.test_trading_hours import ns
from ...values import BTC, BTC_PERP, EUR, EUR_USD, START_NS, D, Quote, at, book, terms
from .plain_market import PlainAccount

FEES = Fees(maker_bps=D("0.1"), taker_bps=D("0.2"))
SHOWN = Quote(0, "1.0998", "1.1000")
LATENCY_NS = 5_000_000


def exchange(latency_ns: int = 0, retain: int | None = None) -> Exchange:
    """With the quote SHOWN."""
    made = Exchange({EUR: EUR_USD, BTC: BTC_PERP}, FEES, order_latency_ns=latency_ns, retain=retain)
    made.on_quote(book(SHOWN))
    return made


def executions(events: list[OrderEvent]) -> list[Executed]:
    return [event for event in events if isinstance(event, Executed)]


def at_once(venue: Exchange, request: Request, fault: FaultKind | None = None) -> list[OrderEvent]:
    """The request arrives where the exchange is."""
    venue.send(request, venue.now_ns, fault)
    return venue.advance(venue.now_ns)


IOC, FOK, GTC, DAY = TimeInForce.IOC, TimeInForce.FOK, TimeInForce.GTC, TimeInForce.DAY


def exchange_at(calendar: str, when: str) -> Exchange:
    """With the quote SHOWN at that time in UTC, by that calendar."""
    made = Exchange({EUR: EUR_USD}, FEES, calendar=calendar_of(calendar))
    made.on_quote(book(SHOWN._replace(seconds=(ns(when) - START_NS) // 1_000_000_000)))
    return made


def resting(cl_ord_id: str, time_in_force: TimeInForce = DAY, quantity: str = "4000") -> NewOrder:
    """An order that the market does not reach."""
    return NewOrder(terms(cl_ord_id, quantity=quantity, price="1.0900", time_in_force=time_in_force))


@pytest.mark.parametrize(
    ("side", "quantity", "price", "time_in_force", "filled", "paid", "last"),
    [
        (Side.BUY, "4000", "1.2000", IOC, 4000, "1.1000", Executed),
        (Side.BUY, "4000", "1.1000", GTC, 4000, "1.1000", Executed),
        (Side.BUY, "4000", "1.0999", GTC, 0, "", Accepted),
        (Side.BUY, "4000", "1.0999", IOC, 0, "", Ended),
        (Side.BUY, "12000", "1.1000", GTC, 10_000, "1.1000", Executed),
        (Side.BUY, "12000", "1.1000", IOC, 10_000, "1.1000", Ended),
        (Side.BUY, "12000", "1.1000", FOK, 0, "", Ended),
        (Side.BUY, "10000", "1.1000", FOK, 10_000, "1.1000", Executed),
        (Side.SELL, "4000", "1.0998", IOC, 4000, "1.0998", Executed),
        (Side.SELL, "4000", "1.0999", IOC, 0, "", Ended),
        (Side.SELL, "40000", None, GTC, 10_000, "1.0998", Ended),
        (Side.BUY, "40000", None, FOK, 0, "", Ended),
    ],
)
def test_an_arriving_order_takes_what_is_shown(
    side: Side,
    quantity: str,
    price: str | None,
    time_in_force: TimeInForce,
    filled: int,
    paid: str,
    last: type[OrderEvent],
) -> None:
    events = at_once(exchange(), NewOrder(terms("a", side, quantity, price, time_in_force)))
    assert isinstance(events[0], Accepted)
    assert type(events[-1]) is last
    assert sum(event.quantity for event in executions(events)) == filled
    for event in executions(events):
        assert event.price == D(paid)
        assert event.fee == (event.quantity * event.price * D("0.2") / 10_000).quantize(D("1e-8"))


def test_the_fee_counts_the_contract_multiplier() -> None:
    venue = exchange()
    venue.on_quote(TopOfBook(BTC, D("60000"), D(9), D("60000.5"), D(9), at(1)))
    (executed,) = executions(at_once(venue, NewOrder(terms("a", quantity="3", price="60000.5", instrument=BTC))))
    assert executed.fee == D("3") * D("60000.5") * D("0.01") * D("0.2") / 10_000


def test_instruments_have_books_and_lots_of_their_own() -> None:
    """Finding G20: one book and one lot for all symbols."""
    venue = exchange()
    (accepted,) = at_once(venue, NewOrder(terms("b", quantity="3", price="99999.5", instrument=BTC)))
    assert isinstance(accepted, Accepted)
    assert not venue.on_quote(book(Quote(1, "1.0998", "1.1000")))
    (executed,) = executions(venue.on_quote(TopOfBook(BTC, D(1), D(9), D(2), D(2), at(2))))
    assert (executed.cl_ord_id, executed.quantity) == ("b", D(2))


@pytest.mark.parametrize("quantity", [D(0), None])
def test_nothing_trades_where_nothing_is_shown(quantity: Decimal | None) -> None:
    """Finding D1: a size of 0 was taken as unlimited. A size that is missing here offers nothing either."""
    venue = exchange()
    venue.on_quote(TopOfBook(EUR, D("1.0998"), quantity, D("1.1000"), quantity, at(1)))
    for number, price in enumerate(["1.2000", None]):
        assert not executions(at_once(venue, NewOrder(terms(f"a{number}", price=price))))


def test_orders_share_what_one_quote_shows() -> None:
    venue = exchange()
    first = executions(at_once(venue, NewOrder(terms("a", quantity="8000"))))
    second = executions(at_once(venue, NewOrder(terms("b", quantity="8000"))))
    assert [event.quantity for event in [*first, *second]] == [8000, 2000]
    assert [event.quantity for event in executions(venue.on_quote(book(Quote(1, "1.0998", "1.1000"))))] == [6000]


def test_resting_orders_fill_oldest_first_at_their_price_as_maker() -> None:
    venue = exchange()
    for name, price in [("a", "1.0995"), ("b", "1.0997"), ("c", "1.0996")]:
        at_once(venue, NewOrder(terms(name, price=price, quantity="2000")))
    events = executions(venue.on_quote(book(Quote(1, "1.0990", "1.0995", "5000"))))
    assert [(event.cl_ord_id, event.quantity, event.price) for event in events] == [
        ("a", D(2000), D("1.0995")),
        ("b", D(2000), D("1.0997")),
        ("c", D(1000), D("1.0996")),
    ]
    assert events[0].fee == D(2000) * D("1.0995") * D("0.1") / 10_000
    assert all(event.at_ns == at(1) for event in events)


@pytest.mark.parametrize(
    ("price", "quantity", "first"),
    [("1.0995", "1000", "a"), ("1.0995", "3000", "b"), ("1.0996", "2000", "b")],
)
def test_a_replacement_keeps_its_priority_only_when_it_asks_for_no_more(price: str, quantity: str, first: str) -> None:
    venue = exchange()
    for name in ("a", "b"):
        at_once(venue, NewOrder(terms(name, price="1.0995", quantity="2000")))
    at_once(venue, Replace(terms("a2", price=price, quantity=quantity), "a", ""))
    events = executions(venue.on_quote(book(Quote(1, "1.0990", "1.0995", "1000"))))
    assert events[0].cl_ord_id[0] == first


def test_a_request_takes_effect_after_the_latency() -> None:
    venue = exchange(LATENCY_NS)
    venue.send(NewOrder(terms("a")), at(1))
    assert venue.advance(at(1) + LATENCY_NS - 1) == []
    assert venue.next_ns() == at(1) + LATENCY_NS
    events = venue.advance(at(1) + LATENCY_NS)
    assert [event.at_ns for event in events] == [at(1) + LATENCY_NS] * 2


def test_a_quote_at_the_time_of_arrival_counts() -> None:
    venue = exchange(LATENCY_NS)
    venue.send(NewOrder(terms("a", price="1.0995", time_in_force=IOC)), at(1) - LATENCY_NS)
    assert venue.on_quote(book(Quote(1, "1.0990", "1.0995"))) == []
    assert [event.price for event in executions(venue.advance(at(1)))] == [D("1.0995")]


def test_an_order_that_expires_with_a_quote_does_not_trade_with_it() -> None:
    venue = exchange()
    at_once(venue, NewOrder(terms("a", price="1.0995", time_in_force=TimeInForce.GTD, expire_ns=at(1))))
    (ended,) = venue.on_quote(book(Quote(1, "1.0990", "1.0995")))
    assert isinstance(ended, Ended)
    assert (ended.status, ended.at_ns) == (OrdStatus.EXPIRED, at(1))


def test_a_replacement_may_move_the_time_of_expiry() -> None:
    venue = exchange()
    gtd = TimeInForce.GTD
    at_once(venue, NewOrder(terms("a", price="1.0995", time_in_force=gtd, expire_ns=at(5))))
    at_once(venue, Replace(terms("b", price="1.0995", time_in_force=gtd, expire_ns=at(9)), "a", ""))
    assert venue.advance(at(8)) == []
    (ended,) = venue.advance(at(9))
    assert isinstance(ended, Ended)
    assert ended.cl_ord_id == "b"


@pytest.mark.parametrize(
    "wanted",
    [
        terms("b", Side.SELL, price="1.2000"),
        terms("b", price=None),
        terms("b", time_in_force=IOC),
        terms("b", quantity="1500"),
        terms("b", instrument=BTC),
        terms("a"),
    ],
)
def test_a_replacement_that_cannot_be_leaves_the_order_as_it_is(wanted: object) -> None:
    venue = exchange()
    at_once(venue, NewOrder(terms("a", price="1.0900")))
    (rejected,) = at_once(venue, Replace(wanted, "a", ""))  # type: ignore[arg-type]
    assert isinstance(rejected, RequestRejected)
    assert not rejected.unknown_order
    (opened,) = venue.ledger.open_orders()
    assert opened.terms == terms("a", price="1.0900")


def test_a_post_only_order_that_a_replacement_moves_into_the_market_is_canceled() -> None:
    venue = exchange()
    at_once(venue, NewOrder(terms("a", price="1.0999", post_only=True)))
    replaced, ended = at_once(venue, Replace(terms("b", price="1.1000", post_only=True), "a", ""))
    assert isinstance(replaced, Replaced)
    assert isinstance(ended, Ended)
    assert ended.reason == "PostOnlyWouldTrade"


def test_an_order_is_found_by_an_older_cl_ord_id_and_by_its_order_id() -> None:
    venue = exchange()
    (accepted,) = at_once(venue, NewOrder(terms("a", price="1.0900")))
    at_once(venue, Replace(terms("b", price="1.0901"), "a", ""))
    (known,) = at_once(venue, Query("lost", accepted.order_id, EUR))  # type: ignore[union-attr]
    assert isinstance(known, OrderState)
    assert known.current == "b"
    (ended,) = at_once(venue, Cancel("c", "a", ""))
    assert isinstance(ended, Ended)
    assert ended.cl_ord_id == "b"


def test_late_fill_comes_after_the_confirmation_and_nothing_is_lost() -> None:
    venue = exchange()
    at_once(venue, NewOrder(terms("a", price="1.0900", quantity="5000")))
    ended, late = at_once(venue, Cancel("c", "a", ""), FaultKind.LATE_FILL)
    assert isinstance(ended, Ended)
    assert isinstance(late, Executed)
    assert (late.quantity, late.price) == (D(2000), D("1.0900"))
    order = venue.ledger.order("a")
    assert order is not None
    assert (order.status, order.cum, order.canceled) == (OrdStatus.CANCELED, D(2000), D(3000))


def test_a_late_fill_of_one_lot_takes_it_all() -> None:
    venue = exchange()
    at_once(venue, NewOrder(terms("a", price="1.0900", quantity="1000")))
    ended, late = at_once(venue, Cancel("c", "a", ""), FaultKind.LATE_FILL)
    assert isinstance(ended, Ended)
    assert isinstance(late, Executed)
    assert venue.ledger.open_orders() == []


def test_a_forgotten_order_is_denied_and_does_not_trade() -> None:
    venue = exchange()
    at_once(venue, NewOrder(terms("a", price="1.0995")))
    (rejected,) = at_once(venue, Cancel("c", "a", ""), FaultKind.FORGET)
    assert isinstance(rejected, RequestRejected)
    assert rejected.unknown_order
    (known,) = at_once(venue, Query("a", "", EUR))
    assert isinstance(known, OrderState)
    assert known.status is None
    assert venue.on_quote(book(Quote(1, "1.0990", "1.0995"))) == []


def test_a_bust_moves_the_position_back_and_comes_once() -> None:
    venue = exchange()
    (executed,) = executions(at_once(venue, NewOrder(terms("a", quantity="4000"))))
    (busted,) = venue.bust(executed.exec_id)
    assert isinstance(busted, Busted)
    assert venue.ledger.positions == {EUR: D(0)}
    assert venue.bust(executed.exec_id) == []


def test_what_is_remembered_is_bounded() -> None:
    venue = exchange(retain=10)
    at_once(venue, NewOrder(terms("open", price="1.0900")))
    for number in range(50):
        at_once(venue, NewOrder(terms(f"a{number}", price="1.0900", time_in_force=TimeInForce.DAY)))
        at_once(venue, Cancel(f"c{number}", f"a{number}", ""))
        venue.on_quote(book(Quote(number, "1.0998", "1.1000")))
        at_once(venue, NewOrder(terms(f"b{number}")))
    assert len(venue.ledger.orders()) == 11
    assert len(venue.ledger.executions) == 10
    assert venue.ledger.order("a0") is None
    assert [order.terms.cl_ord_id for order in venue.ledger.open_orders()] == ["open"]
    assert venue.ledger.positions == {EUR: D(200_000)}


def test_an_order_that_is_replaced_again_and_again_keeps_its_first_and_its_last_names() -> None:
    venue = exchange(retain=10)
    at_once(venue, NewOrder(terms("a0", price="1.0900")))
    for number in range(1, 10_001):
        price = "1.0901" if number % 2 else "1.0900"
        at_once(venue, Replace(terms(f"a{number}", price=price), f"a{number - 1}", ""))

    (order,) = venue.ledger.open_orders()
    assert order.ids == ["a0", *(f"a{number}" for number in range(10_002 - IDS_KEPT, 10_001))]
    assert venue.ledger.order("a0") is venue.ledger.order("a10000") is order
    assert venue.ledger.order("a1") is None
    assert len(venue.ledger._orders) == IDS_KEPT
    at_once(venue, Cancel("c", "a10000", ""))
    for number in range(10):
        at_once(venue, Cancel(f"d{number}", f"b{number}", "") if number % 2 else NewOrder(terms(f"b{number}")))
    assert venue.ledger.order("a0") is not None


def test_where_everything_is_remembered_all_names_are() -> None:
    venue = exchange(retain=None)
    at_once(venue, NewOrder(terms("a0", price="1.0900")))
    for number in range(1, 2 * IDS_KEPT):
        at_once(venue, Replace(terms(f"a{number}", price="1.0901"), f"a{number - 1}", ""))

    assert len(venue.ledger._orders) == 2 * IDS_KEPT


@pytest.mark.parametrize(
    ("calendar", "entered", "ends"),
    [
        ("24x7", "2026-11-27T15:00:00", "2026-11-28T00:00:00"),
        ("XNYS", "2026-11-26T15:00:00", "2026-11-27T18:00:00"),
        ("XNYS", "2026-11-27T17:00:00", "2026-11-27T18:00:00"),
        ("XLON", "2026-03-28T12:00:00", "2026-03-30T15:30:00"),
    ],
)
def test_a_day_order_lives_until_the_venues_session_ends(calendar: str, entered: str, ends: str) -> None:
    venue = exchange_at(calendar, entered)
    assert [type(event) for event in at_once(venue, resting("a"))] == [Accepted]
    at_once(venue, resting("stays", GTC))
    assert venue.next_ns() == ns(ends)
    assert venue.advance(ns(ends) - 1) == []
    (ended,) = venue.advance(ns(ends))
    assert isinstance(ended, Ended)
    assert (ended.cl_ord_id, ended.status, ended.reason) == ("a", OrdStatus.EXPIRED, "EndOfSession")
    assert ended.at_ns == ns(ends)
    assert [order.terms.cl_ord_id for order in venue.ledger.open_orders()] == ["stays"]


def test_the_first_day_order_does_not_wait_for_the_calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    venue = Exchange({EUR: EUR_USD}, FEES, calendar=calendar_of("XNYS"))
    venue.start(ns("2026-01-05T15:00:00"))
    monkeypatch.setattr(exchange_calendars, "get_calendar", None)
    assert [type(event) for event in at_once(venue, resting("a"))] == [Accepted]
    assert venue.next_ns() == ns("2026-01-05T21:00:00")


def test_a_replaced_day_order_ends_with_the_day_on_which_it_was_entered() -> None:
    venue = exchange_at("XNYS", "2026-01-05T15:00:00")
    at_once(venue, resting("a"))
    replaced = terms("b", quantity="5000", price="1.0901", time_in_force=DAY)
    assert isinstance(at_once(venue, Replace(replaced, "a", ""))[0], Replaced)
    (ended,) = venue.advance(ns("2026-01-05T21:00:00"))
    assert isinstance(ended, Ended)
    assert (ended.cl_ord_id, ended.status) == ("b", OrdStatus.EXPIRED)


def test_a_day_order_is_refused_when_nobody_knows_the_end_of_its_day() -> None:
    venue = exchange_at("XHKG", "2060-01-05T03:00:00")
    (refused,) = at_once(venue, resting("a"))
    assert isinstance(refused, Ended)
    assert (refused.status, refused.reason) == (OrdStatus.REJECTED, "TradingDayUnknown")
    assert "spec.calendar" in refused.text
    assert [type(event) for event in at_once(venue, resting("b", GTC))] == [Accepted]
    assert executions(at_once(venue, NewOrder(terms("c", time_in_force=IOC))))


def test_expiries_of_ended_orders_are_swept_out() -> None:
    venue = exchange(retain=10)
    for number in range(3000):
        at_once(venue, NewOrder(terms(f"a{number}", price="1.0900", time_in_force=TimeInForce.DAY)))
        at_once(venue, Cancel(f"c{number}", f"a{number}", ""))
    assert len(venue._expiries) <= 1001


sides, tifs = st.sampled_from(Side), st.sampled_from(TimeInForce)
names = st.integers(0, 12).map(lambda number: f"o{number}")
prices = st.integers(10_990, 11_010).map(lambda price: str(D(price) / 10_000))
lots = st.integers(1, 12).map(lambda number: str(number * 1000))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("quote"), st.integers(10_990, 11_010), st.integers(0, 5), st.integers(0, 9)),
        st.tuples(st.just("order"), names, sides, lots, st.one_of(st.none(), prices), tifs, st.booleans()),
        st.tuples(st.just("cancel"), names),
        st.tuples(st.just("replace"), names, names, sides, lots, prices, tifs),
    ),
    max_size=60,
)


@given(steps, st.sampled_from([0, LATENCY_NS, 3_000_000_000]))
def test_nothing_trades_outside_the_market_no_quantity_is_lost_and_equity_is_cash_and_positions(
    plan: list[tuple[object, ...]], latency_ns: int
) -> None:
    venue, account = exchange(latency_ns), PlainAccount()
    shown = {at(0): book(SHOWN)}
    events: list[OrderEvent] = []
    limits: dict[str, Decimal | None] = {}
    for second, step in enumerate(plan, 1):
        if step[0] == "quote":
            _, bid, spread, shown_lots = step
            quote = Quote(
                second,
                str(D(int(str(bid))) / 10_000),
                str(D(int(str(bid)) + int(str(spread))) / 10_000),
                str(int(str(shown_lots)) * 1000),
            )
            shown[at(second)] = book(quote)
            new = venue.on_quote(book(quote))
            # What the quote itself has reached was resting; what was due before had just arrived.
            makers = {event.exec_id for event in executions(new) if event.at_ns == at(second)}
        else:
            request = request_of(step, second)
            if isinstance(request, NewOrder | Replace):
                limits.setdefault(request.terms.cl_ord_id, request.terms.price)
            venue.send(request, at(second))
            new, makers = venue.advance(at(second)), set()
        for event in executions(new):
            account.executed(event, FEES.maker_bps if event.exec_id in makers else FEES.taker_bps)
        account.check(shown[max(shown)].mid)
        assert venue.ledger.positions.get(EUR, D(0)) == account.held
        events += new
    events += venue.advance(at(len(plan) + 10))
    check_market(events, shown)
    for event in executions(events):
        limit = limits[event.cl_ord_id]
        assert limit is None or (event.price <= limit if event.side is Side.BUY else event.price >= limit)
    for order in venue.ledger.orders():
        executed = sum(event.quantity for event in executions(events) if event.order_id == order.order_id)
        assert executed == order.cum
        assert order.cum + order.leaves + order.canceled == order.terms.quantity
        assert (order.leaves == 0) == order.status.is_final
    assert [event.at_ns for event in events] == sorted(event.at_ns for event in events)
    assert len({event.exec_id for event in executions(events)}) == len(executions(events))


def request_of(step: tuple[object, ...], second: int) -> Request:
    if step[0] == "cancel":
        return Cancel(f"c{second}", str(step[1]), "")
    if step[0] == "order":
        _, name, side, quantity, price, tif, post_only = step
        return NewOrder(
            terms(
                str(name),
                side,  # type: ignore[arg-type]
                str(quantity),
                None if price is None else str(price),
                tif,  # type: ignore[arg-type]
                expire_ns=at(second + 5) if tif is TimeInForce.GTD else None,
                post_only=bool(post_only),
            )
        )
    _, name, orig, side, quantity, price, tif = step
    wanted = terms(
        f"{name}-{second}",
        side,  # type: ignore[arg-type]
        str(quantity),
        str(price),
        tif,  # type: ignore[arg-type]
        expire_ns=at(second + 5) if tif is TimeInForce.GTD else None,
    )
    return Replace(wanted, str(orig), "")


def check_market(events: list[OrderEvent], shown: dict[int, TopOfBook]) -> None:
    """By what was recorded alone: each execution reaches the quote that was in force, and
    all executions of one quote and side together are not more than it showed."""
    taken: dict[tuple[int, Side], Decimal] = {}
    for event in executions(events):
        in_force = max(when for when in shown if when <= event.at_ns)
        quote = shown[in_force]
        touch, quantity = (
            (quote.ask_price, quote.ask_quantity) if event.side is Side.BUY else (quote.bid_price, quote.bid_quantity)
        )
        assert event.price >= touch if event.side is Side.BUY else event.price <= touch
        key = (in_force, event.side)
        taken[key] = taken.get(key, D(0)) + event.quantity
        assert quantity is not None
        assert taken[key] <= quantity
