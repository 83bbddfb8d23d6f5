"""Kill orders at the actor: they wait for nothing, and what was decided before they came does not leave any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.kills import Channel, Kill, Rearm
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.errors import JournalUnavailable, Overtaken
from crowetrade_agents.gateway import commands, kill_progress
from crowetrade_agents.gateway.loop import FROZEN_SECONDS, TICK_NS, Gateway
from crowetrade_agents.journal.port import JournalHead
from crowetrade_agents.venues import port
from crowetrade_agents_tests.clock import Stopwatch, settle
from crowetrade_agents_tests.gateway.breaches import Desk, loss_rule
from crowetrade_agents_tests.gateway.scenario import SECOND, START, Scenario, book, cl_ord_id, terms
from crowetrade_agents_tests.gateway.test_loop import Hub, Journal, SlowJournal, publish

NAME = ("cl-research", "stop")
LATER = START + 1000 * SECOND


def kill(mode: kill_pb2.KillMode.ValueType = kill_pb2.KILL_MODE_CANCEL, generation: int = 1) -> Kill:
    order = kill_pb2.KillOrder(namespace=NAME[0], name=NAME[1], uid="u1", generation=generation, mode=mode)
    return Kill(order, Channel.RPC)


def order(number: int) -> commands.NewOrder:
    return commands.NewOrder(terms(number), LATER, 0, START)


class StillClock:
    """Time stands still: no tick comes, and whoever waits for anything else need not."""

    def now_ns(self) -> int:
        return START

    async def wait_until(self, at_ns: int) -> None:
        if at_ns - START == TICK_NS:
            await asyncio.Event().wait()


class Venue:
    """Writes down what it gets."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def submit(self, order: Any) -> None:
        self.sent.append(f"order {order.terms.cl_ord_id[-1]}")

    def replace(self, replace: Any) -> None:
        self.sent.append(f"replace {replace.orig_cl_ord_id[-1]}")

    def cancel(self, cancel: Any) -> None:
        self.sent.append(f"cancel {cancel.orig_cl_ord_id[-1]}")


Store = Callable[[Sequence[kill_pb2.KillOrder]], Awaitable[None]]


def actor_of(scenario: Scenario, journal: Journal, store: Store | None = None) -> tuple[Gateway, Venue]:
    venue = Venue()
    made: Any = (scenario.state, journal, JournalHead(), venue, Hub(), publish, StillClock(), store)
    return Gateway(*made), venue


def with_resting(*numbers: int) -> Scenario:
    scenario = Scenario()
    for number in numbers:
        scenario.order(terms(number))
        scenario.accepted(number)
    return scenario


def slow_journal() -> SlowJournal:
    journal = SlowJournal()
    journal.confirmation = asyncio.Event()
    return journal


async def test_it_goes_before_what_waits_in_the_queue() -> None:
    actor, venue = actor_of(with_resting(1), Journal())
    for number in range(2, 9):
        await actor.put(order(number))
    actor.put_kill(kill())
    running = asyncio.create_task(actor.run())
    await settle()
    running.cancel()

    assert venue.sent == ["cancel 1"]


async def test_a_full_queue_does_not_hold_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crowetrade_agents.gateway.loop.QUEUE_SIZE", 3)
    actor, venue = actor_of(with_resting(1), Journal())
    for number in range(2, 5):
        await actor.put(order(number))
    waiting = asyncio.create_task(actor.put(order(5)))
    await settle()
    actor.put_kill(kill())
    running = asyncio.create_task(actor.run())
    await waiting
    await settle()
    running.cancel()

    assert venue.sent == ["cancel 1"]


async def test_while_a_batch_waits_for_the_journal_its_orders_do_not_leave_and_cancels_do_not_wait() -> None:
    scenario, journal = with_resting(1), slow_journal()
    actor, venue = actor_of(scenario, journal)
    running = asyncio.create_task(actor.run())
    await actor.put(order(2))
    await settle()
    assert [record[0] for record in journal.records] == ["order_submitted"]

    actor.put_kill(kill())

    assert venue.sent == ["cancel 1"]
    assert scenario.find(2).reason == "KillSwitchEngaged"  # type: ignore[union-attr]
    assert not scenario.state.live.kills[NAME].stored
    journal.confirmation.set()
    await settle()
    running.cancel()
    assert venue.sent == ["cancel 1"]
    assert [kind for record in journal.records for kind in record] == [
        "order_submitted",
        "kill_changed",
        "cancel_submitted",
        "cancel_submitted",
        "order_ended",
    ]
    assert not scenario.find(2).is_open  # type: ignore[union-attr]
    assert kill_progress.acknowledgement(scenario.state, NAME).blocked_unix_ns
    assert kill_progress.acknowledgement(scenario.state, NAME).still_open == [cl_ord_id(1)]


