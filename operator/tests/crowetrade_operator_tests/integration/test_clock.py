"""The clock of the operator's node is set, while everything trades."""

from __future__ import annotations

import time

import pytest

from crowetrade_operator.cluster.resources import STRATEGIES, VENUES
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.integration.picture import differences, generations, picture
from crowetrade_operator_tests.waiting import counted, until

pytestmark = pytest.mark.integration
DAY = 86_400.0


async def test_a_clock_that_steps_forward_and_back_changes_nothing(desk: Desk) -> None:
    """By a day each way. Silence, Leases and pauses are counted on a clock that nobody sets; see test_lease.py."""
    context = desk.parts.context
    async with trading(desk):
        before, written = await picture(desk.cluster, desk.namespace), await generations(desk.cluster, desk.namespace)
        for step in (DAY, -DAY, 0.0):

            def stepped(step: float = step) -> float:
                return time.time() + step

            context.wall_clock = stepped
            looked = counted("reconciles", result="done")
            desk.parts.controller.enqueue_all()

            def all_looked_at(looked: float = looked) -> bool:
                return counted("reconciles", result="done") >= looked + 3

            await until("everything to be looked at", all_looked_at)
            await desk.idle()
            assert differences(await picture(desk.cluster, desk.namespace), before) == []
            assert await generations(desk.cluster, desk.namespace) == written
        await desk.condition(STRATEGIES, "ema", "Ready", "True")
        await desk.condition(VENUES, "sim-fx", "Ready", "True")
