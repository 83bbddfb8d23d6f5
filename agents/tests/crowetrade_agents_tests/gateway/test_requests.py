"""What strategies ask for, beyond the table of order states: who may, when, how often, and what is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade.bus.v1 import journal_pb2, orders_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import OrdType, Side, TimeInForce
from crowetrade_agents.gateway import commands, effects, shares
from crowetrade_agents.gateway.books import recover
from crowetrade_agents.gateway.refusals import EVENTS, NAMED_SYMBOLS, by_symbol
from crowetrade_agents.gateway.state import Settings
from crowetrade_agents.gateway.status import gateway_status
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import (
    EUR,
    INSTRUMENTS,
    SECOND,
    START,
    VENUE,
    Scenario,
    cl_ord_id,
    configuration,
    kinds,
    rule,
    terms,
)

SENT = ["order_submitted", "> order", "< PENDING_NEW"]


def _settings(**changes: object) -> Settings:
    return Settings("cl-research", VENUE, "pod-1", INSTRUMENTS, **changes)  # type: ignore[arg-type]


def _scenario(**changes: object) -> Scenario:
    """With one order that the venue has accepted."""
    scenario = Scenario(_settings(**changes))
    scenario.order(1)
    scenario.accepted(1)
    return scenario


def _late(s: Scenario) -> object:
    return s.do(commands.NewOrder(terms(2), s.now - 1, 0, s.now))


def _late_replace(s: Scenario) -> object:
    wanted = (cl_ord_id(2), cl_ord_id(1), Decimal(20_000), Decimal(1))
    return s.do(commands.ReplaceOrder("alpha", *wanted, s.now - 1, 0, s.now))


def _market(s: Scenario) -> object:
    s.order(terms(2, ord_type=OrdType.MARKET, price=None, time_in_force=TimeInForce.IOC))
    s.accepted(2)
    return s.replace(2, 3)


def _twice(step: Callable[[Scenario, int], object]) -> Callable[[Scenario], object]:
    return lambda s: [step(s, number) for number in (2, 3)]


NO_REPLACE = port.VenueFeatures(replace=False)
NO_POST_ONLY = port.VenueFeatures(post_only=False)
NO_IOC = port.VenueFeatures(times_in_force=frozenset({"GTC"}))
DISCONNECTED = port.SessionChanged(port.SessionState.DISCONNECTED, "gone")
# Settings, what is asked for with an open order of 10,000, and what is reported: a reason and what to do.
REFUSED: dict[str, tuple[dict[str, object], Callable[[Scenario], object], Reason, str]] = {
    "a ClOrdID that was used": (
        {},
        lambda s: (s.order(5), s.ended(5), s.order(4)),
        Reason.DUPLICATE_CL_ORD_ID,
        f"ClOrdID {cl_ord_id(4)} was used before: use a new one",
    ),
    "an order that is late": (
        {},
        _late,
        Reason.ORDER_TOO_LATE,
        "the order arrived after its validUntil: decide again and send a new one",
    ),
    "a time in force that the venue does not have": (
        {"features": NO_IOC},
        lambda s: s.order(2, time_in_force=TimeInForce.IOC),
        Reason.NOT_SUPPORTED,
        "the venue has no time in force IOC",
    ),
    "post-only where there is none": (
        {"features": NO_POST_ONLY},
        lambda s: s.order(2, post_only=True),
        Reason.NOT_SUPPORTED,
        "the venue has no post-only orders",
    ),
    "more orders than the venue takes": (
        {"orders_per_second": 1, "order_burst": 1},
        lambda s: s.order(2),
        Reason.VENUE_RATE_LIMIT,
        "spec.rateLimits.ordersPerSecond of the venue is reached",
    ),
    "a cancel of nothing": (
        {},
        lambda s: s.cancel(7, 8),
        Reason.UNKNOWN_ORDER,
        "the gateway knows no such order of this strategy",
    ),
    "a cancel under a ClOrdID that was used": (
        {},
        lambda s: s.cancel(1, 1),
        Reason.DUPLICATE_CL_ORD_ID,
        f"ClOrdID {cl_ord_id(1)} was used before: use a new one",
    ),
    "another cancel": (
        {},
        _twice(lambda s, number: s.cancel(1, number)),
        Reason.ORDER_PENDING,
        "a cancel of the order is under way: wait for its answer",
    ),
    "a cancel without a session": (
        {},
        lambda s: (s.venue(DISCONNECTED), s.cancel(1, 2)),
        Reason.SESSION_NOT_ESTABLISHED,
        "the gateway is not logged on to its venue; it cancels the order itself if the session stays lost",
    ),
    "more cancels than the venue takes": (
        {"cancels_per_second": 1},
        lambda s: (s.order(2), s.accepted(2), s.cancel(1, 3), s.cancel(2, 4)),
        Reason.VENUE_RATE_LIMIT,
        "spec.rateLimits.cancelsPerSecond of the venue is reached: the order is still open, try again",
    ),
    "a cancel of an order that is over": (
        {},
        lambda s: (s.executed(1, "10000"), s.cancel(1, 2)),
        Reason.TOO_LATE,
        "the order is over: Filled with 10000 executed",
    ),
    "a replacement of nothing": (
        {},
        lambda s: s.replace(7, 8),
        Reason.UNKNOWN_ORDER,
        "the gateway knows no such order of this strategy",
    ),
    "a replacement of an order that is not acknowledged": (
        {},
        lambda s: (s.order(2), s.replace(2, 3)),
        Reason.ORDER_PENDING,
        "the order is PendingNew: wait until that is answered",
    ),
    "a replacement where there is none": (
        {"features": NO_REPLACE},
        lambda s: s.replace(1, 2),
        Reason.NOT_SUPPORTED,
        "the venue cannot replace orders: cancel it and send a new one",
    ),
    "a replacement of a market order": ({}, _market, Reason.INVALID_ORDER, "only a limit order can be replaced"),
    "a replacement by what is executed": (
        {},
        lambda s: (s.executed(1, "4000"), s.replace(1, 2, "4000")),
        Reason.INVALID_QUANTITY,
        "the new quantity 4000 must be above what is executed, 4000",
    ),
    "a replacement that is late": (
        {},
        _late_replace,
        Reason.ORDER_TOO_LATE,
        "the request arrived after its validUntil: decide again",
    ),
    "a replacement beyond what the venue takes": (
        {"orders_per_second": 1, "order_burst": 1},
        lambda s: s.replace(1, 2),
        Reason.VENUE_RATE_LIMIT,
        "spec.rateLimits.ordersPerSecond of the venue is reached",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_says_what_to_do_and_changes_nothing(what: str) -> None:
    settings, step, reason, text = REFUSED[what]
    scenario = _scenario(**settings)

    step(scenario)

    answer = scenario.last[-1]
    assert isinstance(answer, effects.Report)
    assert (answer.message.reason, answer.message.text) == (reason, text)
    if isinstance(answer.message, orders_pb2.CancelReject):
        kind = orders_pb2.CancelRejectResponseTo.Name(answer.message.response_to)
        assert kind.endswith("_CANCEL_REPLACE") is what.startswith("a replacement")
        known = answer.message.ord_status != orders_pb2.ORD_STATUS_UNSPECIFIED
        assert known is (reason is not Reason.UNKNOWN_ORDER)
    assert effects.Count("ORDERS_REFUSED", ("alpha", reason)) in scenario.last
    assert scenario.state.live.throttled == (reason is Reason.VENUE_RATE_LIMIT)
    assert not any(isinstance(effect, effects.Append) for effect in scenario.last)


def test_what_an_observing_limit_would_have_refused_is_counted() -> None:
    scenario = _scenario()
    observing = rule("watch", maxOrderQuantity="5000")
    observing.enforce = False
    scenario.do(commands.Configure(configuration(None, rule(), observing, revision="r2")))

    counted = effects.Count("LIMITS_OBSERVED", ("alpha", Reason.MAX_ORDER_QUANTITY))
    assert counted in scenario.order(2)
    assert counted in scenario.replace(1, 3)


def test_a_replacement_is_in_time_until_its_last_moment() -> None:
    scenario = _scenario()
    wanted = (cl_ord_id(2), cl_ord_id(1), Decimal(20_000), Decimal(1))

    assert kinds(scenario.do(commands.ReplaceOrder("alpha", *wanted, scenario.now, 0, scenario.now)))[-1] == (
        "< PENDING_REPLACE"
    )


def test_an_answer_is_awaited_for_as_long_as_the_settings_say() -> None:
    """Of an order, a cancel and a replacement alike."""
    steps: list[Callable[[Scenario], object]] = [
        lambda s: s.order(2),
        lambda s: s.cancel(1, 2),
        lambda s: s.replace(1, 2),
    ]
    for step in steps:
        scenario = _scenario(answer_after_ns=3 * SECOND)
        scenario.now += SECOND
        step(scenario)
        asked = [kinds(scenario.later(seconds)).count("> query") for seconds in (2.9, 0.1)]
        assert asked == [0, 1]


def test_what_the_gate_approved_is_journaled_and_sent_and_nothing_else() -> None:
    scenario = Scenario()
    wanted = terms(side=Side.SELL, time_in_force=TimeInForce.GTD, expire_ns=START + SECOND, post_only=True)

    done = scenario.order(wanted)

    sent = next(effect.order.terms for effect in done if isinstance(effect, effects.SendOrder))
    journaled = next(effect.event.order_submitted for effect in done if isinstance(effect, effects.Append))
    assert sent == wanted
    assert (journaled.cl_ord_id, journaled.order_quantity, journaled.price) == (wanted.cl_ord_id, "10000", "1.1")
    assert (journaled.expire_unix_ns, journaled.post_only, journaled.closing) == (START + SECOND, True, False)


def test_an_order_that_arrives_after_its_time_is_refused() -> None:
    scenario = Scenario()

    late = scenario.do(commands.NewOrder(terms(), scenario.now - 1, 0, scenario.now))
    in_time = scenario.do(commands.NewOrder(terms(2), scenario.now, 0, scenario.now))

    assert kinds(late) == ["< REJECTED OrderTooLate"]
    assert kinds(in_time) == SENT


def test_a_number_at_or_below_the_highest_used_is_a_duplicate_whatever_the_history() -> None:
    scenario = Scenario(_settings(orders_per_second=10_000, order_burst=10_000))
    scenario.order(5)
    scenario.ended(5)
    for number in range(6, 1200):  # more than are remembered
        scenario.order(number)
        scenario.ended(number)

    assert kinds(scenario.order(5)) == ["< REJECTED DuplicateClOrdID"]
    assert kinds(scenario.order(4)) == ["< REJECTED DuplicateClOrdID"]
    assert kinds(scenario.order(1200)) == SENT


def test_used_ids_survive_a_restart() -> None:
    scenario = Scenario()
    scenario.order(7)
    scenario.ended(7)

    successor = Scenario(books=recover(VENUE, scenario.books.to_message(), ()))

    assert kinds(successor.order(6)) == ["< REJECTED DuplicateClOrdID"]
    assert kinds(successor.order(8)) == SENT


def test_somebody_elses_order_can_neither_be_seen_nor_touched() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)

    cancel = scenario.do(commands.CancelOrder("beta", cl_ord_id(1, "beta"), cl_ord_id(1)))
    replace = scenario.do(
        commands.ReplaceOrder(
            "beta",
            cl_ord_id(2, "beta"),
            cl_ord_id(1),
            Decimal(2000),
            Decimal(1),
            scenario.now + SECOND,
            0,
            scenario.now,
        )
    )

    assert kinds(cancel) == ["< CANCEL_REJECT UnknownOrder"]
    assert kinds(replace) == ["< CANCEL_REJECT UnknownOrder"]
    assert scenario.books.exposure(("alpha", EUR)).open_buy == 10_000


def test_a_message_that_cannot_be_read_hurts_its_sender_alone() -> None:
    """Finding G1: an unusable order with the ClOrdID of another strategy's open order erased that order."""
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    before = scenario.books.to_message()

    refusal = Refusal(Reason.INVALID_QUANTITY, "no")
    done = scenario.do(commands.Malformed("beta", "NewOrder", cl_ord_id(1), "", refusal))

    reports = [effect for effect in done if isinstance(effect, effects.Report)]
    assert [(report.strategy, report.message.reason) for report in reports] == [("beta", "InvalidQuantity")]
    after = scenario.books.to_message()
    assert (after.open, after.ended, after.positions) == (before.open, before.ended, before.positions)


