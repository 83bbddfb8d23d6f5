"""What keeps a process from doing its work though it runs, for AgentStatus.problems."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from crowetrade.bus.v1 import status_pb2

REMEMBERED_NS = 90_000_000_000
"""How long after its last occurrence a problem is reported, wall clock: longer than the longest pause after
a refused order, so that a problem that lasts does not come and go."""


class Problem(StrEnum):
    """AgentProblem.reason, the worst first."""

    MODEL_FAILING = "ModelFailing"
    STAGE_FAILED = "StageFailed"
    DATA_GAP = "DataGap"
    ORDERS_REFUSED = "OrdersRefused"


@dataclass(slots=True)
class _Entry:
    message: str
    count: int
    since_ns: int
    until_ns: int | None


class Problems:
    """Counts by reason. Times are wall clock, nanoseconds since the Unix epoch."""

    def __init__(self) -> None:
        self._entries: dict[Problem, _Entry] = {}

    def report(self, problem: Problem, message: str, now_ns: int, *, standing: bool = False) -> int:
        """It happened (again); returns how often. One that is `standing` stays until `clear`."""
        self._forget_old(now_ns)
        entry = self._entries.setdefault(problem, _Entry(message, 0, now_ns, None))
        entry.message = message
        entry.count += 1
        entry.until_ns = None if standing else now_ns + REMEMBERED_NS
        return entry.count

    def clear(self, problem: Problem) -> None:
        """It is over."""
        self._entries.pop(problem, None)

    def current(self, now_ns: int) -> list[status_pb2.AgentProblem]:
        """What is wrong, the worst first."""
        self._forget_old(now_ns)
        return [
            status_pb2.AgentProblem(
                reason=problem, message=entry.message, count=entry.count, since_unix_ns=entry.since_ns
            )
            for problem in Problem
            if (entry := self._entries.get(problem)) is not None
        ]

    def _forget_old(self, now_ns: int) -> None:
        self._entries = {
            problem: entry
            for problem, entry in self._entries.items()
            if entry.until_ns is None or now_ns < entry.until_ns
        }
