"""Pods that a real cluster does not let start: quota, LimitRange, Pod Security, webhooks, policies, scheduler.

kube-controller-manager and kube-scheduler work here as in every cluster. There is no kubelet: what it writes when a
volume cannot be mounted, or when it evicts a pod, is written as it does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crowetrade_api.names import STRATEGY_LABEL
from crowetrade_api.reasons import Reason
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    STRATEGIES,
    VENUES,
    ApiResource,
)
from crowetrade_operator.cluster.times import rfc3339
from crowetrade_operator.decide.pod_failures import Circumstances
from crowetrade_operator.decide.pods import workload
from crowetrade_operator.errors import ClusterError
from crowetrade_operator_tests.integration.desk import Desk, condition_of
from crowetrade_operator_tests.integration.webhook import GROUP as ADMISSION
from crowetrade_operator_tests.integration.webhook import NOBODY, VALIDATING, Denial, denying, registered
from crowetrade_operator_tests.samples import change, strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import ApiServer, Process, program, start_api_server
from crowetrade_operator_tests.waiting import until
from crowetrade_process_tests.identity.authority import Authority

pytestmark = pytest.mark.integration
Object = dict[str, Any]
QUOTAS = ApiResource("", "v1", "resourcequotas", "ResourceQuota")
LIMIT_RANGES = ApiResource("", "v1", "limitranges", "LimitRange")
NODES = ApiResource("", "v1", "nodes", "Node")
CORE_EVENTS = ApiResource("", "v1", "events", "Event")
POLICIES = ApiResource(ADMISSION, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy")
BINDINGS = ApiResource(ADMISSION, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding")
CONTROLLERS = "deployment-controller,replicaset-controller,resourcequota-controller"
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node-1"},
    "status": {
        "allocatable": {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "64Gi", "pods": "110"},
        "capacity": {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "64Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A control plane of its own: its controllers would make pods for the Deployments of all other tests."""
    folder = tmp_path_factory.mktemp("control-plane")
    server, processes = start_api_server(folder)
    for name, *flags in (("kube-controller-manager", f"--controllers={CONTROLLERS}"), ("kube-scheduler",)):
        common = [f"--kubeconfig={server.kubeconfig}", "--leader-elect=false", "--secure-port=0"]
        processes.insert(0, Process(name, [program(name), *common, *flags], folder))
    yield server
    for process in processes:
        process.stop()


@pytest.fixture
async def node(cluster: Cluster) -> None:
    """A node that takes pods: admission taints new ones, and no node controller takes the taint away."""
    found, _ = await cluster.list(NODES)
    if not found:
        await cluster.create(NODES, "", NODE)
        await cluster.merge(NODES, "", "node-1", {"spec": {"taints": None}})


def quota(**hard: str) -> Object:
    names = {name.replace("_", "."): amount for name, amount in hard.items()}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": {"hard": names}}


def limit_range(memory: str) -> Object:
    limits = [{"type": "Container", "max": {"memory": memory}}]
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": {"limits": limits}}


def of_namespace(namespace: str) -> Object:
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


def policy(namespace: str) -> list[tuple[ApiResource, Object]]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "only images of ours"}],
    }
    binding = {
        "policyName": namespace,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": of_namespace(namespace)},
    }
    return [
        (
            resource,
            {"apiVersion": f"{ADMISSION}/v1", "kind": resource.kind, "metadata": {"name": namespace}, "spec": it},
        )
        for resource, it in ((POLICIES, spec), (BINDINGS, binding))
    ]


