"""The gateway's actor with a journal in memory and a venue that only writes down what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.control.state import OnRecord
from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.errors import JournalError, JournalUnavailable, Overtaken
from crowetrade_agents.gateway import commands, effects, loop
from crowetrade_agents.gateway.engine import handle
from crowetrade_agents.gateway.loop import Gateway
from crowetrade_agents.gateway.order import Key
from crowetrade_agents.gateway.state import Settings
from crowetrade_agents.gateway.venue_session import VenueSession
from crowetrade_agents.journal.port import JournalHead
from crowetrade_agents.venues import port
from crowetrade_agents_tests.clock import ManualClock, settle
from crowetrade_agents_tests.gateway.scenario import (
    EUR,
    INSTRUMENTS,
    START,
    VENUE,
    Scenario,
    book,
    cl_ord_id,
    configuration,
    terms,
)

WAIT_SECONDS = 10


class Journal:
    """Takes everything until it fails with `error`; counts how often it was asked to confirm."""

    def __init__(self, error: JournalError | None = None) -> None:
        self.error = error
        self.confirmed = 0
        self.records: list[list[str]] = []
        self.stamps: list[tuple[int, int]] = []

    async def append(self, events: Any, recorded_unix_ns: int, fencing_token: int) -> JournalHead:
        if self.error is not None:
            raise self.error
        self.records.append([event.WhichOneof("event") for event in events])
        self.stamps.append((recorded_unix_ns, fencing_token))
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

    with pytest.raises(JournalUnavailable), capture_logs() as logs:
        await asyncio.wait_for(actor.run(), WAIT_SECONDS)

    assert venue.sent == CANCELS[:1]
    assert logs[-1] == {"event": "orders_cancelled_without_journal", "orders": 1, "log_level": "error"}


async def test_the_answers_to_the_cancels_of_an_emergency_are_awaited() -> None:
    """Whatever else comes meanwhile; and no longer than a moment."""
    for answered in (True, False):
        venue, clock = Venue(), ManualClock(START)
        scenario = Scenario()
        for number in (1, 2):
            scenario.order(number)
            scenario.accepted(number)
        error = JournalUnavailable("no answer")
        made: Any = (scenario.state, Journal(error), JournalHead(), venue, Hub(), publish, clock)
        actor = Gateway(*made)
        running = asyncio.create_task(actor.run())
        await actor.put(commands.Leave())
        await settle()
        assert sorted(venue.sent) == sorted([*CANCELS, *CANCELS])  # of the one who leaves, and of the emergency

        for event in (port.FeedAlive(START), port.Accepted(cl_ord_id(2), "v", START), _over(1)):
            await actor.put(commands.FromVenue(event))
        await actor.put(commands.Timer())
        await clock.advance_seconds(1.9)
        assert not running.done()
        if answered:
            await actor.put(commands.FromVenue(_over(2)))
            await settle()
        else:
            await clock.advance_seconds(0.1)

        assert running.done()
        with pytest.raises(JournalUnavailable):
            running.result()


def _over(number: int) -> port.Ended:
    return port.Ended(cl_ord_id(number), "v", OrdStatus.CANCELED, "", "", START)


async def test_whatever_ends_it_cancels_what_is_open() -> None:
    venue = Venue()
    actor = gateway(Journal(), venue)

    async def fails(event: object) -> None:
        raise RuntimeError("nobody expects this")

    actor._publish = fails
    await actor.put(commands.FromVenue(port.QuoteChanged(9, book())))
    with pytest.raises(RuntimeError, match="nobody expects this"):
        await asyncio.wait_for(actor.run(), WAIT_SECONDS)

    assert venue.sent == CANCELS[:1]


@pytest.mark.parametrize("record", [OnRecord(2, 10, "pod-2"), OnRecord(1, 10, "pod-2")])
async def test_who_hears_of_its_successor_from_the_operator_leaves_the_orders_to_it(record: OnRecord) -> None:
    """The record would halt it: it asks the journal first."""
    venue = Venue()
    actor = gateway(Journal(Overtaken("somebody else writes")), venue)
    await actor.put(commands.Configure(configuration(revision="r2", on_record=record)))
    with pytest.raises(Overtaken):
        await asyncio.wait_for(actor.run(), WAIT_SECONDS)

    assert venue.sent == []
    assert not actor.state.books.halts


async def test_what_is_waited_for_is_waited_for_until_the_deadline() -> None:
    clock, state = ManualClock(START), Scenario().state
    made: Any = (state, Journal(), JournalHead(), Venue(), Hub(), publish, clock)
    actor, event = Gateway(*made), asyncio.Event()
    waits = [
        asyncio.create_task(actor.first(event, START + 10**9)),
        asyncio.create_task(actor.wait_for_news(START + 10**9)),
        asyncio.create_task(actor.drain(lambda: False, START + 10**9)),
    ]
    await clock.advance_seconds(0.9)
    assert [wait.done() for wait in waits] == [False, False, False]
    await clock.advance_seconds(0.1)
    assert [wait.done() for wait in waits] == [True, True, True]
    assert waits[2].result() is False

    event.set()
    await asyncio.wait_for(actor.first(event, START + 10**10), WAIT_SECONDS)
    assert await actor.drain(lambda: True, START) is True
    done: list[bool] = []
    draining = asyncio.create_task(actor.drain(lambda: bool(done), START + 10**10))
    await settle()
    done.append(True)
    assert not draining.done()
    actor.changed.set()
    await settle()
    assert draining.result() is True


async def test_a_gateway_looks_at_timers_and_proves_itself_by_the_clock() -> None:
    clock, journal, scenario = ManualClock(START), Journal(), Scenario()
    scenario.order(1)
    hub = RecordingHub()
    made: Any = (scenario.state, journal, JournalHead(), RecordingVenue(), hub, publish, clock)
    running = asyncio.create_task(Gateway(*made).run())
    await clock.advance_seconds(2.95)
    assert (journal.confirmed, hub.heard) == (0, [])
    await clock.advance_seconds(0.05)
    assert (journal.confirmed, hub.heard) == (1, ["Timer"])
    await clock.advance_seconds(3)
    assert (journal.confirmed, journal.records) == (2, [])

    await clock.advance_seconds(4)  # ten seconds without an answer

    assert journal.records == [["order_unknown"]]
    assert journal.stamps == [(START + 10 * 10**9, 1)]
    running.cancel()


async def test_books_are_kept_when_enough_has_happened_since_the_last_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crowetrade_agents.gateway.loop.SNAPSHOT_EVENTS", 2)
    journal = SlowJournal()
    journal.confirmation = asyncio.Event()
    journal.confirmation.set()
    made: Any = (Scenario().state, journal, JournalHead(), RecordingVenue(), Hub(), publish, StillClock())

    await _handled(Gateway(*made), *(commands.NewOrder(terms(n), START + 1, 0, START) for n in range(1, 6)))

    assert journal.snapshots == [(2, JournalHead(2)), (4, JournalHead(4))]


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


async def test_a_gateway_that_has_just_appended_needs_no_other_proof() -> None:
    actor, *_ = _watched()
    journal: Any = actor._journal

    await _handled(actor, commands.Timer(), commands.Timer())

    assert journal.confirmed == 0


async def test_a_snapshot_that_cannot_be_written_is_counted_and_told_and_nothing_else() -> None:
    class NoSnapshots(Journal):
        async def write_snapshot(self, books: Any, head: JournalHead) -> None:
            raise JournalUnavailable("no room")

    failed = REGISTRY.get_sample_value("crowetrade_gateway_snapshots_failed_total")
    actor = gateway(NoSnapshots(), Venue())
    with capture_logs() as logs:
        await actor.snapshot()

    assert REGISTRY.get_sample_value("crowetrade_gateway_snapshots_failed_total") == (failed or 0) + 1
    assert logs == [{"event": "snapshot_not_written", "error": "no room", "log_level": "warning"}]


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
    await settle()
    await actor.put(commands.Timer())
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


class RecordingVenue(Venue):
    """Writes down all that it gets."""

    def submit(self, order: Any) -> None:
        self.sent.append(f"submit {order.terms.cl_ord_id}")

    def replace(self, replace: Any) -> None:
        self.sent.append(f"replace {replace.orig_cl_ord_id} by {replace.terms.cl_ord_id}")

    def query(self, *order: Any) -> None:
        self.sent.append(f"query {' '.join(map(str, order))}")


class RecordingHub(Hub):
    """Writes down what is reported."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def handled(self, command: object) -> None:
        self.heard.append(type(command).__name__)

    def accept(self, strategy: str, session: int, snapshot: gateway_pb2.LogonAccepted) -> None:
        self.heard.append(f"{strategy} {session} {snapshot.market_data_sequence}")

    def deliver(self, strategy: str, response: Any) -> None:
        self.heard.append(f"{strategy} {response.WhichOneof('message')}")

    def publish(self, sequence: int) -> None:
        self.heard.append(f"sequence {sequence}")


