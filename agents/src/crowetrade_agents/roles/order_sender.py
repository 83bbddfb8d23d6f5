"""Sends the child orders and cancels of a plan and waits for their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from crowetrade.bus.v1 import orders_pb2
from crowetrade_agents import metrics
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.flow import Origin
from crowetrade_agents.domain.flow_wire import origin_to_wire
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import render
from crowetrade_agents.domain.orders import TimeInForce
from crowetrade_agents.domain.wire import SIDE_TO_WIRE, TIME_IN_FORCE_TO_WIRE, instrument_to_wire
from crowetrade_agents.execution.ids import ClOrdIds
from crowetrade_agents.execution.plan import Child
from crowetrade_agents.execution.policy import ORDER_VALIDITY_NS
from crowetrade_agents.order_entry.port import Request
from crowetrade_agents.roles.venue_stream import VenueStream

_log = structlog.get_logger(__name__)

MIN_CANCEL_PAUSE_NS = 1_000_000_000
MAX_CANCEL_PAUSE_NS = 30_000_000_000


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds of wall clock."""

    # For the answers to the orders and cancels of one event.
    answers: float = 5.0
    # In lock step, for the target of an event, before the event is given up.
    target: float = 10.0

    @property
    def answers_ns(self) -> int:
        """`answers` in nanoseconds."""
        return int(self.answers * 1e9)

    @property
    def target_ns(self) -> int:
        """`target` in nanoseconds."""
        return int(self.target * 1e9)