def test_refused_requests_are_journaled_as_one_count_a_second() -> None:
    scenario = Scenario()
    for number in range(1, 501):
        scenario.order(number, quantity=Decimal(2_000_000))

    assert not [effect for effect in scenario.effects if isinstance(effect, effects.Append)][2:]
    done = scenario.later(1)

    bodies = [effect.event.requests_refused for effect in done if isinstance(effect, effects.Append)]
    assert [(body.strategy, body.reason, body.risk_limit, body.count) for body in bodies] == [
        ("alpha", "MaxOrderQuantity", "desk", 500)
    ]
    assert scenario.books.counters["alpha"].rejected == 500
    assert scenario.books.counters["alpha"].last_reject.count == 500


LISTED = [f"S{number}" for number in range(2 * NAMED_SYMBOLS)]


def _many_listed() -> Scenario:
    instruments = {
        InstrumentId(VENUE, symbol): replace(INSTRUMENTS[EUR], id=InstrumentId(VENUE, symbol)) for symbol in LISTED
    }
    return Scenario(Settings("cl-research", VENUE, "pod-1", {**INSTRUMENTS, **instruments}))


def _refusals(done: Iterable[effects.Effect]) -> list[journal_pb2.RequestsRefused]:
    events = [effect.event for effect in done if isinstance(effect, effects.Append)]
    return [event.requests_refused for event in events if event.HasField("requests_refused")]


