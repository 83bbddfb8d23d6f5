"""The silence watch: when a feed counts as silent, at every pace of a replay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.execution.silence import MIN_SILENCE_NS, SilenceWatch

from ..messages import EUR, EUR_B, SECOND_NS

GAP_NS = 20 * SECOND_NS
EVENTS = 1_700_000_000 * SECOND_NS
WALL = 1_800_000_000 * SECOND_NS


def fed(count: int, interval_s: float, speed: float, gap_ns: int = GAP_NS) -> SilenceWatch:
    """Events of one instrument at a steady pace; the last comes at wall time WALL."""
    watch = SilenceWatch(gap_ns)
    for back in reversed(range(count)):
        event_s = back * interval_s
        watch.on_event(EUR, EVENTS - int(event_s * SECOND_NS), WALL - int(event_s / speed * SECOND_NS))
    return watch


@pytest.mark.parametrize(
    ("interval_s", "speed", "allowed_s"),
    [
        # Quotes each second: silent after 1 + 20 s of event time.
        (1, 1, 21),
        (1, 10, 2.1),
        (1, 0.5, 42),
        # Hourly bars at 3600 times the pace.
        (3600, 3600, 1 + 20 / 3600),
        # Faster than a machine can be trusted with.
        (1, 1000, MIN_SILENCE_NS / SECOND_NS),
    ],
)
def test_silence_is_allowed_for_the_usual_interval_and_the_gap_at_the_pace_of_the_feed(
    interval_s: float, speed: float, allowed_s: float
) -> None:
    """Finding D4; the second row is that of the live test: quotes each second, 10 times as fast, a gap of 20 s."""
    due_ns = fed(30, interval_s, speed).due_ns(EUR)
    assert due_ns is not None
    assert (due_ns - WALL) / SECOND_NS == pytest.approx(allowed_s, rel=1e-3)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_nothing_is_known_of_a_feed_that_has_just_begun(count: int) -> None:
    assert fed(count, 1, 1).due_ns(EUR) is None


def test_each_instrument_has_its_own_feed() -> None:
    watch = fed(5, 1, 1)
    assert watch.due_ns(EUR_B) is None
    assert watch.due_ns(EUR) is not None


def test_a_recorded_gap_that_is_played_short_does_not_change_the_pace() -> None:
    """A weekend that is played in one second, as by replay.maxGapSeconds."""
    watch = fed(30, 1, 10)
    before = watch.due_ns(EUR)
    monday = EVENTS + 2 * 86_400 * SECOND_NS
    watch.on_event(EUR, monday, WALL + SECOND_NS)
    assert before is not None
    assert watch.due_ns(EUR) == before + SECOND_NS


def test_events_at_one_time_and_times_that_go_back_are_borne() -> None:
    watch = fed(5, 1, 1)
    for event_ns, wall_ns in ((EVENTS, WALL), (EVENTS - SECOND_NS, WALL), (EVENTS, WALL - SECOND_NS)):
        watch.on_event(EUR, event_ns, wall_ns)
    assert watch.due_ns(EUR) is not None


def test_a_feed_whose_events_all_come_at_once_is_not_judged() -> None:
    watch = SilenceWatch(GAP_NS)
    for second in range(10):
        watch.on_event(EUR, EVENTS + second * SECOND_NS, WALL)
    assert watch.due_ns(EUR) is None


def test_the_sentence_names_the_instrument_and_the_field() -> None:
    sentence = fed(30, 1, 1).sentence(EUR, WALL + 25 * SECOND_NS)
    assert "no market data of sim/EUR-USD for 25.0 s" in sentence
    assert "spec.policy.standDown.onDataGapSeconds (20 s" in sentence


@given(st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 10**10)), min_size=3, max_size=60))
def test_a_feed_is_never_due_before_its_last_event(intervals: list[tuple[int, int]]) -> None:
    watch = SilenceWatch(GAP_NS)
    event_ns, wall_ns = EVENTS, WALL
    for event_step, wall_step in intervals:
        event_ns, wall_ns = event_ns + event_step, wall_ns + wall_step
        watch.on_event(EUR, event_ns, wall_ns)
        due_ns = watch.due_ns(EUR)
        assert due_ns is None or due_ns >= wall_ns + MIN_SILENCE_NS
