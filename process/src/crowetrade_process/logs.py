"""JSON logs, one object per line: `event`, `level`, `timestamp`, and fields for all that varies.

One handler writes the lines of libraries too, from whatever thread they come: two writers would write into each
other's lines.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog

_OURS = "crowetrade"


def configure_logging(level: str = "INFO", stream: TextIO | None = None, **bound: object) -> None:
    """Sets up structlog and the standard library's logging, to standard output unless there is a stream; `bound` is in
    every line (strategy, venue, ...).

    Libraries are heard from WARNING on; the bus client reports its errors by callbacks, which log them as ours.
    """
    number = logging.getLevelNamesMapping().get(level, logging.INFO)
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    ours = logging.getLogger(_OURS)
    structlog.configure(
        processors=[*processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: ours,
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
            foreign_pre_chain=[*processors, structlog.stdlib.add_logger_name],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)
    ours.setLevel(number)
    logging.getLogger("nats").setLevel(logging.CRITICAL)