def _watched(features: port.VenueFeatures | None = None) -> tuple[Gateway, RecordingVenue, RecordingHub, list[object]]:
    """With one open order of alpha; the last is what was published."""
    settings = Settings(
        "ns", VENUE, "pod-1", INSTRUMENTS, features or port.VenueFeatures(), orders_per_second=1000, order_burst=1000
    )
    scenario = Scenario(settings)
    scenario.order(terms(1))
    scenario.accepted(1)
    venue, hub, published = RecordingVenue(), RecordingHub(), list[object]()

    async def note(event: object) -> None:
        published.append(event)

    made: Any = (scenario.state, Journal(), JournalHead(), venue, hub, note, StillClock())
    return Gateway(*made), venue, hub, published


async def _handled(actor: Gateway, *wanted: commands.Command) -> None:
    """Runs the gateway until it has handled these."""
    running = asyncio.create_task(actor.run())
    for command in wanted:
        await actor.put(command)
        actor.changed.clear()
        await asyncio.wait_for(actor.changed.wait(), WAIT_SECONDS)
    actor.stop()
    await actor.put(commands.Timer())
    await asyncio.wait_for(running, WAIT_SECONDS)


QUOTE = port.QuoteChanged(7, book())
REPLACE = commands.ReplaceOrder(
    "alpha", cl_ord_id(3), cl_ord_id(1), Decimal(20_000), Decimal(1), START + 10**9, 0, START
)
# A command, what the venue gets of it and what the strategies hear, the command that is done last.
CARRIED_OUT: dict[str, tuple[commands.Command, list[str], list[str]]] = {
    "an order": (
        commands.NewOrder(terms(2), START + 10**9, 0, START),
        [f"submit {cl_ord_id(2)}"],
        ["alpha execution_report", "NewOrder"],
    ),
    "a cancel": (
        commands.CancelOrder("alpha", cl_ord_id(2), cl_ord_id(1)),
        [f"cancel {cl_ord_id(1)}"],
        ["alpha execution_report", "CancelOrder"],
    ),
    "a cancel that is refused": (
        commands.CancelOrder("alpha", cl_ord_id(2), cl_ord_id(9)),
        [],
        ["alpha cancel_reject", "CancelOrder"],
    ),
    "a replacement": (
        REPLACE,
        [f"replace {cl_ord_id(1)} by {cl_ord_id(3)}"],
        ["alpha execution_report", "ReplaceOrder"],
    ),
    "a question": (
        commands.VenueConnected(port.VenueSnapshot()),
        [f"query {cl_ord_id(1)} v1 {EUR}"],
        ["alpha execution_report", "VenueConnected"],
    ),
    "a logon": (commands.Logon("beta", 9), [], ["beta 9 2", "Logon"]),
    "a quote": (commands.FromVenue(QUOTE), [], ["FromVenue"]),
}


