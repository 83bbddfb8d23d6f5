"""What one process reports of itself in AgentStatus."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from crowetrade.bus.v1 import status_pb2
from crowetrade_agents.domain.hold_reasons import HoldReason
from crowetrade_agents.execution.plan import IdleReason
from crowetrade_agents.roles.problems import Problem, Problems
from crowetrade_api.reasons import WaitingReason

_QUANTITY_UNKNOWN = (
    "the venue quotes no quantities, so spec.policy.execution.participationCap allows no order: "
    "remove the cap or use data with quantities"
)
_WARMING_UP = "the model warms up: it has not seen enough market data yet"
_MODEL_FAILING = (
    "the model fails at every event, so working orders are canceled and nothing is ordered until it works again: see "
    "the problems and the log of the pod"
)
REPORT_SECONDS = 3.0
"""How often a process reports though nothing that matters is new, so that its silence is noticed. The operator waits
for three reports (SILENT_AFTER_SECONDS): one that is lost on the bus makes nobody silent."""
_STAND_DOWN = "trading stands down by spec.policy.standDown; it goes on when the market is usual"


@dataclass
class AgentState:
    """Mutable; each role writes its part. Times in nanoseconds since the Unix epoch, wall clock."""

    market_data_seen: bool = False
    warming_up: bool = False
    model_failing: bool = False
    last_signal_unix_ns: int = 0
    # Venue -> why its gateway is waited for.
    gateways_down: dict[str, str] = field(default_factory=dict)
    roles_missing: str = ""
    # A HoldReason of STAND_DOWN while trading stands down, else empty.
    stand_down: str = ""
    # True when a participation cap is set and the venue does not say how much it quotes.
    quantity_unknown: bool = False
    problems: Problems = field(default_factory=Problems)

    # Set at a change that is worth reporting at once.
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def report_problem(self, problem: Problem, message: str, now_ns: int, *, standing: bool = False) -> None:
        """Counts a problem; the first of its kind is reported at once."""
        if self.problems.report(problem, message, now_ns, standing=standing) == 1:
            self.changed.set()

    def hold(self, reason: str) -> None:
        """Takes the reason of a vector, signal or target that is not ready; empty when it is."""
        self.market_data_seen = True
        if reason == HoldReason.EVENT_NOT_USED:
            return
        self.warming_up = reason == HoldReason.WARMING_UP
        self.model_failing = reason == HoldReason.MODEL_FAILING

    def waiting(self) -> tuple[str, str]:
        """(reason, sentence) why the process does not trade; empty strings when it does."""
        if self.roles_missing:
            return WaitingReason.ROLE_NOT_READY, self.roles_missing
        if self.gateways_down:
            sentences = "; ".join(self.gateways_down[venue] for venue in sorted(self.gateways_down))
            return WaitingReason.GATEWAY_UNREACHABLE, sentences
        if not self.market_data_seen:
            return WaitingReason.NO_MARKET_DATA, "no market data has arrived since the process started"
        if self.warming_up:
            return HoldReason.WARMING_UP, _WARMING_UP
        if self.model_failing or self.stand_down == HoldReason.MODEL_FAILING:
            return HoldReason.MODEL_FAILING, _MODEL_FAILING
        if self.stand_down:
            return self.stand_down, _STAND_DOWN
        if self.quantity_unknown:
            return IdleReason.NO_QUOTED_QUANTITY, _QUANTITY_UNKNOWN
        return "", ""

    def message(self, identity: status_pb2.AgentStatus, now_ns: int) -> status_pb2.AgentStatus:
        """The status to publish; `identity` holds what does not change."""
        reason, sentence = self.waiting()
        status = status_pb2.AgentStatus(
            sent_unix_ns=now_ns,
            last_signal_unix_ns=self.last_signal_unix_ns,
            waiting_reason=reason,
            waiting_message=sentence,
            problems=self.problems.current(now_ns),
        )
        status.MergeFrom(identity)
        return status


def is_worth_reporting(before: status_pb2.AgentStatus | None, after: status_pb2.AgentStatus) -> bool:
    """Whether a process that reported `before` reports `after` now: what may change a condition at once, times and
    counts with the next report. Ten thousand processes that repeat themselves each second would cost more than all
    else that they say."""
    if before is None or _conditions(before) != _conditions(after):
        return True
    # Either way: a clock that was put back must not keep it silent.
    return abs(after.sent_unix_ns - before.sent_unix_ns) >= REPORT_SECONDS * 1e9


def _conditions(status: status_pb2.AgentStatus) -> tuple[str, str, list[str]]:
    return status.waiting_reason, status.waiting_message, [problem.reason for problem in status.problems]
