"""The execution role: aligned targets in, child orders to the gateways, Progress back in lock step.

One worker handles one event after the other. For each it cancels and sends what the plan says, waits for the answers
(the final one for IOC, FOK and cancels), and then reports Progress. So no order is outstanding unknown when the next
event is decided upon. Market data and reports come by different ways: in lock step the worker waits, before it decides
on an event, until the gateway has reported that all reports up to it are there. So the position that the plan sees is
exact, and the orders are the same however the roles are spread.

Several venues. Each has its own sequence, alignment and Progress. A target is caused by an event of one venue and may
name instruments of others: for these the newest quote that has arrived counts, and their position as reported so far.
Which events of different venues come first is not fixed, so over two venues the promise is weaker: every decision uses
the exact state of the venue of its event, and a state of the others that is no older than what has arrived here; two
runs may give different orders. While one venue of a target is unreachable nothing is ordered for any of its
instruments, so that no leg of a pair is taken alone for that reason.

Lock step must not stand still without end. When an event or its target is lost (an upstream role restarted, the bus was
away; the gateway's status says what was published), an alarm makes the worker wait until every upstream role listens
again and give the event up: Progress is reported without a decision.

Out of lock step events may come faster than they are handled: of the targets that wait only the last one counts. There
the same alarm notices a feed that has fallen silent (execution/silence.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import structlog

from crowetrade.bus.v1 import orders_pb2, status_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents import metrics
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.flow import MarketEvent, Origin, TargetPosition
from crowetrade_agents.domain.hold_reasons import KEEPS_QUOTES, STAND_DOWN, HoldReason
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.numbers import parse
from crowetrade_agents.domain.wire import SIDE_FROM_WIRE, instrument_id
from crowetrade_agents.execution.ids import ClOrdIds
from crowetrade_agents.execution.plan import IdleReason, plan_child
from crowetrade_agents.execution.policy import ExecutionPolicy, Style
from crowetrade_agents.execution.silence import SilenceWatch
from crowetrade_agents.order_entry.port import Request
from crowetrade_agents.roles.alarm import Alarm
from crowetrade_agents.roles.order_sender import MIN_CANCEL_PAUSE_NS, OrderSender, Patience
from crowetrade_agents.roles.problems import Problem
from crowetrade_agents.roles.quoter import Quoter
from crowetrade_agents.roles.refusals import Refusals
from crowetrade_agents.roles.status import AgentState
from crowetrade_agents.roles.venue_stream import Task, VenueStream

_log = structlog.get_logger(__name__)


class Decided(NamedTuple):
    """An event with its target."""

    event: MarketEvent
    target: TargetPosition


# None only wakes the worker.
Input = MarketEvent | TargetPosition | Decided | status_pb2.GatewayStatus | None


class ExecutionRole:
    """The execution role of one strategy; a SessionListener for its gateways. `names` is what the gateway of each venue
    calls the strategy."""

    def __init__(
        self,
        names: Mapping[str, str],
        instruments: Mapping[InstrumentId, Instrument],
        policy: ExecutionPolicy,
        state: AgentState,
        clock: Clock,
        upstream_ready: Callable[[], Awaitable[None]],
        shadow: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self._instruments = instruments
        self._policy = policy
        self._state = state
        self._clock = clock
        self._upstream_ready = upstream_ready
        self._patience = patience or Patience()
        ids = ClOrdIds(clock.now_ns())
        quoting = policy.style is Style.QUOTE
        self._sender = OrderSender(
            names, ids, policy.time_in_force, clock, self._patience, shadow, self._pause_clock_ns, quoting
        )
        self._inbox: asyncio.Queue[Input] = asyncio.Queue()
        # The quotes of the steps handled, and the newest that have arrived.
        self._handled_tops: dict[InstrumentId, TopOfBook] = {}
        self._newest_tops: dict[InstrumentId, TopOfBook] = {}
        self._refusals = Refusals(policy.slice_to_limits)
        self._silence = None if policy.data_gap_ns is None else SilenceWatch(policy.data_gap_ns)
        self._silent: set[InstrumentId] = set()
        self._alarm = Alarm(clock, lambda: self._inbox.put_nowait(None))
        # Venue -> what its gateway blocks and enforces.
        self._in_force: dict[str, tuple[str, str]] = {}
        self.streams = {name.venue: VenueStream(name.venue, clock) for name in instruments}
        self._quoter = (
            Quoter(instruments, policy.requote_ticks, self.streams, self._sender, self._refusals) if quoting else None
        )

    # From the bus.

    async def on_market_event(self, event: MarketEvent) -> None:
        """Takes one event; never waits."""
        self._note_feed(event)
        self._inbox.put_nowait(event)

    async def on_decided(self, event: MarketEvent, target: TargetPosition) -> None:
        """Takes one event with its target; never waits."""
        self._note_feed(event)
        self._inbox.put_nowait(Decided(event, target))

    async def on_target(self, target: TargetPosition) -> None:
        """Takes one target; never waits."""
        self._inbox.put_nowait(target)

    async def on_gateway_status(self, status: status_pb2.GatewayStatus) -> None:
        """Says what was published, also when it did not reach us, and what the gateway enforces; never waits."""
        if status.venue not in self.streams:
            return
        in_force = status.config_revision, status.blocked_reason
        if self._in_force.get(status.venue, in_force) != in_force:
            self._refusals.configuration_changed(status.venue)
        self._in_force[status.venue] = in_force
        if self.streams[status.venue].up:
            self._inbox.put_nowait(status)

    # From the sessions.

    def on_logon(self, venue: str, snapshot: gateway_pb2.LogonAccepted) -> Sequence[Request]:
        """Positions and open orders are the gateway's from now on; see VenueStream."""
        self._state.gateways_down.pop(venue, None)
        self._state.changed.set()
        self._inbox.put_nowait(None)
        return self.streams[venue].logged_on(snapshot)

    def on_report(self, venue: str, report: orders_pb2.ExecutionReport) -> None:
        """Folds a report into the venue's orders, and a refusal into what is sent next."""
        stream = self.streams[venue]
        order = stream.orders.order(report.cl_ord_id)
        moved = stream.orders.on_report(report)
        stream.changed.set()
        name = instrument_id(report.instrument)
        if moved:
            self._refusals.filled(name)
        if order is not None and order.sent is not None and name in self._instruments:
            if report.ord_status == orders_pb2.ORD_STATUS_REJECTED:
                self._refused(order.sent, report)
            elif report.ord_status not in (orders_pb2.ORD_STATUS_PENDING_NEW, orders_pb2.ORD_STATUS_UNKNOWN):
                self._refusals.accepted(self._instruments[name], order.side, parse(order.sent.order_quantity))
                if not self._refusals.any_lasting:
                    self._state.problems.clear(Problem.ORDERS_REFUSED)

    def on_published(self, venue: str, sequence: int) -> None:
        """All reports up to this event are there."""
        stream = self.streams[venue]
        stream.reported = max(stream.reported, sequence)
        stream.changed.set()

    def on_cancel_reject(self, venue: str, reject: orders_pb2.CancelReject) -> None:
        """The order stays open and may be canceled again after a pause, unless the gateway knows no such order."""
        stream = self.streams[venue]
        stream.orders.on_cancel_reject(reject)
        self._sender.cancel_failed(stream, reject.orig_cl_ord_id)
        stream.changed.set()
        _log.warning("cancel_rejected", venue=venue, cl_ord_id=reject.orig_cl_ord_id, reason=reject.reason)

    def on_down(self, venue: str, why: str) -> None:
        """Remembered for status; the session is tried again by itself."""
        if self._state.gateways_down.get(venue) != why:
            _log.warning("gateway_unreachable", venue=venue, why=why)
        self.streams[venue].went_down()
        self._state.gateways_down[venue] = why
        self._state.changed.set()

    def _refused(self, order: orders_pb2.NewOrder, report: orders_pb2.ExecutionReport) -> None:
        name, side = instrument_id(order.instrument), SIDE_FROM_WIRE[order.side]
        metrics.CHILD_ORDERS_REFUSED.labels(venue=name.venue, reason=report.reason).inc()
        _log.warning(
            "order_rejected",
            venue=name.venue,
            cl_ord_id=report.cl_ord_id,
            md_sequence=order.origin.sequence,
            reason=report.reason,
            risk_limit=report.risk_limit,
            text=report.text,
        )
        lasts = self._refusals.refused(
            self._instruments[name], side, parse(order.order_quantity), report.reason, self._pause_clock_ns()
        )
        if lasts:
            by = f" by RiskLimit {report.risk_limit}" if report.risk_limit else ""
            sentence = f"{side.value} orders in {name} are refused: {report.reason}{by}: {report.text or 'no text'}"
            self._state.report_problem(Problem.ORDERS_REFUSED, sentence, self._clock.now_ns())

    def _pause_clock_ns(self) -> int:
        """In lock step pauses are counted in event time: the market waits for us, and the orders must not depend on how
        fast we are."""
        elapsed_ns = 0
        for stream in self.streams.values():
            if not stream.lock_step:
                return self._clock.now_ns()
            elapsed_ns = max(elapsed_ns, stream.elapsed_event_ns)
        return elapsed_ns

    # The worker.

    async def run(self) -> None:
        """Handles events until canceled."""
        try:
            while True:
                await self.handle([await self._inbox.get(), *self._arrived()])
                # Also while more waits: one instrument may be silent for as long as another one is busy.
                await self._stand_down_in_silence()
                if self._inbox.empty():
                    for stream in self.streams.values():
                        await self._give_up_lost_events(stream)
                    self._alarm.set(self._next_alarm_ns())
        finally:
            self._alarm.stop()

    async def stop(self) -> None:
        """Cancels every working order and waits for the answers; call it when `run` has ended."""
        await self._sender.cancel_all(tuple(self.streams.values()), last=True)

    async def handle(self, messages: Sequence[Input]) -> None:
        """Handles what has come, and what was held back until now. `run` does it with all that waits."""
        tasks = [task for stream in self.streams.values() for task in stream.release()]
        for message in messages:
            tasks.extend(self._align(message))
        for task in _latest_only(tasks):
            if task.stream.must_wait:
                task.stream.hold(task)
            elif not task.is_past:
                await self._handle(task)

    def _arrived(self) -> list[Input]:
        return [self._inbox.get_nowait() for _ in range(self._inbox.qsize())]

    def _align(self, message: Input) -> list[Task]:
        if isinstance(message, Decided):
            event, target = message
            self._note_arrival(event)
            return self.streams[event.instrument.venue].take_both(event, target)
        if isinstance(message, TargetPosition):
            stream = self.streams.get(message.origin.instrument.venue)
            return [] if stream is None else stream.take_target(message)
        if isinstance(message, MarketEvent):
            stream = self.streams.get(message.instrument.venue)
            return [] if stream is None else stream.take_event(message, traded=self._note_arrival(message))
        if isinstance(message, status_pb2.GatewayStatus):
            stream = self.streams[message.venue]
            stream.published = max(stream.published, message.market_data_sequence)
        return []

    def _note_feed(self, event: MarketEvent) -> None:
        """What waits in the inbox is no silence."""
        if self._silence is not None and event.instrument in self._instruments:
            self._silence.on_event(event.instrument, event.event_ns, self._clock.now_ns())

    def _note_arrival(self, event: MarketEvent) -> bool:
        """Takes an event; False when it is of an instrument that the strategy does not trade."""
        name = event.instrument
        self._state.market_data_seen = True
        if name not in self._instruments:
            return False
        _remember(self._newest_tops, event)
        if name in self._silent:
            _log.info("market_data_resumed", venue=name.venue, symbol=name.symbol)
            self._silent.discard(name)
            if not self._silent:
                self._state.problems.clear(Problem.DATA_GAP)
        return True

    async def _handle(self, task: Task) -> None:
        stream, step = task.stream, task.step
        if stream.lock_step and stream.reported < step.sequence:
            await self._sender.await_reports(stream, step.sequence)
        for event in step.market_data:
            stream.pass_event_time(event.event_ns)
            _remember(self._handled_tops, event)
        if step.target is not None:
            await self._follow(step.target, stream.venue)
        if task.epoch == stream.epoch:
            await stream.finish(step.sequence)

    async def _follow(self, target: TargetPosition, venue: str) -> None:
        """Acts upon a target that an event of `venue` caused."""
        reason = HoldReason.DATA_GAP if self._silent else target.hold_reason
        if reason == HoldReason.EVENT_NOT_USED:
            return
        self._state.stand_down = reason if reason in STAND_DOWN else ""
        if reason in STAND_DOWN or (self._quoter is not None and reason and reason not in KEEPS_QUOTES):
            await self._sender.cancel_all(tuple(self.streams.values()))
            return
        if self._quoter is not None:
            if not reason:
                await self._quoter.follow(target, lambda name: self._tops(name, venue).get(name), self._pause_clock_ns)
            return
        quantities = self._quantities(target)
        for name in quantities:
            if not self.streams[name.venue].up:
                metrics.count_hold(IdleReason.GATEWAY_UNREACHABLE)
                return
        sent = [
            (self.streams[name.venue], await self._pursue(name, quantity, target.origin, venue))
            for name, quantity in quantities.items()
        ]
        for stream, cl_ord_ids in sent:
            if cl_ord_ids:
                await self._sender.await_answers(stream, cl_ord_ids)

    def _tops(self, name: InstrumentId, venue: str) -> Mapping[InstrumentId, TopOfBook]:
        """The quotes that a decision about the instrument sees at an event of `venue`."""
        return self._handled_tops if name.venue == venue else self._newest_tops

    def _quantities(self, target: TargetPosition) -> Mapping[InstrumentId, Decimal]:
        for name in target.targets:
            if name not in self._instruments:
                break
        else:
            return target.targets
        metrics.count_hold(HoldReason.UNKNOWN_INSTRUMENT)
        return {name: quantity for name, quantity in target.targets.items() if name in self._instruments}

    async def _pursue(self, name: InstrumentId, quantity: Decimal, origin: Origin, venue: str) -> list[str]:
        """Cancels and orders what one target asks for; returns the orders whose answers are to be awaited."""
        stream, refusals = self.streams[name.venue], self._refusals
        now_ns, reduces, cap = 0, False, None
        if refusals.learned:
            now_ns = self._pause_clock_ns()
            reduces, cap = refusals.reduce_only(name, now_ns), refusals.cap(name)
        plan = plan_child(
            target=quantity,
            position=stream.orders.position(name),
            working=stream.orders.working(name),
            top=self._tops(name, venue).get(name),
            policy=self._policy,
            instrument=self._instruments[name],
            cap=cap,
            reduce_only=reduces,
        )
        self._state.quantity_unknown = plan.idle is IdleReason.NO_QUOTED_QUANTITY
        child, idle = plan.child, plan.idle
        if child is not None and refusals.must_wait(name, child.side, child.quantity, now_ns, reduces=reduces):
            child, idle = None, IdleReason.BACKING_OFF
        if idle is not None:
            metrics.count_hold(idle)
        if child is None and not plan.cancels:
            return []
        sent = await self._sender.cancel(stream, plan.cancels)
        return sent if child is None else [*sent, *await self._sender.order(stream, name, child, origin)]

    # Silence and lost events.

    def _next_alarm_ns(self) -> int | None:
        stalls = [stream.stalls_at_ns(self._patience.target_ns) for stream in self.streams.values()]
        silences = [self._silence_due_ns(name) for name in self._instruments]
        every = (*stalls, *silences, self._cancel_again_ns())
        return min((at_ns for at_ns in every if at_ns is not None), default=None)

    def _cancel_again_ns(self) -> int | None:
        """A silent feed brings no event at which the cancel of an order that still works would be sent again."""
        if self._silent and any(stream.orders.working() for stream in self.streams.values()):
            return self._clock.now_ns() + MIN_CANCEL_PAUSE_NS
        return None

    def _silence_due_ns(self, name: InstrumentId) -> int | None:
        stream = self.streams[name.venue]
        if self._silence is None or name in self._silent or stream.lock_step:
            return None
        return self._silence.due_ns(name, stream.replay_speed)

    async def _stand_down_in_silence(self) -> None:
        now_ns = self._clock.now_ns()
        due = {name: self._silence_due_ns(name) for name in self._instruments}
        fallen_silent = [name for name, at_ns in due.items() if at_ns is not None and at_ns <= now_ns]
        if self._silence is not None and fallen_silent:
            for name in fallen_silent:
                sentence = self._silence.sentence(name, now_ns)
                _log.warning("market_data_silent", venue=name.venue, symbol=name.symbol, text=sentence)
                self._state.report_problem(Problem.DATA_GAP, sentence, now_ns, standing=True)
            self._silent.update(fallen_silent)
            self._state.stand_down = HoldReason.DATA_GAP
            self._state.changed.set()
        if self._silent:
            await self._sender.cancel_all(tuple(self.streams.values()))

    async def _give_up_lost_events(self, stream: VenueStream) -> None:
        stalls_at_ns = stream.stalls_at_ns(self._patience.target_ns)
        if stalls_at_ns is None or self._clock.now_ns() < stalls_at_ns:
            return
        _log.warning("target_late", venue=stream.venue, md_sequence=stream.published)
        await self._upstream_ready()
        # What has come meanwhile may be what was waited for.
        await self.handle(self._arrived())
        if stream.stalls_at_ns(self._patience.target_ns) != stalls_at_ns:
            return
        lost = stream.published
        _log.warning("target_lost", venue=stream.venue, md_sequence=lost)
        metrics.EVENTS_SKIPPED.labels(venue=stream.venue).inc(lost - stream.finished)
        stream.restart(lost)
        await stream.finish(lost)


def _remember(tops: dict[InstrumentId, TopOfBook], event: MarketEvent) -> None:
    """Keeps the quote of an event; one that cannot be read leaves none."""
    if isinstance(event.event, TopOfBook):
        tops[event.instrument] = event.event
    elif event.event is None:
        tops.pop(event.instrument, None)


def _latest_only(tasks: Sequence[Task]) -> Sequence[Task]:
    """Out of lock step, drops the targets of all but the last task of each venue; their market data stays."""
    if len(tasks) < 2:
        return tasks
    last = {task.stream.venue: task for task in tasks if task.step.target is not None}
    kept = []
    for task in tasks:
        if task.step.target is None or task.stream.lock_step or last[task.stream.venue] is task:
            kept.append(task)
        else:
            metrics.count_hold(IdleReason.SUPERSEDED)
            kept.append(task._replace(step=task.step._replace(target=None)))
    return kept
