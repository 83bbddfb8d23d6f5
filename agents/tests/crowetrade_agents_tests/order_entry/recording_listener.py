"""A SessionListener that keeps what it was given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from crowetrade.bus.v1 import orders_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.order_entry.port import Request
from crowetrade_agents_tests.order_entry.engine_side import PATIENCE_SECONDS


class RecordingListener:
    """`calls` holds the name of each call and what identifies its argument."""

    def __init__(self, first: Sequence[Request] = ()) -> None:
        self.calls: list[tuple[str, str | int]] = []
        self._first = first
        self._called = asyncio.Event()

    def on_logon(self, venue: str, snapshot: gateway_pb2.LogonAccepted) -> Sequence[Request]:
        """See SessionListener."""
        self._note("logon", snapshot.market_data_sequence)
        return self._first

    def on_report(self, venue: str, report: orders_pb2.ExecutionReport) -> None:
        """See SessionListener."""
        self._note("report", report.cl_ord_id)

    def on_cancel_reject(self, venue: str, reject: orders_pb2.CancelReject) -> None:
        """See SessionListener."""
        self._note("cancel reject", reject.cl_ord_id)

    def on_published(self, venue: str, sequence: int) -> None:
        """See SessionListener."""
        self._note("published", sequence)

    def on_down(self, venue: str, why: str) -> None:
        """See SessionListener."""
        self._note("down", why)

    def names(self) -> list[str]:
        """The calls without arguments."""
        return [name for name, _ in self.calls]

    async def until(self, holds: Callable[[RecordingListener], bool]) -> None:
        """Returns when the calls are such."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds(self):
                self._called.clear()
                await self._called.wait()

    def _note(self, name: str, argument: str | int) -> None:
        self.calls.append((name, argument))
        self._called.set()
