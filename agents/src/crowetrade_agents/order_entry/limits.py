"""What a session may do to its gateway. One strategy reaches its own limits long before another notices."""

from __future__ import annotations

from dataclasses import dataclass

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Times in nanoseconds.

    `commands_queued` counts what one strategy has in the gateway's queue, over all its sessions, `lifecycle_queued` its
    logons and ends that wait for room there; `responses_queued` what waits for a session that does not read.
    `logons_per_minute` and `streams_per_strategy` bound what reconnecting costs. `waiting_streams` have not sent Logon
    yet and have `logon_deadline_ns` for it. `linger_ns` is for writing what is queued when a session ends.
    """

    commands_queued: int = 64
    responses_queued: int = 4096
    messages_per_second: int = 2000
    messages_burst: int = 2000
    logons_per_minute: int = 60
    logons_burst: int = 10
    lifecycle_queued: int = 32
    streams_per_strategy: int = 4
    sessions: int = 1000
    waiting_streams: int = 64
    logon_deadline_ns: int = 5 * SECOND_NS
    heartbeat_deadline_ns: int = 10 * SECOND_NS
    linger_ns: int = 2 * SECOND_NS


class Pace:
    """So many per period on average and at most `burst` at once. The generic cell rate algorithm: one number, no
    timer."""

    def __init__(self, period_ns: int, per_period: int, burst: int) -> None:
        self._interval_ns = period_ns // per_period
        self._tolerance_ns = self._interval_ns * (burst - 1)
        self._earned_ns = 0

    def due_ns(self) -> int:
        """When the next one may pass; in the past when it may at once."""
        return self._earned_ns - self._tolerance_ns

    def take(self, now_ns: int) -> None:
        """One passes."""
        self._earned_ns = max(self._earned_ns, now_ns) + self._interval_ns
