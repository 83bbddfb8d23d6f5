"""The whole venue on given times: latency, lock step, faults, places; the same seed gives the same events."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.orders import OrdStatus, Side, TimeInForce
from crowetrade_agents.errors import DataError
from crowetrade_agents.venues.adapters.simulated.depth import DepthTape, Scale
from crowetrade_agents.venues.adapters.simulated.faults import (
    SUITS,
    Fault,
    FaultInjector,
    FaultKind,
    FaultRate,
    Message,
)
from crowetrade_agents.venues.adapters.simulated.market import AT_ONCE
from crowetrade_agents.venues.adapters.simulated.queue import QueueModel
from crowetrade_agents.venues.adapters.simulated.replay import Replay
from crowetrade_agents.venues.adapters.simulated.requests import Cancel, NewOrder, Query, Replace, Request
from crowetrade_agents.venues.adapters.simulated.simulation import ALIVE_NS, Simulation
from crowetrade_agents.venues.adapters.simulated.spec import Funding, ShortSelling, SimulatedSpec
from crowetrade_agents.venues.adapters.simulated.tape import Chunk, Tape, TradeTape, chunk_of
from crowetrade_agents.venues.port import (
    Accepted,
    Busted,
    Charged,
    Ended,
    Executed,
    FeedAlive,
    LogonRefused,
    OrderState,
    QuoteChanged,
    RequestRejected,
    Resume,
    SessionChanged,
    SessionState,
    TradePrinted,
    VenueEvent,
)

from ...values import EUR, EUR_USD, SECOND_NS, D, Quote, at, terms

NOW = 2_000_000_000 * SECOND_NS
"""Wall clock; far from venue time, so that a mixture would show."""
MILLI_NS = 1_000_000
FALLING = [Quote(0, "1.0998", "1.1000"), Quote(10, "1.0990", "1.0992", "3000"), Quote(20, "1.0990", "1.0992")]


def replay(quotes: Sequence[Quote], *, loop: bool = False) -> Replay:
    tape = Tape(EUR)
    sizes = chunk_of([D(quote.quantity) for quote in quotes])
    bids, asks = chunk_of([D(quote.bid) for quote in quotes]), chunk_of([D(quote.ask) for quote in quotes])
    tape.append(array("q", [at(quote.seconds) for quote in quotes]), bids, sizes, asks, sizes)
    return Replay([tape], loop=loop)


def simulation(spec: SimulatedSpec, quotes: Sequence[Quote] = FALLING) -> Simulation:
    return Simulation(spec, replay(quotes, loop=spec.loop), (EUR_USD,), keeps_books=True, retain=None)


def spec(
    speed: str | None = "1",
    *faults: Fault,
    loop: bool = False,
    order_millis: int = 0,
    market_millis: int = 0,
    max_gap_ns: int = 0,
) -> SimulatedSpec:
    return SimulatedSpec(
        (),
        speed=D(speed) if speed else None,
        loop=loop,
        max_gap_ns=max_gap_ns,
        order_latency_millis=order_millis,
        market_data_latency_millis=market_millis,
        faults=faults,
    )


def connected(venue: Simulation, state: str = "", sequence: int = 0, now_ns: int = NOW) -> Simulation:
    venue.connect(Resume(0, state, sequence, 3), now_ns)
    venue.release(sequence)
    return venue


def test_in_lock_step_the_first_quote_comes_when_somebody_is_there() -> None:
    venue = simulation(spec(None), FALLING)
    venue.connect(Resume(), NOW)
    assert venue.poll(NOW) == []
    venue.release(0)
    (event,) = venue.poll(NOW)
    assert isinstance(event, QuoteChanged)


def stepped(
    *faults: Fault, quotes: Sequence[Quote] = FALLING, order_millis: int = 0, market_millis: int = 0
) -> Simulation:
    """In lock step, with the first quote reported."""
    venue = connected(simulation(spec(None, *faults, order_millis=order_millis, market_millis=market_millis), quotes))
    venue.poll(NOW)
    return venue


def kinds(events: Sequence[VenueEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


# The clock


def test_quotes_come_after_their_latency_at_the_speed() -> None:
    venue = connected(simulation(spec("10", market_millis=50)))
    assert venue.poll(NOW) == []
    first = NOW + 5 * MILLI_NS
    assert venue.next_wall_ns(NOW) == first
    assert venue.poll(first - 1) == []
    (quote,) = venue.poll(first)
    assert isinstance(quote, QuoteChanged)
    assert (quote.sequence, quote.book.event_ns) == (1, at(0))
    assert venue.next_wall_ns(first) == NOW + SECOND_NS


def test_answers_come_when_the_clock_has_reached_the_arrival() -> None:
    venue = connected(simulation(spec("10", order_millis=50)))
    venue.poll(NOW)
    venue.request(NewOrder(terms("a")), NOW + 100 * MILLI_NS)
    due = NOW + 105 * MILLI_NS
    assert venue.next_wall_ns(NOW + 100 * MILLI_NS) == due
    assert venue.poll(due - 1) == []
    events = venue.poll(due)
    assert kinds(events) == ["Accepted", "Executed"]
    assert all(event.at_ns == at(1.05) for event in events)  # type: ignore[union-attr]


def test_the_feed_says_that_it_is_alive_once_a_second() -> None:
    venue = connected(simulation(spec("1")))
    venue.poll(NOW)
    now_ns, found = NOW, 0
    while found < 5:
        now_ns = venue.next_wall_ns(now_ns) or 0
        for event in venue.poll(now_ns):
            assert isinstance(event, FeedAlive)
            found += 1
            assert now_ns == NOW + found * ALIVE_NS
            assert event.at_ns == at(found)


def test_the_session_ends_one_usual_distance_after_the_last_quote() -> None:
    venue = connected(simulation(spec("1")))
    venue.request(NewOrder(terms("a", price="1.0900")), NOW)
    venue.poll(NOW + 29 * SECOND_NS)
    (end,) = venue.poll(NOW + 30 * SECOND_NS)
    assert isinstance(end, SessionChanged)
    assert end.state is SessionState.ENDED
    assert venue.next_wall_ns(NOW + 31 * SECOND_NS) is None
    for request in (NewOrder(terms("b")), Replace(terms("r"), "a", ""), Cancel("c", "a", ""), Query("a", "", EUR)):
        venue.request(request, NOW + 31 * SECOND_NS)
    events = venue.poll(NOW + 31 * SECOND_NS)
    assert kinds(events) == ["Ended", "RequestRejected", "Ended", "OrderState"]
    assert isinstance(events[0], Ended)
    assert events[0].status is OrdStatus.REJECTED
    assert kinds(connected(venue, now_ns=NOW + 40 * SECOND_NS).poll(NOW + 40 * SECOND_NS)) == [
        "QuoteChanged",
        "SessionChanged",
    ]


def test_a_clock_that_steps_back_does_not_stop_the_market() -> None:
    venue = connected(simulation(spec("1")))
    assert kinds(venue.poll(NOW)) == ["QuoteChanged"]
    venue.poll(NOW + 5 * SECOND_NS)
    back = NOW - 3600 * SECOND_NS
    venue.request(NewOrder(terms("a")), back)
    assert kinds(venue.poll(back)) == ["Accepted", "Executed"]
    venue.poll(back + 4 * SECOND_NS)
    due = venue.next_wall_ns(back + 4 * SECOND_NS)
    assert due == back + 5 * SECOND_NS
    assert "QuoteChanged" in kinds(venue.poll(due))


# The place


def sequences(venue: Simulation, now_ns: int) -> list[int]:
    return [event.sequence for event in venue.poll(now_ns) if isinstance(event, QuoteChanged)]


EVERY_SECOND = [Quote(second, "1.0998", "1.1000") for second in range(100)]


def test_a_restart_finds_the_place_that_the_market_has_reached_meanwhile() -> None:
    first = simulation(spec("1"), EVERY_SECOND)
    state = first.connect(Resume(), NOW).state
    later = NOW + 30 * SECOND_NS
    again = connected(simulation(spec("1"), EVERY_SECOND), state, now_ns=later)
    # The book in force first, then what is due now.
    assert sequences(again, later) == [30, 31]
    assert again.connect(Resume(0, state), later).state == state


@pytest.mark.parametrize(("speed", "next_second"), [("2", 31), ("10", 40)])
def test_an_edited_speed_goes_on_from_the_place(speed: str, next_second: int) -> None:
    """Finding D5."""
    state = simulation(spec("1"), EVERY_SECOND).connect(Resume(), NOW).state
    later = NOW + 30 * SECOND_NS
    faster = simulation(spec(speed), EVERY_SECOND)
    state = faster.connect(Resume(0, state), later).state
    assert sequences(faster, later)[-1] == 31
    wall = int(later + (next_second - 30) * SECOND_NS / int(speed))
    assert sequences(faster, wall)[-1] == next_second + 1
    # And back, with another restart in between.
    slower = simulation(spec("1"), EVERY_SECOND)
    slower.connect(Resume(0, state), wall)
    assert sequences(slower, wall)[-1] == next_second + 1
    assert sequences(slower, wall + SECOND_NS) == [next_second + 2]


def test_an_edited_longest_gap_goes_on_from_the_place() -> None:
    quotes = [Quote(0, "1", "2"), Quote(1, "1", "2"), Quote(1001, "1", "2"), Quote(1002, "1", "2")]
    state = simulation(spec("1"), quotes).connect(Resume(), NOW).state
    shortened = simulation(spec("1", max_gap_ns=20 * SECOND_NS), quotes)
    shortened.connect(Resume(0, state), NOW + 11 * SECOND_NS)
    assert sequences(shortened, NOW + 11 * SECOND_NS) == [2]
    assert sequences(shortened, NOW + 20 * SECOND_NS) == []
    assert sequences(shortened, NOW + 21 * SECOND_NS) == [3]


def test_from_the_clock_to_lock_step_and_back() -> None:
    state = simulation(spec("1"), EVERY_SECOND).connect(Resume(), NOW).state
    step = simulation(spec(None), EVERY_SECOND)
    state = step.connect(Resume(0, state), NOW + 30 * SECOND_NS).state
    step.release(31)
    assert sequences(step, NOW + 99 * SECOND_NS) == [31, 32]
    paced = simulation(spec("1"), EVERY_SECOND)
    paced.connect(Resume(0, state, 32), NOW)
    assert sequences(paced, NOW) == [32, 33]


def test_another_recording_starts_from_its_beginning() -> None:
    state = simulation(spec("1"), EVERY_SECOND).connect(Resume(), NOW).state
    other = simulation(spec("1"))
    other.connect(Resume(0, state, 17), NOW + 30 * SECOND_NS)
    assert sequences(other, NOW + 30 * SECOND_NS) == [1]


def test_a_restart_in_lock_step_goes_on_after_what_is_done() -> None:
    venue = connected(simulation(spec(None), EVERY_SECOND), sequence=40)
    assert sequences(venue, NOW) == [40, 41]
    assert sequences(venue, NOW) == []


@pytest.mark.parametrize("loop", [False, True])
def test_a_resume_point_beyond_everything_is_harmless(loop: bool) -> None:
    """Finding G10: 2^64 - 1 was believed."""
    venue = connected(simulation(spec(None, loop=loop)), sequence=2**64 - 1)
    assert kinds(venue.poll(NOW))[-1] == ("QuoteChanged" if loop else "SessionChanged")


# Lock step


def test_the_market_stands_until_it_is_released_while_orders_are_answered_at_once() -> None:
    venue = stepped(order_millis=5)
    venue.request(NewOrder(terms("a")), NOW)
    events = venue.poll(NOW)
    assert kinds(events) == ["Accepted", "Executed"]
    assert {event.at_ns for event in events} == {at(0.005)}  # type: ignore[union-attr]
    assert venue.poll(NOW) == []
    venue.release(2**64 - 1)
    assert sequences(venue, NOW) == [2]
    assert venue.poll(NOW) == []


def test_an_order_meets_the_quote_in_force_at_its_arrival() -> None:
    quotes = [Quote(0, "1.0998", "1.1000"), Quote(0.004, "1.0996", "1.0999"), Quote(0.006, "1.0990", "1.0991")]
    venue = stepped(quotes=quotes, order_millis=3, market_millis=2)
    venue.request(NewOrder(terms("a")), NOW)
    _, executed = venue.poll(NOW)
    assert isinstance(executed, Executed)
    assert (executed.price, executed.at_ns) == (D("1.0999"), at(0.005))


def test_quantity_that_was_taken_ahead_is_gone_when_the_quote_is_reported() -> None:
    quotes = [Quote(0, "1.0998", "1.1000"), Quote(0.004, "1.0998", "1.1000"), Quote(1, "1.0998", "1.1000", "1000")]
    venue = stepped(quotes=quotes, order_millis=5)
    venue.request(NewOrder(terms("a", quantity="8000")), NOW)
    venue.poll(NOW)
    venue.release(1)
    venue.poll(NOW)
    venue.request(NewOrder(terms("b", quantity="8000", time_in_force=TimeInForce.IOC)), NOW)
    executed = [event for event in venue.poll(NOW) if isinstance(event, Executed)]
    assert [event.quantity for event in executed] == [2000]


market = st.lists(st.tuples(st.integers(0, 4), st.integers(10_990, 11_010)), min_size=1, max_size=12)
orders = st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from("ab"), st.integers(10_990, 11_010), st.sampled_from(["GTC", "IOC"])),
    max_size=15,
)


@given(market, orders, st.integers(0, 9))
def test_what_resting_orders_do_does_not_depend_on_who_else_sends(
    recorded: list[tuple[int, int]], plan: list[tuple[int, str, int, str]], latency: int
) -> None:
    """The quotes' quantity is far more than anybody wants, so strategies meet in nothing but the market: the events of
    strategy a are the same with and without b, and come with the same quotes."""

    def run(owners: str) -> list[tuple[int, VenueEvent]]:
        quotes, seconds = [], 0.0
        for milliseconds, bid in recorded:
            seconds += milliseconds / 1000
            quotes.append(Quote(seconds, str(D(bid) / 10_000), str(D(bid + 2) / 10_000), "9000000"))
        venue, seen = stepped(quotes=quotes, order_millis=latency), []
        for step in range(len(quotes)):
            for number, (when, owner, price, tif) in enumerate(plan):
                if when == step and owner in owners:
                    order = terms(f"{owner}{number}", price=str(D(price) / 10_000), time_in_force=TimeInForce(tif))
                    venue.request(NewOrder(order), NOW)
            venue.release(step + 1)
            seen += [(step, event) for event in venue.poll(NOW)]
        return seen

    def of_a(seen: list[tuple[int, VenueEvent]]) -> list[object]:
        return [
            (
                step,
                type(event),
                event.cl_ord_id,
                event.at_ns,
                getattr(event, "quantity", None),
                getattr(event, "price", None),
            )
            for step, event in seen
            if isinstance(event, Accepted | Executed | Ended) and event.cl_ord_id.startswith("a")
        ]

    assert of_a(run("a")) == of_a(run("ab"))


# Sessions


def test_a_wrong_or_missing_key_is_refused_with_a_sentence() -> None:
    wants = SimulatedSpec((), api_key_sha256="00" * 32)
    for key in (None, "", "wrong"):
        with pytest.raises(LogonRefused, match=r"set spec\.credentials|refused the API key"):
            simulation(wants).connect(Resume(), NOW, key)


def test_while_nobody_is_connected_the_market_goes_on_and_the_snapshot_says_what_happened() -> None:
    venue = connected(simulation(spec("1")))
    venue.request(NewOrder(terms("a", price="1.0995", quantity="5000")), NOW)
    venue.poll(NOW)
    venue.disconnect(NOW + SECOND_NS)
    assert kinds(venue.poll(NOW + SECOND_NS)) == ["SessionChanged"]
    assert venue.next_wall_ns(NOW + SECOND_NS) is None
    snapshot = venue.connect(Resume(since_ns=at(5)), NOW + 12 * SECOND_NS)
    (executed,) = snapshot.executions
    assert (executed.quantity, executed.at_ns) == (D(3000), at(10))
    (opened,) = snapshot.open_orders
    assert opened.cum_quantity == 3000
    assert snapshot.positions == {EUR: D(3000)}
    assert [event.sequence for event in venue.poll(NOW + 12 * SECOND_NS) if isinstance(event, QuoteChanged)] == [2]
    assert venue.connect(Resume(since_ns=at(11)), NOW + 12 * SECOND_NS).executions == ()


def test_a_request_on_its_way_is_lost_with_its_session() -> None:
    venue = connected(simulation(spec("1", order_millis=500)))
    venue.request(NewOrder(terms("a", price="1.0900")), NOW)
    snapshot = venue.connect(Resume(), NOW + 400 * MILLI_NS)
    assert snapshot.open_orders == ()
    later = NOW + 2 * SECOND_NS
    venue.request(Query("a", "", EUR), later)
    events = [event for event in venue.poll(later + SECOND_NS) if not isinstance(event, FeedAlive | QuoteChanged)]
    (known,) = events
    assert isinstance(known, OrderState)
    assert known.status is None


# Faults


def answers(venue: Simulation, *requests: object, now_ns: int = NOW) -> list[VenueEvent]:
    for request in requests:
        venue.request(request, now_ns)  # type: ignore[arg-type]
    return venue.poll(now_ns)


RESTING = NewOrder(terms("a", price="1.0900"))
TAKING = NewOrder(terms("a"))


@pytest.mark.parametrize(
    ("fault", "requests", "expected"),
    [
        (Fault(FaultKind.LOSE, Message.ACCEPTED), [TAKING], ["Executed"]),
        (Fault(FaultKind.LOSE, Message.NEW_ORDER), [RESTING, Query("a", "", EUR)], ["OrderState"]),
        (Fault(FaultKind.DUPLICATE, Message.EXECUTED), [TAKING], ["Accepted", "Executed", "Executed"]),
        (Fault(FaultKind.DUPLICATE, Message.NEW_ORDER), [RESTING], ["Accepted", "Ended"]),
        (Fault(FaultKind.REJECT, Message.NEW_ORDER), [RESTING], ["Ended"]),
        (Fault(FaultKind.REJECT, Message.CANCEL), [RESTING, Cancel("c", "a", "")], ["Accepted", "RequestRejected"]),
        (
            Fault(FaultKind.LATE_FILL, Message.CANCEL),
            [RESTING, Cancel("c", "a", "")],
            ["Accepted", "Ended", "Executed"],
        ),
        (
            Fault(FaultKind.FORGET, Message.CANCEL),
            [RESTING, Cancel("c", "a", ""), Query("a", "", EUR)],
            ["Accepted", "RequestRejected", "OrderState"],
        ),
        (Fault(FaultKind.DISCONNECT, Message.EXECUTED), [TAKING], ["SessionChanged"]),
        (Fault(FaultKind.DISCONNECT, Message.NEW_ORDER, 2), [RESTING, TAKING], ["SessionChanged"]),
        (Fault(FaultKind.BUST, Message.EXECUTED), [TAKING], ["Accepted", "Executed", "Busted"]),
        (Fault(FaultKind.FOREIGN_EXECUTION, Message.ACCEPTED), [RESTING], ["Accepted", "Executed"]),
        (Fault(FaultKind.LOSE, Message.ACCEPTED, 2), [RESTING], ["Accepted"]),
    ],
)
def test_each_fault_does_what_it_says(fault: Fault, requests: list[object], expected: list[str]) -> None:
    assert kinds(answers(stepped(fault), *requests)) == expected


def test_a_repeated_execution_has_the_same_id() -> None:
    _, first, second = answers(stepped(Fault(FaultKind.DUPLICATE, Message.EXECUTED)), TAKING)
    assert first == second


def test_a_forgotten_order_is_unknown_everywhere() -> None:
    events = answers(
        stepped(Fault(FaultKind.FORGET, Message.CANCEL)), RESTING, Cancel("c", "a", ""), Query("a", "", EUR)
    )
    assert isinstance(events[1], RequestRejected)
    assert events[1].unknown_order
    assert isinstance(events[2], OrderState)
    assert events[2].status is None


def test_a_foreign_execution_is_of_no_order_and_moves_the_position() -> None:
    venue = stepped(Fault(FaultKind.FOREIGN_EXECUTION, Message.ACCEPTED))
    _, foreign = answers(venue, RESTING)
    assert isinstance(foreign, Executed)
    assert venue.exchange.ledger.order(foreign.cl_ord_id) is None
    assert venue.exchange.ledger.positions == {EUR: foreign.quantity}


def test_a_slow_venue_keeps_its_order() -> None:
    venue = stepped(Fault(FaultKind.DELAY, Message.ACCEPTED, 1, 700 * MILLI_NS))
    assert answers(venue, TAKING) == []
    assert venue.next_wall_ns(NOW) == NOW + 700 * MILLI_NS
    assert kinds(venue.poll(NOW + 700 * MILLI_NS)) == ["Accepted", "Executed"]


def test_what_was_delayed_does_not_arrive_after_a_new_snapshot() -> None:
    venue = stepped(Fault(FaultKind.DELAY, Message.ACCEPTED, 1, 700 * MILLI_NS))
    assert answers(venue, TAKING) == []
    snapshot = venue.connect(Resume(), NOW + 1)
    assert len(snapshot.executions) == 1
    assert set(kinds(venue.poll(NOW + 900 * MILLI_NS))) == {"QuoteChanged"}


def test_a_later_bust_comes_later_and_stands_in_the_snapshot() -> None:
    venue = stepped(Fault(FaultKind.BUST, Message.EXECUTED, 1, 700 * MILLI_NS))
    assert kinds(answers(venue, TAKING)) == ["Accepted", "Executed"]
    (busted,) = venue.poll(NOW + 700 * MILLI_NS)
    assert isinstance(busted, Busted)
    snapshot = venue.connect(Resume(), NOW + SECOND_NS)
    assert snapshot.busts == (busted,)
    assert snapshot.positions == {EUR: D(0)}


def test_a_bust_while_nobody_is_connected_stands_in_the_snapshot() -> None:
    venue = stepped(Fault(FaultKind.BUST, Message.EXECUTED, 1, 700 * MILLI_NS))
    answers(venue, TAKING)
    venue.disconnect(NOW)
    assert len(venue.connect(Resume(), NOW + SECOND_NS).busts) == 1


@pytest.mark.parametrize("speed", ["1", None])
def test_a_silent_feed_says_nothing_and_orders_are_still_answered(speed: str | None) -> None:
    quiet = 5 * SECOND_NS
    venue = connected(simulation(spec(speed, Fault(FaultKind.SILENCE, Message.QUOTE, 2, quiet)), EVERY_SECOND))
    venue.poll(NOW)
    venue.release(1)
    start = NOW + SECOND_NS
    assert venue.poll(start) == []
    for second in range(1, 5):
        assert kinds(
            answers(venue, NewOrder(terms(f"a{second}", quantity="1000")), now_ns=start + second * SECOND_NS)
        ) == [
            "Accepted",
            "Executed",
        ]
    found = [event for event in venue.poll(start + quiet) if isinstance(event, QuoteChanged)]
    assert [event.sequence for event in found] == ([7] if speed else [2])


def test_a_lost_quote_does_not_stop_lock_step() -> None:
    venue = stepped(Fault(FaultKind.LOSE, Message.QUOTE, 2))
    venue.release(1)
    assert venue.poll(NOW) == []
    assert sequences(venue, NOW) == [3]


def test_faults_say_what_they_can_strike() -> None:
    with pytest.raises(ValueError, match="Bust cannot strike Accepted: write one of Executed"):
        Fault(FaultKind.BUST, Message.ACCEPTED)
    with pytest.raises(ValueError, match="nth counts from 1"):
        Fault(FaultKind.LOSE, Message.ACCEPTED, 0)
    with pytest.raises(ValueError, match="not between 0 and 1"):
        FaultRate(FaultKind.LOSE, Message.ACCEPTED, 1.5)
    assert set(SUITS) == set(FaultKind)


def test_rates_strike_by_the_seed_and_do_not_move_each_other() -> None:
    lose, double = (
        FaultRate(FaultKind.LOSE, Message.ACCEPTED, 0.3),
        FaultRate(FaultKind.DUPLICATE, Message.EXECUTED, 0.3),
    )

    def struck(seed: int, *rates: FaultRate) -> list[bool]:
        injector = FaultInjector(rates=rates, seed=seed)
        return [bool(injector.strike(Message.ACCEPTED)) for _ in range(300)]

    assert struck(1, lose) == struck(1, lose) == struck(1, lose, double) != struck(2, lose)
    assert 60 < sum(struck(1, lose)) < 120


RATES = (
    FaultRate(FaultKind.LOSE, Message.ACCEPTED, 0.1),
    FaultRate(FaultKind.LOSE, Message.NEW_ORDER, 0.1),
    FaultRate(FaultKind.DUPLICATE, Message.EXECUTED, 0.2),
    FaultRate(FaultKind.DELAY, Message.ENDED, 0.2, SECOND_NS),
    FaultRate(FaultKind.LATE_FILL, Message.CANCEL, 0.2),
    FaultRate(FaultKind.FORGET, Message.REPLACE, 0.1),
    FaultRate(FaultKind.REJECT, Message.NEW_ORDER, 0.1),
    FaultRate(FaultKind.BUST, Message.EXECUTED, 0.2, SECOND_NS),
    FaultRate(FaultKind.FOREIGN_EXECUTION, Message.QUOTE, 0.05),
    FaultRate(FaultKind.DISCONNECT, Message.QUOTE, 0.05),
    FaultRate(FaultKind.SILENCE, Message.QUOTE, 0.05, 3 * SECOND_NS),
)


def random_run(seed: int, speed: str | None) -> tuple[list[object], Simulation]:
    """A hundred steps of random requests with faults of every kind; what came out, and the venue."""
    pick = random.Random(seed)
    settings = SimulatedSpec(
        (), speed=D(speed) if speed else None, loop=True, order_latency_millis=300, seed=seed, fault_rates=RATES
    )
    quotes = [
        Quote(second, str(D(bid) / 10_000), str(D(bid + 2) / 10_000))
        for second, bid in enumerate(pick.choices(range(10_990, 11_010), k=30))
    ]
    venue, seen, now_ns, on = simulation(settings, quotes), list[object](), NOW, False
    for number in range(150):
        if not on:
            seen.append(venue.connect(Resume(fencing_token=3), now_ns))
            venue.release(0)
            on = True
        price = str(D(pick.randrange(10_985, 11_015)) / 10_000)
        other = f"o{pick.randrange(number + 1)}"
        order = terms(f"o{number}", pick.choice(list(Side)), str(pick.randrange(1, 9) * 1000), price)
        requests: list[Request] = [NewOrder(order), Cancel(f"c{number}", other, ""), Replace(order, other, "")]
        request = pick.choices(requests, [2, 1, 1])[0]
        venue.request(request, now_ns)
        now_ns += pick.randrange(SECOND_NS)
        for event in venue.poll(now_ns):
            seen.append(event)
            if isinstance(event, QuoteChanged):
                venue.release(event.sequence)
            on = on and not isinstance(event, SessionChanged)
    return seen, venue


def with_trades(spec: SimulatedSpec) -> Simulation:
    """FALLING, with a trade beside its second quote and one at 15 s."""
    prints = TradeTape(EUR)
    prints.append(array("q", [at(10), at(15)]), chunk_of([D("1.0992")]), chunk_of([D(700)]), array("b", [1, 0]))
    tapes = [prints, *replay(FALLING)._tapes]
    return connected(Simulation(spec, Replay(tapes), (EUR_USD,), keeps_books=True))


def told(events: Sequence[VenueEvent]) -> list[tuple[int, str]]:
    return [
        (event.sequence, type(event).__name__) for event in events if isinstance(event, QuoteChanged | TradePrinted)
    ]


def test_trades_of_others_are_events_of_the_market_in_lock_step() -> None:
    venue = with_trades(spec(None))
    seen: list[VenueEvent] = []
    for sequence in range(1, 6):
        (event,) = venue.poll(NOW)
        assert not venue.poll(NOW)
        seen.append(event)
        venue.release(sequence)
    quote, trade = "QuoteChanged", "TradePrinted"
    assert told(seen) == [(1, quote), (2, trade), (3, quote), (4, trade), (5, quote)]
    assert seen[1] == TradePrinted(2, EUR, D("1.0992"), D(700), Side.BUY, at(10))
    assert seen[3] == TradePrinted(4, EUR, D("1.0992"), D(700), None, at(15))


def test_trades_arrive_after_the_latency_of_market_data_and_a_new_session_repeats_quotes_alone() -> None:
    venue = with_trades(spec(market_millis=500))
    assert told(venue.poll(NOW + 10 * SECOND_NS)) == [(1, "QuoteChanged")]
    assert told(venue.poll(NOW + 10_500 * MILLI_NS)) == [(2, "TradePrinted"), (3, "QuoteChanged")]
    assert told(venue.poll(NOW + 15_500 * MILLI_NS)) == [(4, "TradePrinted")]
    venue.disconnect(NOW + 16 * SECOND_NS)
    assert told(connected(venue, now_ns=NOW + 16 * SECOND_NS).poll(NOW + 16 * SECOND_NS)) == [(3, "QuoteChanged")]


def test_a_trade_that_is_lost_does_not_stop_lock_step() -> None:
    venue = with_trades(spec(None, Fault(FaultKind.LOSE, Message.TRADE)))
    venue.poll(NOW)
    venue.release(1)
    assert told([*venue.poll(NOW), *venue.poll(NOW)]) == [(3, "QuoteChanged")]


def with_depth(loop: bool = False) -> Replay:
    """Of each five levels a side, one changes per second; at 4 s the book begins anew."""
    tape = DepthTape(EUR, scale=Scale(4, 0))
    for second in range(8):
        sizes = [1000 * (5 + level + (second == level)) for level in range(5)]
        levels = [(-(10_998 - level), size) for level, size in enumerate(sizes)]
        levels += [(11_000 + level, size) for level, size in enumerate(sizes)]
        shown = levels if second in (0, 4) else [levels[second % 5], levels[5 + second % 5]]
        tape.append_levels(array("q", [key for key, _ in shown]), array("q", [size for _, size in shown]))
        tape.end_row(resets=second in (0, 4))
    size = Chunk(array("q", [5000 + 1000 * (second == 0) for second in range(8)]), 0)
    tape.append(array("q", [at(second) for second in range(8)]), Chunk(D("1.0998")), size, Chunk(D("1.1")), size)
    return Replay([tape], loop=loop)


@pytest.mark.parametrize("done", range(1, 20))
def test_a_venue_that_starts_in_the_middle_has_the_whole_book(done: int) -> None:
    """As one that came there step by step; the round after the first begins with its own snapshot."""
    settings = spec(None, loop=True)
    came, started = (Simulation(settings, with_depth(loop=True), (EUR_USD,), keeps_books=False) for _ in range(2))
    connected(came)
    for sequence in range(1, done + 1):
        came.poll(NOW)
        came.release(sequence)
    connected(started, sequence=done)
    paid = []
    for venue in (came, started):
        venue.request(NewOrder(terms("a", price=None, quantity="90000")), NOW)
        paid.append([(e.price, e.quantity) for e in venue.poll(NOW) if isinstance(e, Executed)])
    assert paid[0] == paid[1]
    assert len(paid[0]) == 5


@pytest.mark.parametrize(("keeps_books", "refused"), [(False, False), (True, True)])
def test_a_venue_that_forgets_takes_its_positions_from_the_gateway(keeps_books: bool, refused: bool) -> None:
    wanted = SimulatedSpec((), speed=None, short_selling=ShortSelling.FORBIDDEN)
    venue = Simulation(wanted, replay(FALLING), (EUR_USD,), keeps_books=keeps_books)
    venue.connect(Resume(fencing_token=3, positions={EUR: D(4000)}), NOW)
    venue.request(NewOrder(terms("a", Side.SELL, "4000", "1.2000")), NOW)
    assert ("Ended" in kinds(venue.poll(NOW))) is refused


@pytest.mark.parametrize("speed", ["3600", None])
def test_what_was_charged_comes_with_its_time_and_stands_in_the_next_snapshot(speed: str | None) -> None:
    """At the first hour of the recording, between its second and its third quote."""
    hours = [Quote(3600 * number, "1.0998", "1.1000") for number in (0, 0.5, 1.5, 2.5)]
    funding = (Funding("EUR-USD", D(1), 1),)
    wanted = SimulatedSpec((), speed=D(speed) if speed else None, funding=funding)
    venue = connected(Simulation(wanted, replay(hours), (EUR_USD,), keeps_books=True))
    seen: list[VenueEvent] = []
    for step in range(1, 3 * 10):
        now_ns = NOW + step * SECOND_NS // 10
        if step == 2:
            venue.request(NewOrder(terms("a", quantity="10000")), now_ns)
        for event in venue.poll(now_ns):
            seen.append(event)
            if isinstance(event, QuoteChanged):
                venue.release(event.sequence)
    charges = [event for event in seen if isinstance(event, Charged)]
    assert [(event.at_ns, event.amount) for event in charges] == [(at(hour * 3600), D("1.0999")) for hour in (1, 2)]
    snapshot = venue.connect(Resume(at(2 * 3600), fencing_token=3), NOW + 2_950 * MILLI_NS)
    assert snapshot.charges == tuple(charges[1:])


@pytest.mark.parametrize("model", [QueueModel.PRICE_TIME, QueueModel.PROBABILISTIC])
def test_a_queue_model_without_recorded_depth_is_refused(model: QueueModel) -> None:
    wanted = SimulatedSpec((), queue_model=model)
    with pytest.raises(DataError) as caught:
        Simulation(wanted, replay(FALLING), (EUR_USD,), keeps_books=False)
    assert str(caught.value) == (
        f"queueModel {model.value} needs recorded depth (l2), and there is none of EUR-USD: record it, or write "
        "queueModel: None"
    )
    Simulation(wanted, with_depth(), (EUR_USD,), keeps_books=False)


@pytest.mark.parametrize("speed", ["1", None])
@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_gives_the_same_events_and_no_quantity_is_lost(seed: int, speed: str | None) -> None:
    seen, venue = random_run(seed, speed)
    assert seen == random_run(seed, speed)[0]
    assert seen != random_run(seed + 100, speed)[0]
    assert {"Executed", "Ended", "Busted", "SessionChanged"} <= {type(event).__name__ for event in seen}
    ledger = venue.exchange.ledger
    for order in ledger.orders():
        executed = [event for event in ledger.executions.values() if event.order_id == order.order_id != ""]
        assert sum(event.quantity for event in executed) == order.worked
        assert sum(event.quantity for event in executed if event.exec_id in ledger.busts) == order.busted
        assert order.worked + order.leaves + order.canceled == order.terms.quantity
    position = sum(
        (event.quantity * event.side.sign for event in ledger.executions.values() if event.exec_id not in ledger.busts),
        Decimal(0),
    )
    assert ledger.positions[EUR] == position


def test_a_market_that_is_far_behind_comes_in_parts_of_bounded_size_and_loses_nothing() -> None:
    venue = connected(simulation(spec("3600"), [Quote(number, "1.0998", "1.1000") for number in range(2_500)]))
    late = NOW + 2_000 * SECOND_NS
    parts: list[list[VenueEvent]] = []
    venue.request(NewOrder(terms("a", price="1.2000")), NOW)
    while not parts or not isinstance(parts[-1][-1], SessionChanged):
        assert (due := venue.next_wall_ns(late)) is not None
        assert due <= late
        parts.append(venue.poll(late))
    assert max(map(len, parts)) <= AT_ONCE + 4
    arrived = [event for part in parts for event in part]
    assert [event.sequence for event in arrived if isinstance(event, QuoteChanged)] == list(range(1, 2_501))
    assert [kind for kind in kinds(arrived) if kind not in ("QuoteChanged", "FeedAlive")] == [
        "Accepted",
        "Executed",
        "SessionChanged",
    ]
