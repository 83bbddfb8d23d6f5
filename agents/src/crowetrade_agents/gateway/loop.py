"""The gateway's one actor: commands wait in one bounded queue, one task takes them, and nobody else touches the state.

A batch is handled, appended to the journal as one record, and carried out. When the journal takes no more, everything
that is open is cancelled at the venue, the error is raised, and the process ends: its successor reads what was stored
and asks the venue about the rest. A gateway that is overtaken sends nothing more: what is open is its successor's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import structlog

from crowetrade.bus.v1 import journal_pb2, orders_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents import metrics
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
from crowetrade_agents.venues.port import Ended, QuoteChanged, SessionState, TradePrinted, VenuePort
from crowetrade_process.stopping import cancelled

log = structlog.get_logger()

QUEUE_SIZE = 4096
TICK_NS = 50_000_000
"""Timers are looked at this often."""
SNAPSHOT_EVENTS = 10_000
"""After so many events a snapshot is due: once nothing waits, at the latest after twice as many."""
CONFIRM_NS = 3 * SECOND_NS
"""A gateway that has appended nothing for so long proves that it is not overtaken."""
EMERGENCY_NS = 2 * SECOND_NS
"""How long the answers to the cancels of a gateway without a journal are awaited."""
LATENCIES_KEPT = 1000
DRAIN_LOOK_NS = SECOND_NS // 10
NEWS = (Configure, VenueConnected, Logon, SessionLost, Leave)
"""Commands whose outcome the operator waits for."""


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
    ) -> None:
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
        that never pauses, as a venue whose market is behind, would come first each time."""
        async with self._turn:
            await self._queue.put(command)

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
        """Takes commands until `stop` or until it is cancelled; raises JournalError when the journal takes no more."""
        ticking = asyncio.create_task(self._tick())
        try:
            while not self._stopping:
                waiting = [await self._queue.get()]
                while len(waiting) < batch.MAX_COMMANDS and not self._queue.empty():
                    waiting.append(self._queue.get_nowait())
                await self._take(waiting)
        except Overtaken:
            raise
        except JournalError:
            await self._emergency()
            raise
        finally:
            await cancelled(ticking, *((self._writing,) if self._writing is not None else ()))

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
        waiting = asyncio.ensure_future(event.wait())
        timer = asyncio.ensure_future(self._clock.wait_until(deadline_ns))
        try:
            await asyncio.wait({waiting, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            timer.cancel()

    async def handle(self, commands: Sequence[Command], *, prove: bool = False) -> Sequence[journal_pb2.JournalEvent]:
        """Handles commands as one batch: what they ask for is journaled and carried out, in the order that batch.py
        gives. Returns what was journaled. `prove`: also when that is nothing, nobody may have taken over."""
        todo = batch.take(self.state, commands, self._clock.now_ns())
        for cancel in todo.urgent:
            self._venue.cancel(cancel.cancel)
        if todo.events:
            await self._append(todo.events)
        elif prove or self._clock.now_ns() - self._appended_ns >= CONFIRM_NS:
            await self._journal.confirm()
            self._appended_ns = self._clock.now_ns()
        for effect in todo.after:
            await self._carry_out(effect)
        for command in commands:
            self._hub.handled(command)
        return todo.events

    async def _take(self, waiting: Sequence[Command]) -> None:
        proofs, self._proofs = self._proofs, []
        events = await self.handle(waiting, prove=bool(proofs))
        for proof in proofs:
            if not proof.done():
                proof.set_result(None)
        self.changed.set()
        behind = self.head.sequence - self._snapshot_at
        if behind >= 2 * SNAPSHOT_EVENTS or (behind >= SNAPSHOT_EVENTS and self._queue.empty()):
            await self._begin_snapshot()
        if any(isinstance(command, NEWS) for command in waiting) or _is_news(self.state, events):
            self._news.set()

    async def _append(self, events: Sequence[journal_pb2.JournalEvent]) -> None:
        now = self._clock.now_ns()
        with metrics.JOURNAL_SECONDS.time():
            for record in batches(events):
                self.head = await self._journal.append(record, now, self.state.books.fencing_token)
        self._appended_ns = now

    async def snapshot(self) -> None:
        """Keeps the books for the next start; between batches alone, where books and head belong together."""
        await self._write_snapshot(self.state.books.to_message(), self.head)

    async def _begin_snapshot(self) -> None:
        """Orders wait while the books are copied, but not until they are written."""
        if self._writing is not None:
            await self._writing
        self._writing = asyncio.create_task(self._write_snapshot(self.state.books.to_message(), self.head))

    async def _write_snapshot(self, books: journal_pb2.Books, head: JournalHead) -> None:
        """Without it the next start reads more, and nothing else."""
        self._snapshot_at = head.sequence
        try:
            await self._journal.write_snapshot(books, head)
        except JournalError as error:
            log.warning("snapshot_not_written", error=str(error))

    async def _carry_out(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Publish(event):
                await self._publish_market(event)
            case effects.Report(strategy, message):
                self._report(strategy, message)
            case effects.SendOrder(order, received_ns):
                self._venue.submit(order)
                self._sent(received_ns)
            case effects.SendCancel(cancel):
                self._venue.cancel(cancel)
            case effects.SendReplace(replace, received_ns):
                self._venue.replace(replace)
                self._sent(received_ns)
            case effects.SendQuery(cl_ord_id, order_id, instrument):
                self._venue.query(cl_ord_id, order_id, instrument)
            case effects.AcceptLogon(strategy, session, snapshot):
                self._hub.accept(strategy, session, snapshot)
            case effects.Count(metric, labels, amount):
                metrics.series(getattr(metrics, metric), labels).inc(amount)
            case effects.Tell(level, event_name, fields):
                getattr(log, level)(event_name, **dict(fields))
            case effects.Append():
                raise AssertionError("batch.take puts appends apart")

    def _report(self, strategy: str, message: orders_pb2.ExecutionReport | orders_pb2.CancelReject) -> None:
        if isinstance(message, orders_pb2.CancelReject):
            response = gateway_pb2.OrderSessionResponse(cancel_reject=message)
        else:
            response = gateway_pb2.OrderSessionResponse(execution_report=message)
        self._hub.deliver(strategy, response)

    async def _publish_market(self, event: QuoteChanged | TradePrinted) -> None:
        if self.state.settings.features.lock_step:
            self._hub.publish(event.sequence)
        await self._publish(event)

    def _sent(self, received_ns: int) -> None:
        elapsed = self._clock.now_ns() - received_ns
        self._latencies_ns.append(elapsed)
        metrics.ORDER_SECONDS.observe(elapsed / 1e9)

    async def _tick(self) -> None:
        """Puts Timer commands; a gateway that has nothing to append is woken to prove that nobody has taken over, and
        one that is to stop, to do so."""
        while True:
            await self._clock.wait_until(self._clock.now_ns() + TICK_NS)
            now = self._clock.now_ns()
            due = next_timer_ns(self.state)
            if self._stopping or (due is not None and due <= now) or now - self._appended_ns >= CONFIRM_NS:
                await self.put(Timer())

    async def _emergency(self) -> None:
        """The journal takes no more: what is open is cancelled at the venue all the same, and the answers are awaited
        for a moment. Nothing of it is recorded; the successor asks the venue."""
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
