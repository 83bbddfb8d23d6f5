"""Without the bus the operator says that it knows nothing, looks after the children, and catches up afterwards.

`make chaos` takes it away for two minutes (CROWETRADE_BUS_SECONDS).
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import Any

import pytest

from crowetrade_operator.cluster.resources import DEPLOYMENTS, RISK_LIMITS, SERVICES, STRATEGIES, VENUES
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.samples import limit_manifest
from crowetrade_operator_tests.servers import NatsServer
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
SECONDS = float(os.environ.get("CROWETRADE_BUS_SECONDS", "0"))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Soon silent."""
    return replace(settings, silent_after_seconds=1.0)


async def test_a_bus_that_is_down_and_comes_back_empty(desk: Desk, nats_server: NatsServer) -> None:
    async with trading(desk):
        uid = (await desk.get(SERVICES, "strategy-ema"))["metadata"]["uid"]
        generation = (await desk.get(DEPLOYMENTS, "venue-sim-fx"))["metadata"]["generation"]
        await asyncio.to_thread(nats_server.stop)
        await desk.condition(STRATEGIES, "ema", "Ready", "Unknown", "BusUnavailable")
        await desk.condition(STRATEGIES, "ema", "Trading", "Unknown", "BusUnavailable")
        await desk.condition(VENUES, "sim-fx", "SessionEstablished", "Unknown", "BusUnavailable")
        await desk.condition(RISK_LIMITS, "fx-desk", "Enforced", "Unknown", "BusUnavailable")

        await desk.create(RISK_LIMITS, limit_manifest("second"))
        await desk.delete(SERVICES, "strategy-ema")

        async def made_again() -> bool:
            return bool((await desk.get(SERVICES, "strategy-ema"))["metadata"]["uid"] != uid)

        await until("the child to be made again without the bus", made_again)

        await asyncio.sleep(SECONDS)
        nats_server.forget()
        await asyncio.to_thread(nats_server.start)

        async def put_again() -> bool:
            return [rule.risk_limit for rule in (await desk.config()).rules] == ["fx-desk", "second"]

        await until("everything to be put again, with what came meanwhile", put_again)
        await desk.condition(RISK_LIMITS, "second", "Ready", "True")
        await desk.condition(VENUES, "sim-fx", "Ready", "True")
        # The gateway of this test names fx-desk alone as in force.
        await desk.condition(STRATEGIES, "ema", "VenueConnected", "True")
        await desk.condition(STRATEGIES, "ema", "RiskBound", "False", "WaitingForGateway")
        assert (await desk.get(DEPLOYMENTS, "venue-sim-fx"))["metadata"]["generation"] == generation


async def test_a_gateway_that_falls_silent_is_told_from_a_bus_that_is_down(desk: Desk) -> None:
    async with trading(desk):
        pass
    await desk.condition(VENUES, "sim-fx", "SessionEstablished", "Unknown", "GatewaySilent")
    await desk.condition(STRATEGIES, "ema", "VenueConnected", "Unknown", "GatewaySilent")
    await desk.phase(VENUES, "sim-fx", "Degraded")
    venue = await desk.get(VENUES, "sim-fx")
    assert venue["status"]["session"]["state"] == ""
    assert venue["status"]["session"]["fencingToken"] == 1
