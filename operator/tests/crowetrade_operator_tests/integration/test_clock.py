"""The clock of the operator's node is set, while everything trades."""

from __future__ import annotations

import time

import pytest

from crowetrade_api.names import FINALIZER
from crowetrade_operator.cluster.resources import STRATEGIES, VENUES
from crowetrade_operator_tests.decide.scenes import position
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.integration.picture import differences, generations, picture
from crowetrade_operator_tests.samples import account, change, strategy_manifest
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


async def test_a_clock_that_steps_ahead_does_not_end_the_wait_for_positions_to_be_closed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a Strategy that is being deleted with Flatten, and of its venue: the wait is as long as on any other node."""
    monkeypatch.setattr(desk.parts.context, "wall_clock", lambda: time.time() + DAY)
    flattens = change(strategy_manifest(), "spec.deletionPolicy", "Flatten")
    held = account(positions=[position("900")], open_orders=1)
    async with trading(desk, flattens) as gateway:
        gateway.says(accounts=[held])
        for resource, name in ((STRATEGIES, "ema"), (VENUES, "sim-fx")):
            await desk.delete(resource, name)
        await desk.phase(STRATEGIES, "ema", "Stopping")
        for resource, name in ((STRATEGIES, "ema"), (VENUES, "sim-fx")):
            await desk.noticed(await desk.get(resource, name))
        looked = counted("reconciles", result="done")
        desk.parts.controller.enqueue_all()
        await until("everything to be looked at", lambda: counted("reconciles", result="done") >= looked + 3)
        for resource, name in ((STRATEGIES, "ema"), (VENUES, "sim-fx")):
            assert FINALIZER in (await desk.get(resource, name))["metadata"]["finalizers"]
        gateway.says(accounts=[account(stopped=True)])
        await desk.gone(STRATEGIES, "ema")
        await desk.gone(VENUES, "sim-fx")
        await desk.told("ema", "Stopped")
