"""Objects of somebody else with our names or our labels: neither adopted nor deleted nor counted."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from crowetrade_api.names import MANAGED_BY_LABEL, STRATEGY_LABEL, Key, Kind
from crowetrade_operator.cluster.compare import controller_uid
from crowetrade_operator.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    NETWORK_POLICIES,
    PODS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STRATEGIES,
    VENUES,
    ApiResource,
)
from crowetrade_operator_tests.integration.desk import Desk, condition_of, saying, trading
from crowetrade_operator_tests.samples import account, change, strategy_manifest, venue_manifest
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
APP = {"app": "somebody-elses"}
POD = {"metadata": {"labels": APP}, "spec": {"containers": [{"name": "agent", "image": "other"}]}}
FOREIGN: dict[ApiResource, Object] = {
    SERVICE_ACCOUNTS: {"imagePullSecrets": [{"name": "registry"}]},
    CONFIG_MAPS: {"data": {"quotes.csv": "mine"}},
    NETWORK_POLICIES: {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
    SERVICES: {"spec": {"selector": APP, "ports": [{"port": 80}]}},
    DISRUPTION_BUDGETS: {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": APP}}},
    DEPLOYMENTS: {"spec": {"selector": {"matchLabels": APP}, "template": POD}},
}


def foreign(resource: ApiResource, name: str, labels: Object | None = None) -> Object:
    metadata = {"name": name, "labels": labels or {}, "annotations": {"owner": "platform-team"}}
    head = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    return head | copy.deepcopy(FOREIGN[resource])


def without_status(item: Object) -> Object:
    """All but what controllers of the cluster write."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in ("managedFields",)}
    return {**item, "metadata": metadata}


@pytest.mark.parametrize("resource", FOREIGN, ids=lambda resource: resource.kind)
async def test_an_object_of_somebody_else_with_the_name_of_a_child_is_left_alone_and_told(
    desk: Desk, resource: ApiResource
) -> None:
    before = await desk.create(resource, foreign(resource, "venue-sim-fx"))
    await desk.create(VENUES, venue_manifest())
    await desk.condition(VENUES, "sim-fx", "NameTaken", "True", "NameTaken")
    await desk.condition(VENUES, "sim-fx", "SessionEstablished", "False", "NameTaken")
    message = condition_of(await desk.get(VENUES, "sim-fx"), "NameTaken")["message"]
    said = f"{resource.kind} venue-sim-fx is there already, and VenueConnection sim-fx has not made it"
    assert message.startswith(said)
    assert f"kubectl delete {resource.kind.lower()} venue-sim-fx -n {desk.namespace}" in message
    assert without_status(await desk.get(resource, "venue-sim-fx")) == without_status(before)

    await desk.delete(resource, "venue-sim-fx")
    await desk.deployment_ready("venue-sim-fx")
    uid = (await desk.get(VENUES, "sim-fx"))["metadata"]["uid"]
    assert controller_uid(await desk.get(resource, "venue-sim-fx")) == uid

    async def cleared() -> bool:
        return not condition_of(await desk.get(VENUES, "sim-fx"), "NameTaken")

    await until("the condition NameTaken to be gone", cleared)


async def test_a_name_that_is_taken_in_a_strategy_outlives_it_and_stops_nobody_else(desk: Desk) -> None:
    """With our labels as well: the watch brings it, and labels say nothing about whose it is."""
    labels = {MANAGED_BY_LABEL: "crowetrade-operator", STRATEGY_LABEL: "ema"}
    before = await desk.create(DEPLOYMENTS, foreign(DEPLOYMENTS, "strategy-ema", labels))
    await desk.create(VENUES, venue_manifest())
    await desk.create(STRATEGIES, strategy_manifest())
    await desk.condition(STRATEGIES, "ema", "NameTaken", "True")
    await desk.condition(STRATEGIES, "ema", "AgentsAvailable", "False", "NameTaken")
    await desk.phase(STRATEGIES, "ema", "Degraded")
    await desk.deployment_ready("venue-sim-fx")
    async with saying(desk, accounts=[account()]) as gateway:
        await desk.condition(VENUES, "sim-fx", "Ready", "True")
        await desk.delete(STRATEGIES, "ema")
        gateway.says(accounts=[account(stopped=True)])
        await desk.gone(STRATEGIES, "ema")
    after = await desk.get(DEPLOYMENTS, "strategy-ema")
    assert without_status(after) == without_status(before)


async def test_objects_with_our_labels_that_nobody_of_ours_controls_are_neither_deleted_nor_counted(desk: Desk) -> None:
    labels = {MANAGED_BY_LABEL: "crowetrade-operator", STRATEGY_LABEL: "ema"}
    async with trading(desk):
        strangers = [
            await desk.create(DEPLOYMENTS, foreign(DEPLOYMENTS, "mine", labels)),
            await desk.create(CONFIG_MAPS, foreign(CONFIG_MAPS, "mine", labels)),
        ]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mine", "labels": labels}, "spec": POD["spec"]}
        stranger = await desk.create(PODS, pod)
        await desk.noticed({**stranger, "kind": "Pod"})
        owned = desk.parts.context.children(Key(Kind.STRATEGY, desk.namespace, "ema")).items
        assert "mine" not in {item["metadata"]["name"] for item in owned}
        await desk.idle()
        for before in strangers:
            resource = DEPLOYMENTS if before["kind"] == "Deployment" else CONFIG_MAPS
            assert without_status(await desk.get(resource, "mine")) == without_status(before)
        await desk.phase(STRATEGIES, "ema", "Trading")


async def test_no_name_of_a_split_strategy_is_that_of_another_one(desk: Desk) -> None:
    await desk.create(VENUES, venue_manifest())
    await desk.create(STRATEGIES, change(strategy_manifest("ema"), "spec.agents", {"topology": "Split"}))
    await desk.create(STRATEGIES, strategy_manifest("ema-feature"))
    for name in ("agent-feature-ema", "strategy-ema-feature"):
        await desk.deployment_ready(name)
    await desk.idle()
    for name in ("ema", "ema-feature"):
        assert not condition_of(await desk.get(STRATEGIES, name), "NameTaken")
    owners = {
        name: (await desk.get(DEPLOYMENTS, name))["metadata"]["labels"][STRATEGY_LABEL]
        for name in ("agent-feature-ema", "strategy-ema-feature")
    }
    assert owners == {"agent-feature-ema": "ema", "strategy-ema-feature": "ema-feature"}
