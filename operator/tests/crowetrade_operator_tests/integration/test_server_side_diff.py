"""What Argo CD compares with ServerSideDiff is the same: to apply a manifest again changes nothing of the live object,
whatever the operator and the API server have added to it."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_operator.cluster.resources import KILL_SWITCHES, RISK_LIMITS, STRATEGIES, VENUES, ApiResource
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.samples import change, kill_manifest, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
MANIFESTS = (
    (STRATEGIES, strategy_manifest()),
    (VENUES, venue_manifest()),
    (RISK_LIMITS, limit_manifest()),
    (KILL_SWITCHES, kill_manifest(engaged=False)),
)


async def _applied(desk: Desk, resource: ApiResource, manifest: Object, **query: str) -> Object:
    """As argocd-controller applies it."""
    body = change(manifest, "metadata.namespace", desk.namespace)
    path = resource.path(desk.namespace, manifest["metadata"]["name"])
    query = {"fieldManager": "argocd-controller", "force": "true", **query}
    return await desk.cluster._request("PATCH", "apply", resource, path, query, body, "application/apply-patch+yaml")


def _compared(item: Object) -> Object:
    """Without what each apply touches."""
    metadata = {
        key: value for key, value in item["metadata"].items() if key not in ("managedFields", "resourceVersion")
    }
    return {**item, "metadata": metadata}


async def _would_change(desk: Desk, resource: ApiResource, manifest: Object) -> list[tuple[Object, Object]]:
    """The live object and what a dry run makes of it, if they are not the same; of an object that nobody writes
    meanwhile."""
    found: list[tuple[Object, Object]] = []

    async def compared() -> bool:
        name = manifest["metadata"]["name"]
        live = await desk.get(resource, name)
        tried = await _applied(desk, resource, manifest, dryRun="All")
        after = await desk.get(resource, name)
        found[:] = [(_compared(live), _compared(tried))] if _compared(live) != _compared(tried) else []
        return bool(live["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"])

    await until("an object that nobody writes", compared)
    return found


async def test_the_diff_of_what_trades_is_clean(desk: Desk) -> None:
    async with trading(desk):
        for resource, manifest in MANIFESTS:
            await _applied(desk, resource, manifest)
        await desk.idle()
        for resource, manifest in MANIFESTS:
            assert await _would_change(desk, resource, manifest) == []


async def test_a_change_would_be_seen(desk: Desk) -> None:
    async with trading(desk):
        await _applied(desk, STRATEGIES, strategy_manifest())
        await desk.idle()
        ((live, tried),) = await _would_change(desk, STRATEGIES, change(strategy_manifest(), "spec.suspend", True))
        assert (live["spec"]["suspend"], tried["spec"]["suspend"]) == (False, True)
