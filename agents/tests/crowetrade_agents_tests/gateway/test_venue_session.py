"""The session with the venue: logged on again and again, and what is put into the queue in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from crowetrade_agents.gateway.commands import Command, FromVenue, VenueConnected
from crowetrade_agents.gateway.venue_session import VenueSession
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import SECOND, START

WAIT_SECONDS = 10
RESUME = port.Resume(5, "s7")
SNAPSHOTS = [port.VenueSnapshot(state=f"s{number}") for number in range(3)]
LOST = port.SessionChanged(port.SessionState.DISCONNECTED, "gone")
ENDED = port.SessionChanged(port.SessionState.ENDED, "the recording is over")
ALIVE = port.FeedAlive(START)


class Venue:
    """Answers logons in turn and reports what is put into `reports`; None ends its events, an error breaks them."""

    def __init__(self, *answers: port.VenueSnapshot | Exception) -> None:
        self.answers = list(answers)
        self.reports: asyncio.Queue[Any] = asyncio.Queue()
        self.steps: list[object] = []

    async def prove(self) -> None:
        self.steps.append("prove")

    async def connect(self, resume: port.Resume) -> port.VenueSnapshot:
        self.steps.append(resume)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def renew(self) -> None:
        self.steps.append("renew")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer

    async def events(self) -> AsyncIterator[port.VenueEvent]:
        while (event := await self.reports.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    def now_ns(self) -> int:
        return START

    async def wait_until(self, at_ns: int) -> None:
        self.steps.append(f"wait {at_ns - START}")


class Running:
    """A session that runs, and the commands that it put."""

    def __init__(self, venue: Venue) -> None:
        self.commands: asyncio.Queue[Command] = asyncio.Queue()
        made: Any = (venue, self.commands.put, lambda: RESUME, venue.prove, venue)
        self.session = VenueSession(*made)
        self.logons = 0
        self.session.logged_on = self._logged_on
        self.task = asyncio.create_task(self.session.run())

    def _logged_on(self) -> None:
        self.logons += 1

    async def put(self, count: int) -> list[Command]:
        """The next commands."""
        return [await asyncio.wait_for(self.commands.get(), WAIT_SECONDS) for _ in range(count)]


async def test_a_logon_is_tried_until_it_succeeds_each_time_after_a_proof() -> None:
    venue = Venue(port.LogonRefused("the key is wrong"), port.VenueUnavailable("no route"), SNAPSHOTS[0])
    running = Running(venue)

    assert await running.put(3) == [
        FromVenue(port.SessionChanged(port.SessionState.LOGON_REJECTED, "the key is wrong")),
        FromVenue(port.SessionChanged(port.SessionState.CONNECTING, "no route")),
        VenueConnected(SNAPSHOTS[0]),
    ]
    wait = f"wait {SECOND}"
    assert venue.steps == ["prove", RESUME, wait, "prove", RESUME, wait, "prove", RESUME]
    running.task.cancel()


async def test_what_the_venue_reports_follows_the_snapshot_of_its_session() -> None:
    venue = Venue(*SNAPSHOTS)
    for event in (ALIVE, LOST, ENDED, LOST, ALIVE):
        venue.reports.put_nowait(event)
    running = Running(venue)

    done = await running.put(8)

    assert [item.event if isinstance(item, FromVenue) else item for item in done] == [
        VenueConnected(SNAPSHOTS[0]),
        ALIVE,
        LOST,
        VenueConnected(SNAPSHOTS[1]),
        ENDED,
        LOST,
        VenueConnected(SNAPSHOTS[2]),
        ALIVE,
    ]
    running.task.cancel()


async def test_it_ends_with_the_events_of_the_venue_and_breaks_with_them() -> None:
    venue = Venue(*SNAPSHOTS)
    venue.reports.put_nowait(None)
    await asyncio.wait_for(Running(venue).task, WAIT_SECONDS)

    venue.reports.put_nowait(RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        await asyncio.wait_for(Running(venue).task, WAIT_SECONDS)


async def test_nothing_is_left_running_when_it_is_cancelled() -> None:
    before = asyncio.all_tasks()
    running = Running(Venue(*SNAPSHOTS))
    await running.put(1)

    running.task.cancel()
    await asyncio.wait({running.task}, timeout=WAIT_SECONDS)
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == before


async def test_a_session_is_renewed_without_a_word_to_the_queue() -> None:
    running = Running(venue := Venue(*SNAPSHOTS))
    await running.put(1)
    await running.session.renew()
    assert venue.steps == ["prove", RESUME, "renew"]
    assert running.logons == 2
    venue.reports.put_nowait(ALIVE)
    assert await running.put(1) == [FromVenue(ALIVE)]
    running.task.cancel()


async def test_a_renewal_that_is_refused_leaves_the_session() -> None:
    running = Running(venue := Venue(SNAPSHOTS[0], port.LogonRefused("the key is wrong")))
    await running.put(1)
    with pytest.raises(port.LogonRefused):
        await running.session.renew()
    assert running.logons == 1
    venue.reports.put_nowait(ALIVE)
    assert await running.put(1) == [FromVenue(ALIVE)]
    running.task.cancel()


async def test_without_a_session_nothing_is_renewed() -> None:
    venue = Venue()
    made: Any = (venue, asyncio.Queue().put, lambda: RESUME, venue.prove, venue)
    await VenueSession(*made).renew()
    assert venue.steps == []
