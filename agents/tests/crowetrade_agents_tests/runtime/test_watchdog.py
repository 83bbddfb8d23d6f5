"""The watchdog says once of each call that it hangs."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from time import perf_counter

import pytest

from crowetrade_agents.roles.stages import RunningStage
from crowetrade_agents.runtime.watchdog import StageWatchdog

WAIT_SECONDS = 10


class Case:
    """A watchdog that looks all the time."""

    def __init__(self, hangs_after_seconds: float) -> None:
        self.running = RunningStage()
        self.written: queue.Queue[str] = queue.Queue()
        self.watchdog = StageWatchdog(self.running, self.written.put, hangs_after_seconds, look_every_seconds=0.001)
        self.watchdog.start()


@pytest.fixture
def case() -> Iterator[Case]:
    case = Case(hangs_after_seconds=100.0)
    yield case
    case.watchdog.stop()


def test_a_call_that_hangs_is_reported_once(case: Case) -> None:
    for role in ("feature", "signal"):
        case.running.current = role, perf_counter() - 101
        assert f"has not returned to the {role} role for 100 s" in case.written.get(timeout=WAIT_SECONDS)
    case.watchdog.stop()
    assert case.written.empty()


def test_a_call_that_is_short_and_no_call_are_not(case: Case) -> None:
    case.running.current = "feature", perf_counter()
    case.watchdog.stop()
    assert case.written.empty()
