"""Limits on orders where the engine keeps what they ask: sums in money, working prices, orders that were sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import commands, effects
from crowetrade_agents.gateway.books import recover
from crowetrade_agents.gateway.state import Settings
from crowetrade_agents.gateway.status import gateway_status
from crowetrade_agents.risk.valuation import Group, Valuation
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import (
    EUR,
    SECOND,
    VENUE,
    Scenario,
    book,
    cl_ord_id,
    configuration,
    kinds,
    rule,
    rule_of,
    terms,
)

JPY = InstrumentId(VENUE, "USD-JPY")
LISTED = {
    EUR: Instrument(EUR, "USD", Decimal(1), Decimal("0.0001"), Decimal(1000), Decimal(1000)),
    JPY: Instrument(JPY, "JPY", Decimal(1), Decimal("0.01"), Decimal(1000), Decimal(1000), base_currency="USD"),
}
# By the mid 1,000 EUR-USD are worth 1,100 USD, and 1,000 USD-JPY are 160,000 JPY: 1,000 USD.
QUOTES = {EUR: ("1.0999", "1.1001"), JPY: ("159.99", "160.01")}
VALUES = {EUR: Fraction(1100), JPY: Fraction(1000)}
CAPITAL = {"alpha": Money(Decimal(20_000), "USD"), "beta": Money(Decimal(1_600_000), "JPY")}
"""Together 30,000 USD."""
FREE = Settings("cl-research", VENUE, "pod-1", LISTED, orders_per_second=10**6, order_burst=10**6)


def started(*rules: object, **more: object) -> Scenario:
    """A gateway with quotes of both instruments, under these rules."""
    scenario = Scenario(FREE, ready=False)
    in_force: Configuration = configuration(None, *rules, capital=CAPITAL, **more)  # type: ignore[arg-type]
    scenario.do(commands.Configure(in_force))
    scenario.do(commands.VenueConnected(port.VenueSnapshot()))
    for sequence, (instrument, (bid, ask)) in enumerate(QUOTES.items(), start=1):
        scenario.venue(port.QuoteChanged(sequence, book(instrument, bid, ask)))
    for session, strategy in enumerate(("alpha", "beta"), start=1):
        scenario.do(commands.Logon(strategy, session))
    return scenario


# --- What no sequence of orders may exceed --------------------------------------------------------------------------


@dataclass
class Sent:
    """An order as the test follows it: what may be open of it, in thousands of units."""

    number: int
    owner: str
    instrument: InstrumentId
    side: Side
    quantities: set[int]
    done: int = 0
    request: int = 0


@dataclass
class Desk:
    """The engine, and an account of what it let out that is kept in whole numbers, without any of its sums."""

    scenario: Scenario
    positions: dict[tuple[str, InstrumentId], int] = field(default_factory=dict)
    open: list[Sent] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 10**6)))

    def outcomes(self, owners: tuple[str, ...], instrument: InstrumentId) -> list[int]:
        """Every position that could come of what is open: each order fills not at all or with each quantity that it
        may have."""
        held = sum(self.positions.get((owner, instrument), 0) for owner in owners)
        orders = [item for item in self.open if item.owner in owners and item.instrument == instrument]
        moves = [
            [0, *(item.side.sign * (quantity - item.done) for quantity in item.quantities if quantity > item.done)]
            for item in orders
        ]
        return [held + sum(chosen) for chosen in product(*moves)]

    def gross(self, owners: tuple[str, ...]) -> Fraction:
        """The worst gross notional in USD."""
        return sum((max(map(abs, self.outcomes(owners, item))) * VALUES[item] for item in LISTED), Fraction(0))

    def net(self, owners: tuple[str, ...]) -> Fraction:
        """The worst net notional in USD, without its sign."""
        long = sum((max(self.outcomes(owners, item)) * VALUES[item] for item in LISTED), Fraction(0))
        short = sum((min(self.outcomes(owners, item)) * VALUES[item] for item in LISTED), Fraction(0))
        return max(abs(long), abs(short))

    def largest(self, owners: tuple[str, ...]) -> Fraction:
        """The worst value in one instrument in USD."""
        return max(max(map(abs, self.outcomes(owners, item))) * VALUES[item] for item in LISTED)

    def order(self, owner: str, instrument: InstrumentId, side: Side, thousands: int) -> None:
        """A strategy sends an order that rests."""
        number = next(self.numbers)
        made = terms(
            number,
            strategy=owner,
            instrument=instrument,
            side=side,
            quantity=Decimal(thousands * 1000),
            price=Decimal("1.1") if instrument == EUR else Decimal(160),
        )
        self.scenario.order(made)
        if self.scenario.find(number, owner) is not None:
            self.scenario.accepted(number, owner)
            self.open.append(Sent(number, owner, instrument, side, {thousands}))

    def replace(self, item: Sent, thousands: int) -> None:
        """Its owner asks for another quantity; the venue has not answered yet."""
        if item.request:
            return
        request = next(self.numbers)
        price = Decimal("1.1") if item.instrument == EUR else Decimal(160)
        command = commands.ReplaceOrder(
            item.owner,
            cl_ord_id(request, item.owner),
            cl_ord_id(item.number, item.owner),
            Decimal(thousands * 1000),
            price,
            self.scenario.now + SECOND,
            0,
            self.scenario.now,
        )
        if "> replace" in kinds(self.scenario.do(command)):
            item.request = request
            item.quantities |= {thousands}

    def answer(self, item: Sent, accepted: bool) -> None:
        """The venue accepts the replacement or refuses it."""
        if not item.request:
            return
        new, old = cl_ord_id(item.request, item.owner), cl_ord_id(item.number, item.owner)
        order = self.scenario.books.find(old)
        assert order is not None
        if not order.is_open:
            return
        if accepted:
            assert order.replace is not None
            item.quantities = {int(order.replace.quantity) // 1000}
            item.number = item.request
            self.scenario.venue(port.Replaced(new, old, "v", self.scenario.now))
        else:
            item.quantities = {int(order.terms.quantity) // 1000}
            self.scenario.venue(port.RequestRejected(new, old, "no", "", False, self.scenario.now))
        item.request = 0
        self.tidy(item)

    def fill(self, item: Sent, thousands: int) -> None:
        """The venue executes some of it."""
        much = min(thousands, min(item.quantities) - item.done)
        if much <= 0:
            return
        event = port.Executed(
            cl_ord_id(item.number, item.owner),
            "v",
            f"e{next(self.numbers)}",
            item.instrument,
            item.side,
            Decimal(much * 1000),
            Decimal(1),
            Decimal(0),
            self.scenario.now,
        )
        self.scenario.venue(event)
        item.done += much
        key = (item.owner, item.instrument)
        self.positions[key] = self.positions.get(key, 0) + item.side.sign * much
        self.tidy(item)

    def end(self, item: Sent) -> None:
        """The venue cancels it."""
        ended = port.Ended(cl_ord_id(item.number, item.owner), "v", OrdStatus.CANCELED, "", "", self.scenario.now)
        self.scenario.venue(ended)
        self.open.remove(item)

    def tidy(self, item: Sent) -> None:
        """What is filled is open no more."""
        if max(item.quantities) <= item.done:
            self.open.remove(item)


steps = st.lists(
    st.tuples(
        st.sampled_from(["order", "order", "order", "replace", "accept", "reject", "fill", "end"]),
        st.sampled_from(["alpha", "beta"]),
        st.sampled_from([EUR, JPY]),
        st.sampled_from(Side),
        st.integers(1, 9),
        st.integers(0, 10**6),
    ),
    max_size=40,
)
BOTH, EACH = [("alpha", "beta")], [("alpha",), ("beta",)]
CAPITALS = {("alpha",): 20_000, ("beta",): 10_000, ("alpha", "beta"): 30_000}
LIMITS: dict[str, tuple[str, Callable[[Desk, tuple[str, ...]], bool]]] = {
    "maxGrossNotional": ("12100", lambda desk, owners: desk.gross(owners) <= 12_100),
    "maxNetNotional": ("7700", lambda desk, owners: desk.net(owners) <= 7700),
    "maxConcentration": ("0.22", lambda desk, owners: desk.largest(owners) <= Fraction("0.22") * CAPITALS[owners]),
    "maxOpenOrders": ("3", lambda desk, owners: sum(item.owner in owners for item in desk.open) <= 3),
}


@pytest.mark.parametrize("total", [False, True])
@pytest.mark.parametrize("name", LIMITS)
@settings(deadline=None, max_examples=60)
@given(steps)
def test_no_sequence_of_admitted_orders_can_lead_beyond_the_limit(
    name: str, total: bool, drawn: list[tuple[str, str, InstrumentId, Side, int, int]]
) -> None:
    """Whatever fills of what is open, and whether replacements are accepted or not."""
    value, holds = LIMITS[name]
    desk = Desk(started(rule(total=total, **{name: value})))
    for what, owner, instrument, side, thousands, pick in drawn:
        item = desk.open[pick % len(desk.open)] if desk.open else None
        if what == "order" and len(desk.open) < 6:
            desk.order(owner, instrument, side, thousands)
        elif item is None:
            continue
        elif what == "replace":
            desk.replace(item, thousands)
        elif what in ("accept", "reject"):
            desk.answer(item, what == "accept")
        elif what == "fill":
            desk.fill(item, thousands)
        elif what == "end":
            desk.end(item)
        for owners in BOTH if total else EACH:
            assert holds(desk, owners), (what, owner, instrument, side, thousands)


@settings(deadline=None, max_examples=100)
@given(steps, st.lists(st.integers(1, 40), min_size=1))
def test_what_is_kept_is_what_the_exposures_and_quotes_say(
    drawn: list[tuple[str, str, InstrumentId, Side, int, int]], prices: list[int]
) -> None:
    """Sums that follow every event are those that are made anew, also for quotes that are none and come back."""
    desk = Desk(started())
    scenario, state = desk.scenario, desk.scenario.state
    groups = [(frozenset(owners), symbols) for owners in (*BOTH, *EACH) for symbols in ((), ("EUR-USD",))]
    for number, (what, owner, instrument, side, thousands, pick) in enumerate(drawn):
        item = desk.open[pick % len(desk.open)] if desk.open else None
        if what == "order":
            desk.order(owner, instrument, side, thousands)
        elif what in ("replace", "end"):
            bid = prices[pick % len(prices)]
            ask = bid + 1 if what == "replace" else bid - 1
            scenario.venue(port.QuoteChanged(number + 10, book(instrument, str(bid), str(ask))))
        elif item is not None and what == "fill":
            desk.fill(item, thousands)
        elif item is not None:
            desk.end(item)
        fresh = Valuation(scenario.books.exposures, {}, LISTED, state.live.marks)
        for owners, symbols in groups:
            if pick % 3:
                kept = state.valuation.group(owners, frozenset(symbols))
                assert _said(kept) == _said(fresh.group(owners, frozenset(symbols)))


def _said(group: Group) -> object:
    totals = {name: (total.gross, total.up, total.down) for name, total in group.totals.items()}
    return totals, group.orders, group.unvalued, {key: part for key, part in group.parts.items() if any(part)}


# --- What the engine remembers --------------------------------------------------------------------------------------


def test_a_duplicate_is_known_after_a_restart_from_the_journal_and_from_a_snapshot() -> None:
    limited = rule(maxOrderQuantity="1000000", duplicateWindowMillis="60000")
    scenario = started(limited)
    assert "> order" in kinds(scenario.order(terms(1)))
    assert "REJECTED DuplicateOrder" in " ".join(kinds(scenario.order(terms(2))))
    assert "> order" in kinds(scenario.order(terms(3, quantity=Decimal(11_000))))

    for books in (scenario.folded(), recover(VENUE, scenario.books.to_message(), ())):
        again = Scenario(FREE, books, ready=False)
        again.now = scenario.now + 59 * SECOND
        again.do(commands.Configure(configuration(None, limited)))
        again.do(commands.VenueConnected(port.VenueSnapshot()))
        again.venue(port.QuoteChanged(1, book(EUR)))
        again.do(commands.Logon("alpha", 1))
        assert "REJECTED DuplicateOrder" in " ".join(kinds(again.order(terms(4))))
        again.later(1)
        assert "> order" in kinds(again.order(terms(5)))


def test_a_self_match_is_known_from_the_moment_an_order_is_sent_until_its_end() -> None:
    limited = rule(maxOrderQuantity="1000000", selfMatchPrevention="true")
    scenario = started(limited)
    sell = terms(1, side=Side.SELL, price=Decimal("1.1001"), strategy="beta")
    crossing = Decimal("1.1001")
    assert "> order" in kinds(scenario.order(sell))
    assert "REJECTED SelfMatch" in " ".join(kinds(scenario.order(terms(1, price=crossing))))
    assert "> order" in kinds(scenario.order(terms(2, price=Decimal("1.1"))))
    scenario.accepted(2)
    assert "< CANCEL_REJECT SelfMatch" in kinds(scenario.replace(2, 3, price="1.1001"))
    for books in (scenario.folded(), recover(VENUE, scenario.books.to_message(), ())):
        assert books.working == scenario.books.working
    scenario.venue(port.Ended(cl_ord_id(1, "beta"), "v1", OrdStatus.CANCELED, "", "", scenario.now))
    assert "> replace" in kinds(scenario.replace(2, 4, price="1.1001"))
    # While it is not known which price is in force, the higher one counts.
    assert "REJECTED SelfMatch" in " ".join(kinds(scenario.order(replace(sell, cl_ord_id=cl_ord_id(2, "beta")))))


def test_the_quote_that_an_order_was_judged_by_is_journaled() -> None:
    scenario = started()
    scenario.later(1)
    scenario.venue(port.QuoteChanged(9, book(EUR, "1.2", "1.2002")))
    quoted = scenario.now
    scenario.later(2)
    scenario.order(terms(1))
    scenario.accepted(1)
    scenario.replace(1, 2)
    sent = [event.order_submitted for event in scenario.events if event.HasField("order_submitted")]
    replaced = [event.replace_submitted for event in scenario.events if event.HasField("replace_submitted")]
    bodies: list[journal_pb2.OrderSubmitted | journal_pb2.ReplaceSubmitted] = [*sent, *replaced]
    assert [(body.bid_price, body.ask_price, body.quote_unix_ns) for body in bodies] == [("1.2", "1.2002", quoted)] * 2


# --- Orders that rest -----------------------------------------------------------------------------------------------


def _resting() -> Scenario:
    scenario = started(rule(maxGrossNotional="100000"))
    for number in (1, 2):
        scenario.order(terms(number))
        scenario.accepted(number)
    return scenario


def test_a_tighter_gross_notional_ends_the_newest_of_what_rests() -> None:
    """10,000 EUR-USD are worth 11,000 USD."""
    scenario = _resting()
    scenario.do(commands.Configure(configuration(None, rule(maxGrossNotional="21999"), revision="r2")))
    assert _cancelled(scenario) == [cl_ord_id(2)]


def test_fewer_open_orders_end_the_newest() -> None:
    scenario = _resting()
    scenario.do(commands.Configure(configuration(None, rule(maxOpenOrders="1"), revision="r2")))
    assert _cancelled(scenario) == [cl_ord_id(2)]


def test_a_required_limit_that_is_gone_ends_what_rests_and_refuses() -> None:
    scenario = _resting()
    loose = configuration(
        None, rule(maxGrossNotional="100000"), revision="r2", required_limits=frozenset({"OrderRate"})
    )
    scenario.do(commands.Configure(loose))
    assert _cancelled(scenario) == [cl_ord_id(2), cl_ord_id(1)]
    assert "REJECTED RequiredLimitMissing" in " ".join(kinds(scenario.order(terms(3))))


def _cancelled(scenario: Scenario) -> list[str]:
    return [effect.cancel.orig_cl_ord_id for effect in scenario.last if isinstance(effect, effects.SendCancel)]


def test_after_a_start_what_rests_waits_for_the_first_quote_and_is_judged_by_it() -> None:
    """Configuration comes before quotes. What cannot be valued yet ends nothing; the limit is tighter than before."""
    books = _resting().folded()
    again = Scenario(FREE, books, ready=False)
    again.do(commands.Configure(configuration(None, rule(maxGrossNotional="21999"), revision="r2")))
    again.do(commands.VenueConnected(port.VenueSnapshot()))
    assert _cancelled(again) == []
    again.venue(port.QuoteChanged(1, book(JPY, *QUOTES[JPY])))
    assert _cancelled(again) == []
    again.venue(port.QuoteChanged(2, book(EUR, *QUOTES[EUR])))
    assert _cancelled(again) == [cl_ord_id(2)]


def test_a_share_that_is_not_known_ends_nothing_that_rests() -> None:
    scenario = _resting()
    shared = rule(total=True, maxGrossNotional="100000")
    shared.gateways.extend(["sim-a", VENUE])
    scenario.do(commands.Configure(configuration(None, shared, revision="r2")))
    assert _cancelled(scenario) == []
    assert "REJECTED ShareUnknown" in " ".join(kinds(scenario.order(terms(3))))
    scenario.state.live.shares = {("uid-desk", "maxGrossNotional"): Decimal("0.33")}
    assert "> order" in kinds(scenario.order(terms(4)))
    assert "REJECTED MaxGrossNotional" in " ".join(kinds(scenario.order(terms(5))))
    status = gateway_status(scenario.state, 0, 0, (), scenario.now)
    assert [(use.limit, use.used, use.allowed, use.share, use.total) for use in status.utilisation] == [
        ("maxGrossNotional", "33000", "33000", "0.33", "100000")
    ]


# --- Flatten --------------------------------------------------------------------------------------------------------


def test_flatten_obeys_the_size_of_an_order_and_no_limit_that_reducing_cannot_make_worse() -> None:
    """In another currency, by a rate that is long too old, outside trading hours: sliced to 4,999 USD."""
    wide = started(rule(maxOrderQuantity="1000000"))
    wide.order(terms(1, instrument=JPY, price=Decimal(160)))
    wide.executed(1, "10000", instrument=JPY, price="160")
    tight: dict[str, Any] = {
        "maxOrderNotional": "4999",
        "maxGrossNotional": "1",
        "maxNetNotional": "1",
        "maxConcentration": "0.0001",
        "maxPositionQuantity": "1",
        "priceCollarBps": "0",
        "maxDataAgeSeconds": "1",
        "duplicateWindowMillis": "86400000",
        "selfMatchPrevention": "true",
        "restrictedInstruments": "USD-JPY",
    }
    flat = {"alpha": TradingState.FLATTEN, "beta": TradingState.ACTIVE}
    wide.order(terms(1, strategy="beta", instrument=JPY, price=Decimal(160)))
    wide.later(3600)
    limited = rule_of(tight)
    limited.limits.add(name="tradingHours", values={"calendar": "XNYS"})
    wide.do(commands.Configure(configuration(flat, limited, revision="r2")))
    sent = [effect.order.terms for effect in wide.last if isinstance(effect, effects.SendOrder)]
    assert [(order.side, order.quantity, order.closing) for order in sent] == [(Side.SELL, Decimal(4000), True)]


def test_flatten_waits_for_a_rate_that_never_was() -> None:
    scenario = started(rule(maxOrderQuantity="1000000"))
    scenario.order(terms(1))
    scenario.executed(1, "10000")
    limited = rule(maxOrderNotional="5000")
    limited.currency = "CHF"
    flat = {"alpha": TradingState.FLATTEN, "beta": TradingState.ACTIVE}
    scenario.do(commands.Configure(configuration(flat, limited, revision="r2")))
    closing = scenario.state.live.closing["alpha", EUR]
    assert (closing.reason, closing.final) == ("MissingExchangeRate", False)
    assert "baseCurrency USD and currency CHF" in closing.text
