"""When a child that others change again and again is repaired, and which children are written too often."""

from __future__ import annotations

import pytest

from crowetrade_operator import metrics
from crowetrade_operator.reconcile.writes import Writes

CHILD = ("Deployment", "desk-of-writes", "strategy-ema")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def often() -> int:
    """Series of the alert's metric."""
    (family,) = metrics.CHILD_WRITTEN_OFTEN.collect()
    return sum(sample.labels["namespace"] == CHILD[1] for sample in family.samples)


def repair_when_due(writes: Writes, clock: Clock, count: int) -> list[float]:
    """Somebody changes the child at once each time; returns how long each repair had to wait."""
    waited = []
    for _ in range(count):
        waited.append(writes.seconds_until_repair(CHILD))
        clock.now += waited[-1]
        writes.wrote(CHILD, repair=True)
    return waited


def test_the_first_repairs_come_at_once_and_the_next_ever_later(clock: Clock) -> None:
    writes = Writes(clock)
    expected = [0, 0, 0, 0, 0, 5, 10, 20, 40, 80, 160, 300, 300]
    assert repair_when_due(writes, clock, len(expected)) == expected
    assert writes.repairs(CHILD) == len(expected)


def test_ten_quiet_minutes_end_it(clock: Clock) -> None:
    writes = Writes(clock)
    repair_when_due(writes, clock, 8)
    assert often() == 1
    clock.now += 599
    writes.forget_old()
    assert writes.repairs(CHILD) == 8
    clock.now += 2
    writes.forget_old()
    assert writes.repairs(CHILD) == 0
    assert writes.seconds_until_repair(CHILD) == 0
    assert often() == 0


def test_quiet_for_ten_minutes_counts_before_anybody_has_looked(clock: Clock) -> None:
    writes = Writes(clock)
    repair_when_due(writes, clock, 5)
    clock.now += 601
    assert writes.seconds_until_repair(CHILD) == 0
    writes.wrote(CHILD, repair=True)
    assert writes.repairs(CHILD) == 1


def test_more_than_five_writes_in_ten_minutes_are_often_whatever_their_cause(clock: Clock) -> None:
    writes = Writes(clock)
    for _ in range(6):
        assert often() == 0
        writes.wrote(CHILD, repair=False)
        clock.now += 119
    assert often() == 1
    assert writes.seconds_until_repair(CHILD) == 0, "our own changes are never held back"
    clock.now += 601
    writes.forget_old()
    for _ in range(12):
        writes.wrote(CHILD, repair=False)
        clock.now += 121
    assert often() == 0


def test_a_fight_is_seen_as_long_as_it_lasts(clock: Clock) -> None:
    writes = Writes(clock)
    repair_when_due(writes, clock, 6)
    for _ in range(20):
        repair_when_due(writes, clock, 1)
        writes.forget_old()
        assert often() == 1
    clock.now += 601
    writes.forget_old()
