"""Logs are JSON lines, ours and those of libraries, whatever thread they come from."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from crowetrade_process.logs import configure_logging

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """What was logged."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_has_its_event_its_fields_and_what_was_bound(lines: Lines) -> None:
    configure_logging(strategy="ema")
    structlog.get_logger("x").info("child_order", venue="sim", md_sequence=7)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "child_order", "level": "info", "strategy": "ema", "venue": "sim", "md_sequence": 7}


def test_libraries_are_heard_from_warning_on_with_their_name(lines: Lines) -> None:
    configure_logging()
    logging.getLogger("library").info("nobody needs this")
    thread = threading.Thread(target=lambda: logging.getLogger("library").warning("it said %s", "so"))
    thread.start()
    thread.join()
    (line,) = lines()
    assert (line["event"], line["logger"], line["level"]) == ("it said so", "library", "warning")


def test_an_exception_is_a_field(lines: Lines) -> None:
    configure_logging()
    try:
        raise ValueError("why")
    except ValueError:
        structlog.get_logger().exception("stage_failed")
    (line,) = lines()
    assert "ValueError: why" in line["exception"]


@pytest.mark.parametrize(("level", "events"), [("DEBUG", ["d", "i"]), ("INFO", ["i"]), ("ERROR", [])])
def test_the_level_is_a_setting(lines: Lines, level: str, events: list[str]) -> None:
    configure_logging(level)
    structlog.get_logger().debug("d")
    structlog.get_logger().info("i")
    assert [line["event"] for line in lines()] == events
