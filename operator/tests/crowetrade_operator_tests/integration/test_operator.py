from __future__ import annotations

import pytest

from crowetrade_operator.cluster.resources import RISK_LIMITS, STRATEGIES, VENUES
from crowetrade_operator.decide import health
from crowetrade_operator_tests.integration.desk import Desk, saying
from crowetrade_operator_tests.samples import account, limit_manifest, strategy_manifest, venue_manifest

pytestmark = pytest.mark.integration


async def test_from_manifests_to_trading(desk: Desk) -> None:
    """In the wrong order, one thing after the other: each time the status says what is missing."""
    await desk.create(STRATEGIES, strategy_manifest())
    await desk.condition(STRATEGIES, "ema", "VenueConnected", "False", "VenueNotFound")
    await desk.phase(STRATEGIES, "ema", "Pending")

    await desk.create(VENUES, venue_manifest())
    await desk.deployment_ready("venue-sim-fx")
    await desk.deployment_ready("strategy-ema")
    async with saying(desk, accounts=[account()]):
        await desk.condition(VENUES, "sim-fx", "Ready", "True")
        await desk.condition(STRATEGIES, "ema", "RiskBound", "False", "NoLimitInForce")
        await desk.phase(VENUES, "sim-fx", "Connected")

        await desk.create(RISK_LIMITS, limit_manifest())
        await desk.condition(RISK_LIMITS, "fx-desk", "Enforced", "True")
        await desk.condition(STRATEGIES, "ema", "Trading", "True")
        await desk.condition(STRATEGIES, "ema", "Ready", "True")
        await desk.phase(STRATEGIES, "ema", "Trading")
    config = await desk.config()
    assert [item.strategy for item in config.strategies] == ["ema"]
    assert [item.risk_limit for item in config.rules] == ["fx-desk"]


async def test_what_stays_on_its_way_becomes_stalled_without_any_event(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience ends with time, which brings no event."""
    monkeypatch.setattr(health, "GRACE_SECONDS", 1.0)
    await desk.create(STRATEGIES, strategy_manifest())
    await desk.condition(STRATEGIES, "ema", "Stalled", "True", "VenueNotFound")
    await desk.condition(STRATEGIES, "ema", "Reconciling", "False", "VenueNotFound")