async def test_cancels_leave_before_what_was_stopped_is_booked() -> None:
    """A burst of orders takes milliseconds to refuse. In the journal everything stands in the order of the books."""
    scenario, journal = with_resting(1), slow_journal()
    actor, venue = actor_of(scenario, journal)
    open_then: list[set[str]] = []
    watched: Any = venue
    sends = venue.cancel

    def cancel(approved: Any) -> None:
        open_then.append(set(scenario.state.books.open))
        sends(approved)

    watched.cancel = cancel
    running = asyncio.create_task(actor.run())
    await actor.put(order(2))
    await settle()
    await actor.put(order(3))

    actor.put_kill(kill())

    assert open_then == [{cl_ord_id(1), cl_ord_id(2)}]
    assert scenario.state.books.open.keys() == {cl_ord_id(1)}
    journal.confirmation.set()
    await settle()
    running.cancel()
    assert [kind for record in journal.records for kind in record] == [
        "order_submitted",
        "kill_changed",
        "cancel_submitted",
        "cancel_submitted",
        "order_ended",
    ]


async def test_a_replacement_that_waits_for_the_journal_does_not_leave_either() -> None:
    scenario, journal = with_resting(1), slow_journal()
    actor, venue = actor_of(scenario, journal)
    running = asyncio.create_task(actor.run())
    request = commands.ReplaceOrder("alpha", cl_ord_id(2), cl_ord_id(1), *_SIZE, LATER, 0, START)
    await actor.put(request)
    await settle()
    actor.put_kill(kill(kill_pb2.KILL_MODE_BLOCK))
    journal.confirmation.set()
    await settle()
    running.cancel()

    assert venue.sent == []
    assert scenario.find(1).replace is None  # type: ignore[union-attr]
    assert kill_progress.acknowledgement(scenario.state, NAME).blocked_unix_ns


async def _cancel_waits(scenario: Scenario, journal: SlowJournal) -> tuple[Gateway, Venue, asyncio.Task[None]]:
    """Alpha's cancel of its order 1 waits for the journal."""
    actor, venue = actor_of(scenario, journal)
    running = asyncio.create_task(actor.run())
    await actor.put(commands.CancelOrder("alpha", cl_ord_id(9), cl_ord_id(1)))
    await settle()
    assert (venue.sent, journal.records) == ([], [["cancel_submitted"]])
    return actor, venue, running


@pytest.mark.parametrize("mode", [kill_pb2.KILL_MODE_CANCEL, kill_pb2.KILL_MODE_FLATTEN, kill_pb2.KILL_MODE_BLOCK])
async def test_a_cancel_of_the_strategy_that_waits_for_the_journal_leaves_at_once_and_once(
    mode: kill_pb2.KillMode.ValueType,
) -> None:
    journal = slow_journal()
    actor, venue, running = await _cancel_waits(with_resting(1), journal)

    actor.put_kill(kill(mode))

    assert venue.sent == ["cancel 1"]
    journal.confirmation.set()
    await settle()
    running.cancel()
    assert venue.sent == ["cancel 1"]
    assert [kind for record in journal.records for kind in record] == ["cancel_submitted", "kill_changed"]


async def test_a_cancel_of_whom_it_does_not_stop_waits_for_the_journal() -> None:
    journal = slow_journal()
    actor, venue, running = await _cancel_waits(with_resting(1), journal)
    elsewhere = kill()
    elsewhere.order.namespace, elsewhere.order.scope.namespaces_from = "cl-other", "Same"

    actor.put_kill(elsewhere)

    assert venue.sent == []
    journal.confirmation.set()
    await settle()
    running.cancel()
    assert venue.sent == ["cancel 1"]


async def test_a_cancel_of_an_order_that_has_not_left_does_not_leave_either() -> None:
    """Both are of one batch, and the order is stopped."""
    journal = slow_journal()
    actor, venue = actor_of(Scenario(), journal)
    await actor.put(order(2))
    await actor.put(commands.CancelOrder("alpha", cl_ord_id(9), cl_ord_id(2)))
    running = asyncio.create_task(actor.run())
    await settle()
    assert journal.records == [["order_submitted", "cancel_submitted"]]
    actor.put_kill(kill())
    journal.confirmation.set()
    await settle()
    running.cancel()
    assert venue.sent == []


