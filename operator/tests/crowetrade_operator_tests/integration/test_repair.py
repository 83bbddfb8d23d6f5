"""What somebody did to a child by hand is put back; the annotation paused says otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_api.names import PAUSED_ANNOTATION
from crowetrade_operator.cluster.resources import (
    CHILDREN,
    CONFIG_MAPS,
    DEPLOYMENTS,
    NETWORK_POLICIES,
    SERVICES,
    STRATEGIES,
    VENUES,
    ApiResource,
)
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
CHANGES: dict[str, tuple[ApiResource, str, Object]] = {
    "agents are scaled up": (DEPLOYMENTS, "strategy-ema", {"spec": {"replicas": 3}}),
    "the gateway is scaled away": (DEPLOYMENTS, "venue-sim-fx", {"spec": {"replicas": 0}}),
    "a way out is opened": (NETWORK_POLICIES, "strategy-ema", {"spec": {"egress": [{}]}}),
    "the configuration is edited": (CONFIG_MAPS, "strategy-ema", {"data": {"strategy.json": "{}"}}),
    "the Service leads elsewhere": (
        SERVICES,
        "venue-sim-fx",
        {"spec": {"selector": {"trading.crowetrade.io/venue": "x"}}},
    ),
}


def _content(item: Object) -> Object:
    return {name: item.get(name) for name in ("spec", "data")}


async def test_what_somebody_changed_is_put_back(desk: Desk) -> None:
    async with trading(desk):
        for what, (resource, name, patch) in CHANGES.items():
            before = await desk.get(resource, name)
            changed = await desk.patch(resource, name, patch)
            assert _content(changed) != _content(before), what

            async def repaired(before: Object = before, resource: ApiResource = resource, name: str = name) -> bool:
                return _content(await desk.get(resource, name)) == _content(before)

            await until(f"to be put back: {what}", repaired)


async def test_what_somebody_deleted_is_made_again(desk: Desk) -> None:
    async with trading(desk):
        children = [(resource, name) for resource in CHILDREN for name in ("strategy-ema", "venue-sim-fx")]
        before = {key: (await desk.get(*key))["metadata"]["uid"] for key in children}
        for resource, name in children:
            await desk.delete(resource, name)
        for resource, name in children:

            async def back(resource: ApiResource = resource, name: str = name) -> bool:
                return bool((await desk.get(resource, name))["metadata"]["uid"] != before[resource, name])

            await until(f"{resource.kind} {name} to be made again", back)


@pytest.mark.parametrize(
    ("resource", "name", "child"), [(STRATEGIES, "ema", "strategy-ema"), (VENUES, "sim-fx", "venue-sim-fx")]
)
async def test_paused_leaves_the_children_alone_until_it_is_taken_back(
    desk: Desk, resource: ApiResource, name: str, child: str
) -> None:
    async def replicas() -> int:
        return int((await desk.get(DEPLOYMENTS, child))["spec"]["replicas"])

    async def repaired() -> bool:
        return await replicas() == 1

    async with trading(desk):
        await desk.patch(resource, name, {"metadata": {"annotations": {PAUSED_ANNOTATION: "true"}}})
        await desk.condition(resource, name, "Paused", "True", "ReconcilingPaused")
        await desk.noticed(await desk.patch(DEPLOYMENTS, child, {"spec": {"replicas": 3}}))
        assert await replicas() == 3

        await desk.patch(resource, name, {"metadata": {"annotations": {PAUSED_ANNOTATION: None}}})
        await until("the child to be put back", repaired)

        async def said_no_more() -> bool:
            conditions = (await desk.get(resource, name))["status"]["conditions"]
            return all(item["type"] != "Paused" for item in conditions)

        await until("the condition Paused to be gone", said_no_more)


async def test_a_status_that_somebody_overwrote_is_written_again(desk: Desk) -> None:
    async with trading(desk):
        live = await desk.get(STRATEGIES, "ema")
        stale = {**live["status"], "phase": "Stopping"}
        body = {"metadata": {"name": "ema", "namespace": desk.namespace}, "status": stale}
        await desk.cluster.apply({"apiVersion": live["apiVersion"], "kind": live["kind"], **body}, "status")
        await desk.phase(STRATEGIES, "ema", "Trading")
