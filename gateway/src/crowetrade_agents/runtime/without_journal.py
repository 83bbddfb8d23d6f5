"""Cancels at the venue while neither bus nor journal are there and a kill order wants nothing to stay open.

It logs on, cancels every open order of the account whose ClOrdID is one that a gateway sends, of whom a kill order
stops, and waits for the venue's confirmations. Nothing is journaled: the gateway that opens the journal later asks the
venue what became of these orders. Labels are told by the bus, so an order that selects by them selects everybody.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import structlog

from crowetrade_agents.control.kills import selects
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.risk import gate
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.runtime.kills import AtVenue, Kills
from crowetrade_agents.venues.port import (
    Ended,
    LogonRefused,
    OpenOrder,
    Resume,
    SessionChanged,
    SessionState,
    VenuePort,
    VenueUnavailable,
)
from crowetrade_process.stopping import cancelled

PATIENCE_NS = 3 * SECOND_NS
"""A journal that opens within this time is not gone: the gateway itself cancels then."""
ANSWER_NS = 5 * SECOND_NS
"""Without all confirmations after so long it logs on again, and looks what is still open."""
RETRY_NS = SECOND_NS

_CL_ORD_ID = re.compile(r"(?P<strategy>.+)-(?:[0-9a-z]{10,13}|g[0-9]+)-[1-9][0-9]{0,11}", re.ASCII)
"""Of strategies (order_entry/decode.py) and of gateways (GatewayState.own_id)."""

log = structlog.get_logger()


class WithoutJournal:
    """`make_venue` makes an adapter for one session. Works from `start` until `stop` has returned."""

    def __init__(self, namespace: str, make_venue: Callable[[], VenuePort], kills: Kills, clock: Clock) -> None:
        self._namespace = namespace
        self._make_venue = make_venue
        self._kills = kills
        self._clock = clock
        self._requests = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to wait for a kill order that cancels."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Returns once the session with the venue has ended."""
        if self._task is not None:
            await cancelled(self._task)

    async def _run(self) -> None:
        await self._clock.wait_until(self._clock.now_ns() + PATIENCE_NS)
        done: list[bytes] = []
        while True:
            changed = self._kills.changed
            wanted = [kill.order.SerializeToString() for kill in self._kills.in_force if self._kills.cancels(kill)]
            if any(order not in done for order in wanted):
                await self._cancel_all()
                done = wanted
            await changed.wait()

    async def _cancel_all(self) -> None:
        """Until nothing is open that is to be cancelled; again while the venue cannot be reached or does not answer."""
        while not await self._session():
            await self._clock.wait_until(self._clock.now_ns() + RETRY_NS)

    async def _session(self) -> bool:
        venue, at_venue = await asyncio.to_thread(self._make_venue), self._kills.at_venue
        try:
            snapshot = await venue.connect(Resume(since_ns=self._clock.now_ns()))
            found = {order.cl_ord_id: strategy for order in snapshot.open_orders if (strategy := self._stopped(order))}
            at_venue.open = found
            for order in snapshot.open_orders:
                if order.cl_ord_id in found:
                    self._cancel(venue, order, found[order.cl_ord_id])
            log.warning("orders_cancelled_without_journal", orders=len(found))
            self._kills.notify()
            confirmed = asyncio.create_task(self._confirmed(venue, at_venue))
            deadline = asyncio.create_task(self._clock.wait_until(self._clock.now_ns() + ANSWER_NS))
            try:
                await asyncio.wait({confirmed, deadline}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancelled(confirmed, deadline)
        except (LogonRefused, VenueUnavailable) as error:
            at_venue.problem = str(error)
            self._kills.notify()
            return False
        finally:
            await venue.close()
        at_venue.problem = ""
        at_venue.looked_ns = 0 if at_venue.open else self._clock.now_ns()
        self._kills.notify()
        return not at_venue.open

    async def _confirmed(self, venue: VenuePort, at_venue: AtVenue) -> None:
        """Returns when the venue has confirmed every end, or the session is over."""
        if not at_venue.open:
            return
        async for event in venue.events():
            if isinstance(event, Ended) and event.cl_ord_id in at_venue.open:
                del at_venue.open[event.cl_ord_id]
            ended = isinstance(event, SessionChanged) and event.state is SessionState.DISCONNECTED
            if ended or not at_venue.open:
                return

    def _cancel(self, venue: VenuePort, order: OpenOrder, strategy: str) -> None:
        self._requests += 1
        request = f"{strategy}-k{self._clock.now_ns()}-{self._requests}"
        venue.cancel(
            gate.approve_cancel(
                request, order.cl_ord_id, order.order_id, order.instrument, order.side, str(Reason.TRADING_STOPPED)
            )
        )
        self._kills.at_venue.cancelled[order.cl_ord_id] = strategy

    def _stopped(self, order: OpenOrder) -> str:
        """Whose order it is, if a kill order wants it cancelled; empty otherwise."""
        parts = _CL_ORD_ID.fullmatch(order.cl_ord_id)
        if parts is None:
            return ""
        strategy = parts["strategy"]
        orders = (kill.order for kill in self._kills.in_force if self._kills.cancels(kill))
        return strategy if any(selects(order, Configuration(), self._namespace, strategy) for order in orders) else ""