async def test_a_cancel_that_has_left_while_the_bus_hangs_does_not_leave_again() -> None:
    async def hangs(event: object) -> None:
        await asyncio.Event().wait()

    scenario, venue = with_resting(1), Venue()
    made: Any = (scenario.state, Journal(), JournalHead(), venue, Hub(), hangs, StillClock())
    actor = Gateway(*made)
    await actor.put(commands.CancelOrder("alpha", cl_ord_id(9), cl_ord_id(1)))
    await actor.put(commands.FromVenue(port.QuoteChanged(7, book())))
    running = asyncio.create_task(actor.run())
    await settle()
    assert venue.sent == ["cancel 1"]

    actor.put_kill(kill())

    assert venue.sent == ["cancel 1"]
    running.cancel()


async def _breach_beside_a_batch(desk: Desk, journal: SlowJournal) -> tuple[Gateway, Venue, asyncio.Task[None]]:
    """Order 1 rests, order 2 waits for the journal, and one refusal too many in a row cancels what is open."""
    desk.put(loss_rule({"maxConsecutiveRejects": "1"}, on_breach="Cancel"))
    desk.order(1)
    desk.accepted(1)
    actor, venue = actor_of(desk, journal)
    running = asyncio.create_task(actor.run())
    await actor.put(order(2))
    await settle()
    return actor, venue, running


async def _too_late(actor: Gateway) -> None:
    for number in range(3, 6):
        await actor.put(commands.NewOrder(terms(number), START - 1, 0, START))


async def test_what_a_breach_cancels_beside_a_batch_that_waits_leaves_at_once() -> None:
    """A kill order blocks the strategy; what it sends all the same comes too late, once too often in a row."""
    journal = slow_journal()
    actor, venue, running = await _breach_beside_a_batch(Desk(), journal)
    actor.put_kill(kill(kill_pb2.KILL_MODE_BLOCK))
    await _too_late(actor)

    assert venue.sent == ["cancel 1"]
    journal.confirmation.set()
    await settle()
    running.cancel()
    assert venue.sent == ["cancel 1"]


async def test_a_snapshot_that_is_not_written_yet_does_not_hold_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class HangingSnapshots(SlowJournal):
        async def write_snapshot(self, books: Any, head: JournalHead) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr("crowetrade_agents.gateway.loop.SNAPSHOT_EVENTS", 1)
    journal = HangingSnapshots()
    journal.confirmation = asyncio.Event()
    journal.confirmation.set()
    actor, venue = actor_of(with_resting(1), journal)
    running = asyncio.create_task(actor.run())
    for number in (2, 3):
        await actor.put(order(number))
        await settle()

    actor.put_kill(kill())
    await settle()

    assert sorted(venue.sent[-3:]) == ["cancel 1", "cancel 2", "cancel 3"]
    running.cancel()


