"""What others write to children: what is theirs stays, what is ours is put back within a second, and both at rest."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from crowetrade.config.v1 import config_pb2
from crowetrade_operator import metrics
from crowetrade_operator.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    NETWORK_POLICIES,
    SERVICE_ACCOUNTS,
    SERVICES,
    STRATEGIES,
    VENUES,
    ApiResource,
)
from crowetrade_operator.reconcile import writes
from crowetrade_operator_tests.decide.scenes import position
from crowetrade_operator_tests.integration.desk import Desk, condition_of, trading
from crowetrade_operator_tests.samples import account, change, strategy_manifest
from crowetrade_operator_tests.waiting import counted, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
AGENTS, GATEWAY = "strategy-ema", "venue-sim-fx"


class Other:
    """Somebody who writes under a name of their own, as kubectl and controllers do."""

    def __init__(self, desk: Desk, manager: str = "kubectl-edit") -> None:
        self._desk = desk
        self._manager = manager

    async def patch(self, resource: ApiResource, name: str, patch: Any, subresource: str = "") -> Object:
        kind = "json-patch" if isinstance(patch, list) else "strategic-merge-patch"
        return await self._desk.cluster._request(
            "PATCH",
            "patch",
            resource,
            resource.path(self._desk.namespace, name, subresource),
            {"fieldManager": self._manager},
            patch,
            f"application/{kind}+json",
        )


def content(item: Object) -> Object:
    """What users of an object see of it, besides what the API server keeps."""
    metadata = {name: item["metadata"].get(name) for name in ("labels", "annotations", "ownerReferences")}
    return {"metadata": metadata} | {name: value for name, value in item.items() if name not in ("metadata", "status")}


async def put_back(desk: Desk, resource: ApiResource, name: str, before: Object) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()

    async def check() -> bool:
        return content(await desk.get(resource, name)) == content(before)

    try:
        await until(f"{resource.kind} {name} to be put back", check)
    except AssertionError as error:
        raise AssertionError(f"{error}: {content(await desk.get(resource, name))} is not {content(before)}") from None
    assert loop.time() - started < 1.0


async def at_rest(desk: Desk, resource: ApiResource, name: str) -> None:
    """To look at everything again writes nothing, and the strategy is told to be as it should."""
    await desk.idle()
    version = (await desk.get(resource, name))["metadata"]["resourceVersion"]
    applied, before = counted("api_requests", verb="apply", code="200"), counted("reconciles", result="done")
    desk.parts.controller.enqueue_all()

    def looked() -> bool:
        return counted("reconciles", result="done") >= before + 3

    await until("everything to be looked at", looked)
    await desk.idle()
    assert (await desk.get(resource, name))["metadata"]["resourceVersion"] == version
    assert counted("api_requests", verb="apply", code="200") == applied
    assert (await condition_of_strategy(desk, "Reconciling"))["reason"] == "AsDesired"


async def condition_of_strategy(desk: Desk, type_: str) -> Object:
    return condition_of(await desk.get(STRATEGIES, "ema"), type_)


THEIRS: dict[str, tuple[ApiResource, str, Any]] = {
    "kubectl set env": (
        DEPLOYMENTS,
        AGENTS,
        {"spec": {"template": {"spec": {"containers": [{"name": "agent", "env": [{"name": "PROXY", "value": "x"}]}]}}}},
    ),
    "a sidecar": (
        DEPLOYMENTS,
        AGENTS,
        {"spec": {"template": {"spec": {"containers": [{"name": "proxy", "image": "proxy"}]}}}},
    ),
    "an init container and a volume of a mesh": (
        DEPLOYMENTS,
        AGENTS,
        {
            "spec": {
                "template": {
                    "metadata": {"labels": {"mesh": "on"}, "annotations": {"mesh/status": "injected"}},
                    "spec": {
                        "initContainers": [{"name": "init", "image": "init"}],
                        "volumes": [{"name": "mesh", "emptyDir": {}}],
                    },
                }
            }
        },
    ),
    "kubectl rollout restart": (
        DEPLOYMENTS,
        AGENTS,
        {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}},
    ),
    "an annotation of a policy": (NETWORK_POLICIES, AGENTS, {"metadata": {"annotations": {"team": "fx"}}}),
    "a label of a Service": (SERVICES, GATEWAY, {"metadata": {"labels": {"team": "fx"}}}),
    "a pull secret": (SERVICE_ACCOUNTS, GATEWAY, {"imagePullSecrets": [{"name": "registry"}]}),
    "a key beside ours": (CONFIG_MAPS, AGENTS, {"data": {"notes.txt": "mine"}}),
    "a budget's annotation": (DISRUPTION_BUDGETS, GATEWAY, {"metadata": {"annotations": {"team": "fx"}}}),
}


async def test_what_others_add_beside_ours_stays_and_nothing_is_written_for_it(desk: Desk) -> None:
    async with trading(desk):
        for what, (resource, name, patch) in THEIRS.items():
            changed = await Other(desk).patch(resource, name, patch)
            await desk.noticed({**changed, "kind": resource.kind})
            if resource is DEPLOYMENTS:
                await desk.deployment_ready(name)
                await desk.condition(STRATEGIES, "ema", "Reconciling", "False", "AsDesired")
            assert content(await desk.get(resource, name)) == content(changed), what
            await at_rest(desk, resource, name)


OURS: dict[str, tuple[ApiResource, str, Any, str]] = {
    "another image": (
        DEPLOYMENTS,
        AGENTS,
        {"spec": {"template": {"spec": {"containers": [{"name": "agent", "image": "other"}]}}}},
        "spec.template.spec.containers[agent].image",
    ),
    "a variable of ours": (
        DEPLOYMENTS,
        AGENTS,
        {
            "spec": {
                "template": {
                    "spec": {"containers": [{"name": "agent", "env": [{"name": "NATS_URL", "value": "nats://x"}]}]}
                }
            }
        },
        "spec.template.spec.containers[agent].env[NATS_URL].value",
    ),
    "a variable of ours is removed": (
        DEPLOYMENTS,
        AGENTS,
        [{"op": "remove", "path": "/spec/template/spec/containers/0/env/0"}],
        "spec.template.spec.containers[agent].env[",
    ),
    "kubectl rollout pause": (DEPLOYMENTS, AGENTS, {"spec": {"paused": True}}, "spec.paused"),
    "the node's network": (
        DEPLOYMENTS,
        GATEWAY,
        {"spec": {"template": {"spec": {"hostNetwork": True}}}},
        "spec.template.spec.hostNetwork",
    ),
    "the policy selects no pod any more": (
        NETWORK_POLICIES,
        GATEWAY,
        {"spec": {"podSelector": {"matchLabels": {"x": "y"}}}},
        "spec.podSelector",
    ),
    "order entry from every namespace": (
        NETWORK_POLICIES,
        GATEWAY,
        [{"op": "add", "path": "/spec/ingress/0/from/0/namespaceSelector", "value": {}}],
        "spec.ingress",
    ),
    "a key in a peer's podSelector": (
        NETWORK_POLICIES,
        GATEWAY,
        [{"op": "add", "path": "/spec/ingress/0/from/0/podSelector/matchLabels", "value": {"x": "y"}}],
        "spec.ingress",
    ),
    "any port of the bus": (
        NETWORK_POLICIES,
        AGENTS,
        [{"op": "add", "path": "/spec/egress/0/ports/0/endPort", "value": 65535}],
        "spec.egress",
    ),
    "a Service without endpoints": (SERVICES, GATEWAY, {"spec": {"selector": {"x": "y"}}}, "spec.selector"),
    "order entry on each node": (SERVICES, GATEWAY, {"spec": {"type": "NodePort"}}, "spec.type"),
    "order entry at an address outside": (
        SERVICES,
        GATEWAY,
        {"spec": {"externalIPs": ["203.0.113.7"]}},
        "spec.externalIPs",
    ),
    "order entry at a load balancer for some addresses": (
        SERVICES,
        GATEWAY,
        {"spec": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["203.0.113.0/24"]}},
        "spec.loadBalancerSourceRanges",
    ),
    "one more port": (SERVICES, GATEWAY, {"spec": {"ports": [{"name": "more", "port": 9999}]}}, "spec.ports"),
    "a port of ours elsewhere": (
        SERVICES,
        GATEWAY,
        {"spec": {"ports": [{"port": 50051, "targetPort": 1}]}},
        "spec.ports[grpc].targetPort",
    ),
    "the configuration": (CONFIG_MAPS, AGENTS, {"data": {"strategy.json": "{}"}}, "data"),
    "a budget that blocks drains": (
        DISRUPTION_BUDGETS,
        AGENTS,
        {"spec": {"maxUnavailable": 0}},
        "spec.maxUnavailable",
    ),
    "a budget by the other bound": (
        DISRUPTION_BUDGETS,
        GATEWAY,
        [{"op": "remove", "path": "/spec/maxUnavailable"}, {"op": "add", "path": "/spec/minAvailable", "value": 1}],
        "spec.minAvailable",
    ),
    "a budget for other pods": (
        DISRUPTION_BUDGETS,
        GATEWAY,
        {"spec": {"selector": {"matchLabels": {"x": "y"}}}},
        "spec.selector",
    ),
    "a token for every pod": (
        SERVICE_ACCOUNTS,
        AGENTS,
        {"automountServiceAccountToken": True},
        "automountServiceAccountToken",
    ),
    "our label": (
        SERVICE_ACCOUNTS,
        GATEWAY,
        {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}},
        "metadata.labels[app.kubernetes.io/managed-by]",
    ),
    "our label is removed": (
        CONFIG_MAPS,
        GATEWAY,
        {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}},
        "metadata.labels[app.kubernetes.io/managed-by]",
    ),
    "the owner is removed": (
        NETWORK_POLICIES,
        AGENTS,
        [{"op": "remove", "path": "/metadata/ownerReferences"}],
        "metadata.ownerReferences",
    ),
    "who wrote what is forgotten": (
        SERVICES,
        AGENTS,
        [
            {"op": "add", "path": "/spec/externalIPs", "value": ["203.0.113.7"]},
            {"op": "replace", "path": "/metadata/managedFields", "value": [{}]},
        ],
        "spec.externalIPs",
    ),
}


async def test_what_is_ours_is_put_back_within_a_second_and_told_once(desk: Desk) -> None:
    async with trading(desk):
        desk.parts.context.child_writer.writes.at_once = 1000  # so many repairs in a row are no fight here
        for what, (resource, name, patch, field) in OURS.items():
            owner = "ema" if name == AGENTS else "sim-fx"
            before, told = await desk.get(resource, name), len(await desk.events(owner, "ChildRepaired"))
            changed = await Other(desk).patch(resource, name, patch)
            assert content(changed) != content(before), what
            await put_back(desk, resource, name, before)

            async def event(owner: str = owner, told: int = told) -> bool:
                return len(await desk.events(owner, "ChildRepaired")) == told + 1

            await until(f"an event about {what}", event)
            note = (await desk.events(owner, "ChildRepaired"))[-1]["note"]
            assert f"{resource.kind} {name}: " in note, what
            assert field in note, what
            if resource is DEPLOYMENTS:
                # The condition may be the one of before the repair, and what follows from this is one more status.
                await desk.noticed(await desk.deployment_ready(name))
                for kind, of in ((VENUES, "sim-fx"), (STRATEGIES, "ema")):
                    await desk.condition(kind, of, "Reconciling", "False", "AsDesired")
            await at_rest(desk, resource, name)
            assert len(await desk.events(owner, "ChildRepaired")) == told + 1, what


async def test_a_child_whose_label_was_taken_away_is_watched_as_before(desk: Desk) -> None:
    """The watch selects that label: without it the child has gone for the operator, and it is the same when it is back.
    What it has not in its cache it tries to create with each look."""
    _, _, opened, _ = OURS["any port of the bus"]
    async with trading(desk):
        before = await desk.get(NETWORK_POLICIES, AGENTS)
        label = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
        await Other(desk).patch(NETWORK_POLICIES, AGENTS, label)
        await put_back(desk, NETWORK_POLICIES, AGENTS, before)
        await desk.idle()
        tried = counted("api_requests", verb="apply", code="409")
        await Other(desk).patch(NETWORK_POLICIES, AGENTS, opened)
        await put_back(desk, NETWORK_POLICIES, AGENTS, before)
        await at_rest(desk, NETWORK_POLICIES, AGENTS)
        assert counted("api_requests", verb="apply", code="409") == tried


async def test_a_repair_names_who_wrote(desk: Desk) -> None:
    async with trading(desk):
        await Other(desk, "horizontal-pod-autoscaler").patch(DEPLOYMENTS, AGENTS, {"spec": {"replicas": 3}}, "scale")
        event = await desk.told("ema", "ChildRepaired")
        assert event["note"].startswith(
            "Deployment strategy-ema: spec.replicas changed by horizontal-pod-autoscaler (scale), and put back. "
        )
        await Other(desk, "kubectl-rollout").patch(DEPLOYMENTS, GATEWAY, {"spec": {"paused": True}})
        event = await desk.told("sim-fx", "ChildRepaired")
        assert "spec.paused changed by kubectl-rollout, and put back. To keep the operator" in event["note"]
        assert "trading.crowetrade.io/paused" in event["note"]


NOT_TAKEN_BACK: dict[str, tuple[ApiResource, str, Any]] = {
    "pods of two versions at once": (
        DEPLOYMENTS,
        GATEWAY,
        [{"op": "replace", "path": "/spec/strategy", "value": {"type": "RollingUpdate"}}],
    ),
    "another source of a volume of ours": (
        DEPLOYMENTS,
        GATEWAY,
        [{"op": "replace", "path": "/spec/template/spec/volumes/0", "value": {"name": "config", "emptyDir": {}}}],
    ),
    "a variable of ours from elsewhere": (
        DEPLOYMENTS,
        GATEWAY,
        [
            {
                "op": "replace",
                "path": "/spec/template/spec/containers/0/env/1",
                "value": {"name": "NATS_URL", "valueFrom": {"configMapKeyRef": {"name": "bus", "key": "url"}}},
            }
        ],
    ),
    "another kind of probe": (
        DEPLOYMENTS,
        GATEWAY,
        [
            {
                "op": "replace",
                "path": "/spec/template/spec/containers/0/livenessProbe",
                "value": {"exec": {"command": ["true"]}},
            }
        ],
    ),
    "a configuration that nobody changes any more": (
        CONFIG_MAPS,
        GATEWAY,
        [{"op": "add", "path": "/immutable", "value": True}, {"op": "replace", "path": "/data", "value": {}}],
    ),
}


@pytest.mark.parametrize("case", NOT_TAKEN_BACK)
async def test_what_no_change_takes_back_is_told_with_what_to_do(desk: Desk, case: str) -> None:
    resource, name, patch = NOT_TAKEN_BACK[case]
    async with trading(desk):
        await desk.idle()
        await Other(desk).patch(resource, name, patch)
        await desk.condition(VENUES, "sim-fx", "Ready", "False", "RefusedByCluster")
        message = condition_of(await desk.get(VENUES, "sim-fx"), "Ready")["message"]
        assert f"{resource.kind} {name}" in message
        assert f"delete it in namespace {desk.namespace}, and it is made again" in message
        await desk.delete(resource, name)

        async def is_accepted() -> bool:
            return condition_of(await desk.get(VENUES, "sim-fx"), "Ready").get("reason") != "RefusedByCluster"

        await until("the object to be made again", is_accepted)
        found = await desk.get(resource, name)
        assert found.get("immutable") is None
        assert found.get("spec", {}).get("strategy", {"type": "Recreate"}) == {"type": "Recreate"}


QUANTITIES = [
    {"requests": {"cpu": "0.0625", "memory": "65536Ki"}},
    {"requests": {"cpu": "0.1000", "memory": "131072k"}, "limits": {"cpu": "1.5", "memory": "0.5Gi"}},
]


@pytest.mark.parametrize("resources", QUANTITIES)
async def test_amounts_that_the_api_server_writes_otherwise_are_the_same(desk: Desk, resources: Object) -> None:
    async with trading(desk, change(strategy_manifest(), "spec.agents", {"resources": resources})):
        await desk.condition(STRATEGIES, "ema", "Reconciling", "False", "AsDesired")
        await at_rest(desk, DEPLOYMENTS, AGENTS)


async def test_a_change_of_ours_leaves_what_others_have_added(desk: Desk) -> None:
    async with trading(desk):
        _, _, patch = THEIRS["a sidecar"]
        await Other(desk).patch(DEPLOYMENTS, AGENTS, patch)
        await desk.patch(
            STRATEGIES, "ema", {"spec": {"agents": {"updatePolicy": "Immediate"}, "model": {"parameters": {"fast": 4}}}}
        )

        async def changed() -> bool:
            file = (await desk.get(CONFIG_MAPS, AGENTS))["data"]["strategy.json"]
            return bool(json.loads(file)["spec"]["model"]["parameters"]["fast"] == 4)

        await until("the new configuration", changed)
        await desk.idle()
        containers = (await desk.get(DEPLOYMENTS, AGENTS))["spec"]["template"]["spec"]["containers"]
        assert {item["name"] for item in containers} == {"agent", "proxy"}


async def test_who_undoes_each_repair_is_told_once_and_waited_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writes, "FIRST_DELAY", 1.0)
    other = Other(desk, "other-operator")
    repaired, hijack = {"kind": "Service", "cause": "repair"}, {"spec": {"selector": {"x": "y"}}}
    async with trading(desk):
        before, count = await desk.get(SERVICES, GATEWAY), counted("child_writes", **repaired)
        for _ in range(writes.AT_ONCE):
            await other.patch(SERVICES, GATEWAY, hijack)
            await put_back(desk, SERVICES, GATEWAY, before)
        event = await desk.told("sim-fx", "ChildContested")
        assert event["type"] == "Warning"
        assert event["note"].startswith("Service venue-sim-fx: spec.selector changed by other-operator, and put back. ")
        assert "less and less often" in event["note"]

        changed = await other.patch(SERVICES, GATEWAY, hijack)
        await desk.noticed({**changed, "kind": "Service"})
        assert (await desk.get(SERVICES, GATEWAY))["spec"]["selector"]["x"] == "y"
        assert counted("child_writes", **repaired) == count + writes.AT_ONCE

        async def back() -> bool:
            return content(await desk.get(SERVICES, GATEWAY)) == content(before)

        await until("the next repair", back)
        await desk.idle()
        assert len(await desk.events("sim-fx", "ChildContested")) == 1
        assert len(await desk.events("sim-fx", "ChildRepaired")) == writes.AT_ONCE - 1
        series = [item for family in metrics.CHILD_WRITTEN_OFTEN.collect() for item in family.samples]
        assert {"kind": "Service", "namespace": desk.namespace, "name": GATEWAY} in [item.labels for item in series]


async def test_a_deleted_child_is_told(desk: Desk) -> None:
    async with trading(desk):
        await desk.delete(SERVICES, GATEWAY)
        event = await desk.told("sim-fx", "ChildRepaired")
        assert event["note"] == "Service venue-sim-fx was deleted, and was made again."
        assert await desk.exists(SERVICES, GATEWAY)


async def test_who_deletes_a_child_again_and_again_while_its_venue_is_deleted_is_told_and_waited_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "FIRST_DELAY", 2.0)
    service = ("Service", desk.namespace, GATEWAY)
    async with trading(desk, change(strategy_manifest(), "spec.deletionPolicy", "Flatten")) as gateway:
        gateway.says(accounts=[account(positions=[position("1000")])])
        await desk.holds("1000 EUR-USD")
        for resource, name in ((VENUES, "sim-fx"), (STRATEGIES, "ema")):
            await desk.delete(resource, name)
        await desk.state(config_pb2.TRADING_STATE_FLATTEN)
        await desk.delete(SERVICES, AGENTS)
        for _ in range(writes.AT_ONCE):
            await desk.delete(SERVICES, GATEWAY)
            await until("the Service to be made again", lambda: desk.exists(SERVICES, GATEWAY))
        event = await desk.told("sim-fx", "ChildContested")
        assert event["note"].startswith("Service venue-sim-fx was deleted, and was made again. ")

        await desk.delete(SERVICES, GATEWAY)
        await until("the deletion to be seen", lambda: desk.parts.context.cache.get(*service) is None)
        await desk.idle()
        assert not await desk.exists(SERVICES, GATEWAY)
        await until("the next repair", lambda: desk.exists(SERVICES, GATEWAY))
        await desk.idle()
        assert len(await desk.events("sim-fx", "ChildContested")) == 1
        assert len(await desk.events("sim-fx", "ChildRepaired")) == writes.AT_ONCE - 1
        assert not await desk.exists(SERVICES, AGENTS), "nobody needs agents of a Strategy that is deleted"
        gateway.says(accounts=[account(stopped=True, positions=[position("0")])])
        await desk.gone(STRATEGIES, "ema")
        await desk.gone(VENUES, "sim-fx")
