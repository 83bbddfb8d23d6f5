"""suspend travels by the gateways and restarts nothing."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade.config.v1 import config_pb2
from crowetrade_operator.cluster.resources import DEPLOYMENTS, STRATEGIES, VENUES
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.samples import account
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]


def _suspend(value: bool) -> Object:
    return {"spec": {"suspend": value}}


async def _generations(desk: Desk) -> dict[str, int]:
    """A Deployment whose generation stays is one whose pods stay."""
    found, _ = await desk.cluster.list(DEPLOYMENTS, desk.namespace)
    return {item["metadata"]["name"]: item["metadata"]["generation"] for item in found}


async def test_a_strategy_is_suspended_and_resumed_without_a_restart(desk: Desk) -> None:
    async with trading(desk) as gateway:
        before = await _generations(desk)
        await desk.patch(STRATEGIES, "ema", _suspend(True))
        await desk.state(config_pb2.TRADING_STATE_SUSPENDED)
        gateway.says(accounts=[account(open_orders=1)])
        await desk.condition(STRATEGIES, "ema", "Trading", "False", "Stopping")
        await desk.phase(STRATEGIES, "ema", "Stopping")
        gateway.says(accounts=[account(stopped=True)])
        await desk.condition(STRATEGIES, "ema", "Trading", "False", "Suspended")
        await desk.phase(STRATEGIES, "ema", "Suspended")
        await desk.condition(STRATEGIES, "ema", "Ready", "True")

        await desk.patch(STRATEGIES, "ema", _suspend(False))
        await desk.state(config_pb2.TRADING_STATE_ACTIVE)
        await desk.condition(STRATEGIES, "ema", "Trading", "False", "WaitingForGateway")
        gateway.says(accounts=[account()])
        await desk.phase(STRATEGIES, "ema", "Trading")
        await desk.idle()
        assert await _generations(desk) == before


async def test_a_venue_is_halted_and_resumed_without_a_restart(desk: Desk) -> None:
    async def halted() -> bool:
        return (await desk.config()).halted_reason == "VenueSuspended"

    async def trades() -> bool:
        return not (await desk.config()).halted_reason

    async with trading(desk) as gateway:
        before = await _generations(desk)
        gateway.says(accounts=[account(open_orders=1)])
        await desk.patch(VENUES, "sim-fx", _suspend(True))
        await until("the halt to be on the bus", halted)
        await desk.phase(VENUES, "sim-fx", "Stopping")
        gateway.says(accounts=[account(open_orders=0)])
        await desk.phase(VENUES, "sim-fx", "Suspended")

        await desk.patch(VENUES, "sim-fx", _suspend(False))
        await until("the halt to be taken back", trades)
        await desk.phase(VENUES, "sim-fx", "Connected")
        await desk.idle()
        assert await _generations(desk) == before
