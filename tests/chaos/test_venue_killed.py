"""A venue that dies and comes back remembers what it said, and the gateway finds out what it missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.rounds import running

pytestmark = pytest.mark.integration


async def test_the_books_agree_after_the_venue_was_killed(tmp_path: Path) -> None:
    async with running(tmp_path, 8) as run:
        for _ in range(2):
            await run.round("venue")
