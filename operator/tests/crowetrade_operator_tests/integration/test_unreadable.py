"""What this operator cannot read halts what it concerns, says so, and can be deleted.

As after a downgrade: the CRD of another version has let in what this operator does not know. Here the object is stored
by a CRD that knows it, and the cache is given what the other version would have stored.
"""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade.config.v1 import config_pb2
from crowetrade_api.names import FORCE_DELETE_ANNOTATION
from crowetrade_operator.cluster.cache import Listed
from crowetrade_operator.cluster.resources import RISK_LIMITS, STRATEGIES, VENUES, ApiResource
from crowetrade_operator_tests.decide.scenes import position
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.samples import (
    UNSET,
    account,
    change,
    limit_manifest,
    strategy_manifest,
    venue_manifest,
)
from crowetrade_operator_tests.waiting import counted, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]


def misread(desk: Desk, of: ApiResource, name: str, path: str, value: Any) -> None:
    """From now on every event and every list brings the object with a word that this operator does not know."""
    cache = desk.parts.context.cache
    put, listed = cache.put, cache.listed

    def changed(item: Object) -> Object:
        same = item["kind"] == of.kind and item["metadata"]["name"] == name
        return change(item, path, value) if same else item

    def put_changed(item: Object) -> bool:
        return put(changed(item))

    def listed_changed(item: Object) -> Listed:
        return listed(changed(item))

    cache.put = put_changed  # type: ignore[method-assign]
    cache.listed = listed_changed  # type: ignore[method-assign]


async def misread_from_now(desk: Desk, resource: ApiResource, name: str, path: str, value: Any) -> None:
    """The object, which is there, is brought once more, and differently."""
    misread(desk, resource, name, path, value)
    await desk.patch(resource, name, {"metadata": {"labels": {"touched": "yes", "desk": "fx"}}})


async def test_a_limit_halts_its_namespace_until_it_is_gone(desk: Desk) -> None:
    """What it forbids is not known, so nothing may trade."""
    misread(desk, RISK_LIMITS, "odd", "spec.limits", UNSET)
    await desk.create(VENUES, venue_manifest())
    await desk.create(STRATEGIES, strategy_manifest())
    await desk.create(RISK_LIMITS, limit_manifest())
    await desk.create(RISK_LIMITS, limit_manifest("odd"))

    async def halted(wanted: bool) -> bool:
        config = await desk.config()
        return [rule.risk_limit for rule in config.rules] == ["fx-desk"] and bool(config.halted_reason) is wanted

    await until("the limit that can be read to be in the configuration, and the halt", lambda: halted(True))
    await desk.condition(STRATEGIES, "ema", "RiskBound", "False", "LimitUnreadable")

    await desk.delete(RISK_LIMITS, "odd")
    await until("the halt to end", lambda: halted(False))
    await desk.condition(STRATEGIES, "ema", "RiskBound", "False", "WaitingForGateway")


async def test_a_venue_is_halted_by_a_configuration_that_stays_and_can_be_deleted(desk: Desk) -> None:
    async with trading(desk) as gateway:
        await misread_from_now(desk, VENUES, "sim-fx", "spec.type", "Quantum")

        async def halted() -> bool:
            return (await desk.config()).halted_reason == "VenueUnreadable"

        await until("the halt to be on the bus", halted)
        await desk.condition(VENUES, "sim-fx", "Halted", "True", "VenueUnreadable")
        await desk.condition(STRATEGIES, "ema", "Trading", "False", "VenueUnreadable")
        await desk.phase(VENUES, "sim-fx", "Halted")
        gateway.says(accounts=[account(stopped=True)])
        await desk.delete(VENUES, "sim-fx")
        await desk.gone(VENUES, "sim-fx")


async def test_a_strategy_is_suspended_where_it_trades_and_goes_when_it_has_stopped(desk: Desk) -> None:
    async with trading(desk) as gateway:
        await misread_from_now(desk, STRATEGIES, "ema", "spec.mode", "Quantum")
        await desk.state(config_pb2.TRADING_STATE_SUSPENDED)
        await desk.condition(STRATEGIES, "ema", "Ready", "False", "StrategyUnreadable")
        gateway.says(accounts=[account(open_orders=1)])
        await desk.delete(STRATEGIES, "ema")
        await desk.phase(STRATEGIES, "ema", "Stopping")
        assert await desk.exists(STRATEGIES, "ema"), "an order is open"
        gateway.says(accounts=[account(stopped=True)])
        await desk.gone(STRATEGIES, "ema")


async def test_it_can_be_deleted_by_force(desk: Desk) -> None:
    async with trading(desk) as gateway:
        gateway.says(accounts=[account(open_orders=1)])
        for resource, name, path in ((STRATEGIES, "ema", "spec.mode"), (VENUES, "sim-fx", "spec.type")):
            await misread_from_now(desk, resource, name, path, "Quantum")
            await desk.delete(resource, name)
            await desk.patch(resource, name, {"metadata": {"annotations": {FORCE_DELETE_ANNOTATION: "true"}}})
            await desk.gone(resource, name)


async def test_a_phase_of_another_version_makes_nothing_unreadable(desk: Desk) -> None:
    async with trading(desk):
        done = counted("reconciles", kind="Strategy", result="done")
        await misread_from_now(desk, STRATEGIES, "ema", "status.phase", "Dreaming")
        await until("a reconcile", lambda: counted("reconciles", kind="Strategy", result="done") > done)
        await desk.condition(STRATEGIES, "ema", "Trading", "True")
        await desk.state(config_pb2.TRADING_STATE_ACTIVE)


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
