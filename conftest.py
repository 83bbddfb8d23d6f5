"""What each test leaves as it found it, whichever package it is of: they all run in one process."""

from __future__ import annotations

import logging
from collections.abc import Iterator

# gRPC reads how much it says when it is imported, and the command line has it say nothing: tests look for what it says.
import grpc  # noqa: F401
import pytest
import structlog


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A test that sets up logs, or runs a command that does, would silence those that look for a line."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if type(handler) is logging.StreamHandler]:
        root.removeHandler(handler)
