"""Profit and loss quote by quote, against the sum over every fill."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import Mark, TopOfBook
from crowetrade_agents.domain.numbers import ZERO
from crowetrade_agents.domain.position import Position
from crowetrade_agents.risk.pnl import NEVER, Ledgers, Scope
from crowetrade_agents.risk.reasons import Reason

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
D = Decimal
EUR, FUTURE, SWISS, PAIR = (InstrumentId("sim", symbol) for symbol in ("EUR-USD", "ES", "NESN", "USD-CHF"))
LISTED = {
    EUR: Instrument(EUR, "USD", D(1), D("0.00001"), D(1), D(1)),
    FUTURE: Instrument(FUTURE, "USD", D(50), D("0.25"), D(1), D(1)),
    SWISS: Instrument(SWISS, "CHF", D(10), D("0.01"), D(1), D(1)),
    PAIR: Instrument(PAIR, "CHF", D(1), D("0.00001"), D(1), D(1), base_currency="USD"),
}
ALL = Scope(frozenset(("a", "b", "c")), frozenset(), "USD")
SCOPES = (
    ALL,
    Scope(frozenset(("a",)), frozenset(), "USD"),
    Scope(frozenset(("a", "b")), frozenset(("ES",)), "USD"),
    Scope(frozenset(("b",)), frozenset(), "CHF"),
)


@dataclass
class Desk:
    """Ledgers, and everything that happened as a plain list."""

    ledgers: Ledgers
    marks: dict[InstrumentId, Mark] = field(default_factory=dict)
    positions: dict[tuple[str, InstrumentId], Position] = field(default_factory=dict)
    fills: list[tuple[str, InstrumentId, Decimal, Decimal, Decimal]] = field(default_factory=list)
    now: int = NOW

    @classmethod
    def of(cls, scopes: Iterable[Scope]) -> Desk:
        return cls(Ledgers(scopes, {}, LISTED, {}))

    def fill(self, owner: str, name: InstrumentId, quantity: Decimal, price: Decimal, fee: Decimal = ZERO) -> None:
        self.fills.append((owner, name, quantity, price, fee))
        position = self.positions.get((owner, name), Position()).filled(quantity, price, fee)
        self.positions[owner, name] = position
        self.ledgers.booked((owner, name), position, self.marks)

    def quote(self, name: InstrumentId, bid: Decimal, ask: Decimal) -> None:
        book = TopOfBook(name, bid, None, ask, None, self.now)
        self.marks[name] = Mark(book, self.now)
        self.ledgers.quoted(book, self.marks)

    def made(self, scope: Scope) -> Decimal | None:
        """Cash paid and received for every fill, and what is held at the mid; None when a price is missing, or the rate
        of a currency in which anything was made."""
        made: dict[str, Decimal] = {}
        for name, listed in LISTED.items():
            fills = [fill for fill in self.fills if fill[1] == name and scope.covers((fill[0], name))]
            if not fills:
                continue
            held = sum((quantity for _, _, quantity, _, _ in fills), D(0))
            cash = -sum((quantity * price * listed.multiplier + fee for _, _, quantity, price, fee in fills), D(0))
            mid = self.mid(name)
            if held and mid is None:
                return None
            made[listed.currency] = made.get(listed.currency, D(0)) + cash + held * listed.multiplier * (mid or 0)
        total = D(0)
        for currency, amount in made.items():
            rate = D(1) if currency == scope.currency else self.rate(currency)
            if rate is None and amount:
                return None
            total += amount * (rate or 0)
        return total

    def mid(self, name: InstrumentId) -> Decimal | None:
        mark = self.marks.get(name)
        usable = mark is not None and 0 < mark.book.bid_price <= mark.book.ask_price
        return (mark.book.bid_price + mark.book.ask_price) / 2 if mark is not None and usable else None

    def rate(self, source: str) -> Decimal | None:
        mid = self.mid(PAIR)
        return None if mid is None else (1 / mid if source == "CHF" else mid)


OWNERS = st.sampled_from(("a", "b", "c"))
NAMES = st.sampled_from((EUR, FUTURE, SWISS))
PRICES = st.decimals(D("0.5"), D(200), places=4)
QUANTITIES = st.decimals(-500, 500, places=2).filter(bool)
FILLS = st.tuples(st.just("fill"), OWNERS, NAMES, QUANTITIES, PRICES, st.decimals(-1, 5, places=2))
QUOTES = st.tuples(st.just("quote"), st.sampled_from((*LISTED,)), PRICES, st.decimals(D("-0.1"), 1, places=2))
CLOSES = st.tuples(st.just("close"), OWNERS, NAMES, PRICES)


@pytest.mark.no_cover
@given(st.lists(st.one_of(FILLS, QUOTES, CLOSES), max_size=40))
@settings(max_examples=300, deadline=None)
def test_it_is_the_sum_over_every_fill(steps: list[tuple[object, ...]]) -> None:
    desk = Desk.of(SCOPES)
    for step in steps:
        match step:
            case ("fill", *what):
                desk.fill(*what)  # type: ignore[arg-type]
            case ("quote", InstrumentId() as name, Decimal() as bid, Decimal() as width):
                desk.quote(name, bid, bid + width)
            case ("close", str(owner), InstrumentId() as name, Decimal() as price):
                if held := desk.positions.get((owner, name), Position()).quantity:
                    desk.fill(owner, name, -held, price)
        for scope in SCOPES:
            ledger, expected = desk.ledgers[scope], desk.made(scope)
            problem = ledger.problem(desk.marks, desk.now, desk.now)
            if expected is None:
                assert problem is not None, scope
            elif problem is None:
                assert abs(ledger.value - expected) < D("1E-15"), scope
            else:
                # More is asked for than the sum needs: an owner's zero of cash needs no rate, a ledger asks for it.
                assert problem.reason in (Reason.MISSING_EXCHANGE_RATE, Reason.MISSING_MARK)
    again = Ledgers(SCOPES, desk.positions, LISTED, desk.marks)
    for scope in SCOPES:
        if desk.made(scope) is not None and again[scope].problem(desk.marks, desk.now, desk.now) is None:
            assert abs(again[scope].value - desk.ledgers[scope].value) < D("1E-15")


def _long() -> Desk:
    desk = Desk.of((ALL,))
    desk.fill("a", EUR, D(100), D(1))
    return desk


def _problem(desk: Desk, max_age_ns: int | None = None, alive_ns: int | None = None) -> Reason | None:
    found = desk.ledgers[ALL].problem(desk.marks, desk.now, desk.now if alive_ns is None else alive_ns, max_age_ns)
    return None if found is None else found.reason


def test_a_position_without_a_quote_is_not_known() -> None:
    desk = _long()
    assert _problem(desk) is Reason.MISSING_MARK
    desk.quote(EUR, D(1), D(1))
    assert _problem(desk) is None


@pytest.mark.parametrize("bid", ["NaN", "Infinity", "0", "-1", "1.5"], ids=str)
def test_a_quote_that_cannot_be_used_is_none(bid: str) -> None:
    desk = _long()
    desk.quote(EUR, D(1), D(1))
    assert _problem(desk) is None
    desk.quote(EUR, D(bid), D(1))
    assert _problem(desk) is Reason.MISSING_MARK
    assert desk.ledgers[ALL].value == 0


def test_a_closed_position_needs_no_quote() -> None:
    desk = _long()
    desk.fill("a", EUR, D(-100), D("1.5"))
    assert _problem(desk, alive_ns=0) is None
    assert desk.ledgers[ALL].value == 50


@pytest.mark.parametrize(
    ("age", "most", "reason"),
    [(10, 10, None), (10 * SECOND + 1, 10 * SECOND, Reason.STALE_MARKET_DATA), (-1, 10, Reason.STALE_MARKET_DATA)],
    ids=["as old as it may be", "older", "of the future"],
)
def test_the_age_of_a_mark(age: int, most: int, reason: Reason | None) -> None:
    desk = _long()
    desk.quote(EUR, D(1), D(1))
    desk.now += age
    assert _problem(desk, most) is reason


@pytest.mark.parametrize(("silent", "reason"), [(5 * SECOND, None), (5 * SECOND + 1, Reason.STALE_MARKET_DATA)])
def test_without_an_age_the_feed_must_be_alive(silent: int, reason: Reason | None) -> None:
    desk = _long()
    desk.quote(EUR, D(1), D(1))
    assert _problem(desk, alive_ns=desk.now - silent) is reason


@pytest.mark.parametrize(("age", "reason"), [(60 * SECOND, None), (60 * SECOND + 1, Reason.MISSING_EXCHANGE_RATE)])
def test_the_age_of_a_rate(age: int, reason: Reason | None) -> None:
    desk = Desk.of((ALL,))
    desk.fill("a", SWISS, D(1), D(100))
    desk.quote(SWISS, D(108), D(108))
    assert _problem(desk) is Reason.MISSING_EXCHANGE_RATE
    desk.quote(PAIR, D("0.8"), D("0.8"))
    assert _problem(desk) is None
    assert desk.ledgers[ALL].value == 100
    desk.now += age
    desk.quote(SWISS, D(108), D(108))
    assert _problem(desk) is reason


def test_a_position_in_what_is_not_listed_any_more_is_not_known_and_a_closed_one_is_nothing() -> None:
    gone = InstrumentId("sim", "GONE")
    held, closed = Position(D(1), D(5)), Position(D(0), D(0), D(70))
    assert Ledgers((ALL,), {("a", gone): closed}, LISTED, {})[ALL].value == 0
    ledger = Ledgers((ALL,), {("a", gone): held}, LISTED, {})[ALL]
    problem = ledger.problem({}, NOW, NOW)
    assert problem is not None
    assert problem.reason is Reason.MISSING_MARK


MIDS = st.lists(st.decimals(1, 3, places=3), min_size=1, max_size=30)


@given(MIDS, st.decimals(-60, 0, places=1), st.decimals(0, 50))
def test_who_falls_below_the_floor_is_named(mids: list[Decimal], floor: Decimal, drop: Decimal) -> None:
    """The floor follows a new high at the distance `drop`."""
    desk = _long()
    desk.quote(EUR, D(1), D(1))
    ledger = desk.ledgers[ALL]
    ledger.floor, ledger.drop = floor, drop
    high = D(0)
    for before, mid in pairwise((D(1), *mids)):
        book = TopOfBook(EUR, mid, None, mid, None, NOW)
        named = desk.ledgers.quoted(book, desk.marks)
        value = (mid - 1) * 100
        high = max(high, value)
        below = value < max(floor, high - drop if high > 0 else NEVER)
        assert bool(named) is (below and mid != before)
