"""The alarm: one call at the time that was set last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crowetrade_agents.roles.alarm import Alarm

from ..clock import ManualClock, settle
from ..messages import SECOND_NS, START_NS


class Case:
    """An alarm on virtual time and the seconds at which it rang."""

    def __init__(self) -> None:
        self.clock = ManualClock(START_NS)
        self.rang: list[float] = []
        self.alarm = Alarm(self.clock, lambda: self.rang.append((self.clock.now_ns() - START_NS) / SECOND_NS))

    def set(self, seconds: float) -> None:
        self.alarm.set(START_NS + int(seconds * SECOND_NS))


@pytest.fixture
def case() -> Iterator[Case]:
    case = Case()
    yield case
    case.alarm.stop()


async def test_it_rings_once_at_its_time(case: Case) -> None:
    case.set(2)
    for _ in range(5):
        await case.clock.advance_seconds(1)
    assert case.rang == [2.0]


@pytest.mark.parametrize(("first", "second"), [(2, 4), (4, 2)], ids=["later", "earlier"])
async def test_moving_it_moves_the_call(case: Case, first: float, second: float) -> None:
    case.set(first)
    await settle()
    case.set(second)
    for _ in range(6):
        await case.clock.advance_seconds(1)
    assert case.rang == [second]


async def test_a_time_that_has_passed_rings_at_once(case: Case) -> None:
    case.set(-1)
    await settle()
    assert case.rang == [0.0]


async def test_no_time_and_a_stop_ring_never(case: Case) -> None:
    case.set(2)
    case.alarm.set(None)
    await case.clock.advance_seconds(3)
    case.set(5)
    case.alarm.stop()
    await case.clock.advance_seconds(9)
    assert case.rang == []


async def test_it_can_be_set_again_from_its_own_call(case: Case) -> None:
    def ring() -> None:
        case.rang.append((case.clock.now_ns() - START_NS) / SECOND_NS)
        if len(case.rang) == 1:
            case.set(3)

    case.alarm = Alarm(case.clock, ring)
    case.set(1)
    for _ in range(5):
        await case.clock.advance_seconds(1)
    assert case.rang == [1.0, 3.0]
