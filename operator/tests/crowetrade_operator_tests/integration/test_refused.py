"""A child that the API server refuses becomes a condition, and nothing else stands still for it."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_operator.cluster.resources import RISK_LIMITS, STRATEGIES, VENUES
from crowetrade_operator_tests.decide.scenes import position
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.samples import (
    UNSET,
    account,
    change,
    limit_manifest,
    stored,
    strategy_manifest,
    venue_manifest,
)
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]


async def test_a_limit_that_our_models_cannot_read_halts_its_namespace_until_it_is_gone(desk: Desk) -> None:
    """As after a downgrade: the CRD of another version has let in what this operator does not know. What it forbids is
    not known, so nothing may trade."""
    odd = change(limit_manifest("odd", desk.namespace), "spec.limits", UNSET)
    desk.parts.context.cache.put(stored(odd))
    await desk.create(VENUES, venue_manifest())
    await desk.create(STRATEGIES, strategy_manifest())
    await desk.create(RISK_LIMITS, limit_manifest())

    async def halted(wanted: bool) -> bool:
        config = await desk.config()
        return [rule.risk_limit for rule in config.rules] == ["fx-desk"] and bool(config.halted_reason) is wanted

    await until("the limit that can be read to be in the configuration, and the halt", lambda: halted(True))
    await desk.condition(STRATEGIES, "ema", "RiskBound", "False", "LimitUnreadable")

    desk.parts.context.cache.remove(stored(odd))
    await until("the halt to end", lambda: halted(False))
    await desk.condition(STRATEGIES, "ema", "RiskBound", "False", "WaitingForGateway")


async def test_figures_that_no_status_can_hold_break_nothing_but_themselves(desk: Desk) -> None:
    """As of a gateway of another version: its next status is taken as if nothing had been."""
    async with trading(desk) as gateway:
        gateway.says(accounts=[account(positions=[position("9" * 70)])])

        def heard() -> bool:
            said = desk.parts.context.bus.board.gateway(desk.namespace, "sim-fx")
            return said is not None and len(said.message.accounts[0].positions) == 1

        await until("the gateway to be heard", heard)
        await desk.idle()
        gateway.says(accounts=[account(positions=[position("7000")])])
        await desk.holds("7000 EUR-USD")
        await desk.phase(STRATEGIES, "ema", "Trading")
