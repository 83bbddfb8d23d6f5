"""Whenever the gateway dies, nothing is lost, nothing is sent twice, and its successor goes on where the venue is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.rounds import WEIGHTS, running

pytestmark = pytest.mark.integration

SEED = 8
KILLS = [kind for kind in WEIGHTS if kind not in ("venue", "frozen", "halted")]


async def test_the_books_agree_with_the_venue_order_by_order_after_each_kill(tmp_path: Path) -> None:
    async with running(tmp_path, SEED) as run:
        for number in range(10):
            await run.round(KILLS[number % len(KILLS)])
        run.totals()
    print("\n".join(run.report.lines()))
    assert run.report.totals["orders and replaces at the venue"] > 0
    assert run.report.requests.total() > 0, "no kill hit a request on its way"


async def test_nothing_leaves_after_a_halt_that_was_acknowledged(tmp_path: Path) -> None:
    async with running(tmp_path, SEED) as run:
        await run.round("written")
        await run.round("halted")
        assert run.after_halt
