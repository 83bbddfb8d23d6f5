"""A breach from a gateway's word to the RiskLimit and the strategy, and back when a person clears it."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.names import CLEAR_BREACH_ANNOTATION
from crowetrade_operator.cluster.resources import RISK_LIMITS, STRATEGIES
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.samples import account
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
ID = "maxDailyLoss/ema@sim-fx-7"


async def test_a_breach_halts_until_a_person_clears_it(desk: Desk) -> None:
    breach = status_pb2.Breach(
        breach=ID,
        risk_limit="fx-desk",
        limit="maxDailyLoss",
        subject="ema",
        action="Block",
        text="lost 21000 of 20000 USD",
        since_unix_ns=1_767_607_000_000_000_000,
        enforced=True,
    )
    async with trading(desk) as gateway:
        gateway.says(accounts=[account()], breaches=[breach])
        await desk.condition(RISK_LIMITS, "fx-desk", "Breached", "True", "LimitBreached")
        await desk.condition(STRATEGIES, "ema", "Halted", "True", "LimitBreached")
        await desk.told("fx-desk", "LimitBreached")
        status = (await desk.get(RISK_LIMITS, "fx-desk"))["status"]
        assert [item["id"] for item in status["breached"]] == [ID]

        annotations = {CLEAR_BREACH_ANNOTATION: f"{ID}: the feed was wrong"}
        await desk.patch(RISK_LIMITS, "fx-desk", {"metadata": {"annotations": annotations}})

        async def asked() -> bool:
            cleared = (await desk.config()).cleared_breaches
            return [(item.risk_limit, item.breach) for item in cleared] == [("fx-desk", ID)]

        await until("the gateway to be told", asked)
        await desk.idle()
        assert not await desk.events("fx-desk", "BreachCleared"), "the gateway has not cleared it yet"
        gateway.says(accounts=[account()])
        told = await desk.told("fx-desk", "BreachCleared")
        assert "the feed was wrong" in told["note"]

        async def taken_away() -> bool:
            found: dict[str, Any] = (await desk.get(RISK_LIMITS, "fx-desk"))["metadata"].get("annotations", {})
            return CLEAR_BREACH_ANNOTATION not in found and not (await desk.config()).cleared_breaches

        await until("the annotation to be gone", taken_away)
        await desk.phase(STRATEGIES, "ema", "Trading")
