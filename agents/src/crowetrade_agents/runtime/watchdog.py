"""Says why a process hangs. A model that never returns holds the event loop, so neither health nor a task can notice
it: a thread looks at which stage is at work and since when, writes the log line and the termination message, and leaves
the restart to the kubelet, whose liveness probe fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from crowetrade_agents.roles.stages import RunningStage

HANGS_AFTER_SECONDS = 5.0
_LOOK_EVERY_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class StageWatchdog:
    """A daemon thread between `start` and `stop`; reports each call that hangs once."""

    def __init__(
        self,
        running: RunningStage,
        write_termination_message: Callable[[str], None],
        hangs_after_seconds: float = HANGS_AFTER_SECONDS,
        look_every_seconds: float = _LOOK_EVERY_SECONDS,
    ) -> None:
        self._running = running
        self._write = write_termination_message
        self._hangs_after = hangs_after_seconds
        self._look_every = look_every_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stage-watchdog", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        reported: tuple[str, float] | None = None
        while not self._stopping.wait(self._look_every):
            current = self._running.current
            if current is None or current == reported or time.perf_counter() - current[1] < self._hangs_after:
                continue
            reported = current
            sentence = (
                f"the model has not returned to the {current[0]} role for {self._hangs_after:g} s, so the process "
                "hangs: a hook must return at once; the liveness probe restarts the container"
            )
            self._write(sentence)
            _log.error("stage_hangs", role=current[0], error=sentence)
