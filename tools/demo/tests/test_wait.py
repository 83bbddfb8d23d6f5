"""Waiting ends when the condition holds, and says what is missing when it does not."""

from __future__ import annotations

import pytest

from tools.demo.errors import CommandFailed, TimedOut
from tools.demo.wait import wait_for


def test_returns_as_soon_as_nothing_is_missing() -> None:
    answers = iter(["not yet", None])
    wait_for(lambda: next(answers), 10, "it")


def test_a_failed_command_counts_as_not_yet() -> None:
    answers = iter([True, False])

    def probe() -> str | None:
        if next(answers):
            raise CommandFailed("connection refused")
        return None

    wait_for(probe, 10, "it")


def test_a_passed_deadline_tells_what_was_missing() -> None:
    with pytest.raises(TimedOut, match=r"the pod to be ready: not after 0 s\. Last seen: ImagePullBackOff"):
        wait_for(lambda: "ImagePullBackOff", 0, "the pod to be ready")
