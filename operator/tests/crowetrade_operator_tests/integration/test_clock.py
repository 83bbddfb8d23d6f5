"""The clock of the operator's node is set, while everything trades."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from crowetrade_api.names import FINALIZER
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.lease import Elector
from crowetrade_operator.cluster.resources import LEASES, RISK_LIMITS, STRATEGIES, VENUES
from crowetrade_operator.cluster.status import REPORT_SECONDS, REPORT_TIME
from crowetrade_operator.cluster.times import unix_of
from crowetrade_operator.decide.health import PATIENCE_SECONDS
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.decide.scenes import position
from crowetrade_operator_tests.integration.desk import Desk, running, trading
from crowetrade_operator_tests.integration.picture import differences, generations, picture, told
from crowetrade_operator_tests.samples import account, change, strategy_manifest
from crowetrade_operator_tests.servers import nats_client
from crowetrade_operator_tests.waiting import counted, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
DAY = 86_400.0
RESOURCES = ((STRATEGIES, "ema"), (VENUES, "sim-fx"), (RISK_LIMITS, "fx-desk"))
# Between a time that is written and one that is read afterwards, on a busy machine.
SOON_SECONDS = 60.0


@dataclass(slots=True)
class NodeClock:
    """The wall clock of the operator's node, which a test sets."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> NodeClock:
    return NodeClock()


@pytest.fixture
async def desk(
    cluster: Cluster, namespace: str, nats_url: str, settings: Settings, clock: NodeClock
) -> AsyncIterator[Desk]:
    """A desk whose operator has that clock for everything that it writes."""
    async with running(settings, clock) as operator, nats_client(nats_url) as bus:
        yield Desk(cluster, namespace, bus, operator)


async def _look_at_everything(desk: Desk) -> None:
    looked = counted("reconciles", result="done")
    desk.parts.controller.enqueue_all()
    await until("everything to be looked at", lambda: counted("reconciles", result="done") >= looked + len(RESOURCES))
    await desk.idle()


async def _versions(desk: Desk) -> dict[str, str]:
    return {name: (await desk.get(resource, name))["metadata"]["resourceVersion"] for resource, name in RESOURCES}


async def _lease(desk: Desk) -> Object:
    spec: Object = (await desk.cluster.get(LEASES, desk.namespace, desk.operator.settings.lease_name))["spec"]
    return spec


def _is_soon(clock: NodeClock, written: str) -> bool:
    return abs(clock() - unix_of(written)) < SOON_SECONDS


async def test_a_clock_that_steps_forward_and_back_changes_nothing_but_the_times_of_statuses(
    desk: Desk, clock: NodeClock
) -> None:
    """By a day each way, and by less than what makes a status old. Silence, Leases and pauses are counted on a clock
    that nobody sets; see test_lease.py."""
    settings = desk.operator.settings
    other = Elector(desk.cluster, desk.namespace, settings.lease_name, "operator-1", settings.lease)
    async with trading(desk):
        before, written = (
            await picture(desk.cluster, desk.namespace, desk.bus),
            await generations(desk.cluster, desk.namespace),
        )
        events, epoch = await told(desk.cluster, desk.namespace), (await _lease(desk))["leaseTransitions"]
        for step in (REPORT_SECONDS / 2, -REPORT_SECONDS / 2, DAY, -DAY, 0.0):
            versions, statuses = await _versions(desk), counted("status_writes")
            is_far = abs(step - clock.ahead) > REPORT_SECONDS
            clock.ahead = step
            await _look_at_everything(desk)
            await _look_at_everything(desk)
            assert counted("status_writes") - statuses == (len(RESOURCES) if is_far else 0)
            for resource, name in RESOURCES:
                item = await desk.get(resource, name)
                assert (item["metadata"]["resourceVersion"] != versions[name]) == is_far
                if is_far:
                    assert _is_soon(clock, item["status"][REPORT_TIME])

            async def renewed() -> bool:
                return _is_soon(clock, (await _lease(desk))["renewTime"])

            await until("the Lease to have the time of now", renewed)
            assert not await other.take(), "the time in a Lease decides nothing"
            assert differences(await picture(desk.cluster, desk.namespace, desk.bus), before) == []
            assert await generations(desk.cluster, desk.namespace) == written
        assert await told(desk.cluster, desk.namespace) == events
        assert (await _lease(desk))["leaseTransitions"] == epoch
        await desk.condition(STRATEGIES, "ema", "Ready", "True")
        await desk.condition(VENUES, "sim-fx", "Ready", "True")


async def test_what_is_on_its_way_is_stalled_by_a_step_until_it_is_ready(desk: Desk, clock: NodeClock) -> None:
    """Its patience is of the wall clock, because the next leader has to know it; and what is told of it has the time of
    that clock."""
    async with trading(desk):
        await desk.create(STRATEGIES, strategy_manifest("second"))
        await desk.condition(STRATEGIES, "second", "Reconciling", "True")
        await desk.idle()
        clock.ahead = 2 * PATIENCE_SECONDS
        await _look_at_everything(desk)
        await desk.condition(STRATEGIES, "second", "Stalled", "True")


async def test_a_clock_that_steps_ahead_does_not_end_the_wait_for_positions_to_be_closed(
    desk: Desk, clock: NodeClock
) -> None:
    """Of a Strategy that is being deleted with Flatten, and of its venue: the wait is as long as on any other node."""
    flattens = change(strategy_manifest(), "spec.deletionPolicy", "Flatten")
    held = account(positions=[position("900")], open_orders=1)
    async with trading(desk, flattens) as gateway:
        gateway.says(accounts=[held])
        clock.ahead = DAY
        for resource, name in ((STRATEGIES, "ema"), (VENUES, "sim-fx")):
            await desk.delete(resource, name)
        await desk.phase(STRATEGIES, "ema", "Stopping")
        for resource, name in ((STRATEGIES, "ema"), (VENUES, "sim-fx")):
            await desk.noticed(await desk.get(resource, name))
        await _look_at_everything(desk)
        for resource, name in ((STRATEGIES, "ema"), (VENUES, "sim-fx")):
            assert FINALIZER in (await desk.get(resource, name))["metadata"]["finalizers"]
        gateway.says(accounts=[account(stopped=True)])
        await desk.gone(STRATEGIES, "ema")
        await desk.gone(VENUES, "sim-fx")