@pytest.mark.parametrize("what", CARRIED_OUT)
async def test_what_is_asked_for_is_carried_out(what: str) -> None:
    command, sent, heard = CARRIED_OUT[what]
    actor, venue, hub, published = _watched()

    await _handled(actor, command)

    assert venue.sent == sent
    assert hub.heard == [*heard, "Timer"]
    assert published == ([QUOTE] if what == "a quote" else [])


async def test_in_lock_step_the_strategies_owe_progress_for_what_is_published() -> None:
    actor, _, hub, published = _watched(port.VenueFeatures(lock_step=True))

    await _handled(actor, commands.FromVenue(QUOTE))

    assert hub.heard == ["sequence 7", "FromVenue", "Timer"]
    assert published == [QUOTE]
    (logon,) = handle(actor.state, commands.Logon("beta", 9), START)
    assert isinstance(logon, effects.AcceptLogon)
    assert logon.snapshot.lock_step


async def test_a_strategy_that_logs_on_hears_how_fast_the_recording_is_replayed() -> None:
    actor, *_ = _watched(port.VenueFeatures(replay_speed=Decimal("0.5")))
    (logon,) = handle(actor.state, commands.Logon("beta", 9), START)
    assert isinstance(logon, effects.AcceptLogon)
    assert (logon.snapshot.lock_step, logon.snapshot.replay_speed) == (False, "0.5")


