"""Of two gateways for one account exactly one goes on, and the venue hears nothing more from the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.rounds import running

pytestmark = pytest.mark.integration


async def test_a_gateway_that_was_frozen_while_another_took_over_ends(tmp_path: Path) -> None:
    async with running(tmp_path, 8) as run:
        for _ in range(3):
            await run.round("frozen")
        await run.read()
        assert run.venue_record.logons == [1, 2, 3, 4]
