"""From time to time everything is looked at again: what was lost is found, and what is left over is swept."""

from __future__ import annotations

from dataclasses import replace

import nats
import pytest

from crowetrade import subjects
from crowetrade.config.v1 import config_pb2
from crowetrade_operator.cluster.resources import STRATEGIES
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Every half a second instead of every five minutes."""
    return replace(settings, resync_seconds=0.5)


async def test_a_configuration_whose_venue_is_gone_is_swept(desk: Desk) -> None:
    """Its deletion may have been forced while the bus was down. Namespaces of other operators are not touched."""
    async with trading(desk):
        bucket = await desk.bus.jetstream().key_value(subjects.CONFIG_BUCKET)
        left = config_pb2.GatewayConfig(revision="left over").SerializeToString()
        ours, theirs = subjects.gateway_config_key(desk.namespace, "gone"), subjects.gateway_config_key("other", "gone")
        for key in (ours, theirs, "note"):
            await bucket.put(key, left)

        async def there(key: str) -> bool:
            try:
                await bucket.get(key)
            except nats.js.errors.KeyNotFoundError:
                return False
            return True

        async def swept() -> bool:
            return not await there(ours)

        await until("the configuration to be swept", swept)
        kept = subjects.gateway_config_key(desk.namespace, "sim-fx")
        assert [await there(key) for key in (kept, theirs, "note")] == [True] * 3


async def test_a_status_that_somebody_overwrote_is_put_right(desk: Desk) -> None:
    async with trading(desk):
        found = await desk.get(STRATEGIES, "ema")
        body = {**found, "status": {**found["status"], "phase": "Ended"}}
        await desk.cluster.replace(STRATEGIES, desk.namespace, "ema/status", body)
        await desk.phase(STRATEGIES, "ema", "Trading")