class Told(Hub):
    """Keeps what is reported to strategies."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def deliver(self, strategy: str, response: Any) -> None:
        self.reasons.append(response.execution_report.reason or response.cancel_reject.reason)


@pytest.mark.parametrize(
    "request_",
    [order(3), commands.ReplaceOrder("alpha", cl_ord_id(3), cl_ord_id(1), *(terms().quantity,) * 2, LATER, 0, START)],
    ids=["an order", "a replacement"],
)
async def test_what_comes_after_it_is_refused_without_waiting_for_the_journal(request_: commands.Command) -> None:
    scenario, journal, hub = with_resting(1), slow_journal(), Told()
    actor = Gateway(*_parts(scenario, journal, hub))
    running = asyncio.create_task(actor.run())
    await actor.put(order(2))
    await settle()
    actor.put_kill(kill(kill_pb2.KILL_MODE_BLOCK))
    assert hub.reasons == []

    await actor.put(request_)

    assert hub.reasons == ["KillSwitchEngaged"]
    journal.confirmation.set()
    await settle()
    running.cancel()
    assert hub.reasons[1:] == ["", "KillSwitchEngaged"]


async def test_whom_it_does_not_stop_waits_for_the_journal_as_ever() -> None:
    scenario, journal, hub = Scenario(), slow_journal(), Told()
    actor = Gateway(*_parts(scenario, journal, hub))
    running = asyncio.create_task(actor.run())
    await actor.put(order(1))
    await settle()
    elsewhere = kill(kill_pb2.KILL_MODE_BLOCK)
    elsewhere.order.namespace, elsewhere.order.scope.namespaces_from = "cl-other", "Same"
    actor.put_kill(elsewhere)
    await actor.put(order(2))
    assert hub.reasons == []
    journal.confirmation.set()
    await settle()
    running.cancel()
    assert hub.reasons == ["", ""]


def _parts(scenario: Scenario, journal: Journal, hub: Hub) -> Any:
    return scenario.state, journal, JournalHead(), Venue(), hub, publish, StillClock()


_SIZE = (terms().quantity * 2, terms().price or terms().quantity)


async def test_without_the_journal_the_file_alone_is_enough_to_acknowledge() -> None:
    stored: list[list[str]] = []

    async def store(orders: Sequence[kill_pb2.KillOrder]) -> None:
        stored.append([order.name for order in orders])

    scenario, journal = with_resting(1), slow_journal()
    actor, venue = actor_of(scenario, journal, store)
    running = asyncio.create_task(actor.run())
    actor.put_kill(kill())
    await settle()

    assert (venue.sent, stored) == (["cancel 1"], [["stop"]])
    assert scenario.state.live.kills[NAME].stored
    running.cancel()


async def test_with_neither_file_nor_journal_it_is_not_acknowledged_yet() -> None:
    async def store(orders: Sequence[kill_pb2.KillOrder]) -> None:
        raise OSError("no space left")

    scenario, journal = with_resting(1), slow_journal()
    actor, venue = actor_of(scenario, journal, store)
    running = asyncio.create_task(actor.run())
    actor.put_kill(kill())
    await settle()
    assert venue.sent == ["cancel 1"]
    assert not scenario.state.live.kills[NAME].stored
    journal.confirmation.set()
    await settle()
    assert scenario.state.live.kills[NAME].stored
    running.cancel()


async def test_it_is_obeyed_before_the_actor_has_had_its_turn() -> None:
    scenario, journal, hub = with_resting(1), Journal(), Told()
    actor, venue = Gateway(*(parts := _parts(scenario, journal, hub))), parts[3]
    await actor.put(order(2))

    actor.put_kill(kill())
    await actor.put(order(3))

    assert venue.sent == ["cancel 1"]
    assert hub.reasons == ["KillSwitchEngaged", "KillSwitchEngaged"]
    assert journal.records == []
    running = asyncio.create_task(actor.run())
    await settle()
    running.cancel()
    assert venue.sent == ["cancel 1"]
    assert [kind for record in journal.records for kind in record] == ["kill_changed", "cancel_submitted"]


async def test_what_one_asks_for_does_not_leave_when_the_next_one_stops_it_before_the_actor_has_had_its_turn() -> None:
    scenario, journal = Scenario(), Journal()
    scenario.order(terms(1))
    scenario.executed(1, "10000")
    scenario.venue(port.QuoteChanged(1, book()))
    actor, venue = actor_of(scenario, journal)

    actor.put_kill(kill(kill_pb2.KILL_MODE_FLATTEN))
    closing = list(scenario.state.books.open)
    actor.put_kill(Rearm(*NAME, "u1", 2))
    actor.put_kill(kill(generation=3))

    running = asyncio.create_task(actor.run())
    await settle()
    running.cancel()
    assert len(closing) == 1
    assert venue.sent == []


async def test_a_re_arming_is_obeyed_in_its_place_among_kill_orders() -> None:
    scenario = Scenario()
    actor, venue = actor_of(scenario, Journal())
    actor.put_kill(kill())
    actor.put_kill(Rearm(*NAME, "u1", 2))
    await actor.put(order(1))
    running = asyncio.create_task(actor.run())
    await settle()
    running.cancel()
    assert venue.sent == ["order 1"]


@pytest.mark.parametrize(("held", "sent"), [("0", []), ("-10000", ["order 2"])], ids=["opens", "reduces"])
async def test_close_only_stops_what_does_not_reduce_and_has_not_left(held: str, sent: list[str]) -> None:
    """Such as an order that would be executed at once: its cancel would come too late."""
    scenario, journal = Scenario(), slow_journal()
    if held != "0":
        scenario.order(replace(terms(1), side=Side.SELL))
        scenario.executed(1, "10000", side=Side.SELL)
    actor, venue = actor_of(scenario, journal)
    running = asyncio.create_task(actor.run())
    await actor.put(order(2))
    await settle()

    actor.put_kill(kill(kill_pb2.KILL_MODE_CLOSE_ONLY))

    journal.confirmation.set()
    await settle()
    running.cancel()
    assert venue.sent == sent
    assert (cl_ord_id(2) in scenario.books.open) is bool(sent)


async def test_close_only_stops_a_replacement_that_does_not_reduce_and_has_not_left() -> None:
    scenario, journal = with_resting(1), slow_journal()
    actor, venue = actor_of(scenario, journal)
    running = asyncio.create_task(actor.run())
    await actor.put(commands.ReplaceOrder("alpha", cl_ord_id(2), cl_ord_id(1), *_SIZE, LATER, 0, START))
    await settle()

    actor.put_kill(kill(kill_pb2.KILL_MODE_CLOSE_ONLY))

    journal.confirmation.set()
    await settle()
    running.cancel()
    assert venue.sent == ["cancel 1"]


async def test_what_has_not_left_is_over_before_what_waits_in_the_queue_is_refused() -> None:
    """Refusals in a row are a breach that cancels; of an order that never left there is nothing to cancel."""
    journal = slow_journal()
    actor, venue, running = await _breach_beside_a_batch(Desk(), journal)
    await _too_late(actor)

    actor.put_kill(kill(kill_pb2.KILL_MODE_BLOCK))

    journal.confirmation.set()
    await settle()
    running.cancel()
    assert venue.sent == ["cancel 1"]


@pytest.mark.parametrize(("seconds", "leaves"), [(FROZEN_SECONDS, 1), (FROZEN_SECONDS + 0.1, 0)])
async def test_a_closing_order_whose_approval_has_become_old_is_not_sent(
    stopwatch: Stopwatch, seconds: float, leaves: int
) -> None:
    """A kill order that flattens asked for it, beside a batch or while nothing waited; the process was frozen since."""
    scenario, journal = Scenario(), slow_journal()
    scenario.order(terms(1))
    scenario.executed(1, "10000")
    scenario.venue(port.QuoteChanged(1, book()))
    actor, venue = actor_of(scenario, journal)
    running = asyncio.create_task(actor.run())
    await settle()

    actor.put_kill(kill(kill_pb2.KILL_MODE_FLATTEN))
    (closing,) = scenario.state.books.open
    await settle()
    stopwatch.seconds += seconds
    journal.confirmation.set()
    await settle()
    running.cancel()

    assert venue.sent == [f"order {closing[-1]}"] * leaves
    assert (closing in scenario.state.books.open) is bool(leaves)


async def test_a_kill_order_that_comes_after_the_last_batch_is_in_the_journal_before_the_books_are_kept() -> None:
    journal = slow_journal()
    journal.confirmation.set()
    actor, venue = actor_of(with_resting(1), journal)
    running = asyncio.create_task(actor.run())
    await settle()
    actor.stop()
    await actor.put(commands.Timer())
    await running

    actor.put_kill(kill())
    await actor.snapshot()

    assert venue.sent == ["cancel 1"]
    assert journal.records[-1] == ["kill_changed", "cancel_submitted"]
    assert journal.snapshots == [(1, actor.head)]


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    watch = Stopwatch()
    monkeypatch.setattr("crowetrade_agents.gateway.loop.monotonic", watch)
    return watch


@pytest.mark.parametrize(("seconds", "sent"), [(FROZEN_SECONDS, ["order 2"]), (FROZEN_SECONDS + 0.1, [])])
async def test_an_approval_that_has_become_old_is_not_sent(
    stopwatch: Stopwatch, seconds: float, sent: list[str]
) -> None:
    """The process was frozen between the journal's confirmation and the send."""
    scenario, journal = Scenario(), slow_journal()
    actor, venue = actor_of(scenario, journal)
    running = asyncio.create_task(actor.run())
    await actor.put(order(2))
    await settle()
    stopwatch.seconds += seconds
    journal.confirmation.set()
    await settle()
    running.cancel()
    assert venue.sent == sent
    assert scenario.find(2).is_open is bool(sent)  # type: ignore[union-attr]


async def test_a_thawed_gateway_lets_kill_orders_come_first(stopwatch: Stopwatch) -> None:
    scenario, journal = Scenario(), Journal()
    actor, venue = actor_of(scenario, journal)
    confirm = journal.confirm

    async def then_a_kill_order_comes() -> None:
        await confirm()
        actor.put_kill(kill())

    journal.confirm = then_a_kill_order_comes  # type: ignore[method-assign]
    await actor.put(order(1))
    stopwatch.seconds += FROZEN_SECONDS + 0.1
    running = asyncio.create_task(actor.run())
    await settle()
    running.cancel()

    assert journal.confirmed == 1
    assert venue.sent == []


@pytest.mark.parametrize("error", [Overtaken("somebody else writes"), JournalUnavailable("no answer")])
async def test_a_thawed_gateway_that_cannot_prove_that_it_is_not_overtaken_ends(
    stopwatch: Stopwatch, error: Exception
) -> None:
    actor, venue = actor_of(Scenario(), Journal(error))  # type: ignore[arg-type]
    await actor.put(order(1))
    stopwatch.seconds += FROZEN_SECONDS + 0.1
    with pytest.raises(type(error)):
        await actor.run()
    assert venue.sent == []
