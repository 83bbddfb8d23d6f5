"""An operator of another version takes over: the agents of flat strategies get their image a few at once, so that a bad
image stops few."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import DEPLOYMENTS, RISK_LIMITS, STRATEGIES, VENUES
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.integration.desk import Desk, condition_of, running, saying
from crowetrade_operator_tests.samples import account, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import nats_client
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
NEXT = "crowetrade/agents:next"
STRATEGY_NAMES = [f"s{number}" for number in range(5)]
AT_ONCE = 2


class Fleet:
    """Strategies that are flat, with an operator of the version before; then others work for them."""

    def __init__(self, cluster: Cluster, namespace: str, bus: Any, settings: Settings) -> None:
        self._arguments = cluster, namespace, bus
        self.before = replace(settings, agent_restarts_at_once=AT_ONCE)
        self.after = replace(self.before, agents_image=NEXT)
        self.desk: Desk

    @contextlib.asynccontextmanager
    async def led(self, settings: Settings) -> AsyncIterator[Desk]:
        async with running(settings) as operator:
            self.desk = Desk(*self._arguments, operator)
            yield self.desk

    async def create(self) -> None:
        await self.desk.create(VENUES, venue_manifest())
        await self.desk.create(RISK_LIMITS, limit_manifest())
        for name in STRATEGY_NAMES:
            await self.desk.create(STRATEGIES, strategy_manifest(name))
        for name in ("venue-sim-fx", *(f"strategy-{name}" for name in STRATEGY_NAMES)):
            await self.desk.deployment_ready(name)

    async def all_trade(self) -> None:
        for name in STRATEGY_NAMES:
            await self.desk.phase(STRATEGIES, name, "Trading")
        await self.desk.idle()

    async def upgraded(self) -> set[str]:
        """Those whose Deployment has the image of the next version."""
        found = {name: await self.desk.get(DEPLOYMENTS, f"strategy-{name}") for name in STRATEGY_NAMES}
        images = {name: item["spec"]["template"]["spec"]["containers"][0]["image"] for name, item in found.items()}
        return {name for name, image in images.items() if image == NEXT}

    async def are_upgraded(self, number: int) -> set[str]:
        """Waits for so many, and that they are no more."""

        async def check() -> bool:
            return len(await self.upgraded()) >= number

        await until(f"{number} strategies of the next version", check)
        await self.desk.idle()
        found = await self.upgraded()
        assert len(found) == number
        return found

    async def says(self, name: str, ready: int, conditions: Sequence[dict[str, str]] = ()) -> None:
        """What its Deployment's controller says; returns when the operator has done what it does about that."""
        item = await self.desk.deployment_ready(f"strategy-{name}", ready)
        if conditions:
            body = {key: item[key] for key in ("apiVersion", "kind")} | {
                "metadata": {"name": item["metadata"]["name"], "namespace": self.desk.namespace},
                "status": {**item["status"], "conditions": list(conditions)},
            }
            item = await self.desk.cluster.apply(body, "status")
        await self.desk.noticed(item)


@pytest.fixture
async def fleet(cluster: Cluster, namespace: str, nats_url: str, settings: Settings) -> AsyncIterator[Fleet]:
    async with nats_client(nats_url) as bus, contextlib.AsyncExitStack() as gateway:
        fleet = Fleet(cluster, namespace, bus, settings)
        async with fleet.led(fleet.before) as desk:
            await fleet.create()
            await gateway.enter_async_context(saying(desk, accounts=list(map(account, STRATEGY_NAMES))))
            await fleet.all_trade()
        yield fleet


async def test_an_upgrade_restarts_a_few_strategies_at_once(fleet: Fleet) -> None:
    async with fleet.led(fleet.after) as desk:
        done = await fleet.are_upgraded(AT_ONCE)
        for name in set(STRATEGY_NAMES) - done:
            await desk.condition(STRATEGIES, name, "Reconciling", "True", "WaitingForTurn")
            assert condition_of(await desk.get(STRATEGIES, name), "Ready")["status"] == "True", "it trades meanwhile"

        edited = max(set(STRATEGY_NAMES) - done)
        item = await desk.patch(STRATEGIES, edited, {"spec": {"model": {"parameters": {"fast": 7}}}})
        await desk.noticed(item)
        assert await fleet.are_upgraded(AT_ONCE + 1) == done | {edited}, "who changes a spec waits for no turn"
        await fleet.says(edited, ready=1)
        assert await fleet.upgraded() == done | {edited}

        ready = {edited}
        while len(ready) < len(STRATEGY_NAMES):
            name = min(await fleet.upgraded() - ready)
            # Whoever waits is looked at because a turn is free, not because time has passed.
            await fleet.says(name, ready=1)
            ready.add(name)
            assert len(await fleet.upgraded()) == min(len(ready) + AT_ONCE, len(STRATEGY_NAMES))
        for name in STRATEGY_NAMES:
            await desk.condition(STRATEGIES, name, "Reconciling", "False", "AsDesired")


async def test_a_bad_image_stops_a_few(fleet: Fleet) -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    async with fleet.led(fleet.after):
        stopped = await fleet.are_upgraded(AT_ONCE)
        for name in stopped:
            await fleet.says(name, ready=0)
        assert await fleet.upgraded() == stopped
    async with fleet.led(fleet.after):
        for name in set(STRATEGY_NAMES) - stopped:
            await fleet.desk.condition(STRATEGIES, name, "Reconciling", "True", "WaitingForTurn")
        await fleet.desk.idle()
        assert await fleet.upgraded() == stopped, "an operator that has just come to lead counts them, too"
        await fleet.says(min(stopped), ready=0, conditions=[late])
        await fleet.are_upgraded(AT_ONCE + 1)
    async with fleet.led(fleet.before):
        # Whoever has not come up is brought back at once, and nobody who runs is touched.
        await until("the image of before", lambda: _none(fleet))


async def _none(fleet: Fleet) -> bool:
    return not await fleet.upgraded()
