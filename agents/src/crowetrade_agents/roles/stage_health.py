"""Makes a broken model visible: counts its failures, reports them, and says when trading has to stand down."""

from __future__ import annotations

import structlog

from crowetrade_agents import metrics
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.hold_reasons import HoldReason
from crowetrade_agents.errors import ModelFailed
from crowetrade_agents.roles.problems import Problem
from crowetrade_agents.roles.status import AgentState

STAND_DOWN_AFTER = 10
"""Failures in a row after which working orders are canceled."""
LOG_EVERY_NS = 10_000_000_000

_log = structlog.get_logger(__name__)


class StageHealth:
    """The failures of one role's stage: of its model, or of our own code."""

    def __init__(self, role: str, state: AgentState, clock: Clock) -> None:
        self._role = role
        self._state = state
        self._clock = clock
        self._in_a_row = 0
        self._not_logged = 0
        self._log_after_ns: int | None = None

    @property
    def failing(self) -> bool:
        """Whether the stage failed at the last event that asked it."""
        return self._in_a_row > 0

    def worked(self) -> None:
        """The stage handled an event."""
        self._in_a_row = 0

    def failed(self, error: Exception) -> HoldReason:
        """The stage raised `error` at an event; returns why there is nothing to act upon."""
        now_ns = self._clock.now_ns()
        metrics.STAGE_FAILURES.labels(role=self._role).inc()
        self._log(error, now_ns)
        self._in_a_row += 1
        if not isinstance(error, ModelFailed):
            sentence = f"the {self._role} stage has a defect: {type(error).__name__}: {error}"
            self._state.report_problem(Problem.STAGE_FAILED, sentence, now_ns)
            return HoldReason.STAGE_FAILED
        self._state.report_problem(Problem.MODEL_FAILING, str(error), now_ns)
        return HoldReason.MODEL_FAILED if self._in_a_row < STAND_DOWN_AFTER else HoldReason.MODEL_FAILING

    def _log(self, error: Exception, now_ns: int) -> None:
        """The first failure, then at most one line per LOG_EVERY_NS with the number of those between."""
        if self._log_after_ns is not None and now_ns < self._log_after_ns:
            self._not_logged += 1
            return
        _log.error("stage_failed", role=self._role, not_logged=self._not_logged, error=str(error), exc_info=error)
        self._not_logged = 0
        self._log_after_ns = now_ns + LOG_EVERY_NS
