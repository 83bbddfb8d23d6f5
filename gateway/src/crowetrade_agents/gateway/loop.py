"""The gateway's one actor: commands wait in one bounded queue, one task takes them, and nobody else touches the state.

A batch is handled, appended to the journal as one record, and carried out. When the journal takes no more, and at any
other error, everything that is open is cancelled at the venue, the error is raised, and the process ends: its successor
reads what was stored and asks the venue about the rest. A gateway that is overtaken sends nothing more: what is open is
its successor's.

A kill order waits for none of this: it is obeyed the moment it comes, before whatever waits, and also while a batch
waits for the journal. What it cancels leaves at once, with the cancels of that batch which its strategies asked for
themselves, and of that batch no order leaves any more that it stops. A process that was frozen trusts nothing that
it decided before: orders whose approval is old are not sent, and before it goes on it asks the journal whether it was
overtaken, and lets the ways of kill orders bring what came meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

import structlog

from crowetrade.bus.v1 import journal_pb2, orders_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents import metrics
from crowetrade_agents.control.kills import KillCommand, Name, name_of
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.errors import JournalError, Overtaken
from crowetrade_agents.gateway import batch, effects
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.gateway.commands import (
    Command,
    Configure,
    FromVenue,
    Leave,
    Logon,
    SessionLost,
    Timer,
    VenueConnected,
)
from crowetrade_agents.gateway.engine import next_timer_ns
from crowetrade_agents.gateway.state import GatewayState
from crowetrade_agents.journal.chain import batches
from crowetrade_agents.journal.port import JournalHead, JournalPort
from crowetrade_agents.order_entry.port import SessionHub
from crowetrade_agents.risk.approved import ApprovedCancel
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.venues.port import (
    Ended,
    QuoteChanged,
    SessionState,
    TradePrinted,
    VenuePort,
)
from crowetrade_process.stopping import cancelled, first_of

log = structlog.get_logger()

QUEUE_SIZE = 4096
TICK_NS = 50_000_000
"""Timers are looked at this often."""
SNAPSHOT_EVENTS = 10_000
"""After so many events a snapshot is due: once nothing waits, at the latest after twice as many, or when the one before
is written."""
CONFIRM_NS = 3 * SECOND_NS
"""A gateway that has appended nothing for so long proves that it is not overtaken."""
EMERGENCY_NS = 2 * SECOND_NS
"""How long the answers to the cancels of a gateway without a journal are awaited."""
FROZEN_SECONDS = 1.0
"""A process that did not run for so long was frozen (or its machine was); so was an approval that is older."""
THAW_NS = SECOND_NS // 4
"""So long a thawed gateway lets kill orders come in before it goes on."""
LATENCIES_KEPT = 1000
DRAIN_LOOK_NS = SECOND_NS // 10
NEWS = (Configure, VenueConnected, Logon, SessionLost, Leave)
"""Commands whose outcome the operator waits for."""


StoreKills = Callable[[Sequence[kill_pb2.KillOrder]], Awaitable[None]]


class _Beside(NamedTuple):
    """What was decided while a batch may wait for the journal, and when, on the steady clock."""

    todo: batch.Batch
    decided: float


class Gateway:
    """Runs the engine of one venue. `put` from anywhere; `run` in one task."""

    def __init__(
        self,
        state: GatewayState,
        journal: JournalPort,
        head: JournalHead,
        venue: VenuePort,
        hub: SessionHub,
        publish: Callable[[QuoteChanged | TradePrinted], Awaitable[None]],
        clock: Clock,
        store_kills: StoreKills | None = None,
        kills_changed: Callable[[], None] = lambda: None,
        steady: Callable[[], float] | None = None,
    ) -> None:
        """`store_kills` keeps the kill orders in force where they survive without the journal; raises OSError.
        `kills_changed` is called when an acknowledgement has become another. `steady` are the seconds, of any
        beginning, that tell whether this process was frozen; without it those of the machine."""
        self.state = state
        self.head = head
        # Set whenever a batch has been carried out.
        self.changed = asyncio.Event()
        self._news = asyncio.Event()
        self._journal = journal
        self._venue = venue
        self._hub = hub
        self._publish = publish
        self._clock = clock
        self._store_kills = store_kills
        self._storing: set[asyncio.Task[None]] = set()
        self._kills_changed = kills_changed
        self._steady = steady or monotonic
        # Of each kill order, whether it is stored, blocked and halted.
        self._kills_reached: dict[Name, tuple[bool, bool, bool]] = {}
        # Before whatever is in the queue.
        self._first: deque[Command] = deque()
        # Of what was decided and is not carried out yet: orders that have not left, those that must not leave, and
        # cancels that have not left.
        self._leaving: dict[str, batch.Approved] = {}
        self._not_sent: set[str] = set()
        self._cancels: dict[str, ApprovedCancel] = {}
        # What kill orders ask for, to be journaled and carried out in turn.
        self._beside: deque[_Beside] = deque()
        self._alive_seconds = self._steady()
        self._was_frozen = False
        self._queue: asyncio.Queue[Command] = asyncio.Queue(QUEUE_SIZE)
        # Given in the order in which it is asked for.
        self._turn = asyncio.Lock()
        self._latencies_ns: deque[int] = deque(maxlen=LATENCIES_KEPT)
        self._appended_ns = clock.now_ns()
        self._snapshot_at = head.sequence
        self._writing: asyncio.Task[None] | None = None
        self._stopping = False
        self._proofs: list[asyncio.Future[None]] = []

    async def put(self, command: Command) -> None:
        """Queues a command, waiting while the queue is full; those who wait take turns. Of the queue's own waiters one
        that never pauses, as a venue whose market is behind, would come first each time. An order that a kill order
        stops is refused at once."""
        if batch.refuses_at_once(self.state, command):
            self._refuse(command)
            return
        async with self._turn:
            await self._queue.put(command)

    def put_kill(self, command: KillCommand) -> None:
        """Before whatever waits in the queue. Of whom a kill order stops no order leaves from now on, of whom it lets
        reduce alone none that does not: what was approved and has not left yet is refused in this moment."""
        now_ns = self._clock.now_ns()
        extra, stopped = batch.take_kill(self.state, command, now_ns, self._leaving)
        self._not_sent |= stopped.keys()
        for name in stopped:
            del self._leaving[name]
        self._decided_beside(extra)
        if stopped:
            known = self._leaving.keys() | stopped.keys()
            self._decided_beside(batch.refuse_stopped(self.state, stopped.values(), now_ns, known))
        self._refuse_what_waits()
        self._wake()
        storing = asyncio.create_task(self._keep_kills(extra.events))
        self._storing.add(storing)
        storing.add_done_callback(self._storing.discard)

    def _decided_beside(self, extra: batch.Batch) -> None:
        self._leaving |= extra.leaving
        self._send_urgent(extra)
        for cancel in batch.hurried(self.state, self._cancels.values(), self._leaving.keys() | self._not_sent):
            del self._cancels[cancel.cl_ord_id]
            self._venue.cancel(cancel)
        self._beside.append(_Beside(extra, self._steady()))

    def _send_urgent(self, todo: batch.Batch) -> None:
        """What waits for nothing; the batch's other cancels wait."""
        for cancel in todo.urgent:
            self._venue.cancel(cancel.cancel)
        self._cancels |= todo.cancels

    def _refuse(self, command: Command) -> None:
        """The answer waits for the journal only when the refusal itself is journaled."""
        refused = batch.take(self.state, (command,), self._clock.now_ns(), self._leaving)
        self._leaving |= refused.leaving
        self._send_urgent(refused)
        if refused.events:
            self._beside.append(_Beside(refused, self._steady()))
            self._wake()
        else:
            for effect in refused.after:
                self._carry_out(effect, self._steady())
        self._hub.handled(command)

    def _refuse_what_waits(self) -> None:
        """Of what waits in the queue that which is stopped now; the rest keeps its order."""
        for _ in range(self._queue.qsize()):
            command = self._queue.get_nowait()
            if batch.refuses_at_once(self.state, command):
                self._refuse(command)
            else:
                self._queue.put_nowait(command)

    def _put_first(self, command: Command) -> None:
        self._first.append(command)
        self._wake()

    def _wake(self) -> None:
        """`run` may be waiting for a command."""
        if self._queue.empty():
            self._queue.put_nowait(Timer())

    async def prove(self) -> None:
        """Returns once the journal has shown, after this call, that no other gateway has taken over. When one has,
        `run` raises and this does not return."""
        proof: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._proofs.append(proof)
        await self.put(Timer())
        await proof

    @property
    def latency_p99_ns(self) -> int:
        """99th percentile (nearest rank) of order received to order sent over the last orders; 0 without any."""
        values = sorted(self._latencies_ns)
        return values[min(len(values) - 1, (99 * len(values) + 99) // 100 - 1)] if values else 0

    def stop(self) -> None:
        """Lets `run` return when the batch that it handles now is done."""
        self._stopping = True

    async def run(self) -> None:
        """Takes commands until `stop` or until it is cancelled; raises JournalError when the journal takes no more.
        Whatever else it raises, what is open is cancelled first, except for who is overtaken."""
        ticking = asyncio.create_task(self._tick())
        try:
            while not self._stopping:
                waiting = [await self._queue.get()]
                if self._is_frozen():
                    await self._thaw()
                waiting[:0] = self._first
                self._first.clear()
                while len(waiting) < batch.MAX_COMMANDS and not self._queue.empty():
                    waiting.append(self._queue.get_nowait())
                await self._take(waiting)
        except Overtaken:
            raise
        except Exception:
            await self.emergency()
            raise
        finally:
            await cancelled(ticking, *self._storing, *((self._writing,) if self._writing is not None else ()))

    def _is_frozen(self) -> bool:
        """Whether this process did not run for FROZEN_SECONDS since it was last asked, or since a moment at which it
        had not."""
        now, before = self._steady(), self._alive_seconds
        self._alive_seconds = now
        self._was_frozen |= now - before > FROZEN_SECONDS
        return self._was_frozen

    async def _thaw(self) -> None:
        """Others may have taken over or stopped everything meanwhile: what they said is on its way to this process."""
        log.warning("gateway_was_frozen")
        await self._journal.confirm()
        await self._clock.wait_until(self._clock.now_ns() + THAW_NS)
        self._was_frozen, self._alive_seconds = False, self._steady()

    async def wait_for_news(self, deadline_ns: int) -> None:
        """Returns when something happened that others wait for, at the latest at the deadline."""
        await self.first(self._news, deadline_ns)
        self._news.clear()

    async def drain(self, until: Callable[[], bool], deadline_ns: int) -> bool:
        """Waits until the state is as wanted, at most until the deadline; whether it is."""
        while not until():
            if self._clock.now_ns() >= deadline_ns:
                return False
            self.changed.clear()
            await self.first(self.changed, min(deadline_ns, self._clock.now_ns() + DRAIN_LOOK_NS))
        return True

    async def first(self, event: asyncio.Event, deadline_ns: int) -> None:
        """Returns when the event is set, at the latest at the deadline."""
        await first_of(event.wait(), self._clock.wait_until(deadline_ns))

    async def handle(self, commands: Sequence[Command], *, prove: bool = False) -> Sequence[journal_pb2.JournalEvent]:
        """Handles commands as one batch: what they ask for is journaled and carried out, in the order that batch.py
        gives. Returns what was journaled. `prove`: also when that is nothing, nobody may have taken over."""
        began, now_ns = self._steady(), self._clock.now_ns()
        # Decided before this batch, so journaled before it.
        before, self._beside = self._beside, deque()
        try:
            todo = batch.take(self.state, commands, now_ns, self._leaving)
            self._leaving |= todo.leaving
            self._send_urgent(todo)
            if todo.events:
                await self._keep_kills(todo.events)
            events = [event for extra in before for event in extra.todo.events] + todo.events
            if events:
                await self._append(events)
            elif prove or now_ns - self._appended_ns >= CONFIRM_NS:
                await self._journal.confirm()
                self._appended_ns = self._clock.now_ns()
            for extra in before:
                await self._carry_out_all(extra.todo.after, extra.decided)
            if todo.after:
                await self._carry_out_all(todo.after, began)
            self.state.settle()
            while self._beside:
                extra = self._beside.popleft()
                if extra.todo.events:
                    await self._append(extra.todo.events)
                await self._carry_out_all(extra.todo.after, extra.decided)
                events += extra.todo.events
        finally:
            self._leaving, self._not_sent, self._cancels = {}, set(), {}
        for command in commands:
            self._hub.handled(command)
        return events

    async def _take(self, waiting: Sequence[Command]) -> None:
        if any(isinstance(command, Configure) and self._tells_of_another(command) for command in waiting):
            await self._journal.confirm()
        proofs, self._proofs = self._proofs, []
        events = await self.handle(waiting, prove=bool(proofs))
        for proof in proofs:
            if not proof.done():
                proof.set_result(None)
        self.changed.set()
        self._look_at_kills()
        behind = self.head.sequence - self._snapshot_at
        if behind >= 2 * SNAPSHOT_EVENTS or (behind >= SNAPSHOT_EVENTS and self._queue.empty()):
            self._begin_snapshot()
        if any(isinstance(command, NEWS) for command in waiting) or _is_news(self.state, events):
            self._news.set()

    def _tells_of_another(self, command: Configure) -> bool:
        """Whether the operator has a session on record that this journal does not know: of the gateway that has taken
        over, whose orders must not be cancelled for it, or one that the journal lost."""
        record, token = command.configuration.on_record, self.state.books.fencing_token
        return record.fencing_token > token or (record.fencing_token == token and record.pod != self.state.settings.pod)

    async def _keep_kills(self, events: Sequence[journal_pb2.JournalEvent]) -> None:
        """Without the journal, which may be gone: what it keeps then is acknowledged at once."""
        if self._store_kills is None or not any(event.HasField("kill_changed") for event in events):
            return
        orders = {name: item.order for name, item in self.state.books.kills.items()}
        try:
            await self._store_kills([*orders.values()])
        except OSError as error:
            log.error("kill_orders_not_in_file", error=str(error))
        else:
            self._kills_are_stored(orders)

    def _kills_are_stored(self, orders: Mapping[Name, kill_pb2.KillOrder]) -> None:
        """Those that are still the ones in force."""
        for name, order in orders.items():
            current = self.state.books.kills.get(name)
            if current is not None and current.order == order:
                self.state.live.kills[name].stored = True
        self._look_at_kills()

    def _look_at_kills(self) -> None:
        reached = {
            name: (progress.stored, progress.blocked_ns > 0, progress.halted_ns > 0)
            for name, progress in self.state.live.kills.items()
        }
        if reached != self._kills_reached:
            self._kills_reached = reached
            self._kills_changed()
            self._news.set()

    async def _append(self, events: Sequence[journal_pb2.JournalEvent]) -> None:
        now = self._clock.now_ns()
        with metrics.JOURNAL_SECONDS.time():
            for record in batches(events):
                self.head = await self._journal.append(record, now, self.state.books.fencing_token)
        self._appended_ns = now
        if self.state.live.kills:
            changes = (event.kill_changed for event in events if event.HasField("kill_changed"))
            self._kills_are_stored({name_of(change.order): change.order for change in changes})

    async def snapshot(self) -> None:
        """Keeps the books for the next start; between batches alone, where books and head belong together. A kill order
        that has come since the last batch is journaled first."""
        while self._beside:
            await self.handle([])
        await self._write_snapshot(self.state.books.to_message(), self.head)

    def _begin_snapshot(self) -> None:
        """Orders wait while the books are copied, but nothing waits until they are written: while the last ones still
        are, none is begun."""
        if self._writing is not None and not self._writing.done():
            return
        self._writing = asyncio.create_task(self._write_snapshot(self.state.books.to_message(), self.head))

    async def _write_snapshot(self, books: journal_pb2.Books, head: JournalHead) -> None:
        """Without it the next start reads more, and nothing else."""
        self._snapshot_at = head.sequence
        try:
            await self._journal.write_snapshot(books, head)
        except JournalError as error:
            metrics.SNAPSHOTS_FAILED.inc()
            log.warning("snapshot_not_written", error=str(error))

    async def _carry_out_all(self, after: Sequence[effects.Effect], decided: float) -> None:
        """`decided`: when it was, on the steady clock."""
        for effect in after:
            if isinstance(effect, effects.Publish):
                if self.state.settings.features.lock_step:
                    self._hub.publish(effect.event.sequence)
                await self._publish(effect.event)
            else:
                self._carry_out(effect, decided)

    def _carry_out(self, effect: effects.Effect, decided: float) -> None:
        match effect:
            case effects.Report(strategy, message):
                self._report(strategy, message)
            case effects.SendOrder(order, received_ns):
                if self._may_leave(order, decided):
                    self._venue.submit(order)
                    self._sent(received_ns)
            case effects.SendCancel(cancel):
                is_due = self._cancels.pop(cancel.cl_ord_id, None) is not None
                if is_due and cancel.orig_cl_ord_id not in self._not_sent:
                    self._venue.cancel(cancel)
            case effects.SendReplace(replace, received_ns):
                if self._may_leave(replace, decided):
                    self._venue.replace(replace)
                    self._sent(received_ns)
            case effects.SendQuery(cl_ord_id, order_id, instrument):
                self._venue.query(cl_ord_id, order_id, instrument)
            case effects.SendRecall(since_ns):
                self._venue.recall(since_ns)
            case effects.AcceptLogon(strategy, session, snapshot):
                self._hub.accept(strategy, session, snapshot)
            case effects.Count(metric, labels, amount):
                metrics.series(getattr(metrics, metric), labels).inc(amount)
            case effects.Observe(metric, seconds):
                getattr(metrics, metric).observe(seconds)
            case effects.Tell(level, event_name, fields):
                getattr(log, level)(event_name, **dict(fields))
            case effects.Append() | effects.Publish():
                raise AssertionError("batch.take puts appends apart, and publishing waits for the bus")

    def _may_leave(self, approved: batch.Approved, decided: float) -> bool:
        """Whether nothing has come since the approval, and it is not old. Otherwise the order is over."""
        name = approved.terms.cl_ord_id
        if name in self._not_sent:
            return False  # its end is booked already
        self._leaving.pop(name, None)
        if self._steady() - decided <= FROZEN_SECONDS:
            return True
        text = f"it could not leave within {FROZEN_SECONDS:g} s of its approval: decide again"
        self._not_sent.add(name)
        self._put_first(batch.unsent(approved, Reason.NOT_SENT, text, self._clock.now_ns()))
        return False

    def _report(self, strategy: str, message: orders_pb2.ExecutionReport | orders_pb2.CancelReject) -> None:
        if isinstance(message, orders_pb2.CancelReject):
            response = gateway_pb2.OrderSessionResponse(cancel_reject=message)
        else:
            response = gateway_pb2.OrderSessionResponse(execution_report=message)
        self._hub.deliver(strategy, response)

    def _sent(self, received_ns: int) -> None:
        elapsed = self._clock.now_ns() - received_ns
        self._latencies_ns.append(elapsed)
        metrics.ORDER_SECONDS.observe(elapsed / 1e9)

    async def _tick(self) -> None:
        """Puts Timer commands; a gateway that has nothing to append is woken to prove that nobody has taken over, and
        one that is to stop, to do so."""
        while True:
            await self._clock.wait_until(self._clock.now_ns() + TICK_NS)
            self._is_frozen()
            now = self._clock.now_ns()
            due = next_timer_ns(self.state)
            if self._stopping or (due is not None and due <= now) or now - self._appended_ns >= CONFIRM_NS:
                await self.put(Timer())

    async def emergency(self) -> None:
        """Once `run` has ended, or in its end: what is open is cancelled at the venue, and the answers are awaited for
        a moment. Nothing of it is recorded; the successor asks the venue."""
        live = self.state.live
        reachable, live.session = self.state.can_reduce, SessionState.DISCONNECTED
        if not reachable:
            return
        open_ids = set()
        for effect in batch.emergency_cancels(self.state):
            self._venue.cancel(effect.cancel)
            open_ids.add(effect.cancel.orig_cl_ord_id)
        log.error("orders_cancelled_without_journal", orders=len(open_ids))
        deadline = asyncio.ensure_future(self._clock.wait_until(self._clock.now_ns() + EMERGENCY_NS))
        try:
            while open_ids and not deadline.done():
                item = asyncio.ensure_future(self._queue.get())
                await asyncio.wait({item, deadline}, return_when=asyncio.FIRST_COMPLETED)
                if item.done():
                    command = item.result()
                    if isinstance(command, FromVenue) and isinstance(command.event, Ended):
                        open_ids.discard(command.event.cl_ord_id)
                else:
                    item.cancel()
        finally:
            deadline.cancel()


def _is_news(state: GatewayState, events: Sequence[journal_pb2.JournalEvent]) -> bool:
    """A halt, a breach, and the end of an order of a strategy that is being stopped."""
    stopping = any(bound is not TradingState.ACTIVE for bound in (state.live.configuration.bindings or {}).values())
    kinds = {event.WhichOneof("event") for event in events}
    return "halt_changed" in kinds or "breach_changed" in kinds or (stopping and "order_ended" in kinds)
