"""The gateway's side without an engine: a queue, a loop that answers at once, and a gate to make it busy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from crowetrade.bus.v1 import orders_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.order_entry.commands import (
    CancelOrder,
    Logon,
    Malformed,
    NewOrder,
    ReplaceOrder,
    SessionCommand,
    SessionLost,
)
from crowetrade_agents.order_entry.hub import Sessions
from crowetrade_agents.order_entry.limits import SessionLimits
from crowetrade_agents.order_entry.port import Response
from crowetrade_agents_tests.clock import ManualClock
from crowetrade_agents_tests.order_entry.requests import NAMESPACE, PUBLISHED, VENUE

PATIENCE_SECONDS = 20


class EngineSide:
    """Accepts logons, answers orders with New, refuses malformed ones, and keeps what it handled."""

    def __init__(
        self, limits: SessionLimits | None = None, *, queue_size: int = 500, clock: ManualClock | None = None
    ) -> None:
        self.clock = clock or ManualClock()
        self.queue: asyncio.Queue[SessionCommand] = asyncio.Queue(queue_size)
        self.in_hand: SessionCommand | None = None
        self.handled: list[SessionCommand] = []
        self.not_busy = asyncio.Event()
        self.not_busy.set()
        self.published = PUBLISHED
        self.bound = {"alpha", "beta"}
        self._progressed = asyncio.Event()
        self.sessions = Sessions(
            NAMESPACE,
            VENUE,
            self.queue.put,
            self.clock,
            is_bound=self.bound.__contains__,
            published=lambda: self.published,
            limits=limits,
        )

    async def run(self) -> None:
        """The loop of the gateway."""
        while True:
            command = self.in_hand = await self.queue.get()
            await self.not_busy.wait()
            self._handle(command)
            self.handled.append(command)
            self.sessions.handled(command)
            self._progressed.set()

    async def until(self, command: SessionCommand) -> None:
        """Returns when the command was handled."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while command not in self.handled:
                self._progressed.clear()
                await self._progressed.wait()

    async def until_lost(self, strategy: str) -> None:
        """Returns when the hub has no session of the strategy."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while strategy in self.sessions.connected():
                self.sessions.changed.clear()
                await self.sessions.changed.wait()

    def orders(self, strategy: str) -> list[str]:
        """ClOrdIDs of the orders handled."""
        return [
            command.terms.cl_ord_id
            for command in self.handled
            if isinstance(command, NewOrder) and command.terms.strategy == strategy
        ]

    def lifecycle(self, strategy: str) -> list[Logon | SessionLost]:
        """Logons and ends handled."""
        return [
            command
            for command in self.handled
            if isinstance(command, Logon | SessionLost) and command.strategy == strategy
        ]

    def _handle(self, command: SessionCommand) -> None:
        match command:
            case Logon(strategy, session):
                snapshot = gateway_pb2.LogonAccepted(market_data_sequence=self.published)
                self.sessions.accept(strategy, session, snapshot)
            case NewOrder(terms):
                self._report(terms.strategy, terms.cl_ord_id, orders_pb2.ORD_STATUS_NEW)
            case Malformed("alpha" | "beta" as strategy, "NewOrder", cl_ord_id, _, refusal):
                self._report(strategy, cl_ord_id, orders_pb2.ORD_STATUS_REJECTED, refusal.reason)
            case CancelOrder(strategy, cl_ord_id) | Malformed(strategy, _, cl_ord_id):
                reject = orders_pb2.CancelReject(cl_ord_id=cl_ord_id, strategy=strategy)
                self.sessions.deliver(strategy, Response(cancel_reject=reject))
            case ReplaceOrder(strategy, cl_ord_id):
                self._report(strategy, cl_ord_id, orders_pb2.ORD_STATUS_NEW)
            case _:
                pass

    def _report(self, strategy: str, cl_ord_id: str, status: orders_pb2.OrdStatus.ValueType, reason: str = "") -> None:
        report = orders_pb2.ExecutionReport(cl_ord_id=cl_ord_id, strategy=strategy, ord_status=status, reason=reason)
        self.sessions.deliver(strategy, Response(execution_report=report))


@asynccontextmanager
async def running(engine: EngineSide) -> AsyncIterator[EngineSide]:
    """With its loop."""
    loop = asyncio.create_task(engine.run())
    try:
        yield engine
    finally:
        loop.cancel()