class OrderSender:
    """The orders of one strategy; `names` is what the gateway of each venue calls it. In shadow nothing is sent but
    cancels, and every decision is logged."""

    def __init__(
        self,
        names: Mapping[str, str],
        ids: ClOrdIds,
        time_in_force: TimeInForce,
        clock: Clock,
        patience: Patience,
        shadow: bool,
        pause_clock_ns: Callable[[], int],
        post_only: bool = False,
    ) -> None:
        """`pause_clock_ns` is the time by which pauses are counted."""
        self._names = names
        self._ids = ids
        self._time_in_force = TIME_IN_FORCE_TO_WIRE[time_in_force]
        self._clock = clock
        self._patience = patience
        self._shadow = shadow
        self._post_only = post_only
        self._pause_clock_ns = pause_clock_ns
        # By venue and ClOrdID: until when the order is not to be canceled again, and how long that pause is.
        self._cancel_pauses: dict[tuple[str, str], tuple[int, int]] = {}

    async def order(self, stream: VenueStream, instrument: InstrumentId, child: Child, origin: Origin) -> list[str]:
        """Sends a child order; returns its ClOrdID, or nothing when it did not leave."""
        strategy = self._names[stream.venue]
        order = orders_pb2.NewOrder(
            cl_ord_id=self._ids.next(strategy),
            strategy=strategy,
            instrument=instrument_to_wire(instrument),
            side=SIDE_TO_WIRE[child.side],
            order_quantity=render(child.quantity),
            ord_type=orders_pb2.ORD_TYPE_MARKET if child.price is None else orders_pb2.ORD_TYPE_LIMIT,
            price="" if child.price is None else render(child.price),
            time_in_force=self._time_in_force,
            post_only=self._post_only,
            valid_until_unix_ns=self._clock.now_ns() + ORDER_VALIDITY_NS,
            origin=origin_to_wire(origin),
        )
        _log.info(
            "child_order_not_sent_in_shadow" if self._shadow else "child_order",
            venue=stream.venue,
            cl_ord_id=order.cl_ord_id,
            md_sequence=origin.sequence,
            side=child.side.value,
            symbol=instrument.symbol,
            quantity=order.order_quantity,
            price=order.price,
        )
        if self._shadow:
            return []
        stream.orders.order_sent(order)
        if not await stream.send(Request(new_order=order)):
            stream.orders.order_unsent(order.cl_ord_id)
            return []
        metrics.CHILD_ORDERS.labels(venue=stream.venue, side=child.side.value).inc()
        return [order.cl_ord_id]

    async def cancel(self, stream: VenueStream, cl_ord_ids: Sequence[str]) -> list[str]:
        """Sends cancels of working orders whose pause is over; returns the ClOrdIDs of the orders."""
        if not cl_ord_ids:
            return []
        due = self._due(stream, cl_ord_ids)
        await self._cancel(stream, due)
        return due

    def cancel_failed(self, stream: VenueStream, cl_ord_id: str) -> None:
        """The cancel of an order that works on was refused, or not answered: the next one waits, twice as long each
        time, because the gateway counts each as a message."""
        working = {order.cl_ord_id for order in stream.orders.working()}
        for place in [place for place in self._cancel_pauses if place[0] == stream.venue and place[1] not in working]:
            del self._cancel_pauses[place]
        if cl_ord_id in working:
            _, before = self._cancel_pauses.get((stream.venue, cl_ord_id), (0, 0))
            pause = min(2 * before, MAX_CANCEL_PAUSE_NS) or MIN_CANCEL_PAUSE_NS
            self._cancel_pauses[stream.venue, cl_ord_id] = self._pause_clock_ns() + pause, pause

    def _due(self, stream: VenueStream, cl_ord_ids: Sequence[str]) -> list[str]:
        now_ns = self._pause_clock_ns()
        return [name for name in cl_ord_ids if now_ns >= self._cancel_pauses.get((stream.venue, name), (0, 0))[0]]

    async def _cancel(self, stream: VenueStream, cl_ord_ids: Sequence[str]) -> None:
        strategy = self._names[stream.venue]
        for cl_ord_id in cl_ord_ids:
            stream.orders.cancel_sent(cl_ord_id)
            _log.info("cancel", venue=stream.venue, cl_ord_id=cl_ord_id)
            cancel = orders_pb2.Cancel(cl_ord_id=self._ids.next(strategy), orig_cl_ord_id=cl_ord_id, strategy=strategy)
            if not await stream.send(Request(cancel=cancel)):
                stream.orders.cancel_unanswered(cl_ord_id)

    async def cancel_all(self, streams: Sequence[VenueStream], *, last: bool = False) -> None:
        """Cancels every working order and waits for the answers; the `last` time without regard to pauses."""
        sent = []
        for stream in streams:
            working = [order.cl_ord_id for order in stream.orders.working() if not order.cancelling]
            due = working if last else self._due(stream, working)
            await self._cancel(stream, due)
            sent.append((stream, due))
        for stream, cl_ord_ids in sent:
            await self.await_answers(stream, cl_ord_ids)

    async def await_answers(self, stream: VenueStream, cl_ord_ids: Sequence[str]) -> None:
        """Returns when each order has its answer, or when patience is over."""
        if await self._until(stream, lambda: not stream.orders.awaiting(cl_ord_ids)):
            return
        for cl_ord_id in stream.orders.awaiting(cl_ord_ids):
            metrics.ANSWERS_OVERDUE.labels(venue=stream.venue).inc()
            _log.warning("answer_overdue", venue=stream.venue, cl_ord_id=cl_ord_id)
            order = stream.orders.order(cl_ord_id)
            if order is not None and order.cancelling:
                stream.orders.cancel_unanswered(cl_ord_id)
                self.cancel_failed(stream, cl_ord_id)

    async def await_reports(self, stream: VenueStream, sequence: int) -> None:
        """In lock step, returns when all reports up to the event are there, or when patience is over."""
        if not await self._until(stream, lambda: not stream.up or stream.reported >= sequence):
            metrics.ANSWERS_OVERDUE.labels(venue=stream.venue).inc()
            _log.warning("reports_overdue", venue=stream.venue, md_sequence=sequence)

    async def _until(self, stream: VenueStream, done: Callable[[], bool]) -> bool:
        if done():
            return True
        deadline_ns = self._clock.now_ns() + self._patience.answers_ns

        async def wake() -> None:
            await self._clock.wait_until(deadline_ns)
            stream.changed.set()

        waking = asyncio.create_task(wake())
        try:
            while not done() and self._clock.now_ns() < deadline_ns:
                stream.changed.clear()
                await stream.changed.wait()
        finally:
            waking.cancel()
        return done()
