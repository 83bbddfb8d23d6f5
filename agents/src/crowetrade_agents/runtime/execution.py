"""The execution role: aligned targets in, child orders to the gateways, Progress back in lock step.

One worker handles one event after the other. For each it cancels and sends what the plan says, waits for the answers
(the final one for IOC, FOK and cancels), and then says Progress. So no order is outstanding unknown when the next event
is decided upon. Market data and reports come by different ways: in lock step the worker waits, before it decides on an
event, until the gateway has said that all reports up to it are there. So the position that the plan sees is exact, and
the orders are the same however the roles are spread.

Lock step must not stand still for ever. When an event or its target is lost (an upstream role restarted, the bus was
away; the gateway's status tells what was published), the watchdog waits until every upstream role listens again and
gives the event up: Progress is said without a decision.

Out of lock step events may come faster than they are handled: of the targets that wait only the last one counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from crowetrade.bus.v1 import market_data_pb2, orders_pb2, status_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents import metrics
from crowetrade_agents.domain.numbers import parse, parse_optional, render
from crowetrade_agents.errors import InvalidNumber
from crowetrade_agents.execution.alignment import Step
from crowetrade_agents.execution.ids import ClOrdIds
from crowetrade_agents.execution.plan import IdleReason, Plan, Touch, plan_child
from crowetrade_agents.execution.policy import ExecutionPolicy
from crowetrade_agents.features.decode import event_symbol
from crowetrade_agents.portfolio.policy import Listing
from crowetrade_agents.portfolio.reasons import STAND_DOWN
from crowetrade_agents.runtime.desk import Request, Task, VenueDesk
from crowetrade_agents.runtime.state import AgentState

_log = structlog.get_logger(__name__)

# None only wakes the worker.
_Input = market_data_pb2.MarketData | market_data_pb2.TargetPosition | status_pb2.GatewayStatus | None


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds of wall clock."""

    # For the answers to the orders and cancels of one event.
    answers: float = 5.0
    # In lock step, for the target of an event, before the event is given up.
    target: float = 10.0


