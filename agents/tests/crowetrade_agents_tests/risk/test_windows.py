"""Counts of messages: never forgotten early, in bounded memory, over restarts and steps of the clock (finding G5)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.risk.windows import HORIZON_NS, MAX_BUCKETS, TIERS, MessageWindows, tolerance_ns
from crowetrade_agents_tests.risk.values import EUR, JPY, NOW, SECOND, sent

EMA, OTHER, BOTH = frozenset({"ema"}), frozenset({"other"}), frozenset({"ema", "other"})
MILLI = 1_000_000
DAY = 86_400 * SECOND


def test_who_and_what_is_counted() -> None:
    windows = sent(NOW)
    windows.add("ema", JPY, NOW, 10)
    windows.add("other", EUR, NOW, 100)
    counts = {
        (EMA, None): 11,
        (EMA, frozenset[str]()): 11,
        (EMA, frozenset({"EUR-USD"})): 1,
        (OTHER, None): 100,
        (BOTH, None): 111,
        (BOTH, frozenset({"EUR-USD", "USD-JPY"})): 111,
        (BOTH, frozenset({"USD-JPY"})): 10,
        (frozenset({"stranger"}), None): 0,
    }
    for (strategies, symbols), expected in counts.items():
        assert windows.count(strategies, symbols, NOW, SECOND) == expected


def test_totals_that_are_open_follow_new_messages() -> None:
    windows = MessageWindows()
    asked = [(EMA, None), (BOTH, None), (OTHER, None), (EMA, frozenset({"USD-JPY"}))]
    for selection in asked:
        assert windows.count(*selection, NOW, SECOND) == 0
    windows.add("ema", EUR, NOW + 1)
    assert [windows.count(*selection, NOW + 1, SECOND) for selection in asked] == [1, 1, 0, 0]


@pytest.mark.parametrize(("later_ns", "expected"), [(0, 1), (SECOND - 1, 1), (SECOND, 0), (SECOND + 1, 0)])
def test_a_message_leaves_the_window_when_it_is_as_old_as_the_window_is_long(later_ns: int, expected: int) -> None:
    assert sent(NOW).count(EMA, None, NOW + later_ns, SECOND) == expected


@given(st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(1, 5)), max_size=30), st.integers(1, 40))
def test_there_is_room_where_the_count_is_below_the_most(added: list[tuple[int, int]], most: int) -> None:
    windows, now = MessageWindows(), NOW
    for wait_ns, count in added:
        now += wait_ns
        windows.add("ema", EUR, now, count)
        has_room = windows.has_room(EMA, None, now, 2 * SECOND, most)
        assert has_room == (windows.count(EMA, None, now, 2 * SECOND) < most)


@pytest.mark.parametrize(("back_ns", "counted"), [(SECOND, 0), (SECOND + 1, 1)])
def test_a_clock_that_goes_back_by_a_second_is_late_and_by_more_has_stepped(back_ns: int, counted: int) -> None:
    """After a step whatever carries a later time happened now; without one the time that was seen stands."""
    windows = sent(NOW, NOW + 2 * SECOND)
    assert windows.count(EMA, None, NOW + 5 * SECOND, 2 * SECOND) == 0
    assert windows.count(EMA, None, NOW + 5 * SECOND - back_ns, 3 * SECOND - 1) == counted


def test_counts_of_a_million_in_a_day_are_exact_where_nothing_expires() -> None:
    windows = MessageWindows()
    for second in range(0, 80_000, 8):
        windows.add("ema", EUR, NOW + second * SECOND, 100)
    assert windows.count(EMA, None, NOW + 80_000 * SECOND, DAY) == 1_000_000


steps = st.lists(
    st.tuples(
        st.sampled_from([0, 1, MILLI, 9 * MILLI, 300 * MILLI, SECOND, 17 * SECOND, 400 * SECOND, 5_000 * SECOND]),
        st.sampled_from(["ema", "other"]),
        st.sampled_from([EUR, JPY]),
        st.integers(1, 50),
    ),
    max_size=120,
)


@settings(deadline=None)
@given(
    steps,
    st.sampled_from([1, 2, 10, 60, 900, 3_600, 86_400]),
    st.sampled_from([EMA, BOTH]),
    st.sampled_from([None, frozenset({"EUR-USD"})]),
    st.sampled_from([1, 7, 1000]),
    st.integers(0, 30 * SECOND),
)
def test_never_below_the_exact_count_and_hardly_above(
    messages: list[tuple[int, str, InstrumentId, int]],
    seconds: int,
    strategies: frozenset[str],
    symbols: frozenset[str] | None,
    ask_every: int,
    waited_ns: int,
) -> None:
    """The exact count is that of a list of everything; asked often, now and then, or once and over a restart."""
    windows, now, window = MessageWindows(), NOW, seconds * SECOND
    naive: list[tuple[int, str, InstrumentId, int]] = []

    def exact(length_ns: int) -> int:
        return sum(
            count
            for at, strategy, instrument, count in naive
            if at > now - length_ns and strategy in strategies and (not symbols or instrument.symbol in symbols)
        )

    def agree() -> None:
        counted = windows.count(strategies, symbols, now, window)
        assert exact(window) <= counted <= exact(window + tolerance_ns(window))

    for number, (pause, strategy, instrument, count) in enumerate(messages):
        now += pause
        windows.add(strategy, instrument, now, count)
        naive.append((now, strategy, instrument, count))
        if number % ask_every == 0:
            agree()
    windows = MessageWindows.from_messages("sim-fx", windows.to_messages())
    now += waited_ns
    agree()


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0, 1, 3 * MILLI, 40 * MILLI, 300 * MILLI, 7 * SECOND, 90 * SECOND]), max_size=25),
    st.sampled_from([0, 1, 2 * SECOND, 50 * SECOND, 5_000 * SECOND]),
    st.booleans(),
    st.booleans(),
)
def test_a_window_may_end_between_any_two_messages(
    pauses: list[int], waited_ns: int, restart: bool, ask_before: bool
) -> None:
    """The newest message of a bucket decides; windows end just before, at and after each message."""
    at = list(itertools.accumulate(pauses, initial=NOW))
    windows, now = MessageWindows(), at[-1] + waited_ns
    lengths = {now - moment + delta for moment in at for delta in (-1, 0, 1)} - {-1, 0}
    for number, moment in enumerate(at):
        windows.add("ema" if number % 3 else "other", JPY if number % 2 else EUR, moment)
        for length in lengths if ask_before else ():
            windows.count(BOTH, None, moment, length)
    if restart:
        windows.count(BOTH, None, now, 1)
        windows = MessageWindows.from_messages("sim-fx", windows.to_messages())
    for length in lengths:
        counted = windows.count(BOTH, None, now, length)
        assert counted >= sum(moment > now - length for moment in at)
        assert counted <= sum(moment > now - length - tolerance_ns(length) for moment in at)


def test_the_tolerance_is_small() -> None:
    for seconds in (1, 10, 60, 900, 3_600, 86_400):
        assert tolerance_ns(seconds * SECOND) <= seconds * SECOND // 50


def test_a_restart_forgets_nothing() -> None:
    """100 a day were sent; the gateway restarts; the 101st is not the first."""
    windows = MessageWindows()
    for number in range(100):
        windows.add("ema", EUR, NOW + number * 60 * SECOND)
    again = MessageWindows.from_messages("sim-fx", windows.to_messages())
    assert again.count(EMA, None, NOW + 100 * 60 * SECOND, DAY) == 100


def test_a_snapshot_is_ordered_and_packed() -> None:
    windows = sent(NOW, strategy="other")
    windows.add("ema", JPY, NOW + MILLI, 2)
    windows.add("ema", EUR, NOW + SECOND, 3)
    windows.add("ema", EUR, NOW + SECOND, 4)
    assert windows.to_messages() == [
        journal_pb2.BookedMessages(strategy="ema", symbol="EUR-USD", unix_ns=[NOW + SECOND], counts=[7]),
        journal_pb2.BookedMessages(strategy="ema", symbol="USD-JPY", unix_ns=[NOW + MILLI], counts=[2]),
        journal_pb2.BookedMessages(strategy="other", symbol="EUR-USD", unix_ns=[NOW], counts=[1]),
    ]


def test_a_count_beyond_the_snapshots_integers_does_not_break_it() -> None:
    windows = MessageWindows()
    windows.add("ema", EUR, NOW, 2**40)
    assert list(windows.to_messages()[0].counts) == [2**32 - 1]


def test_an_empty_snapshot_is_nothing() -> None:
    assert MessageWindows.from_messages("sim-fx", [journal_pb2.BookedMessages(strategy="ema")]).to_messages() == []


def test_memory_is_bounded_whatever_is_sent() -> None:
    windows = MessageWindows()
    for window in (1, 60, 86_400):
        windows.count(EMA, None, NOW, window * SECOND)
    for second in range(100_000):  # more than a day
        windows.add("ema", EUR, NOW + second * SECOND)
    for number in range(10_000):
        windows.add("ema", EUR, NOW + 100_000 * SECOND + number * 5 * MILLI)
    assert windows.buckets() <= MAX_BUCKETS + 3 * 110
    assert sum(len(booked.unix_ns) for booked in windows.to_messages()) <= MAX_BUCKETS // 2


def test_weeks_of_messages_take_no_more_than_a_day_of_them() -> None:
    windows = MessageWindows()
    for minute in range(20 * 1_440):
        windows.add("ema", EUR, NOW + minute * 60 * SECOND)
    assert windows.buckets() <= MAX_BUCKETS
    assert sum(len(booked.unix_ns) for booked in windows.to_messages()) <= 1_440


def test_a_restart_with_a_clock_that_is_behind_neither_forgets_nor_blocks_for_ever() -> None:
    again = MessageWindows.from_messages("sim-fx", sent(NOW).to_messages())
    earlier = NOW - 3_600 * SECOND
    assert again.count(EMA, None, earlier, 60 * SECOND) == 1
    assert again.count(EMA, None, earlier + 60 * SECOND, 60 * SECOND) == 0


def test_what_is_older_than_a_day_is_dropped() -> None:
    windows = sent(NOW)
    windows.add("other", EUR, NOW + HORIZON_NS)
    assert [booked.strategy for booked in windows.to_messages()] == ["other"]


def test_totals_that_nobody_asks_for_are_closed_and_opened_again() -> None:
    windows = sent(NOW)
    assert windows.count(EMA, None, NOW, DAY) == 1
    windows.add("ema", EUR, NOW + 3_600 * SECOND)
    windows.to_messages()
    assert windows.buckets() == 2
    assert windows.count(EMA, None, NOW + 3_600 * SECOND, DAY) == 2


def test_a_total_that_is_opened_late_expires_in_the_order_of_time() -> None:
    windows = MessageWindows()
    for strategy, later_ns in (("ema", 0), ("other", 500 * MILLI), ("ema", 900 * MILLI)):
        windows.add(strategy, EUR, NOW + later_ns)
    asked = [windows.count(BOTH, None, NOW + later * MILLI, SECOND) for later in (900, 1_000, 1_500, 1_900)]
    assert asked == [3, 2, 1, 0]


def test_a_clock_that_steps_forward_and_back_neither_forgets_nor_blocks_for_ever() -> None:
    windows = sent(NOW, NOW + 3_600 * SECOND)  # the second one with a clock that was an hour ahead
    assert windows.count(EMA, None, NOW + 3_600 * SECOND, 60 * SECOND) == 1
    assert windows.count(EMA, None, NOW + SECOND, 60 * SECOND) == 2
    windows.add("ema", EUR, NOW + 2 * SECOND)
    assert windows.count(EMA, None, NOW + 2 * SECOND, 60 * SECOND) == 3
    assert windows.count(EMA, None, NOW + 61 * SECOND + 500 * MILLI, 60 * SECOND) == 1
    assert windows.count(EMA, None, NOW + 62 * SECOND, 60 * SECOND) == 0


def test_jitter_of_the_clock_counts_at_the_latest_time_seen() -> None:
    windows = sent(NOW, NOW - MILLI)
    assert windows.count(EMA, None, NOW + SECOND - 1, SECOND) == 2
    assert windows.count(EMA, None, NOW + SECOND, SECOND) == 0


def test_widths_nest_so_that_merged_buckets_never_straddle_a_wider_one() -> None:
    widths = [width for _, width in TIERS]
    assert all(wide % narrow == 0 for narrow, wide in itertools.pairwise(widths))
    assert [age for age, _ in TIERS] == sorted(age for age, _ in TIERS)
