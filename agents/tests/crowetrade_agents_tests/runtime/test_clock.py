"""The clock of a process, when the one of its machine is set."""

from __future__ import annotations

import asyncio

import pytest

from crowetrade_agents.errors import ClockSetBack, ConfigurationError
from crowetrade_agents.gateway.state import Settings
from crowetrade_agents.journal.memory import MemoryJournal, MemoryLog
from crowetrade_agents.runtime.clock import MOST_AHEAD_NS, SystemClock, ended_when_set_back
from crowetrade_agents.runtime.gateway import JOURNAL_AHEAD_NS, begin_session
from crowetrade_agents_tests.gateway.scenario import INSTRUMENTS, VENUE

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000
SETTINGS = Settings("desk", VENUE, "pod-1", INSTRUMENTS)


class Machine:
    """Time passes on both clocks, and the wall clock can be set. `frozen` is how long the process stands still after it
    has read one of them."""

    def __init__(self) -> None:
        self.wall = START
        self.steady = 5 * SECOND
        self.frozen = 0.0
        self.clock = SystemClock(self._read_wall, self._read_steady)

    def _read_wall(self) -> int:
        found = self.wall
        self.passes(self.frozen)
        return found

    def _read_steady(self) -> int:
        found = self.steady
        self.passes(self.frozen)
        return found

    def passes(self, seconds: float) -> None:
        self.wall += round(seconds * SECOND)
        self.steady += round(seconds * SECOND)


def test_a_clock_that_is_set_back_goes_on_at_its_own_pace() -> None:
    machine = Machine()
    machine.passes(10)
    machine.wall -= 3600 * SECOND
    assert machine.clock.now_ns() == START + 10 * SECOND
    machine.passes(5)
    assert machine.clock.now_ns() == START + 15 * SECOND
    assert machine.clock.ahead_ns == 3600 * SECOND
    machine.wall += 3600 * SECOND
    assert machine.clock.ahead_ns == 0
    assert machine.clock.now_ns() == START + 15 * SECOND


def test_a_clock_that_is_set_forward_is_followed_at_once() -> None:
    machine = Machine()
    machine.wall += 3600 * SECOND
    assert machine.clock.now_ns() == START + 3600 * SECOND
    assert machine.clock.ahead_ns == 0


def test_a_process_that_stands_still_between_the_two_clocks_is_not_ahead() -> None:
    machine = Machine()
    machine.clock.now_ns()
    machine.frozen = 10.0
    machine.clock.now_ns()
    machine.clock.now_ns()
    machine.frozen = 0.0
    assert machine.clock.now_ns() == machine.wall
    assert machine.clock.ahead_ns == 0


async def test_what_waits_is_not_kept_waiting_by_a_clock_that_is_set_back() -> None:
    machine = Machine()
    machine.clock.now_ns()
    waiting = asyncio.create_task(machine.clock.wait_until(START + SECOND // 100))
    machine.wall -= 3600 * SECOND
    machine.passes(0.01)
    async with asyncio.timeout(10):
        await waiting


@pytest.mark.parametrize(("seconds", "ends"), [(1.9, False), (2.1, True)])
async def test_a_process_ends_in_order_when_the_clock_is_set_back_by_more_than_two_seconds(
    seconds: float, ends: bool
) -> None:
    machine, stop = Machine(), asyncio.Event()
    machine.clock.now_ns()
    machine.wall -= round(seconds * SECOND)
    assert (machine.clock.ahead_ns > MOST_AHEAD_NS) is ends
    if not ends:
        async with ended_when_set_back(machine.clock, stop):
            await asyncio.sleep(0)
        assert not stop.is_set()
        return
    with pytest.raises(ClockSetBack, match=r"set back by 2\.1 s"):
        async with ended_when_set_back(machine.clock, stop):
            await stop.wait()


async def test_a_journal_of_the_future_is_not_gone_on_with() -> None:
    """By a little it is: the gateway waits for the clock then (GatewayProcess), and its session is the journal's."""
    log = MemoryLog()
    await begin_session(MemoryJournal(log), SETTINGS, lambda: START + JOURNAL_AHEAD_NS)
    state, _ = await begin_session(MemoryJournal(log), SETTINGS, lambda: START)
    assert state.books.at_ns == START + JOURNAL_AHEAD_NS
    with pytest.raises(ConfigurationError, match="61 s ahead of this machine's clock: set the clock right") as error:
        await begin_session(MemoryJournal(log), SETTINGS, lambda: START - SECOND)
    assert "2023-11-14T22:14:20+00:00" in str(error.value)
    state, _ = await begin_session(MemoryJournal(log), SETTINGS, lambda: START + JOURNAL_AHEAD_NS)
    assert state.books.fencing_token == 3, "the one that was refused has written nothing"
