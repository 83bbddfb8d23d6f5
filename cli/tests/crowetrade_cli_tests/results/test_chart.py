from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crowetrade_cli.results.chart import (
    DRAWN_MARKS,
    Line,
    Mark,
    bar_chart,
    line_chart,
    thinned,
    thinned_marks,
    time_ticks,
    value_text,
    value_ticks,
)

from .values import DAY_NS, HOUR_NS, MONDAY_NS, SECOND_NS

VALUES = st.lists(st.none() | st.floats(-1e9, 1e9), min_size=2, max_size=3000)


@given(VALUES, st.integers(2, 400))
def test_thinning_keeps_the_ends_and_the_extremes(values: list[float | None], points: int) -> None:
    kept = thinned([values], points)
    assert kept == sorted(set(kept))
    assert {0, len(values) - 1} <= set(kept)
    known = [value for value in values if value is not None]
    shown = [value for index in kept if (value := values[index]) is not None]
    if known:
        assert (min(shown), max(shown)) == (min(known), max(known))
    gaps = sum(value is None for value in values)
    assert len(kept) <= max(points, 100) + 2 + gaps


def test_a_spike_of_one_sample_is_drawn() -> None:
    values = [0.0] * 100_000
    values[12_345] = 1.0
    assert 12_345 in thinned([values], 1000)


def test_a_gap_is_kept_as_one() -> None:
    values: list[float | None] = [1.0] * 100_000
    for begin, end in ((5_000, 5_003), (40_000, 60_000)):
        values[begin:end] = [None] * (end - begin)
    assert {5_000, 40_000} <= set(thinned([values], 1000))


def _marks(number: int) -> list[Mark]:
    return [Mark(MONDAY_NS + i * SECOND_NS, 1.0, ("Buy", "Sell")[i % 2], float(i % 97)) for i in range(number)]


def test_few_marks_are_all_drawn_and_of_many_the_greatest() -> None:
    few, many = _marks(DRAWN_MARKS), _marks(10_000)
    assert thinned_marks(few, few[0].at_ns, few[-1].at_ns, DRAWN_MARKS) == few
    drawn = thinned_marks(many, many[0].at_ns, many[-1].at_ns, DRAWN_MARKS)
    assert DRAWN_MARKS / 2 <= len(drawn) <= DRAWN_MARKS
    assert {mark.kind for mark in drawn} == {"Buy", "Sell"}
    # Each stretch has all of the sizes but those that fall on its ends.
    assert min(mark.size for mark in drawn) > 60


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_lie_inside_and_have_different_texts(low: float, spread: float) -> None:
    assume(spread > abs(low) * 1e-9)
    high = low + spread
    ticks = value_ticks(low, high)
    assert all(low - spread * 1e-6 <= tick <= high + spread * 1e-6 for tick in ticks)
    assert 2 <= len(ticks) <= 8
    assert len({value_text(tick, spread) for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("value", "spread", "form", "text"),
    [
        (1234567.5, 0, "number", "1,234,567.50"),
        (-0.0001, 10, "number", "0"),
        (-0.015, 0.05, "percent", "-2%"),
        (1.25, 0.1, "number", "1.25"),
    ],
)
def test_value_texts(value: float, spread: float, form: str, text: str) -> None:
    assert value_text(value, spread, form) == text


@pytest.mark.parametrize(
    ("length_ns", "texts"),
    [
        (60 * SECOND_NS, ["02 Jan", "00:00:15", "00:00:30", "00:00:45", "00:01:00"]),
        (6 * HOUR_NS, ["02 Jan", "01:00", "02:00", "03:00", "04:00", "05:00", "06:00"]),
        (2 * DAY_NS, ["02 Jan", "12:00", "03 Jan", "12:00", "04 Jan"]),
        (20 * DAY_NS, ["05 Jan", "12 Jan", "19 Jan"]),
        (200 * DAY_NS, ["Mar 2017", "May 2017", "Jul 2017"]),
        (2000 * DAY_NS, ["2018", "2019", "2020", "2021", "2022"]),
    ],
)
def test_times_are_round(length_ns: int, texts: list[str]) -> None:
    ticks = time_ticks(MONDAY_NS, MONDAY_NS + length_ns)
    assert [text for _, text in ticks] == texts
    assert all(MONDAY_NS <= at <= MONDAY_NS + length_ns for at, _ in ticks)


def test_months_begin_on_their_first_day() -> None:
    first = int(datetime(2017, 1, 31, 23, tzinfo=UTC).timestamp()) * SECOND_NS
    for at, _ in time_ticks(first, first + 150 * DAY_NS):
        assert datetime.fromtimestamp(at // SECOND_NS, UTC).strftime("%d %H:%M:%S") == "01 00:00:00"


def test_a_gap_is_not_bridged() -> None:
    chart = line_chart("Price", range(5), [Line("Price", [1.0, 2.0, None, 1.0, 2.0])])
    assert chart.lines[0].path.count("M") == 2


def test_an_area_reaches_from_the_line_to_zero() -> None:
    chart = line_chart("Drawdown", range(3), [Line("Drawdown", [0.0, -0.5, 0.0])], filled=True)
    assert chart.lines[0].area.startswith("M0.0 0.0L")
    assert chart.y_ticks[-1].place == 0


def test_one_sample_is_a_chart() -> None:
    chart = line_chart("Equity", [MONDAY_NS], [Line("Equity", [5.0])])
    assert (chart.times, chart.values) == ((MONDAY_NS // 1_000_000,), ((5.0,),))


@pytest.mark.parametrize("value", [0.0, 5.0, -5.0])
@pytest.mark.parametrize("filled", [False, True])
def test_what_never_changes_is_a_chart(value: float, filled: bool) -> None:
    chart = line_chart("Equity", range(3), [Line("Equity", [value] * 3)], filled=filled)
    assert len(chart.y_ticks) >= 2


def test_bars_stand_on_zero() -> None:
    chart = bar_chart("PnL", [("00", 3.0), ("01", -1.0), ("02", 0.0)])
    up, down, none = chart.bars
    assert chart.zero is not None
    assert up.top + up.height == pytest.approx(chart.zero, abs=0.01)
    assert (down.top, down.negative) == (chart.zero, True)
    assert up.height == pytest.approx(3 * down.height, abs=0.01)
    assert none.height == 0
