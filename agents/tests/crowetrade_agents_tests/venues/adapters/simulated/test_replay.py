"""Several tapes are one stream in time order, and the place in it follows from the clock."""

from __future__ import annotations

from array import array
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.venues.adapters.simulated.replay import Anchor, Pace, Place, Replay, place_of
from crowetrade_agents.venues.adapters.simulated.tape import Chunk, Tape, TradeTape
from crowetrade_agents.venues.port import QuoteChanged, TradePrinted

D = Decimal


def tape(symbol: str, times: list[int]) -> Tape:
    made = Tape(InstrumentId("sim", symbol))
    made.append(array("q", times), Chunk(D(1)), Chunk(D(5)), Chunk(D(2)), Chunk(D(5)))
    return made


def replay(*times: list[int], loop: bool = False) -> Replay:
    return Replay([tape(f"I{number}", one) for number, one in enumerate(times)], loop=loop)


def pace(market: Replay, speed: str = "1", max_gap_ns: int = 0, wall_ns: int = 1_000_000) -> Pace:
    return Pace(market, D(speed), max_gap_ns, Anchor(wall_ns, 1))


times = st.lists(st.integers(0, 50), min_size=1, max_size=12).map(sorted)
markets = st.lists(times, min_size=1, max_size=5)


def trades(symbol: str, times: list[int]) -> TradeTape:
    made = TradeTape(InstrumentId("sim", symbol))
    made.append(array("q", times), Chunk(D(1)), Chunk(D(5)), array("b", [1] * len(times)))
    return made


def when(event: QuoteChanged | TradePrinted) -> tuple[int, str]:
    if isinstance(event, TradePrinted):
        return event.at_ns, event.instrument.symbol
    return event.book.event_ns, event.book.instrument.symbol


@given(markets)
def test_tapes_are_merged_in_time_order_of_one_time_in_the_order_of_instruments(recorded: list[list[int]]) -> None:
    market = replay(*recorded)
    merged = [market.event(sequence) for sequence in range(1, len(market) + 1)]
    expected = sorted((at, number) for number, one in enumerate(recorded) for at in one)
    assert [when(event) for event in merged] == [(at, f"I{number}") for at, number in expected]
    assert not market.exists(len(market) + 1)


@given(markets, times, st.booleans(), st.integers(0, 150))
def test_the_books_in_force_are_the_last_of_each_instrument(
    recorded: list[list[int]], printed: list[int], loop: bool, sequence: int
) -> None:
    market = Replay([*(tape(f"I{n}", one) for n, one in enumerate(recorded)), trades("I0", printed)], loop=loop)
    sequence = sequence if loop else min(sequence, len(market))
    last = {}
    for number in range(1, sequence + 1):
        event = market.event(number)
        if isinstance(event, QuoteChanged):
            last[event.book.instrument] = event
    assert market.in_force(sequence) == sorted(last.values(), key=lambda event: event.sequence)


@given(times, st.integers(1, 60), st.booleans(), st.sampled_from([0, 7]), st.sampled_from(["1", "0.3", "60"]))
def test_the_place_in_the_market_follows_from_the_clock(
    recorded: list[int], sequence: int, loop: bool, max_gap_ns: int, speed: str
) -> None:
    market = replay(recorded, loop=loop)
    running = pace(market, speed, max_gap_ns)
    if not market.exists(sequence):
        assert running.sequence_at(10**12) == len(market)
        return
    due = running.due_ns(sequence)
    assert running.sequence_at(due) >= sequence
    assert running.sequence_at(due - 1) < sequence
    assert running.venue_ns(due) >= market.event_ns(sequence)
    assert market.sequence_at(market.event_ns(sequence)) >= sequence
    if market.exists(sequence + 1):
        assert market.event_ns(sequence + 1) >= market.event_ns(sequence)


@given(times, st.integers(0, 300), st.booleans(), st.sampled_from([0, 7]), st.sampled_from(["1", "0.3", "60"]))
def test_venue_time_is_reached_at_its_wall_time_and_not_before(
    recorded: list[int], later: int, loop: bool, max_gap_ns: int, speed: str
) -> None:
    market = replay(recorded, loop=loop)
    running = pace(market, speed, max_gap_ns)
    venue_ns = recorded[0] + later
    wall = running.wall_ns(venue_ns)
    assert running.venue_ns(wall) >= venue_ns
    assert running.venue_ns(wall - 1) < venue_ns


def test_speed_and_longest_gap_shorten_the_wait() -> None:
    market = replay([1000, 1100, 6100])
    assert pace(market, "10", wall_ns=0).due_ns(3) == 510
    assert pace(market, "10", 1000, wall_ns=0).due_ns(3) == 110


@given(times, st.integers(0, 200), st.sampled_from(["0.5", "3", "60"]), st.sampled_from([0, 7]), st.booleans())
def test_an_edited_speed_goes_on_from_the_place_reached(
    recorded: list[int], passed: int, speed: str, max_gap_ns: int, loop: bool
) -> None:
    """Finding D5: an edited speed lost the place, and a running replay ended at once."""
    before = pace(replay(recorded, loop=loop))
    now_ns = 1_000_000 + passed
    after = before.moved(D(speed), max_gap_ns, now_ns)
    reached = before.sequence_at(now_ns)
    assert after.sequence_at(now_ns - 1) <= reached <= after.sequence_at(now_ns + 1)


@pytest.mark.parametrize(
    "place",
    [
        Place("1:2:3:4"),
        Place("1:2:3:4", D("0.5"), 7, Anchor(5, 6)),
        Place("1:2:3:4", D("1E+1"), 0, Anchor(2**62, 10**12)),
    ],
)
def test_a_place_survives_as_text(place: Place) -> None:
    assert place_of(place.to_text()) == place


@pytest.mark.parametrize("text", ["", "{}", "null", "[]", "1700000000", '{"recording": 1, "anchor": [1]}'])
def test_a_foreign_text_means_from_the_beginning(text: str) -> None:
    assert place_of(text) is None
