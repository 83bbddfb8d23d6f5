from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from crowetrade_cli.web.history import POINTS, History


def _recorded(count: int) -> list[int]:
    history = History()
    for at in range(count):
        history.record(at, {"a": str(at)})
    points = history.points()
    assert all(amounts == {"a": str(at)} for at, amounts in points)
    return [at for at, _ in points]


def test_everything_is_kept_while_there_is_room() -> None:
    assert _recorded(POINTS) == list(range(POINTS))


@given(st.integers(1, 20 * POINTS))
def test_it_is_bounded_evenly_spaced_and_reaches_from_the_first_to_near_the_last(count: int) -> None:
    kept = _recorded(count)
    steps = {after - before for before, after in pairwise(kept)}
    assert len(kept) <= POINTS
    assert kept[0] == 0
    assert len(steps) <= 1
    assert count - 1 - kept[-1] < max(steps, default=1)
    assert len(kept) > min(count, POINTS) // 2


def test_what_is_given_later_changes_nothing() -> None:
    history, amounts = History(), {"a": "1"}
    history.record(0, amounts)
    amounts["a"] = "2"
    history.points().clear()
    assert history.points() == [(0, {"a": "1"})]
