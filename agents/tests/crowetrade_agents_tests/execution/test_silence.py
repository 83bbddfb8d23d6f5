"""The silence watch: when a feed counts as silent, at every pace of a replay."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.execution.silence import INTERVALS, MIN_SILENCE_NS, SilenceWatch

from ..messages import EUR, EUR_B, SECOND_NS

GAP_NS = 20 * SECOND_NS
EVENTS = 1_700_000_000 * SECOND_NS
WALL = 1_800_000_000 * SECOND_NS
LIVE = Decimal(1)


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
def test_silence_is_allowed_for_the_usual_interval_and_the_gap_at_the_speed_of_the_replay(
    interval_s: float, speed: float, allowed_s: float
) -> None:
    """Finding D4; the second row is that of the live test: quotes each second, 10 times as fast, a gap of 20 s."""
    due_ns = fed(30, interval_s, speed).due_ns(EUR, Decimal(str(speed)))
    assert due_ns is not None
    assert (due_ns - WALL) / SECOND_NS == pytest.approx(allowed_s, rel=1e-3)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_nothing_is_known_of_a_feed_that_has_just_begun(count: int) -> None:
    assert fed(count, 1, 1).due_ns(EUR, LIVE) is None


def test_each_instrument_has_its_own_feed() -> None:
    watch = fed(5, 1, 1)
    assert watch.due_ns(EUR_B, LIVE) is None
    assert watch.due_ns(EUR, LIVE) is not None


@pytest.mark.parametrize(
    ("event_step_ns", "wall_step_ns"),
    [
        pytest.param(0, 0, id="at one time, all at once"),
        pytest.param(0, 1_000_000, id="at one time"),
        pytest.param(10_000, 1_000_000, id="faster than they are sent"),
        pytest.param(SECOND_NS, 1_000_000, id="after a stall"),
        pytest.param(-SECOND_NS, 1_000_000, id="back in time"),
    ],
)
def test_how_a_burst_arrives_does_not_change_when_the_next_silence_is_noticed(
    event_step_ns: int, wall_step_ns: int
) -> None:
    """More events than are remembered, after a steady feed: at most the gap and the usual interval, never sooner."""
    watch, event_ns, wall_ns = fed(30, 1, 1), EVENTS, WALL
    for _ in range(INTERVALS + 1):
        event_ns, wall_ns = event_ns + event_step_ns, wall_ns + wall_step_ns
        watch.on_event(EUR, event_ns, wall_ns)
        due_ns = watch.due_ns(EUR, LIVE)
        assert due_ns is not None
        assert wall_ns + GAP_NS <= due_ns <= wall_ns + GAP_NS + SECOND_NS


def test_a_recorded_gap_that_is_played_short_changes_nothing() -> None:
    """A weekend that is played in one second, as by replay.maxGapSeconds."""
    watch = fed(30, 1, 10)
    before = watch.due_ns(EUR, Decimal(10))
    watch.on_event(EUR, EVENTS + 2 * 86_400 * SECOND_NS, WALL + SECOND_NS)
    assert before is not None
    assert watch.due_ns(EUR, Decimal(10)) == before + SECOND_NS


def test_a_feed_that_becomes_slower_is_silent_for_longer() -> None:
    """From quotes each second to one a minute: each is a gap until they are usual."""
    watch = fed(30, 1, 1)
    for minute in range(1, INTERVALS):
        watch.on_event(EUR, EVENTS + minute * 60 * SECOND_NS, WALL + minute * 60 * SECOND_NS)
    assert watch.due_ns(EUR, LIVE) == WALL + (INTERVALS - 1) * 60 * SECOND_NS + 80 * SECOND_NS


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
        due_ns = watch.due_ns(EUR, LIVE)
        assert due_ns is None or due_ns >= wall_ns + GAP_NS
