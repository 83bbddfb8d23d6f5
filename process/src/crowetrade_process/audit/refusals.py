"""Refused peers in the audit trail: whoever knocks a thousand times does not fill it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from crowetrade.audit.v1 import audit_pb2
from crowetrade_process.audit.trail import Trail
from crowetrade_process.identity.peer import Reason, Refusal

SECONDS = 60.0
"""Between two records for one reason; what comes in between is counted in the next one."""


class Refusals:
    """Records the peers that a process refuses."""

    def __init__(self, trail: Trail, clock: Callable[[], float] = time.monotonic) -> None:
        self._trail = trail
        self._clock = clock
        self._last: dict[Reason, float] = {}
        self._untold: Counter[Reason] = Counter()

    def refused(self, refusal: Refusal) -> None:
        """A peer was refused."""
        reason = refusal.reason
        self._untold[reason] += 1
        last = self._last.get(reason)
        if last is not None and self._clock() - last < SECONDS:
            return
        self._last[reason] = self._clock()
        self._trail.record(
            audit_pb2.AuditEvent(
                action=audit_pb2.ACTION_IDENTITY_REFUSED,
                proof=audit_pb2.ACTOR_PROOF_CLAIMED,
                reason=f"{reason.value}: {refusal.text}",
                count=self._untold.pop(reason),
            )
        )
