"""Without the bus the operator says that it knows nothing, looks after the children, and catches up afterwards.

`make chaos` takes it away for two minutes (CROWETRADE_BUS_SECONDS).
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import Any

import pytest

from crowetrade_operator.cluster.resources import RISK_LIMITS, SERVICES, STRATEGIES, VENUES
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.integration.picture import generations, settled, told
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


@pytest.mark.parametrize("empty", [False, True], ids=["with what it had", "empty"])
async def test_a_bus_that_is_down_for_a_while_and_comes_back(desk: Desk, nats_server: NatsServer, empty: bool) -> None:
    """With everything that it had stored, or with nothing."""
    async with trading(desk):
        before = await settled(desk.cluster, desk.namespace, bus=desk.bus)
        written, events = await generations(desk.cluster, desk.namespace), await told(desk.cluster, desk.namespace)
        uid = (await desk.get(SERVICES, "strategy-ema"))["metadata"]["uid"]
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
        if empty:
            nats_server.forget()
        await asyncio.to_thread(nats_server.start)

        # Everything is put again, with what came meanwhile.
        await desk.rules("fx-desk", "second")
        await desk.condition(RISK_LIMITS, "second", "Ready", "True")
        await desk.condition(VENUES, "sim-fx", "Ready", "True")
        # The gateway of this test names fx-desk alone as in force.
        await desk.condition(STRATEGIES, "ema", "VenueConnected", "True")
        await desk.condition(STRATEGIES, "ema", "RiskBound", "False", "WaitingForGateway")

        await desk.delete(RISK_LIMITS, "second")
        await desk.rules("fx-desk")
        assert await settled(desk.cluster, desk.namespace, before, desk.bus) == before
        assert await generations(desk.cluster, desk.namespace) == written
        since = await told(desk.cluster, desk.namespace) - events
        wanted = {
            f"{name} BusUnavailable": 1 for name in ("Strategy ema", "VenueConnection sim-fx", "RiskLimit fx-desk")
        }
        assert {event: count for event, count in since.items() if event in wanted} == wanted
        assert since["Strategy ema ChildRepaired"] == 1


async def test_a_gateway_that_falls_silent_is_told_from_a_bus_that_is_down(desk: Desk) -> None:
    async with trading(desk):
        pass
    await desk.condition(VENUES, "sim-fx", "SessionEstablished", "Unknown", "GatewaySilent")
    await desk.condition(STRATEGIES, "ema", "VenueConnected", "Unknown", "GatewaySilent")
    await desk.phase(VENUES, "sim-fx", "Degraded")
    venue = await desk.get(VENUES, "sim-fx")
    assert venue["status"]["session"]["state"] == ""
    assert venue["status"]["session"]["fencingToken"] == 1