class ExecutionRole:
    """The execution role of one strategy; a SessionListener for its gateways."""

    def __init__(
        self,
        strategy: str,
        listings: Mapping[str, Listing],
        policy: ExecutionPolicy,
        ids: ClOrdIds,
        state: AgentState,
        upstream_ready: Callable[[], Awaitable[None]],
        shadow: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self._strategy = strategy
        self._listings = listings
        self._traded = {(listing.venue, symbol) for symbol, listing in listings.items()}
        self._policy = policy
        self._ids = ids
        self._state = state
        self._upstream_ready = upstream_ready
        self._shadow = shadow
        self._patience = patience or Patience()
        self._inbox: asyncio.Queue[_Input] = asyncio.Queue()
        self._touches: dict[tuple[str, str], Touch] = {}
        self.desks = {listing.venue: VenueDesk(listing.venue) for listing in listings.values()}

    # From the bus.

    async def on_market_data(self, message: market_data_pb2.MarketData) -> None:
        """Takes one event; never waits."""
        self._inbox.put_nowait(message)

    async def on_target(self, target: market_data_pb2.TargetPosition) -> None:
        """Takes one target; never waits."""
        self._inbox.put_nowait(target)

    async def on_gateway_status(self, status: status_pb2.GatewayStatus) -> None:
        """Tells what was published, also when it did not reach us; never waits."""
        if status.venue in self.desks and self.desks[status.venue].up:
            self._inbox.put_nowait(status)

    # From the sessions.

    def on_logon(self, venue: str, snapshot: gateway_pb2.LogonAccepted) -> Sequence[Request]:
        """Positions and open orders are the gateway's from now on; see VenueDesk."""
        self._state.gateways_down.pop(venue, None)
        self._state.changed.set()
        self._inbox.put_nowait(None)
        return self.desks[venue].logged_on(snapshot)

    def on_report(self, venue: str, report: orders_pb2.ExecutionReport) -> None:
        """Folds a report into the book."""
        desk = self.desks[venue]
        desk.book.on_report(report)
        desk.changed.set()
        if report.ord_status == orders_pb2.ORD_STATUS_REJECTED:
            _log.warning(
                "order_rejected",
                venue=venue,
                cl_ord_id=report.cl_ord_id,
                md_sequence=report.order.origin.sequence,
                reason=report.reason,
                text=report.text,
            )

    def on_published(self, venue: str, sequence: int) -> None:
        """All reports up to this event are there."""
        desk = self.desks[venue]
        desk.reported = max(desk.reported, sequence)
        desk.changed.set()

    def on_cancel_reject(self, venue: str, reject: orders_pb2.CancelReject) -> None:
        """The order stays open and may be cancelled again at the next event, unless the gateway knows no such order."""
        desk = self.desks[venue]
        desk.book.on_cancel_reject(reject)
        desk.changed.set()
        _log.warning("cancel_rejected", venue=venue, cl_ord_id=reject.orig_cl_ord_id, reason=reject.reason)

    def on_down(self, venue: str, why: str) -> None:
        """Remembered for status; the session is tried again by itself."""
        if self._state.gateways_down.get(venue) != why:
            _log.warning("gateway_unreachable", venue=venue, why=why)
        self.desks[venue].went_down()
        self.desks[venue].changed.set()
        self._state.gateways_down[venue] = why
        self._state.changed.set()

    # The worker.

    async def run(self) -> None:
        """Handles events until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                first = await asyncio.wait_for(self._inbox.get(), self._patience.target)
                await self._work(self._tasks(first))
            for desk in self.desks.values():
                if self._inbox.empty() and desk.is_stalled(self._patience.target):
                    await self._give_up_lost_events(desk)

    async def stop(self) -> None:
        """Cancels every working order and waits for the answers; call it when `run` has ended."""
        for desk in self.desks.values():
            await self._cancel_all(desk, desk.finished)

    def _tasks(self, first: _Input) -> list[Task]:
        tasks = [task for desk in self.desks.values() for task in desk.release()]
        messages = [first]
        while not self._inbox.empty():
            messages.append(self._inbox.get_nowait())
        for message in messages:
            tasks.extend(self._align(message))
        return tasks

    def _align(self, message: _Input) -> list[Task]:
        if isinstance(message, market_data_pb2.TargetPosition):
            desk = self.desks.get(message.origin.venue)
            return [] if desk is None else desk.take_target(message)
        if isinstance(message, market_data_pb2.MarketData):
            venue, symbol = event_symbol(message)
            self._state.market_data_seen = True
            desk = self.desks.get(venue)
            return [] if desk is None else desk.take_event(message, traded=(venue, symbol) in self._traded)
        if isinstance(message, status_pb2.GatewayStatus):
            self.desks[message.venue].published = message.market_data_sequence
        return []

    async def _work(self, tasks: Sequence[Task]) -> None:
        for task in _latest_only(tasks):
            if task.desk.must_wait:
                task.desk.hold(task)
            elif not task.is_past:
                await self._handle(task)

    async def _handle(self, task: Task) -> None:
        desk, step = task.desk, task.step
        if desk.lock_step:
            await self._await_reports(desk, step.sequence)
        for message in step.market_data:
            self._remember_touch(message)
        if step.target is not None:
            self._state.stand_down = step.target.hold_reason if step.target.hold_reason in STAND_DOWN else ""
            if step.target.hold_reason in STAND_DOWN:
                for any_desk in self.desks.values():
                    await self._cancel_all(any_desk, step.sequence)
            for target in step.target.targets:
                await self._pursue(target, step)
        if task.epoch == desk.epoch:
            await desk.finish(step.sequence)

    def _remember_touch(self, message: market_data_pb2.MarketData) -> None:
        if message.WhichOneof("event") != "quote":
            return
        quote = message.quote
        try:
            touch = Touch(
                bid=parse(quote.bid_price),
                ask=parse(quote.ask_price),
                bid_quantity=parse_optional(quote.bid_quantity),
                ask_quantity=parse_optional(quote.ask_quantity),
            )
        except InvalidNumber:
            self._touches.pop((quote.venue, quote.symbol), None)
            return
        self._touches[quote.venue, quote.symbol] = touch

    async def _cancel_all(self, desk: VenueDesk, sequence: int) -> None:
        ids = [order.cl_ord_id for order in desk.book.working() if not order.cancelling]
        for cl_ord_id in ids:
            await self._cancel(desk, cl_ord_id, sequence)
        await self._await_answers(desk, ids)

    async def _pursue(self, target: market_data_pb2.Target, step: Step) -> None:
        listing = self._listings.get(target.symbol)
        desk = self.desks.get(target.venue)
        if listing is None or desk is None or not desk.up:
            metrics.HOLDS.labels(reason="GatewayUnreachable").inc()
            return
        plan = plan_child(
            target=parse(target.quantity),
            position=desk.book.position(target.symbol),
            working=desk.book.working(target.symbol),
            touch=self._touches.get((target.venue, target.symbol)),
            policy=self._policy,
            grid=listing.instrument,
        )
        self._state.quantity_unknown = plan.idle is IdleReason.NO_QUOTED_QUANTITY
        if plan.idle is not None:
            metrics.HOLDS.labels(reason=plan.idle).inc()
        sent = await self._carry_out(desk, plan, target.symbol, step)
        await self._await_answers(desk, sent)

    async def _carry_out(self, desk: VenueDesk, plan: Plan, symbol: str, step: Step) -> list[str]:
        for cl_ord_id in plan.cancels:
            await self._cancel(desk, cl_ord_id, step.sequence)
        if plan.child is None:
            return list(plan.cancels)
        order = orders_pb2.NewOrder(
            cl_ord_id=self._ids.next(),
            strategy=self._strategy,
            symbol=symbol,
            side=plan.child.side,
            order_quantity=render(plan.child.quantity),
            ord_type=orders_pb2.ORD_TYPE_MARKET if plan.child.price is None else orders_pb2.ORD_TYPE_LIMIT,
            price="" if plan.child.price is None else render(plan.child.price),
            time_in_force=self._policy.time_in_force,
            origin=None if step.target is None else step.target.origin,
        )
        _log.info(
            "child_order_not_sent_in_shadow" if self._shadow else "child_order",
            venue=desk.venue,
            cl_ord_id=order.cl_ord_id,
            md_sequence=step.sequence,
            side=market_data_pb2.Side.Name(order.side),
            symbol=symbol,
            quantity=order.order_quantity,
            price=order.price,
        )
        if self._shadow:
            return list(plan.cancels)
        desk.book.order_sent(order)
        if not await desk.send(Request(new_order=order)):
            desk.book.order_unsent(order.cl_ord_id)
            return list(plan.cancels)
        metrics.CHILD_ORDERS.labels(venue=desk.venue, side=market_data_pb2.Side.Name(order.side)).inc()
        return [*plan.cancels, order.cl_ord_id]

    async def _cancel(self, desk: VenueDesk, cl_ord_id: str, sequence: int) -> None:
        desk.book.cancel_sent(cl_ord_id)
        _log.info("cancel", venue=desk.venue, cl_ord_id=cl_ord_id, md_sequence=sequence)
        cancel = orders_pb2.Cancel(orig_cl_ord_id=cl_ord_id, strategy=self._strategy)
        if not await desk.send(Request(cancel=cancel)):
            desk.book.cancel_unanswered(cl_ord_id)

    async def _await_reports(self, desk: VenueDesk, sequence: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience.answers):
                while desk.up and desk.reported < sequence:
                    desk.changed.clear()
                    await desk.changed.wait()
        if desk.up and desk.reported < sequence:
            metrics.ANSWERS_OVERDUE.labels(venue=desk.venue).inc()
            _log.warning("reports_overdue", venue=desk.venue, md_sequence=sequence)

    async def _await_answers(self, desk: VenueDesk, cl_ord_ids: Sequence[str]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience.answers):
                while desk.book.awaiting(cl_ord_ids):
                    desk.changed.clear()
                    await desk.changed.wait()
        for cl_ord_id in desk.book.awaiting(cl_ord_ids):
            metrics.ANSWERS_OVERDUE.labels(venue=desk.venue).inc()
            _log.warning("answer_overdue", venue=desk.venue, cl_ord_id=cl_ord_id)
            desk.book.cancel_unanswered(cl_ord_id)

    async def _give_up_lost_events(self, desk: VenueDesk) -> None:
        lost = desk.published
        _log.warning("target_lost", venue=desk.venue, md_sequence=lost)
        await self._upstream_ready()
        if not self._inbox.empty():
            return
        metrics.EVENTS_SKIPPED.labels(venue=desk.venue).inc(lost - desk.finished)
        desk.restart(lost)
        await desk.finish(lost)


def _latest_only(tasks: Sequence[Task]) -> list[Task]:
    """Out of lock step, drops the targets of all but the last task of each venue; their market data stays."""
    last = {task.desk.venue: task for task in tasks if task.step.target is not None}
    kept = []
    for task in tasks:
        if task.step.target is None or task.desk.lock_step or last[task.desk.venue] is task:
            kept.append(task)
        else:
            metrics.HOLDS.labels(reason="Superseded").inc()
            kept.append(replace(task, step=replace(task.step, target=None)))
    return kept