@pytest.mark.parametrize(("count", "p99_ns"), [(0, 0), (1, 1), (2, 2), (99, 99), (100, 99), (101, 100), (200, 198)])
async def test_the_latency_is_the_nearest_rank_of_order_received_to_order_sent(count: int, p99_ns: int) -> None:
    actor, *_ = _watched()

    # The slowest first: what counts is not the order in which they came.
    await _handled(
        actor,
        *(
            commands.NewOrder(terms(2 + count - elapsed), START + 10**9, 0, START - elapsed)
            for elapsed in range(count, 0, -1)
        ),
    )

    assert actor.latency_p99_ns == p99_ns


async def test_what_is_counted_and_measured_is_in_the_metrics() -> None:
    def sample(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"crowetrade_gateway_{name}", labels) or 0.0

    def samples() -> list[float]:
        return [
            sample("orders_sent_total", strategy="alpha"),
            sample("orders_refused_total", strategy="alpha", reason="OrderTooLate"),
            sample("orphans_total"),
            sample("journal_seconds_count"),
            sample("order_seconds_sum"),
        ]

    actor, *_ = _watched()
    before = samples()
    with capture_logs() as logs:
        await _handled(
            actor,
            commands.NewOrder(terms(2), START + 10**9, 0, START - 500_000_000),
            commands.NewOrder(terms(3), START - 1, 0, START),
            commands.FromVenue(port.Accepted("x", "v", START)),
        )

    assert [round(after - was, 6) for after, was in zip(samples(), before, strict=True)] == [1, 1, 1, 1, 0.5]
    told = {"event": "venue_reports_unknown_order", "cl_ord_id": "x", "what": "accepted", "log_level": "error"}
    assert logs == [told]


@pytest.mark.parametrize(
    ("command", "news"),
    [
        (commands.Logon("beta", 9), True),
        (commands.Leave(), True),
        (commands.SessionLost("beta", 2), True),
        (commands.VenueConnected(port.VenueSnapshot()), True),
        (commands.Configure(configuration()), True),
        (commands.NewOrder(terms(2), START + 10**9, 0, START), False),
        (commands.FromVenue(port.Ended(cl_ord_id(1), "v1", OrdStatus.CANCELED, "", "", START)), False),
        (commands.FromVenue(port.Busted("x", "b", "e", EUR, Side.BUY, Decimal(1), Decimal(1), Decimal(0), 1)), True),
    ],
    ids=["logon", "leave", "session lost", "venue", "configuration", "order", "end of an order", "halt"],
)
async def test_the_operator_is_told_at_once_what_it_waits_for(command: commands.Command, news: bool) -> None:
    actor, *_ = _watched()

    await _handled(actor, command)

    assert actor._news.is_set() is news


async def test_the_end_of_an_order_is_news_while_a_strategy_is_being_stopped() -> None:
    actor, *_ = _watched()
    stopping = configuration({"alpha": TradingState.ACTIVE, "beta": TradingState.HALTED}, revision="r2")
    actor.state.live.configuration = stopping

    await _handled(actor, commands.FromVenue(port.Ended(cl_ord_id(1), "v1", OrdStatus.CANCELED, "", "", START)))

    assert actor._news.is_set()


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0)


async def test_a_venue_that_never_pauses_keeps_no_other_command_out() -> None:
    """A market that is behind fills the queue as soon as there is room in it."""
    actor = gateway(Journal(), Venue())

    async def flood() -> None:
        while True:
            await actor.put(commands.FromVenue(port.FeedAlive(START)))

    flooding = asyncio.create_task(flood())
    await settle()
    waiting = [asyncio.create_task(actor.put(commands.Configure(configuration(revision=f"r{n}")))) for n in (1, 2, 3)]
    await settle()
    running = asyncio.create_task(actor.run())
    await asyncio.wait_for(asyncio.gather(*waiting), WAIT_SECONDS)
    await asyncio.wait_for(until(lambda: actor.state.live.configuration.revision == "r3"), WAIT_SECONDS)
    flooding.cancel()
    running.cancel()


async def test_what_has_moved_is_taken_in_when_a_batch_is_on_its_way() -> None:
    """Not before, when its orders would wait for it, and not by the next decision."""
    left: list[set[Key]] = []

    class Watching(Venue):
        def submit(self, order: Any) -> None:
            left.append(set(actor.state.books.moved))

    actor = gateway(Journal(), Watching())
    strategy = terms(2).strategy
    actor.state.valuation.counted(frozenset({strategy}), frozenset())  # as some limit asks
    actor.state.settle()

    await actor.handle([commands.NewOrder(terms(2), START + 10**9, 0, START)])

    assert left == [{(strategy, EUR)}]
    assert not actor.state.books.moved
