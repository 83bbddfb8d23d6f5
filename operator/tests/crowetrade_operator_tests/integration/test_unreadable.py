"""What this operator cannot read halts what it concerns, says so, and can be deleted.

As after a downgrade: the CRD of another version has let in what this operator does not know. Here the object is stored
by a CRD that knows it, and the cache is given what the other version would have stored.
"""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade.config.v1 import config_pb2
from crowetrade_api.names import FORCE_DELETE_ANNOTATION
from crowetrade_operator.cluster.resources import STRATEGIES, VENUES, ApiResource
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.samples import account, change
from crowetrade_operator_tests.waiting import counted, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]


async def misread(desk: Desk, resource: ApiResource, name: str, path: str, value: Any) -> None:
    """From now on every event of the object brings a word that this operator does not know."""
    cache, put = desk.parts.context.cache, desk.parts.context.cache.put

    def changed(item: Object) -> bool:
        same = item["kind"] == resource.kind and item["metadata"]["name"] == name
        return put(change(item, path, value) if same else item)

    cache.put = changed  # type: ignore[method-assign]
    await desk.patch(resource, name, {"metadata": {"labels": {"touched": "yes", "desk": "fx"}}})


async def test_a_venue_is_halted_by_a_configuration_that_stays_and_can_be_deleted(desk: Desk) -> None:
    async with trading(desk) as gateway:
        await misread(desk, VENUES, "sim-fx", "spec.type", "Quantum")

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
        await misread(desk, STRATEGIES, "ema", "spec.mode", "Quantum")
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
            await misread(desk, resource, name, path, "Quantum")
            await desk.delete(resource, name)
            await desk.patch(resource, name, {"metadata": {"annotations": {FORCE_DELETE_ANNOTATION: "true"}}})
            await desk.gone(resource, name)


async def test_a_phase_of_another_version_makes_nothing_unreadable(desk: Desk) -> None:
    async with trading(desk):
        done = counted("reconciles", kind="Strategy", result="done")
        await misread(desk, STRATEGIES, "ema", "status.phase", "Dreaming")
        await until("a reconcile", lambda: counted("reconciles", kind="Strategy", result="done") > done)
        await desk.condition(STRATEGIES, "ema", "Trading", "True")
        await desk.state(config_pb2.TRADING_STATE_ACTIVE)