def test_invented_symbols_are_counted_and_take_neither_memory_nor_room_in_the_journal() -> None:
    scenario = Scenario()
    for number in range(1, 2001):
        invented = InstrumentId(VENUE, f"A{number}")
        assert kinds(scenario.order(terms(number, instrument=invented))) == ["< REJECTED UnknownInstrument"]

    assert [(item.strategy, item.symbol, sum(item.counts)) for item in scenario.books.to_message().messages] == [
        ("alpha", "", 2000)
    ]
    assert [(body.symbol, body.count) for body in _refusals(scenario.later(1))] == [("", 2000)]


def test_of_many_listed_symbols_that_are_refused_the_journal_names_so_many_and_counts_the_rest_together() -> None:
    scenario = _many_listed()
    for number, symbol in enumerate(LISTED, start=1):
        scenario.order(terms(number, instrument=InstrumentId(VENUE, symbol), quantity=Decimal(1)))
    scenario.order(terms(1, strategy="beta", quantity=Decimal(1)))

    (mine, other) = _refusals(scenario.later(1))
    named = [(symbol, 1) for symbol in LISTED[:NAMED_SYMBOLS]]
    assert (mine.strategy, mine.symbol, mine.count) == ("alpha", "", len(LISTED))
    assert list(by_symbol(mine)) == [*named, ("", len(LISTED) - NAMED_SYMBOLS)]
    assert (other.strategy, other.symbol, other.count) == ("beta", "EUR-USD", 1)

    scenario.order(terms(900, instrument=InstrumentId(VENUE, LISTED[-1]), quantity=Decimal(1)))
    assert [body.symbol for body in _refusals(scenario.later(1))] == [LISTED[-1]]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 0, 0, 0.1, 0.9, 3]),
            st.sampled_from(["alpha", "beta"]),
            st.sampled_from(LISTED)
            | st.sampled_from(LISTED[:3])
            | st.from_regex(r"[A-Z][A-Z0-9._/-]{0,31}", fullmatch=True),
            st.sampled_from(["small", "large", "late", "unreadable", "again", "far", "post only"]),
        ),
        max_size=400,
    )
)
@settings(deadline=None, max_examples=60)
def test_whatever_is_refused_is_answered_and_counted_and_few_events_a_second_are_journaled(
    sent: list[tuple[float, str, str, str]],
) -> None:
    """Requests of all kinds, at any pace. What they could fill is bounded by the second, and by what is listed."""
    scenario = _many_listed()
    began = len(scenario.effects)
    for number, (pause, strategy, symbol, what) in enumerate(sent, start=2):
        if pause:
            scenario.later(pause)
        made = terms(number, strategy=strategy, instrument=InstrumentId(VENUE, symbol), quantity=Decimal(1))
        if what == "unreadable":
            refusal = Refusal(Reason.INVALID_PRICE, "no price")
            scenario.do(commands.Malformed(strategy, "NewOrder", cl_ord_id(number, strategy), "", refusal))
        elif what == "again":
            scenario.cancel(1000 + number, number, strategy)
        else:
            changes: dict[str, dict[str, object]] = {
                "large": {"quantity": Decimal(2_000_000)},
                "far": {"price": Decimal(10**9)},
                "post only": {"expire_ns": 1},
            }
            made = replace(made, **changes.get(what, {}))  # type: ignore[arg-type]
            scenario.order(made, valid_for=-1 if what == "late" else SECOND)
    scenario.later(1)
    done = scenario.effects[began:]
    answered = [effect for effect in done if isinstance(effect, effects.Report)]
    events = [
        effect.event
        for effect in done
        if isinstance(effect, effects.Append) and effect.event.HasField("requests_refused")
    ]

    assert {item.symbol for item in scenario.books.to_message().messages} <= {"", *LISTED}
    assert len(answered) == len(sent)
    for strategy in ("alpha", "beta"):
        mine = [event for event in events if event.requests_refused.strategy == strategy]
        refused = sum(who == strategy for _, who, _, _ in sent)
        counts = [effect for effect in done if isinstance(effect, effects.Count) and effect.labels[:1] == (strategy,)]
        assert sum(event.requests_refused.count for event in mine) == refused
        assert sum(effect.amount for effect in counts if effect.metric == "ORDERS_REFUSED") == refused
        if refused:
            assert scenario.books.counters[strategy].rejected == refused
        times = sorted({event.at_unix_ns for event in mine})
        assert all(later - earlier >= SECOND for earlier, later in pairwise(times))
        assert all(len([event for event in mine if event.at_unix_ns == at_ns]) <= EVENTS for at_ns in times)
        only = frozenset({strategy})
        live, again = scenario.books.messages, scenario.folded().messages
        assert live.count(only, None, scenario.now, 60 * SECOND) == again.count(only, None, scenario.now, 60 * SECOND)


