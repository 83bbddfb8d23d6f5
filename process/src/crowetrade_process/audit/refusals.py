"""Refused peers in the audit trail: whoever knocks a thousand times does not fill it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from crowetrade.audit.v1 import audit_pb2
from crowetrade_process.identity.peer import Refusal
from crowetrade_process.stopping import cancelled

SECONDS = 60.0
"""Between two records for one reason; what comes in between is counted in the next one."""


class Recorder(Protocol):
    """What is needed of a Trail."""

    def record(self, event: audit_pb2.AuditEvent) -> None:
        """Keeps the event."""


class Refusals:
    """Records the peers that a process refuses."""

    def __init__(
        self,
        trail: Recorder,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._trail = trail
        self._clock = clock
        self._sleep = sleep
        # When each reason was recorded last, as long as what follows is counted.
        self._last: dict[str, float] = {}
        self._untold: dict[str, audit_pb2.AuditEvent] = {}
        self._counts = asyncio.Event()

    def refused(self, refusal: Refusal) -> None:
        """A peer was refused for what it shows."""
        self.record(refusal.reason.value, refusal.text)

    def record(self, reason: str, text: str, who: str = "") -> None:
        """Somebody was refused; `who` is the name in a certificate that was believed."""
        before = self._untold.get(reason)
        self._untold[reason] = audit_pb2.AuditEvent(
            action=audit_pb2.ACTION_IDENTITY_REFUSED,
            actor=who,
            proof=audit_pb2.ACTOR_PROOF_CERTIFICATE if who else audit_pb2.ACTOR_PROOF_UNSPECIFIED,
            reason=f"{reason}: {text}",
            count=1 + (before.count if before is not None else 0),
        )
        if reason not in self._last or self._is_over(reason):
            self._tell(reason)

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Records meanwhile what is counted, SECONDS after the last record, and at the end what is left."""
        task = asyncio.create_task(self._tell_what_is_due())
        try:
            yield
        finally:
            await cancelled(task)
            for reason in [*self._untold]:
                self._tell(reason)

    async def _tell_what_is_due(self) -> None:
        while True:
            await self._counts.wait()
            while self._last:
                # A reason that comes meanwhile is due after these.
                await self._sleep(max(min(self._last.values()) + SECONDS - self._clock(), 0.0))
                for reason in [reason for reason in self._last if self._is_over(reason)]:
                    del self._last[reason]
                    if reason in self._untold:
                        self._tell(reason)
            self._counts.clear()

    def _is_over(self, reason: str) -> bool:
        return self._clock() - self._last[reason] >= SECONDS

    def _tell(self, reason: str) -> None:
        self._last[reason] = self._clock()
        self._trail.record(self._untold.pop(reason))
        self._counts.set()
