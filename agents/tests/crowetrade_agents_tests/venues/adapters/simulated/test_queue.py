"""The queue models against a queue in which every order is known: none is served before its turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.venues.adapters.simulated.queue import Place, QueueModel, after_trade, after_update

NONE, PRICE_TIME, PROBABILISTIC = QueueModel.NONE, QueueModel.PRICE_TIME, QueueModel.PROBABILISTIC


@pytest.mark.parametrize(
    ("model", "ahead", "before", "after", "expected"),
    [
        (PRICE_TIME, 10, 30, 40, 10),
        (PRICE_TIME, 10, 30, 12, 10),
        (PRICE_TIME, 10, 30, 9, 9),
        (PRICE_TIME, 10, 30, 0, 0),
        (PROBABILISTIC, 10, 30, 40, 10),
        # 8 and 1 to 8: of 9 cancelled one ninth stood ahead.
        (PROBABILISTIC, 10, 30, 21, 9),
        (PROBABILISTIC, 20, 30, 21, 12),
        # Rounded so that more stays ahead.
        (PROBABILISTIC, 10, 30, 22, 10),
        # Nothing stood behind: all of it was ahead.
        (PROBABILISTIC, 30, 30, 21, 21),
        (PROBABILISTIC, 0, 30, 21, 0),
        (PROBABILISTIC, 10, 30, 2, 2),
    ],
)
def test_cancels_move_an_order_forward(model: QueueModel, ahead: int, before: int, after: int, expected: int) -> None:
    assert after_update(model, ahead, before, after) == expected


@pytest.mark.parametrize(
    ("places", "quantity", "expected"),
    [
        ([(5, 3)], 4, [(1, 3)]),
        ([(5, 3)], 5, [(0, 3)]),
        ([(5, 3)], 7, [(0, 1)]),
        ([(5, 3)], 90, [(0, 0)]),
        # Five ahead, then the older order, then two more of others, then the younger one.
        ([(5, 3), (7, 4)], 6, [(0, 2), (2, 4)]),
        ([(5, 3), (7, 4)], 9, [(0, 0), (1, 4)]),
        ([(5, 3), (7, 4)], 12, [(0, 0), (0, 2)]),
        ([(0, 3), (0, 4)], 4, [(0, 0), (0, 3)]),
    ],
)
def test_a_trade_takes_from_the_front(
    places: list[tuple[int, int]], quantity: int, expected: list[tuple[int, int]]
) -> None:
    found = after_trade([Place(*place) for place in places], quantity)
    assert [(place.ahead, place.leaves) for place in found] == expected


rising = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=4)


@given(rising, st.integers(0, 40))
def test_a_trade_is_used_up_unit_by_unit(steps: list[tuple[int, int]], quantity: int) -> None:
    """By a queue of units: None is somebody else's, a number the account's order of that place."""
    units: list[int | None] = []
    places: list[Place] = []
    for number, (others, leaves) in enumerate(steps):
        units += [None] * others
        places.append(Place(units.count(None), leaves))
        units += [number] * leaves
    left = units[quantity:]
    found = after_trade(places, quantity)
    for number, place in enumerate(found):
        assert place.leaves == left.count(number)
        if place.leaves:
            assert place.ahead == left[: left.index(number)].count(None)
    assert sum(place.leaves for place in places) - sum(place.leaves for place in found) <= quantity


queues = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(1, 9)),
        st.tuples(st.just("cancel"), st.integers(0, 40)),
        st.tuples(st.just("trade"), st.integers(1, 6)),
        st.tuples(st.just("show"), st.just(0)),
    ),
    max_size=40,
)


@given(st.integers(0, 20), st.integers(1, 5), queues, st.sampled_from([PRICE_TIME, PROBABILISTIC]))
def test_price_time_is_never_ahead_of_the_true_queue(
    others: int, own: int, steps: list[tuple[str, int]], model: QueueModel
) -> None:
    """In the true queue each unit of others is cancelled by its place; the model sees trades, and the level's total
    when it is shown. What it cannot see makes its estimate wrong, and that of PriceTime on one side alone."""
    queue = ["other"] * others + ["own"] * own
    place, shown, traded, true_fills = Place(others, own), others, 0, 0
    for kind, number in steps:
        total = queue.count("other")
        if kind == "join":
            queue += ["other"] * number
        elif kind == "cancel" and total:
            units = [at for at, unit in enumerate(queue) if unit == "other"]
            del queue[units[number % len(units)]]
        elif kind == "trade":
            met, queue = queue[:number], queue[number:]
            true_fills += met.count("own")
            # A print is of what the recorded market traded: of others alone, or the level would not have shrunk so.
            traded += number
            (place,) = after_trade([place], number)
        elif kind == "show":
            before, after = max(shown - traded, 0), queue.count("other")
            place = Place(after_update(model, place.ahead, before, after), place.leaves)
            shown, traded = after, 0
        if model is PRICE_TIME:
            assert own - place.leaves <= true_fills
        assert 0 <= place.leaves <= own
        assert place.ahead >= 0
