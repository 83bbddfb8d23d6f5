"""One gateway process on virtual time: what gateway/loop.py does, with a death possible between any two effects.

A turn takes what waits, lets cancels that cannot wait go, appends one record, and carries the rest out when the append
is confirmed. The process dies at a random place of a turn, or while it waits; the append is stored, not stored, stored
twice, confirmed late, or stored although nobody confirms it. It starts again from the journal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.control.kills import KillCommand, name_of
from crowetrade_agents.errors import JournalError, Overtaken
from crowetrade_agents.gateway import batch, books, commands, effects
from crowetrade_agents.gateway.engine import next_timer_ns
from crowetrade_agents.gateway.state import GatewayState
from crowetrade_agents.journal.memory import MemoryWriter, Outcome
from crowetrade_agents.risk.approved import ApprovedCancel, ApprovedOrder, ApprovedReplace
from crowetrade_agents.runtime.clock import MOST_AHEAD_NS, SystemClock
from crowetrade_agents.runtime.gateway import JOURNAL_AHEAD_NS
from crowetrade_agents.venues import port
from crowetrade_agents.venues.adapters.simulated import requests
from crowetrade_agents.venues.adapters.simulated.requests import Query
from tests.simulation import invariants
from tests.simulation.broken import expect
from tests.simulation.limits import SECOND
from tests.simulation.venue import SNAPSHOT

if TYPE_CHECKING:
    from tests.simulation.world import World

CONFIRM_NS = 3 * SECOND
RETRY_NS = SECOND // 20
TICK_NS = 50_000_000
ON_THE_WAY_NS = 3_000_000
"""About as long as it takes until an order is answered."""
DEATH = 0.002
"""Chance that a turn does not end."""


class Died(Exception):
    """The process is over, here."""


class GatewayProcess:
    """`state` is the engine's; everything else is the shell around it."""

    def __init__(self, world: World, random: Random, number: int) -> None:
        self.world = world
        self.random = random
        self.name = f"gateway-{number}"
        self.alive = True
        # As the product's: it does not go back while the process runs.
        self.clock = SystemClock(world.wall, lambda: world.now)
        self.writer = MemoryWriter(world.log)
        recovered, events, self.head = self.writer.recover()
        start = self.head.sequence
        found = books.recover(world.venue_name, recovered, events)
        started = journal_pb2.JournalEvent(
            at_unix_ns=self.wall(),
            session_started=journal_pb2.SessionStarted(pod=self.name, fencing_token=found.fencing_token + 1),
        )
        found.apply(started)
        self.inbox: deque[tuple[commands.Command, str | None]] = deque()
        self.state = GatewayState.start(world.settings(self.name), found, start)
        self.token = found.fencing_token
        self.ready = False
        # Told to leave; and since it has carried that out.
        self._told_to_leave = self.leaving = False
        # The engine's time: a clock that went back stands still.
        self.engine_ns = 0
        self._busy = False
        # Of what is decided and not carried out: orders that have not left, those that will not leave, cancels that
        # have not left, and what kill orders have asked for.
        self._leaving: dict[str, batch.Approved] = {}
        self._not_sent: set[str] = set()
        self._cancels: dict[str, ApprovedCancel] = {}
        self._beside: deque[batch.Batch] = deque()
        self._turn_due = False
        self._watch_ns = 0
        self._appended_ns = self.world.now
        if found.at_ns - self.wall() > JOURNAL_AHEAD_NS:
            self.alive = False
            self.world.trace(self.name, "does not start: the journal is ahead of the clock")
            return
        self._start(started)

    def wall(self) -> int:
        """The process's clock, which follows steps forward alone."""
        return self.clock.now_ns()

    @property
    def starts_after_ns(self) -> int:
        """How long the process waits until its clock has passed the last record of the journal."""
        return max(self.state.books.at_ns - self.wall(), 0)

    def _start(self, started: journal_pb2.JournalEvent) -> None:
        try:
            self._append([started], self._outcome(0.05))
        except JournalError as error:
            self.end(f"could not start: {error}")
            return
        self._become_ready()

    def _become_ready(self) -> None:
        """Once the clock has passed what the journal says."""
        if not self.alive:
            return
        if wait := self.starts_after_ns:
            self.world.after(wait, self._become_ready)
            return
        self.ready = True
        self._watch()

    def clock_is_looked_at(self) -> None:
        """As each second: a process whose clock was set back leaves."""
        if self.alive and self.ready and not self._told_to_leave and self.clock.ahead_ns > MOST_AHEAD_NS:
            self.world.trace(self.name, "leaves: the clock was set back")
            self.leave()

    def leave(self) -> None:
        """Ends in order."""
        self._told_to_leave = True
        self.put(commands.Leave())
        self.world.after(2 * SECOND, self.end, "left")

    # --- What comes in ----------------------------------------------------------------------------------------------

    def put(self, command: commands.Command, root: str | None = None) -> None:
        """Queues a command; `root` names the order of an answer that counts as on its way until it is carried out."""
        if not self.alive:
            self._taken(root)
            return
        self.inbox.append((command, root))
        self._wake()

    def put_kill(self, command: KillCommand) -> None:
        """A kill order is obeyed at once, before whatever waits, and stops what is stored and has not left yet."""
        if not self.alive or not self.ready:
            return
        self.world.trace(self.name, command)
        now = self.wall()
        extra, stopped = batch.take_kill(self.state, command, now, self._leaving)
        known = set(self._leaving)
        self._not_sent |= stopped.keys()
        self._leaving = {name: item for name, item in self._leaving.items() if name not in stopped}
        self._decided_beside(extra)
        self._decided_beside(batch.refuse_stopped(self.state, stopped.values(), now, known))
        if not self._busy and not self.inbox:
            self.put(commands.Timer())

    def _decided_beside(self, extra: batch.Batch) -> None:
        self._leaving |= extra.leaving
        for effect in extra.urgent:
            self._send_cancel(effect.cancel)
        self._cancels |= extra.cancels
        for cancel in batch.hurried(self.state, self._cancels.values(), self._leaving.keys() | self._not_sent):
            del self._cancels[cancel.cl_ord_id]
            self._send_cancel(cancel)
        self._beside.append(extra)

    def put_event(self, event: port.VenueEvent, root: str | None = None) -> None:
        """Something that the venue says."""
        self.put(commands.FromVenue(event), root)

    def logged_on(self, snapshot: port.VenueSnapshot, *, stale: bool) -> None:
        """The snapshot of a session, which may be over again."""
        self.put(commands.VenueConnected(snapshot), SNAPSHOT)
        if stale:
            self.session_lost()

    def session_lost(self) -> None:
        """The venue's session broke; it is opened again after a while."""
        if self.alive:
            self.put_event(port.SessionChanged(port.SessionState.DISCONNECTED, "the session broke"))
            self.world.after(self.random.choice((50_000_000, 300_000_000, 2 * SECOND)), self.connect)

    def connect(self) -> None:
        """Logs on to the venue, once the configuration is known and it is proven that no other gateway took over."""
        if not self.alive or self.world.venue.session is self:
            return
        if not self.state.live.configured:
            self.world.after(RETRY_NS, self.connect)
            return
        try:
            self.writer.confirm()
        except Overtaken:
            self.end("overtaken before it logged on")
        else:
            known = self.state.books
            resume = port.Resume(known.resume_ns, known.venue_state, known.origin_sequence, known.fencing_token)
            self.world.venue.connect(self, resume)

    def _taken(self, root: str | None) -> None:
        if root is not None:
            self.world.venue.taken(root)

    def _wake(self) -> None:
        if not self._busy and not self._turn_due:
            self._turn_due = True
            self.world.after(self._wait(), self.turn)

    def _wait(self) -> int:
        """Until the task runs; sometimes long enough for a batch to gather."""
        if self.world.wanted.apart:
            return 0
        wait = 20_000_000 if self.random.random() < 0.05 else 50_000
        return int(self.random.random() * wait)

    def _watch(self) -> None:
        """Looks again when the next timer is due, at the latest when a quiet gateway must prove that it is not
        overtaken; as late as the loop's tick may be."""
        due = next_timer_ns(self.state)
        at_ns = self._appended_ns + CONFIRM_NS
        if due is not None:
            at_ns = min(at_ns, due - (self.wall() - self.world.now))
        at_ns = max(at_ns, self.world.now) + (0 if self.world.wanted.apart else int(self.random.random() * TICK_NS))
        if self._watch_ns <= self.world.now or at_ns < self._watch_ns:
            self._watch_ns = at_ns
            self.world.at(at_ns, self._look, at_ns)

    def _look(self, at_ns: int) -> None:
        if not self.alive or at_ns != self._watch_ns:
            return
        due = next_timer_ns(self.state)
        quiet = self.world.now - self._appended_ns >= CONFIRM_NS
        if (due is not None and due <= self.wall()) or quiet:
            self.put(commands.Timer())
        else:
            self._watch()

    # --- A turn -----------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Takes what waits."""
        self._turn_due = False
        if not self.alive or self._busy or not self.inbox:
            return
        taken = [self.inbox.popleft() for _ in range(min(len(self.inbox), batch.MAX_COMMANDS))]
        dies = self.world.faults and self.random.random() < DEATH
        try:
            self._take(taken, dies)
        except Died:
            self.end("died", taken)
        except Overtaken as error:
            self.end(f"overtaken: {error}", taken)
        except JournalError as error:
            self._emergency()
            self.end(f"{type(error).__name__}: {error}", taken)

    def _take(self, taken: list[tuple[commands.Command, str | None]], dies: bool) -> None:
        world = self.world
        world.commands += len(taken)
        now = self.wall()
        before: list[int] = []
        decided, self._beside = self._beside, deque()
        events = [event for extra in decided for event in extra.events]
        todo = batch.take(self.state, self._each(taken, before, len(events)), now, self._leaving)
        self._leaving |= todo.leaving
        self._cancels |= todo.cancels
        todo.events[:0] = events
        todo.after[:0] = [effect for extra in decided for effect in extra.after]
        world.batch_taken(self, list(zip((command for command, _ in taken), before, strict=True)), todo)
        places = len(todo.urgent) + bool(todo.events) * 2 + len(todo.after) + 1
        self._last_step = self.random.randrange(places) if dies else places + 1
        for effect in todo.urgent:
            self._step()
            self._send_cancel(effect.cancel)
        confirmed_ns = 0
        if todo.events:
            self._step()
            self._append(todo.events, self._outcome(0.003))
            confirmed_ns = self._confirmation()
            self._step()
        elif world.now - self._appended_ns >= CONFIRM_NS:
            self.writer.confirm()
            self._appended_ns = world.now
        if confirmed_ns:
            self._busy = True
            if self._leaving:
                world.kills.order_leaves(confirmed_ns)
            world.after(confirmed_ns, self._carry_out_late, todo, taken)
        else:
            self._carry_out(todo, taken)

    def _each(
        self, taken: list[tuple[commands.Command, str | None]], before: list[int], decided: int
    ) -> Iterator[commands.Command]:
        """The commands; `before` is to hold how many events the batch has before each of them, of which so many were
        decided before all."""
        start = self.state.live.sequence - decided
        for command, _ in taken:
            before.append(self.state.live.sequence - start)
            self.world.trace(self.name, command)
            yield command

    def _carry_out_late(self, todo: batch.Batch, taken: list[tuple[commands.Command, str | None]]) -> None:
        self._busy = False
        if self.alive:
            try:
                self._carry_out(todo, taken)
            except Died:
                self.end("died", taken)
            except Overtaken as error:
                self.end(f"overtaken: {error}", taken)
            except JournalError as error:
                self._emergency()
                self.end(f"{type(error).__name__}: {error}", taken)
        else:
            self._forget(taken)

    def _carry_out(self, todo: batch.Batch, taken: list[tuple[commands.Command, str | None]]) -> None:
        for effect in todo.after:
            self._step()
            self._effect(effect)
        self.state.settle()
        beside = bool(self._beside)
        while self._beside:
            extra = self._beside.popleft()
            if extra.events:
                self._append(extra.events, self._outcome(0.003))
            for effect in extra.after:
                self._step()
                self._effect(effect)
        self._leaving, self._not_sent, self._cancels = {}, set(), {}
        quiet = not beside and not todo.events and all(_is_market(command) for command, _ in taken)
        self.leaving = self.leaving or any(isinstance(command, commands.Leave) for command, _ in taken)
        self._forget(taken)
        self.world.batch_done(self, quiet=quiet)
        if self.inbox:
            self._wake()
        self._watch()

    def _forget(self, taken: list[tuple[commands.Command, str | None]]) -> None:
        for _, root in taken:
            self._taken(root)
        taken.clear()

    def _step(self) -> None:
        self._last_step -= 1
        if self._last_step < 0:
            raise Died

    def _effect(self, effect: effects.Effect) -> None:
        venue, world = self.world.venue, self.world
        if isinstance(effect, effects.Report):
            world.trader_of(effect.strategy).reported(effect.message)
        elif isinstance(effect, effects.SendOrder):
            self._send(effect.order)
        elif isinstance(effect, effects.SendReplace):
            self._send(effect.replace)
        elif isinstance(effect, effects.SendCancel):
            is_due = self._cancels.pop(effect.cancel.cl_ord_id, None) is not None
            if is_due and effect.cancel.orig_cl_ord_id not in self._not_sent:
                self._send_cancel(effect.cancel)
        elif isinstance(effect, effects.SendQuery):
            venue.send(self, Query(effect.cl_ord_id, effect.order_id, effect.instrument))
        elif isinstance(effect, effects.SendRecall):
            venue.recall(self, effect.since_ns)
        elif isinstance(effect, effects.Count):
            world.counts[effect.metric, "".join(effect.labels[-1:])] += effect.amount
        elif isinstance(effect, effects.AcceptLogon):
            world.trader_of(effect.strategy).accepted(self, effect.session, effect.snapshot)

    def _send(self, approved: ApprovedOrder | ApprovedReplace) -> None:
        """An order leaves, unless a kill order came before it had left."""
        terms = approved.terms
        if terms.cl_ord_id in self._not_sent:
            return
        self._leaving.pop(terms.cl_ord_id, None)
        self.world.check_sent(self, terms)
        self.world.venue.send(self, requests.of(approved))
        self.world.kills.order_leaves(ON_THE_WAY_NS)

    def _send_cancel(self, cancel: ApprovedCancel) -> None:
        self.world.venue.send(self, requests.of(cancel))

    # --- The journal ------------------------------------------------------------------------------------------------

    def _outcome(self, chance: float) -> Outcome:
        if not self.world.faults or self.random.random() > chance:
            return Outcome.CONFIRMED
        return self.random.choice([Outcome.TWICE, Outcome.UNCONFIRMED, Outcome.DELAYED, Outcome.LOST])

    def _append(self, events: list[journal_pb2.JournalEvent], outcome: Outcome) -> None:
        if outcome is not Outcome.CONFIRMED:
            self.world.trace(self.name, f"append: {outcome.value}")
        try:
            self.head = self.writer.append(events, self.wall(), self.token, outcome)
        finally:
            if outcome is Outcome.DELAYED:
                self.world.after(self.random.randrange(6 * SECOND), self.world.deliver_delayed)
            self.world.read_journal()
        self._appended_ns = self.world.now
        for event in events:
            if event.HasField("kill_changed"):
                order = event.kill_changed.order
                current = self.state.books.kills.get(name_of(order))
                if current is not None and current.order == order:
                    self.state.live.kills[name_of(order)].stored = True

    def _confirmation(self) -> int:
        """How long the confirmation takes; 0 when nothing can happen meanwhile."""
        if not self.world.faults:
            return 0
        chance = self.random.random()
        return self.random.randrange(3 * SECOND) if chance < 0.002 else 400_000 if chance < 0.3 else 0

    def snapshot(self) -> None:
        """Keeps the books for the next start."""
        if self.alive and not self._busy and self.ready:
            parts = 0 if self.world.faults and self.random.random() < 0.1 else None
            try:
                self.writer.write_snapshot(self.state.books.to_message(), self.head, parts)
            except JournalError:
                self.world.trace(self.name, "snapshot not written")

    # --- The end ----------------------------------------------------------------------------------------------------

    def _emergency(self) -> None:
        if self.state.live.session is port.SessionState.LOGGED_ON:
            cancels = batch.emergency_cancels(self.state)
            invariants.everything_open_is_cancelled(self.world, self, cancels)
            for effect in cancels:
                self._send_cancel(effect.cancel)

    def end(self, why: str, taken: list[tuple[commands.Command, str | None]] | None = None) -> None:
        """The process is over; its venue session breaks."""
        if not self.alive:
            return
        self.world.trace(self.name, f"ends: {why}")
        self.alive = False
        self._forget(taken if taken is not None else [])
        while self.inbox:
            self._taken(self.inbox.popleft()[1])
        if self.world.venue.session is self:
            self.world.venue.disconnect()
        self.world.process_ended(self)

    @property
    def quiet(self) -> bool:
        """Nothing waits and nothing is being confirmed."""
        return self.alive and self.ready and not self._busy and not self.inbox

    def expect_alive(self) -> None:
        """For the end of a run."""
        expect(self.alive, "I9", f"{self.name} is not running")


def _is_market(command: commands.Command) -> bool:
    return isinstance(command, commands.FromVenue) and isinstance(command.event, port.QuoteChanged | port.FeedAlive)
