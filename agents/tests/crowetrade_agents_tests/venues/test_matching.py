"""The matching engine never gives more than was shown, nor a price worse than asked."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.risk.approved import ApprovedOrder
from crowetrade_agents.risk.gate import decide
from crowetrade_agents.risk.request import OrderRequest
from crowetrade_agents.venues.adapters.simulated.matching import Fees, MatchingEngine
from crowetrade_agents.venues.port import Accepted, Ended, Executed

from ..risk.test_gate import FACTS, rule

D = Decimal


def approved(cl_ord_id: str, *, buy: bool, lots: int, price: str | None) -> ApprovedOrder:
    facts = rule(max_order_quantity=None, max_order_notional=None, max_position_quantity=None, max_order_rate=None)
    assert facts.now_ns == FACTS.now_ns
    request = OrderRequest(cl_ord_id, "ema", "EUR-USD", buy, D(lots * 1000), D(price) if price else None)
    outcome = decide(request, facts).outcome
    assert isinstance(outcome, ApprovedOrder)
    return outcome


def book(bid: str, ask: str, size: int | None = 10_000, at: int = 1) -> TopOfBook:
    quantity = D(size) if size is not None else None
    return TopOfBook("EUR-USD", D(bid), quantity, D(ask), quantity, at)


def engine() -> MatchingEngine:
    return MatchingEngine(Fees(maker_bps=D("0.1"), taker_bps=D("0.2")), 7)


@pytest.mark.parametrize(
    ("buy", "lots", "price", "filled", "at"),
    [
        (True, 4, "1.2000", 4000, "1.1002"),
        (True, 4, "1.1002", 4000, "1.1002"),
        (True, 4, "1.1001", 0, None),
        (False, 4, "1.1000", 4000, "1.1000"),
        (False, 4, "1.1001", 0, None),
        (True, 40, None, 10_000, "1.1002"),
        (False, 40, None, 10_000, "1.1000"),
    ],
)
def test_an_immediate_order_takes_what_is_shown(buy: bool, lots: int, price: str, filled: int, at: str) -> None:
    venue = engine()
    venue.quote(book("1.1000", "1.1002"))
    events = venue.submit(approved("a", buy=buy, lots=lots, price=price), 5, immediate=True, all_or_none=False)
    assert isinstance(events[0], Accepted)
    executed = [event for event in events if isinstance(event, Executed)]
    assert sum(event.quantity for event in executed) == filled
    assert all(event.price == D(at) for event in executed)
    assert isinstance(events[-1], Ended) == (filled < lots * 1000)


def test_two_orders_share_what_one_quote_shows() -> None:
    venue = engine()
    venue.quote(book("1.1000", "1.1002"))
    first = venue.submit(approved("a", buy=True, lots=8, price=None), 5, immediate=True, all_or_none=False)
    second = venue.submit(approved("b", buy=True, lots=8, price=None), 5, immediate=True, all_or_none=False)
    taken = [event.quantity for event in [*first, *second] if isinstance(event, Executed)]
    assert taken == [8000, 2000]


def test_all_or_none_takes_nothing_when_there_is_too_little() -> None:
    venue = engine()
    venue.quote(book("1.1000", "1.1002"))
    events = venue.submit(approved("a", buy=True, lots=11, price=None), 5, immediate=True, all_or_none=True)
    assert [type(event) for event in events] == [Accepted, Ended]


def test_a_resting_order_fills_at_its_own_price_as_maker() -> None:
    venue = engine()
    venue.quote(book("1.1000", "1.1002"))
    order = approved("a", buy=True, lots=2, price="1.0990")
    assert len(venue.submit(order, 5, immediate=False, all_or_none=False)) == 1
    assert venue.quote(book("1.0992", "1.0994", at=6)) == []
    (executed,) = venue.quote(book("1.0985", "1.0988", at=7))
    assert isinstance(executed, Executed)
    assert (executed.price, executed.at_ns) == (D("1.0990"), 7)
    assert executed.fee == D(2000) * D("1.0990") * D("0.1") / 10_000
    assert venue.cancel("a", "x", 8) == []


def test_a_quote_without_sizes_fills_any_order() -> None:
    venue = engine()
    venue.quote(book("1.1000", "1.1002", None))
    events = venue.submit(approved("a", buy=True, lots=900, price=None), 5, immediate=True, all_or_none=False)
    assert isinstance(events[-1], Executed)
    assert events[-1].quantity == 900_000


actions = st.lists(
    st.one_of(
        st.tuples(st.just("quote"), st.integers(10_900, 11_100), st.integers(0, 5), st.integers(0, 9)),
        st.tuples(st.just("order"), st.integers(10_900, 11_100), st.integers(2, 12), st.booleans(), st.booleans()),
    ),
    max_size=40,
)


@given(actions)
def test_never_more_than_shown_never_worse_than_asked(steps: list[tuple[object, ...]]) -> None:
    venue = engine()
    shown: TopOfBook | None = None
    taken = {True: D(0), False: D(0)}
    orders: dict[str, OrderRequest] = {}
    filled: dict[str, Decimal] = {}
    for number, step in enumerate(steps):
        if step[0] == "quote":
            _, bid, spread, lots = step
            assert isinstance(bid, int)
            assert isinstance(spread, int)
            assert isinstance(lots, int)
            shown = book(str(D(bid) / 10_000), str(D(bid + spread) / 10_000), lots * 1000, number)
            taken = {True: D(0), False: D(0)}
            events = venue.quote(shown)
        else:
            _, price, lots, buy, immediate = step
            assert isinstance(lots, int)
            order = approved(str(number), buy=bool(buy), lots=lots, price=str(D(str(price)) / 10_000))
            orders[str(number)] = order.request
            events = venue.submit(order, number, immediate=bool(immediate), all_or_none=False)
        for event in events:
            if isinstance(event, Executed):
                request = orders[event.cl_ord_id]
                assert shown is not None
                assert request.price is not None
                assert event.price <= request.price if request.buy else event.price >= request.price
                taken[request.buy] += event.quantity
                filled[event.cl_ord_id] = filled.get(event.cl_ord_id, D(0)) + event.quantity
                assert filled[event.cl_ord_id] <= request.quantity
                assert taken[request.buy] <= (shown.ask_quantity if request.buy else shown.bid_quantity or 0)  # type: ignore[operator]
