"""The operator with a real gateway: engaged by the API server, acknowledged over the bus or directly, and re-armed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crowetrade_operator.cluster.resources import KILL_SWITCHES, RISK_LIMITS, STRATEGIES, VENUES
from crowetrade_operator_tests.integration.desk import Desk
from crowetrade_operator_tests.integration.processes import gateway
from crowetrade_operator_tests.integration.test_killswitch import state
from crowetrade_operator_tests.samples import kill_manifest, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import ApiServer, NatsServer
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]


@contextlib.asynccontextmanager
async def trading_gateway(
    desk: Desk, api_server: ApiServer, nats_url: str, folder: Path, watches: bool
) -> AsyncIterator[int]:
    """The gateway of the sample's venue, with what the operator has made for it; yields the port of its control
    service."""
    await desk.create(VENUES, venue_manifest())
    await desk.create(RISK_LIMITS, limit_manifest())
    await desk.create(STRATEGIES, strategy_manifest())
    await desk.deployment_ready("venue-sim-fx")
    async with gateway(desk, api_server, nats_url, folder, watches=watches) as (_, port):
        await desk.condition(VENUES, "sim-fx", "SessionEstablished", "True")
        yield port


async def test_engaged_acknowledged_and_rearmed(
    desk: Desk, api_server: ApiServer, nats_url: str, tmp_path: Path
) -> None:
    async with trading_gateway(desk, api_server, nats_url, tmp_path, watches=True):
        await desk.create(KILL_SWITCHES, kill_manifest())
        status = await state(desk, "Halted")
        assert status["acknowledgements"]["summary"] == "1/1"
        assert status["timeToHaltMillis"]["max"] >= 0
        await desk.condition(STRATEGIES, "ema", "Halted", "True", "KillSwitchEngaged")
        await desk.patch(KILL_SWITCHES, "all", {"spec": {"engaged": False}})
        await state(desk, "Armed")

        async def lifted() -> bool:
            conditions = (await desk.get(STRATEGIES, "ema"))["status"]["conditions"]
            return "Halted" not in [item["type"] for item in conditions]

        await until("the strategy to be free", lifted)


async def test_a_gateway_that_watches_nothing_gets_it_by_the_bus_and_says_that_it_cannot_be_rearmed(
    desk: Desk, api_server: ApiServer, nats_url: str, tmp_path: Path
) -> None:
    async with trading_gateway(desk, api_server, nats_url, tmp_path, watches=False):
        await desk.create(KILL_SWITCHES, kill_manifest())
        await state(desk, "Halted")
        await desk.patch(KILL_SWITCHES, "all", {"spec": {"engaged": False}})
        await desk.condition(KILL_SWITCHES, "all", "Acknowledged", "False", "Rearming")
        found = (await desk.get(KILL_SWITCHES, "all"))["status"]["conditions"]
        assert any("cannot watch KillSwitches at the API server" in item["message"] for item in found)


async def test_without_the_bus_it_gets_it_directly(
    desk: Desk, api_server: ApiServer, nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trading_gateway(desk, api_server, nats_server.url, tmp_path, watches=False) as port:
        address = f"127.0.0.1:{port}"
        monkeypatch.setattr(desk.parts.context.direct, "_address", lambda namespace, venue: address)
        nats_server.stop()
        await until("the bus to be lost", lambda: not desk.parts.context.bus.connected)
        await desk.create(KILL_SWITCHES, kill_manifest())
        status = await state(desk, "Halted")
        assert status["acknowledgements"]["summary"] == "1/1"
