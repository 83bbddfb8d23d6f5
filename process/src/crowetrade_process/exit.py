"""How a process ends: one log line, the same sentence as the pod's termination message, and the exit code."""

from __future__ import annotations

import contextlib
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)


def failed(code: int, event: str, sentence: str, termination_log: str | Path, **fields: object) -> int:
    """Says why the process ends, and returns the code that it ends with."""
    _log.error(event, error=sentence, **fields)
    write_termination_message(sentence, termination_log)
    return code


def write_termination_message(sentence: str, path: str | Path) -> None:
    """The kubelet shows it in the pod's status; outside a pod there is no such file."""
    with contextlib.suppress(OSError):
        file = Path(path)
        if file.exists():
            file.write_text(sentence, encoding="utf-8")
