"""The gateway's actor with a journal in memory and a venue that only writes down what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.errors import JournalError, JournalUnavailable, Overtaken
from crowetrade_agents.gateway import commands, loop
from crowetrade_agents.gateway.loop import Gateway
from crowetrade_agents.gateway.venue_session import VenueSession
from crowetrade_agents.journal.port import JournalHead
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import EUR, START, Scenario, cl_ord_id, terms

WAIT_SECONDS = 10


class Journal:
    """Takes everything until it fails with `error`; counts how often it was asked to confirm."""

    def __init__(self, error: JournalError | None = None) -> None:
        self.error = error
        self.confirmed = 0
        self.records: list[list[str]] = []

    async def append(self, events: Any, recorded_unix_ns: int, fencing_token: int) -> JournalHead:
        if self.error is not None:
            raise self.error
        self.records.append([event.WhichOneof("event") for event in events])
        return JournalHead(len(self.records))

    async def confirm(self) -> None:
        self.confirmed += 1
        if self.error is not None:
            raise self.error


class SlowJournal(Journal):
    """Confirms an append when `confirmation` is set; notes of each snapshot its open orders and its head."""

    confirmation: asyncio.Event

    def __init__(self) -> None:
        super().__init__()
        self.snapshots: list[tuple[int, JournalHead]] = []

    async def append(self, events: Any, recorded_unix_ns: int, fencing_token: int) -> JournalHead:
        head = await super().append(events, recorded_unix_ns, fencing_token)
        await self.confirmation.wait()
        return head

    async def write_snapshot(self, books: Any, head: JournalHead) -> None:
        self.snapshots.append((len(books.open), head))


class Venue:
    """Logs on whoever asks and writes down what it gets. `events` brings the end of the session when it is set."""

    features = port.VenueFeatures()

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.logons = 0
        self.lost = asyncio.Event()

    async def connect(self, resume: port.Resume) -> port.VenueSnapshot:
        self.logons += 1
        orders = port.OpenOrder(
            cl_ord_id(1), "v1", EUR, Side.BUY, Decimal(10_000), Decimal("1.1"), Decimal(0), OrdStatus.NEW
        )
        return port.VenueSnapshot((orders,))

    async def events(self) -> AsyncIterator[port.VenueEvent]:
        while True:
            await self.lost.wait()
            self.lost.clear()
            yield port.SessionChanged(port.SessionState.DISCONNECTED, "the connection is over")

    def submit(self, order: Any) -> None:
        self.sent.append("order")

    def cancel(self, cancel: Any) -> None:
        self.sent.append(f"cancel {cancel.orig_cl_ord_id}")


class Hub:
    """Nobody reads what is reported."""

    def handled(self, command: object) -> None: ...

    def deliver(self, strategy: str, response: object) -> None: ...


class StillClock:
    """Time stands still, except for whoever waits in an emergency: that is over at once."""

    def now_ns(self) -> int:
        return START

    async def wait_until(self, at_ns: int) -> None:
        if at_ns - START < 1_000_000_000:
            await asyncio.Event().wait()


async def publish(event: object) -> None: ...


def gateway(journal: Journal, venue: Venue) -> Gateway:
    """With one open order."""
    scenario = Scenario()
    scenario.order(terms(1))
    scenario.accepted(1)
    made: Any = (scenario.state, journal, JournalHead(), venue, Hub(), publish, StillClock())
    return Gateway(*made)


CANCELS = [f"cancel {cl_ord_id(number)}" for number in (1, 2)]


@pytest.mark.parametrize(
    ("error", "sent"), [(Overtaken("somebody else writes"), []), (JournalUnavailable("no answer"), CANCELS)]
)
async def test_who_is_overtaken_leaves_the_orders_to_its_successor(error: JournalError, sent: list[str]) -> None:
    venue = Venue()
    actor = gateway(Journal(error), venue)
    await actor.put(commands.NewOrder(terms(2), START + 10**9, 0, START))

    with pytest.raises(type(error)):
        await asyncio.wait_for(actor.run(), WAIT_SECONDS)

    assert venue.sent == sent


async def test_orders_are_cancelled_without_a_journal_also_at_a_venue_that_takes_no_new_ones() -> None:
    """After a recording the venue refuses orders and still takes cancels."""
    venue = Venue()
    actor = gateway(Journal(JournalUnavailable("no answer")), venue)
    await actor.put(commands.FromVenue(port.SessionChanged(port.SessionState.ENDED, "the recording is over")))
    fill = port.Executed(cl_ord_id(1), "v1", "e1", EUR, Side.BUY, Decimal(4000), Decimal("1.1"), Decimal(0), START)
    await actor.put(commands.FromVenue(fill))

    with pytest.raises(JournalUnavailable):
        await asyncio.wait_for(actor.run(), WAIT_SECONDS)

    assert venue.sent == CANCELS[:1]


async def test_a_gateway_proves_that_it_is_not_overtaken_before_it_logs_on() -> None:
    """Two gateways: the frozen one loses its session to the other, and must not take it back when it goes on."""
    venue, journal = Venue(), Journal()
    actor = gateway(journal, venue)
    session: Any = VenueSession(venue, actor.put, port.Resume, actor.prove, StillClock())  # type: ignore[arg-type]
    tasks = [asyncio.create_task(actor.run()), asyncio.create_task(session.run())]
    await asyncio.wait_for(until(lambda: venue.logons == 1), WAIT_SECONDS)

    journal.error = Overtaken("somebody else writes")
    venue.lost.set()
    with pytest.raises(Overtaken):
        await asyncio.wait_for(tasks[0], WAIT_SECONDS)

    assert (venue.logons, venue.sent) == (1, [])
    tasks[1].cancel()


async def test_a_proof_is_of_a_time_after_it_was_asked_for() -> None:
    journal = Journal()
    actor = gateway(journal, Venue())
    running = asyncio.create_task(actor.run())
    for asked in (1, 2):
        await asyncio.wait_for(actor.prove(), WAIT_SECONDS)
        assert journal.confirmed + len(journal.records) >= asked
    running.cancel()


async def test_a_gateway_that_stops_confirms_what_is_in_its_books_first() -> None:
    """A snapshot of books that are ahead of the journal makes the next start read events twice."""
    journal, confirmed = SlowJournal(), asyncio.Event()
    journal.confirmation = confirmed
    actor = gateway(journal, Venue())
    running = asyncio.create_task(actor.run())
    await actor.put(commands.NewOrder(terms(2), START + 10**9, 0, START))
    await asyncio.wait_for(until(lambda: len(actor.state.books.open) == 2), WAIT_SECONDS)

    actor.stop()
    await asyncio.sleep(0)
    assert not running.done()
    confirmed.set()
    await asyncio.wait_for(running, WAIT_SECONDS)
    await actor.snapshot()

    assert journal.snapshots == [(2, actor.head)]
    assert actor.head.sequence == len(journal.records)


async def test_orders_leave_while_a_snapshot_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the books of the moment when it was due, and one is written at a time."""

    class SlowSnapshots(SlowJournal):
        async def write_snapshot(self, books: Any, head: JournalHead) -> None:
            await super().write_snapshot(books, head)
            await written.wait()

    monkeypatch.setattr(loop, "SNAPSHOT_EVENTS", 1)
    venue, journal, written = Venue(), SlowSnapshots(), asyncio.Event()
    journal.confirmation = asyncio.Event()
    journal.confirmation.set()
    actor = gateway(journal, venue)
    running = asyncio.create_task(actor.run())
    for number in (2, 3):
        await actor.put(commands.NewOrder(terms(number), START + 10**9, 0, START))
        await asyncio.wait_for(until(lambda number=number: len(venue.sent) == number - 1), WAIT_SECONDS)

    assert journal.snapshots == [(2, JournalHead(1))]
    written.set()
    await asyncio.wait_for(until(lambda: len(journal.snapshots) == 2), WAIT_SECONDS)
    assert journal.snapshots[1] == (3, JournalHead(2))
    running.cancel()


async def test_a_snapshot_is_not_made_while_orders_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SNAPSHOT_EVENTS", 1)
    journal = SlowJournal()
    journal.confirmation = asyncio.Event()
    actor = gateway(journal, Venue())
    running = asyncio.create_task(actor.run())
    for number in (2, 3):  # the second waits while the first is being journaled
        await actor.put(commands.NewOrder(terms(number), START + 10**9, 0, START))
        await asyncio.wait_for(until(lambda: journal.records), WAIT_SECONDS)
    journal.confirmation.set()
    await asyncio.wait_for(until(lambda: journal.snapshots), WAIT_SECONDS)

    assert journal.snapshots == [(3, JournalHead(2))]
    running.cancel()


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0)
