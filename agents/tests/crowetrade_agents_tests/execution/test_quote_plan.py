"""Quotes: where they rest, when they are replaced, and that no fills bring the position beyond its bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.flow import TargetQuotes
from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.execution.own_orders import WorkingOrder
from crowetrade_agents.execution.plan import Child, IdleReason
from crowetrade_agents.execution.quote_plan import QuotePlan, plan_quotes, reservation_price

from ..messages import EUR, EUR_USD

BUY, SELL = Side.BUY, Side.SELL
TOP = TopOfBook(EUR, Decimal("1.10000"), None, Decimal("1.10010"), None, 0)
# Ten ticks on either side, and 40 ticks lower with the largest position.
QUOTES = TargetQuotes(
    fair=Decimal("1.10005"),
    half_spread=Decimal("0.00010"),
    skew=Decimal("0.00040"),
    quantity=Decimal(10_000),
    max_position=Decimal(40_000),
)
TICK = EUR_USD.tick_size
LONG_ONLY = replace(EUR_USD, long_only=True)


def working(side: Side, price: str | None, leaves: int = 10_000, cl_ord_id: str = "w") -> WorkingOrder:
    return WorkingOrder(
        cl_ord_id=cl_ord_id,
        instrument=EUR,
        side=side,
        price=None if price is None else Decimal(price),
        leaves=Decimal(leaves),
        cumulated=Decimal(0),
        immediate=False,
        accepted=True,
    )


def plan(
    position: int = 0,
    *orders: WorkingOrder,
    quotes: TargetQuotes | None = QUOTES,
    top: TopOfBook | None = TOP,
    requote_ticks: int = 3,
    cap: int | None = None,
    reduce_only: bool = False,
    instrument: Instrument = EUR_USD,
) -> QuotePlan:
    return plan_quotes(
        quotes,
        Decimal(position),
        orders,
        top,
        requote_ticks,
        instrument,
        None if cap is None else Decimal(cap),
        reduce_only,
    )


def children(given_plan: QuotePlan) -> list[tuple[Side, str, str]]:
    assert not given_plan.cancels
    return [(child.side, f"{child.quantity:f}", f"{child.price:f}") for child in given_plan.children]


@pytest.mark.parametrize(
    ("given_plan", "expected"),
    [
        (plan(), [(BUY, "10000", "1.09995"), (SELL, "10000", "1.10015")]),
        # A quarter of the largest position: 10 ticks lower, and the offer stays a tick above the bid of the market.
        (plan(10_000), [(BUY, "10000", "1.09985"), (SELL, "10000", "1.10005")]),
        (plan(-10_000), [(BUY, "10000", "1.10005"), (SELL, "10000", "1.10025")]),
        (plan(30_000), [(BUY, "10000", "1.09965"), (SELL, "10000", "1.10001")]),
        (plan(-30_000), [(BUY, "10000", "1.10009"), (SELL, "10000", "1.10045")]),
        (plan(35_000), [(BUY, "5000", "1.09960"), (SELL, "10000", "1.10001")]),
        (plan(40_000), [(SELL, "10000", "1.10001")]),
        (plan(60_000), [(SELL, "10000", "1.10001")]),
        (plan(-40_000), [(BUY, "10000", "1.10009")]),
        # Between two ticks each is rounded away from the reservation price.
        (
            plan(quotes=QUOTES._replace(fair=Decimal("1.100054"))),
            [(BUY, "10000", "1.09995"), (SELL, "10000", "1.10016")],
        ),
        (plan(cap=6_500), [(BUY, "6000", "1.09995"), (SELL, "6000", "1.10015")]),
        (plan(3_000, reduce_only=True), [(SELL, "3000", "1.10012")]),
        (plan(-3_000, reduce_only=True), [(BUY, "3000", "1.09998")]),
        (plan(3_000, instrument=LONG_ONLY), [(BUY, "10000", "1.09992"), (SELL, "3000", "1.10012")]),
        (plan(0, working(SELL, "1.10015")), [(BUY, "10000", "1.09995")]),
        # Where a bid would not be positive there is none.
        (plan(quotes=QUOTES._replace(half_spread=Decimal(2))), [(SELL, "10000", "3.10005")]),
    ],
    ids=[
        "flat",
        "long",
        "short",
        "the offer does not cross the market",
        "the bid does not cross the market",
        "room for less than a quote",
        "the largest position",
        "beyond the largest position",
        "the largest short position",
        "between two ticks",
        "cut to what limits let pass",
        "reduces a long position only",
        "reduces a short position only",
        "sells what is held where shorts are refused",
        "the other side rests",
        "wider than the price",
    ],
)
def test_quotes_rest_around_the_reservation_price(given_plan: QuotePlan, expected: list[tuple[Side, str, str]]) -> None:
    assert children(given_plan) == expected


def test_the_reservation_price_falls_with_what_is_held() -> None:
    assert reservation_price(QUOTES, Decimal(20_000)) == Decimal("1.09985")
    assert reservation_price(QUOTES, Decimal(-40_000)) == Decimal("1.10045")
    assert reservation_price(QUOTES._replace(max_position=Decimal(0)), Decimal(5)) == QUOTES.fair


BID, ASK = working(BUY, "1.09995", cl_ord_id="bid"), working(SELL, "1.10015", cl_ord_id="ask")


@pytest.mark.parametrize(
    ("given_plan", "cancels"),
    [
        (plan(0, BID, ASK), ()),
        (plan(0, working(BUY, "1.09997"), ASK), ()),
        (plan(0, working(BUY, "1.09998"), ASK), ("w",)),
        (plan(0, working(BUY, "1.09992"), ASK), ("w",)),
        (plan(10_000, BID, ASK), ("bid", "ask")),
        (plan(0, BID, working(BUY, "1.09995", cl_ord_id="second"), ASK), ("second",)),
        (plan(35_000, working(BUY, "1.09960"), working(SELL, "1.10001")), ("w",)),
        (plan(0, replace(BID, price=None), ASK), ("bid",)),
        (plan(0, replace(BID, price=Decimal(1), cancelling=True), ASK), ()),
        (plan(0, replace(BID, price=Decimal(1), unknown=True), ASK), ()),
        (plan(3_000, BID, ASK, reduce_only=True), ("bid", "ask")),
        # Two ticks apart, and the reservation price has passed the bid.
        (plan(0, working(BUY, "1.10006"), quotes=QUOTES._replace(half_spread=TICK), requote_ticks=9), ("w",)),
        (plan(0, BID, ASK, quotes=None), ("bid", "ask")),
        (plan(0, BID, replace(ASK, cancelling=True), quotes=None), ("bid",)),
        (plan(0, BID, ASK, top=None), ("bid", "ask")),
        (plan(0, BID, ASK, top=TOP._replace(bid_price=Decimal("1.2"))), ("bid", "ask")),
    ],
    ids=[
        "where they are to be",
        "within the ticks",
        "too high",
        "too low",
        "the position has moved",
        "one too many",
        "more than there is room for",
        "a market order",
        "already being canceled",
        "of unknown fate",
        "may only reduce",
        "beyond the reservation price",
        "withdrawn",
        "withdrawn, one already being canceled",
        "no quote of the market",
        "a crossed market",
    ],
)
def test_a_quote_that_is_not_wanted_there_is_cancelled_first(given_plan: QuotePlan, cancels: tuple[str, ...]) -> None:
    assert given_plan.cancels == cancels
    assert not given_plan.children or not cancels


@pytest.mark.parametrize(
    ("given_plan", "reason"),
    [
        (plan(0, BID, ASK), IdleReason.WORKING),
        (plan(0, replace(BID, unknown=True), replace(ASK, cancelling=True)), IdleReason.WORKING),
        (plan(quotes=None), IdleReason.NOT_QUOTED),
        (plan(top=None), IdleReason.NO_QUOTE),
        (plan(top=TOP._replace(ask_price=Decimal(1))), IdleReason.CROSSED_QUOTE),
        (plan(quotes=QUOTES._replace(quantity=Decimal(999))), IdleReason.BELOW_MIN_QUANTITY),
        (plan(quotes=QUOTES._replace(quantity=Decimal(0), max_position=Decimal(0))), IdleReason.BELOW_MIN_QUANTITY),
        (plan(reduce_only=True), IdleReason.BELOW_MIN_QUANTITY),
    ],
)
def test_nothing_is_sent_for_a_reason(given_plan: QuotePlan, reason: IdleReason) -> None:
    assert given_plan == QuotePlan(idle=reason)


def test_a_new_quote_waits_until_the_order_of_ours_that_it_would_meet_is_over() -> None:
    unknown = replace(working(SELL, "1.09995"), unknown=True)
    assert plan(0, unknown) == QuotePlan(idle=IdleReason.WORKING)
    assert children(plan(0, replace(unknown, price=Decimal("1.09996")))) == [(BUY, "10000", "1.09995")]


@dataclass
class Book:
    """A venue that does what a test says: it answers cancels when asked to, and fills whatever rests."""

    position: Decimal = Decimal(0)
    orders: dict[str, WorkingOrder] = field(default_factory=dict)
    sent: int = 0

    def carry_out(self, given_plan: QuotePlan) -> None:
        for name in given_plan.cancels:
            self.orders[name] = replace(self.orders[name], cancelling=True)
        for child in given_plan.children:
            self.sent += 1
            name = f"o{self.sent}"
            self.orders[name] = working(child.side, str(child.price), int(child.quantity), name)

    def answer_cancels(self) -> None:
        self.orders = {name: order for name, order in self.orders.items() if not order.cancelling}

    def fill(self, number: int, lots: int) -> None:
        if not self.orders:
            return
        name = list(self.orders)[number % len(self.orders)]
        order = self.orders[name]
        quantity = min(order.leaves, Decimal(lots * 1000))
        self.position += quantity * order.side.sign
        self.orders[name] = replace(order, leaves=order.leaves - quantity)
        if quantity == order.leaves:
            del self.orders[name]

    def worst(self, side: Side) -> Decimal:
        leaves = sum((order.leaves for order in self.orders.values() if order.side is side), Decimal(0))
        return self.position + leaves * side.sign


ticks = st.integers(100_000, 120_000).map(lambda count: count * TICK)
target_quotes = st.builds(
    TargetQuotes,
    fair=st.decimals("0.9", "1.3", places=7),
    half_spread=st.decimals("0.0000001", "0.01", places=7),
    skew=st.decimals("0", "0.05", places=7),
    quantity=st.integers(0, 30).map(lambda lots: Decimal(lots * 1000)),
    max_position=st.just(Decimal(40_000)),
)
tops = st.tuples(ticks, st.integers(0, 30)).map(
    lambda drawn: TopOfBook(EUR, drawn[0], None, drawn[0] + drawn[1] * TICK, None, 0)
)
steps = st.one_of(
    st.tuples(st.just("quote"), target_quotes | st.none(), tops, st.integers(1, 9), st.booleans()),
    st.tuples(st.just("fill"), st.integers(0, 3), st.integers(1, 12)),
    st.tuples(st.just("answer")),
)


@given(st.lists(steps, max_size=30), st.integers(-40, 40))
def test_whatever_fills_the_position_stays_within_its_bound_and_no_order_crosses(
    history: Sequence[tuple[object, ...]], lots: int
) -> None:
    book = Book(Decimal(lots * 1000))
    for step in history:
        match step:
            case ("quote", TargetQuotes() | None as quotes, TopOfBook() as top, int(requote), bool(reduce_only)):
                decided = plan_quotes(
                    quotes, book.position, tuple(book.orders.values()), top, requote, EUR_USD, None, reduce_only
                )
                _check_prices(decided.children, book, top)
                book.carry_out(decided)
            case ("fill", int(number), int(size)):
                book.fill(number, size)
            case _:
                book.answer_cancels()
        assert book.worst(BUY) <= 40_000
        assert book.worst(SELL) >= -40_000


def _check_prices(sent: Sequence[Child], book: Book, top: TopOfBook) -> None:
    resting = [*book.orders.values()]
    for child in sent:
        assert child.price is not None
        assert child.price > 0
        assert child.price % TICK == 0
        assert child.price < top.ask_price if child.side is BUY else child.price > top.bid_price
        opposite = [order.price for order in resting if order.side is not child.side and order.price is not None]
        opposite += [other.price for other in sent if other.side is not child.side and other.price is not None]
        assert all(child.price < own if child.side is BUY else child.price > own for own in opposite)


@given(target_quotes, tops, st.integers(1, 9), st.integers(-40, 40), st.booleans())
def test_a_market_that_stands_still_causes_no_orders(
    quotes: TargetQuotes, top: TopOfBook, requote_ticks: int, lots: int, reduce_only: bool
) -> None:
    book = Book(Decimal(lots * 1000))

    def decide() -> QuotePlan:
        return plan_quotes(
            quotes, book.position, tuple(book.orders.values()), top, requote_ticks, EUR_USD, None, reduce_only
        )

    book.carry_out(decide())
    again = decide()
    assert (again.cancels, again.children) == ((), ())


@given(target_quotes, tops, st.integers(2, 9), st.data())
def test_a_fair_price_that_moves_by_less_than_the_ticks_causes_no_orders(
    quotes: TargetQuotes, top: TopOfBook, requote_ticks: int, data: st.DataObject
) -> None:
    quotes = quotes._replace(half_spread=quotes.half_spread + requote_ticks * TICK)
    book = Book()
    book.carry_out(plan_quotes(quotes, book.position, (), top, requote_ticks, EUR_USD))
    # Rounding to the grid may add up to a tick.
    moved = data.draw(st.decimals(0, (requote_ticks - 1) * TICK, places=7))
    there = plan_quotes(
        quotes._replace(fair=quotes.fair + moved), book.position, tuple(book.orders.values()), top, requote_ticks,
        EUR_USD,
    )  # fmt: skip
    assert (there.cancels, there.children) == ((), ())