def test_a_journal_that_names_a_symbol_which_is_not_listed_is_read_as_before() -> None:
    """Versions before this one wrote them."""
    scenario = Scenario()
    body = journal_pb2.RequestsRefused(strategy="alpha", reason="UnknownInstrument", symbol="A1", count=7)
    scenario.events.append(journal_pb2.JournalEvent(at_unix_ns=scenario.now, requests_refused=body))

    messages = scenario.folded().messages

    assert messages.count(frozenset({"alpha"}), None, scenario.now, SECOND) == 7
    assert messages.count(frozenset({"alpha"}), frozenset({"A1"}), scenario.now, SECOND) == 7


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("orders", lambda s: s.order(100)),
        ("cancels", lambda s: s.order(100)),
        ("replaces", lambda s: s.order(100)),
        ("refused", lambda s: s.order(100)),
    ],
)
def test_orders_cancels_replaces_and_refused_ones_count_against_the_rate(first: str, second: object) -> None:
    scenario = Scenario()
    scenario.do(commands.Configure(configuration(None, rule(maxOrderQuantity="1000000"), revision="r0")))
    scenario.order(1)
    scenario.accepted(1)
    limits = rule(maxOrderRate="4/10", maxOrderQuantity="1000000")
    scenario.do(commands.Configure(configuration(None, limits, revision="r2")))
    for number in range(2, 5):
        if first == "orders":
            scenario.order(number)
        elif first == "cancels":
            scenario.cancel(1, number)
        elif first == "replaces":
            scenario.replace(1, number)
        else:
            scenario.order(number, quantity=Decimal(2_000_000))

    assert kinds(scenario.order(100)) == ["< REJECTED MaxOrderRate"]
    scenario.later(10.1)
    assert kinds(scenario.order(101)) == SENT


