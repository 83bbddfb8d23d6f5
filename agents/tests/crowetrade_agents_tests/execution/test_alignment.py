"""The alignment: targets meet the market data that caused them, in every order of arrival."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.execution.alignment import Alignment, Step

from ..messages import event as market
from ..messages import target

Seen = list[tuple[int, list[int]]]


def seen(steps: list[Step]) -> Seen:
    return [(step.sequence, [message.sequence for message in step.market_data]) for step in steps]


def event(alignment: Alignment, sequence: int, traded: bool = True) -> list[Step]:
    return list(alignment.on_market_data(market(sequence, "1", "2"), traded))


def goal(alignment: Alignment, sequence: int) -> list[Step]:
    return list(alignment.on_target(target(sequence, "0")))


def test_a_target_waits_for_its_market_data_and_the_other_way_round() -> None:
    alignment = Alignment()
    assert event(alignment, 1) == []
    assert seen(goal(alignment, 1)) == [(1, [1])]
    assert goal(alignment, 2) == []
    assert seen(event(alignment, 2)) == [(2, [2])]
    assert alignment.latest == 2


def test_a_target_sees_the_market_data_up_to_its_own_event_only() -> None:
    alignment = Alignment()
    for sequence in (1, 2, 3):
        event(alignment, sequence)
    assert seen(goal(alignment, 2)) == [(2, [1, 2])]
    assert seen(goal(alignment, 3)) == [(3, [3])]


def test_what_comes_twice_or_late_is_dropped() -> None:
    alignment = Alignment()
    event(alignment, 1)
    goal(alignment, 1)
    assert goal(alignment, 1) == []


def test_a_target_whose_own_market_data_was_lost_goes_with_the_next() -> None:
    alignment = Alignment()
    assert goal(alignment, 1) == []
    assert seen(event(alignment, 2)) == [(1, [])]
    assert seen(goal(alignment, 2)) == [(2, [2])]


def test_other_instruments_pass_at_once() -> None:
    alignment = Alignment()
    assert seen(event(alignment, 1, traded=False)) == [(1, [])]
    event(alignment, 2)
    assert event(alignment, 3, traded=False) == []
    assert seen(goal(alignment, 2)) == [(2, [2])]


def test_a_restart_makes_everything_before_it_past() -> None:
    alignment = Alignment()
    event(alignment, 8)
    goal(alignment, 9)
    alignment.restart(5)
    assert goal(alignment, 5) == []
    assert event(alignment, 6) == []
    assert seen(goal(alignment, 6)) == [(6, [6])]


def test_what_is_passed_over_is_past_and_what_comes_after_it_is_kept() -> None:
    alignment = Alignment()
    for sequence in (1, 2, 3):
        event(alignment, sequence)
    alignment.pass_over(2)
    assert goal(alignment, 2) == []
    assert seen(goal(alignment, 3)) == [(3, [3])]
    alignment.pass_over(9)
    assert alignment.latest == 9
    assert goal(alignment, 9) == []


@pytest.mark.parametrize("before", [(), (1,), (1, 2)], ids=["nothing waits", "an event waits", "two wait"])
def test_an_event_with_its_target_is_what_one_and_then_the_other_would_be(before: tuple[int, ...]) -> None:
    together, apart = Alignment(), Alignment()
    for sequence in before:
        assert event(together, sequence) == event(apart, sequence) == []
    both = market(3, "1", "2"), target(3, "0")
    expected = [*apart.on_market_data(both[0], traded=True), *apart.on_target(both[1])]
    assert list(together.on_both(*both)) == expected
    assert seen(expected) == [(3, [*before, 3])]
    assert together.latest == 3
    assert goal(together, 3) == []


@given(places=st.lists(st.integers(0, 6), min_size=6, max_size=6), order=st.permutations(range(1, 7)))
def test_steps_rise_and_no_market_data_comes_twice(places: list[int], order: list[int]) -> None:
    """Events come in order; each target anywhere between them, in any order."""
    alignment = Alignment()
    steps: list[Step] = []
    for sequence in range(7):
        if sequence:
            steps += event(alignment, sequence)
        for number in order:
            if places[number - 1] == sequence:
                steps += goal(alignment, number)
    sequences = [step.sequence for step in steps]
    assert sequences == sorted(set(sequences))
    shown = [message.sequence for step in steps for message in step.market_data]
    assert shown == sorted(set(shown))
    assert all(message.sequence <= step.sequence for step in steps for message in step.market_data)
