"""Refused peers in the audit trail: whoever knocks a thousand times does not fill it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from crowetrade.audit.v1 import audit_pb2
from crowetrade_process.audit.trail import Trail
from crowetrade_process.identity.peer import Refusal

SECONDS = 60.0
"""Between two records for one reason; what comes in between is counted in the next one."""


class Refusals:
    """Records the peers that a process refuses."""

    def __init__(self, trail: Trail, clock: Callable[[], float] = time.monotonic) -> None:
        self._trail = trail
        self._clock = clock
        self._last: dict[str, float] = {}
        self._untold: Counter[str] = Counter()

    def refused(self, refusal: Refusal) -> None:
        """A peer was refused for what it shows."""
        self.record(refusal.reason.value, refusal.text)

    def record(self, reason: str, text: str, who: str = "") -> None:
        """Somebody was refused; `who` is the name in a certificate that was believed."""
        self._untold[reason] += 1
        last = self._last.get(reason)
        if last is not None and self._clock() - last < SECONDS:
            return
        self._last[reason] = self._clock()
        self._trail.record(
            audit_pb2.AuditEvent(
                action=audit_pb2.ACTION_IDENTITY_REFUSED,
                actor=who,
                proof=audit_pb2.ACTOR_PROOF_CERTIFICATE if who else audit_pb2.ACTOR_PROOF_UNSPECIFIED,
                reason=f"{reason}: {text}",
                count=self._untold.pop(reason),
            )
        )