def test_who_asks_what_a_limit_uses_by_an_earlier_clock_makes_no_rate_forget() -> None:
    """A status and the shares of limits are made beside the engine, whose time never goes back."""
    scenario = Scenario()
    limits = rule(maxOrderRate="2/60", maxOrderQuantity="1000000")
    scenario.do(commands.Configure(configuration(None, limits, revision="r2")))
    scenario.order(1)
    scenario.order(2)
    earlier = scenario.now - 120 * SECOND
    gateway_status(scenario.state, 0, 0, [], earlier)
    list(shares.used(scenario.state, earlier))
    assert kinds(scenario.order(3)) == ["< REJECTED MaxOrderRate"]


def test_a_rate_survives_a_restart_and_counts_above_ten_thousand_hold() -> None:
    """Findings G5: a limit of 100 a day was spent twice by deleting the pod; counts above 10,000 never held."""
    limits = rule(maxOrderRate="12000/86400", maxOrderQuantity="1000000")
    scenario = Scenario(_settings(orders_per_second=100_000, order_burst=100_000))
    scenario.do(commands.Configure(configuration(None, limits, revision="r2")))
    for number in range(1, 12_001):
        scenario.order(number)
        scenario.ended(number)
    assert kinds(scenario.order(12_001)) == ["< REJECTED MaxOrderRate"]

    successor = Scenario(books=recover(VENUE, scenario.books.to_message(), ()))
    successor.now = scenario.now + SECOND
    successor.do(commands.Configure(configuration(None, limits, revision="r2")))

    assert kinds(successor.order(12_002)) == ["< REJECTED MaxOrderRate"]