def deployment(**pod: Any) -> Object:
    labels = {"app": "x"}
    container = {"name": "agent", "image": "x", "resources": {"limits": {"memory": "512Mi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "x"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], **pod}},
        },
    }


@dataclass(frozen=True)
class Place:
    """A namespace, and what it needs until the test ends."""

    stack: contextlib.AsyncExitStack
    folder: Path


Setup = Callable[[Cluster, str, Place], Awaitable[None]]


def creating(resource: ApiResource, body: Object) -> Setup:
    async def create(cluster: Cluster, namespace: str, _: Place) -> None:
        await cluster.create(resource, namespace, body)

    return create


def _limited(body: Object) -> Setup:
    async def create(cluster: Cluster, namespace: str, _: Place) -> None:
        await cluster.create(QUOTAS, namespace, body)
        await _counted(cluster, namespace)

    return create


async def _counted(cluster: Cluster, namespace: str) -> None:
    """The quota is in force when its controller has counted what there is."""

    async def check() -> bool:
        return "used" in (await cluster.get(QUOTAS, namespace, "team"))["status"]

    await until("the quota to be counted", check)


async def _restricted(cluster: Cluster, namespace: str, _: Place) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await cluster.merge(NAMESPACES, "", namespace, {"metadata": {"labels": labels}})


async def _silent_webhook(cluster: Cluster, namespace: str, place: Place) -> None:
    """Nobody serves it."""
    await place.stack.enter_async_context(
        registered(cluster, namespace, "", "pods", NOBODY, Authority(), VALIDATING, ("CREATE",))
    )


def _denies(code: int | None = None) -> Setup:
    async def deny(cluster: Cluster, namespace: str, place: Place) -> None:
        folder = place.folder / namespace
        folder.mkdir()
        denial = Denial("only images of ours", code)
        await place.stack.enter_async_context(denying(cluster, namespace, "", "pods", denial, folder, ("CREATE",)))

    return deny


async def _policy(cluster: Cluster, namespace: str, _: Place) -> None:
    for resource, body in policy(namespace):
        await cluster.create(resource, "", body)
    # The API server takes a moment to learn of it: until then, it lets pods pass.
    body = {"metadata": {"generateName": "probe-"}, "spec": {"containers": [{"name": "x", "image": "x"}]}}

    async def check() -> bool:
        try:
            await cluster.create(PODS, namespace, body)
        except ClusterError:
            return True
        return False

    await until("pods to be refused", check)


async def _nothing(cluster: Cluster, namespace: str, _: Place) -> None:
    pass


NO_CLAIM = {"name": "v", "persistentVolumeClaim": {"claimName": "ticks"}}
CASES: dict[str, tuple[Setup, Object, Reason, str]] = {
    "a-quota": (_limited(quota(pods="0")), deployment(), Reason.QUOTA_EXCEEDED, "Raise ResourceQuota team"),
    "a-quota-of-what-is-not-said": (
        _limited(quota(limits_cpu="4")),
        deployment(),
        Reason.QUOTA_EXCEEDED,
        "ResourceQuota team wants it: set it under spec.resources",
    ),
    "a-limit-range": (
        creating(LIMIT_RANGES, limit_range("256Mi")),
        deployment(),
        Reason.LIMIT_RANGE_VIOLATED,
        "maximum memory usage per Container is 256Mi, but limit is 512Mi.",
    ),
    "pod-security": (_restricted, deployment(), Reason.POD_SECURITY_VIOLATED, "allowPrivilegeEscalation != false"),
    "a-silent-webhook": (
        _silent_webhook,
        deployment(),
        Reason.ADMISSION_DENIED,
        "The webhook pods.a-silent-webhook.example.com does not answer: mend it, or exempt namespace a-silent-webhook",
    ),
    "a-webhook": (
        _denies(),
        deployment(),
        Reason.ADMISSION_DENIED,
        "denied the request: only images of ours. Ask who runs the webhook pods.a-webhook.example.com, or exempt",
    ),
    "a-webhook-of-a-code": (
        _denies(500),
        deployment(),
        Reason.ADMISSION_DENIED,
        "denied the request: only images of ours. Ask who runs the webhook pods.a-webhook-of-a-code.example.com, or",
    ),
    "a-policy": (_policy, deployment(), Reason.ADMISSION_DENIED, "denied request: only images of ours."),
    "a-priority": (
        _nothing,
        deployment(priorityClassName="nobody"),
        Reason.POD_REFUSED,
        "no PriorityClass with name nobody was found",
    ),
    "no-node-for-it": (
        _nothing,
        deployment(nodeSelector={"disk": "fast"}),
        Reason.UNSCHEDULABLE,
        "1 node(s) didn't match Pod's node affinity/selector.",
    ),
    "no-claim": (
        _nothing,
        deployment(volumes=[NO_CLAIM]),
        Reason.MOUNT_FAILED,
        "PersistentVolumeClaim ticks does not exist in namespace no-claim",
    ),
}


async def test_the_words_of_a_real_cluster_are_understood(cluster: Cluster, node: None, tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        await asyncio.gather(*(_understood(cluster, case, Place(stack, tmp_path)) for case in CASES))


async def _understood(cluster: Cluster, namespace: str, place: Place) -> None:
    setup, body, reason, words = CASES[namespace]
    await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    await setup(cluster, namespace, place)
    await cluster.create(DEPLOYMENTS, namespace, body)
    found = ["nothing", ""]

    async def check() -> bool:
        live = await cluster.get(DEPLOYMENTS, namespace, "x")
        pods, _ = await cluster.list(PODS, namespace, "app=x")
        said = workload([live], pods, Circumstances(0.0, "spec.resources"))
        found[:] = [said.reason, said.message]
        return said.reason == reason and words in said.message

    try:
        await until(f"{reason}: {words}", check)
    except AssertionError as error:
        raise AssertionError(f"{error}; {namespace} says {found}") from None


async def test_a_quota_is_named_and_the_condition_clears_when_it_is_raised(desk: Desk, node: None) -> None:
    await desk.create(QUOTAS, quota(pods="1"))
    await _counted(desk.cluster, desk.namespace)
    await desk.create(VENUES, venue_manifest())
    await until("the gateway's pod", lambda: _pods_of(desk, 1))
    await desk.create(STRATEGIES, change(strategy_manifest(), "spec.agents", {"topology": "Split"}))
    await desk.condition(STRATEGIES, "ema", "AgentsAvailable", "False", "QuotaExceeded")
    await desk.phase(STRATEGIES, "ema", "Degraded")
    found = condition_of(await desk.get(STRATEGIES, "ema"), "Ready")
    assert found["reason"] == "QuotaExceeded"
    assert "Raise ResourceQuota team" in found["message"]

    await desk.patch(QUOTAS, "team", {"spec": {"hard": {"pods": "9"}}})
    await until("all pods", lambda: _pods_of(desk, 5))
    await desk.condition(STRATEGIES, "ema", "AgentsAvailable", "False", "Starting")


async def test_a_quota_that_lets_no_deployment_be_made_is_named_until_it_is_raised(desk: Desk) -> None:
    await desk.create(QUOTAS, quota(**{"count/deployments.apps": "0"}))
    await _counted(desk.cluster, desk.namespace)
    await desk.create(VENUES, venue_manifest())
    await desk.condition(VENUES, "sim-fx", "Ready", "False", "RefusedByCluster")
    message = condition_of(await desk.get(VENUES, "sim-fx"), "Ready")["message"]
    assert "exceeded quota: team" in message
    assert f"Raise ResourceQuota team of namespace {desk.namespace}, or free what it counts." in message

    await desk.patch(QUOTAS, "team", {"spec": {"hard": {"count/deployments.apps": "9"}}})
    await desk.condition(VENUES, "sim-fx", "Ready", "False", "Starting")


async def test_a_limit_range_is_told_until_the_strategy_keeps_to_it(desk: Desk, node: None) -> None:
    await desk.create(LIMIT_RANGES, limit_range("256Mi"))
    await desk.create(VENUES, change(venue_manifest(), "spec.resources", {"limits": {"memory": "256Mi"}}))
    await desk.create(STRATEGIES, strategy_manifest())
    await desk.condition(STRATEGIES, "ema", "AgentsAvailable", "False", "LimitRangeViolated")
    await desk.condition(VENUES, "sim-fx", "SessionEstablished", "False", "Starting")
    await desk.patch(STRATEGIES, "ema", {"spec": {"agents": {"resources": {"limits": {"memory": "256Mi"}}}}})
    await desk.condition(STRATEGIES, "ema", "AgentsAvailable", "False", "Starting")


async def test_what_a_gateway_mounts_and_is_not_there_is_named(desk: Desk, node: None) -> None:
    await desk.create(CONFIG_MAPS, {"metadata": {"name": "wrong-key"}, "data": {"Quotes.csv": "ts_ns,close"}})
    data = [{"configMap": {"name": "wrong-key", "key": "quotes.csv"}}]
    await desk.create(VENUES, change(venue_manifest(), "spec.simulated.data", data))
    await until("the gateway's pod", lambda: _pods_of(desk, 1))
    pods, _ = await desk.cluster.list(PODS, desk.namespace)
    await _kubelet_cannot_mount(
        desk,
        pods[0],
        'MountVolume.SetUp failed for volume "data-0" : configmap references non-existent config key: quotes.csv',
    )
    await desk.condition(VENUES, "sim-fx", "Ready", "False", "MountFailed")
    said = condition_of(await desk.get(VENUES, "sim-fx"), "Ready")["message"]
    assert "ConfigMap wrong-key of namespace" in said
    assert "has no key quotes.csv, it has Quotes.csv" in said


async def test_an_eviction_is_told_by_its_event_when_the_pod_ended_with_0(desk: Desk, node: None) -> None:
    """As a kubelet writes it that ends a pod for a full /tmp: the event, then a pod that has Succeeded."""
    await desk.create(VENUES, venue_manifest())
    await desk.create(STRATEGIES, strategy_manifest())
    agents = f"{STRATEGY_LABEL}=ema"
    pods: list[Object] = []

    async def has_node() -> bool:
        pods[:], _ = await desk.cluster.list(PODS, desk.namespace, agents)
        return len(pods) == 1 and "nodeName" in pods[0]["spec"]

    await until("the agent's pod to have a node", has_node)
    await _kubelet_says(desk, pods[0], "Evicted", 'Usage of EmptyDir volume "tmp" exceeds the limit "64Mi". ')
    await _kubelet_writes(desk, pods[0], ended_with_0())
    await desk.condition(STRATEGIES, "ema", "AgentsAvailable", "False", "Evicted")
    said = condition_of(await desk.get(STRATEGIES, "ema"), "AgentsAvailable")["message"]
    assert f"Pod {pods[0]['metadata']['name']} was evicted from node node-1" in said
    assert "set spec.agents.resources.limits.ephemeral-storage to more" in said

    larger = {"spec": {"agents": {"resources": {"limits": {"ephemeral-storage": "1Gi"}}}}}
    await desk.patch(STRATEGIES, "ema", larger)

    async def has_room() -> bool:
        found = await desk.cluster.get(DEPLOYMENTS, desk.namespace, "strategy-ema")
        spec = found["spec"]["template"]["spec"]
        sizes = [item["emptyDir"]["sizeLimit"] for item in spec["volumes"] if item["name"] == "tmp"]
        return bool(sizes == ["1Gi"] and spec["containers"][0]["resources"]["limits"]["ephemeral-storage"] == "1Gi")

    await until("room for its files", has_room)


def ended_with_0() -> Object:
    at = rfc3339(time.time())
    terminated = {"exitCode": 0, "reason": "Completed", "startedAt": at, "finishedAt": at, "containerID": "x://1"}
    state = {"state": {"terminated": terminated}, "restartCount": 0, "ready": False, "image": "x", "imageID": ""}
    conditions = [
        {"type": type_, "status": "False", "reason": "PodCompleted", "lastTransitionTime": at}
        for type_ in ("Ready", "ContainersReady")
    ]
    return {
        "phase": "Succeeded",
        "conditions": conditions,
        "containerStatuses": [{"name": "agent", **state}],
    }


async def _pods_of(desk: Desk, count: int) -> bool:
    pods, _ = await desk.cluster.list(PODS, desk.namespace)
    return len(pods) == count


async def _kubelet_cannot_mount(desk: Desk, pod: Object, note: str) -> None:
    waiting = {"state": {"waiting": {"reason": "ContainerCreating"}}, "restartCount": 0, "ready": False, "image": "x"}
    status = {"phase": "Pending", "containerStatuses": [{"name": "gateway", "imageID": "", **waiting}]}
    await _kubelet_says(desk, pod, "FailedMount", note)
    await _kubelet_writes(desk, pod, status)


async def _kubelet_says(desk: Desk, pod: Object, reason: str, note: str) -> None:
    metadata = pod["metadata"]
    event = {
        "metadata": {"name": f"{metadata['name']}.1"},
        "involvedObject": {
            "kind": "Pod",
            "namespace": desk.namespace,
            "name": metadata["name"],
            "uid": metadata["uid"],
            "apiVersion": "v1",
        },
        "reason": reason,
        "message": note,
        "type": "Warning",
        "source": {"component": "kubelet", "host": "node-1"},
        "count": 3,
        "firstTimestamp": "2026-01-05T10:00:00Z",
        "lastTimestamp": "2026-01-05T10:00:08Z",
    }
    await desk.create(CORE_EVENTS, event)


async def _kubelet_writes(desk: Desk, pod: Object, status: Object) -> None:
    metadata = pod["metadata"]
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": metadata["name"], "namespace": desk.namespace}}
    await desk.cluster.apply({**body, "status": status}, "status")
