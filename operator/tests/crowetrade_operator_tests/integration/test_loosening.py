"""The scope of a limit moves from one gateway to another: it is never in force at neither."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from crowetrade import subjects
from crowetrade.config.v1 import config_pb2
from crowetrade_operator.cluster.resources import RISK_LIMITS, STRATEGIES, VENUES
from crowetrade_operator_tests.decide.scenes import two_venues
from crowetrade_operator_tests.integration.desk import Desk
from crowetrade_operator_tests.samples import account, change, gateway_status, limit_manifest, venue_manifest
from crowetrade_operator_tests.waiting import end, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]


class Gateways:
    """Two gateways that say each 50 ms what they enforce: the configuration on the bus, unless they are held."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.enforced: dict[str, config_pb2.GatewayConfig] = {}
        self.held: set[str] = set()

    async def run(self) -> None:
        while True:
            for name in ("sim-b", "sim-fx"):
                if name not in self.held or name not in self.enforced:
                    self.enforced[name] = await self._desk.config(name)
                status = gateway_status(self.enforced[name], [account()], namespace=self._desk.namespace, name=name)
                await self._desk.publish(subjects.gateway_status(self._desk.namespace, name), status)
            await asyncio.sleep(0.05)

    def bound(self, name: str) -> list[int]:
        """Generations of the limit that the gateway enforces."""
        return [item.generation for item in self.enforced[name].rules]


def of_region(region: str) -> Object:
    scope = {"venueSelector": {"matchLabels": {"region": region}}}
    return change(limit_manifest(), "spec.scope", scope)


async def test_a_limit_that_moves_is_never_in_force_at_neither(desk: Desk) -> None:
    await desk.create(VENUES, venue_manifest(labels={"region": "eu"}))
    there = change(venue_manifest("sim-b", labels={"region": "us"}), "spec.account", "paper-2")
    await desk.create(VENUES, there)
    await desk.create(RISK_LIMITS, of_region("eu"))
    await desk.create(STRATEGIES, two_venues())
    for name in ("venue-sim-fx", "venue-sim-b"):
        await desk.deployment_ready(name)

    async def configured() -> bool:
        return bool((await desk.config()).rules) and bool((await desk.config("sim-b")).strategies)

    await until("both configurations", configured)
    gateways = Gateways(desk)
    task = asyncio.create_task(gateways.run())
    try:
        await desk.condition(RISK_LIMITS, "fx-desk", "Enforced", "True")
        gateways.held.add("sim-b")
        await desk.patch(RISK_LIMITS, "fx-desk", {"spec": {"scope": of_region("us")["spec"]["scope"]}})

        async def told() -> bool:
            return [item.generation for item in (await desk.config("sim-b")).rules] == [2]

        await until("the tighter configuration to be on the bus", told)
        await desk.idle()
        assert [item.generation for item in (await desk.config()).rules] == [1]
        assert gateways.bound("sim-fx") == [1]
        status = (await desk.get(RISK_LIMITS, "fx-desk"))["status"]
        assert status["pending"] == ["sim-b", "sim-fx"]

        gateways.held.clear()
        await until("the limit to be gone where it was", lambda: gateways.bound("sim-fx") == [])
        assert gateways.bound("sim-b") == [2]
        await desk.condition(RISK_LIMITS, "fx-desk", "Enforced", "True")
    finally:
        await end({task})