def test_the_venues_own_rates_refuse_what_is_above() -> None:
    scenario = Scenario(_settings(orders_per_second=1, order_burst=2, cancels_per_second=1))

    answers = [kinds(scenario.order(number))[-1] for number in (1, 2, 3)]
    scenario.accepted(1)
    scenario.accepted(2)
    cancels = [kinds(scenario.cancel(number, number + 10))[-1] for number in (1, 2)]

    assert answers == ["< PENDING_NEW", "< PENDING_NEW", "< REJECTED VenueRateLimit"]
    assert cancels == ["< PENDING_CANCEL", "< CANCEL_REJECT VenueRateLimit"]
    assert scenario.state.live.throttled == 2
    scenario.later(1)
    assert kinds(scenario.cancel(2, 13))[-1] == "< PENDING_CANCEL"
    assert kinds(scenario.order(20))[-1] == "< PENDING_NEW"
    assert kinds(scenario.order(21))[-1] == "< REJECTED VenueRateLimit"
    assert scenario.state.live.throttled == 3


@pytest.mark.parametrize(
    ("quantity", "answer"),
    [
        ("4000", "< CANCEL_REJECT InvalidQuantity"),
        ("5000", "< PENDING_REPLACE"),
        ("1001000", "< CANCEL_REJECT MaxOrderQuantity"),
    ],
)
def test_a_replacement_is_judged_as_the_order_that_it_makes(quantity: str, answer: str) -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    scenario.executed(1, "4000")

    assert kinds(scenario.replace(1, 2, quantity))[-1] == answer


def test_a_replacement_under_way_counts_with_the_larger_quantity() -> None:
    scenario = Scenario()
    scenario.do(commands.Configure(configuration(None, rule(maxPositionQuantity="25000"), revision="r2")))
    scenario.order(1)
    scenario.accepted(1)
    scenario.replace(1, 2, "20000")

    assert scenario.books.exposure(("alpha", EUR)).open_buy == 20_000
    assert kinds(scenario.order(3, quantity=Decimal(6_000))) == ["< REJECTED MaxPositionQuantity"]
    scenario.venue(port.RequestRejected(cl_ord_id(2), cl_ord_id(1), "No", "no", False, scenario.now))
    assert scenario.books.exposure(("alpha", EUR)).open_buy == 10_000


def test_a_replaced_order_goes_on_under_its_new_id_with_what_it_has_executed() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    scenario.replace(1, 2, "20000", "1.09")
    scenario.executed(1, "4000", "e1")  # crossed with the request: the venue still calls it by its old name
    scenario.venue(port.Replaced(cl_ord_id(2), cl_ord_id(1), "v1", scenario.now))
    done = scenario.executed(2, "16000", "e2")

    report = next(effect.message for effect in done if isinstance(effect, effects.Report))
    assert isinstance(report, orders_pb2.ExecutionReport)
    assert (report.cl_ord_id, report.orig_cl_ord_id) == (cl_ord_id(2), cl_ord_id(1))
    assert (report.cum_quantity, report.leaves_quantity) == ("20000", "0")
    assert scenario.find(1) is scenario.find(2)
    assert scenario.position() == 20_000
    assert scenario.books.exposure(("alpha", EUR)).open_orders == 0


def test_without_a_session_at_the_venue_nothing_is_sent() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.venue(port.SessionChanged(port.SessionState.DISCONNECTED, "gone"))

    assert kinds(scenario.order(2)) == ["< REJECTED SessionNotEstablished"]
    assert kinds(scenario.cancel(1, 3)) == ["< CANCEL_REJECT SessionNotEstablished"]


def test_a_clock_that_goes_back_stands_still_though_nothing_was_journaled() -> None:
    """Found by the simulation: refused requests move no record, so the time of the next one went back."""
    scenario = Scenario()
    scenario.now += SECOND
    scenario.order(1, quantity=Decimal(1))
    refused_ns = scenario.now
    scenario.now -= SECOND // 2

    scenario.order(2)

    assert scenario.events[-1].at_unix_ns == refused_ns


def test_a_clock_that_is_behind_the_journal_stands_still() -> None:
    before = Scenario()
    before.now += SECOND
    before.order(1)
    successor = Scenario(books=recover(VENUE, None, before.events))

    successor.order(2)

    assert successor.events[-1].at_unix_ns == START + SECOND
