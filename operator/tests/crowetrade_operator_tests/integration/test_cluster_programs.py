"""What other programs of a cluster write to what the operator makes: admission webhooks and policies, autoscalers,
meshes, and kubectl.

The webhooks, the policy, the horizontal autoscaler, the controllers of Deployments, ReplicaSets and budgets, and
kubectl are real. There is no kubelet: a task of the test says that pods are ready. The vertical autoscaler is not built
here: the writes of its admission controller and its updater are made as it makes them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import DEPLOYMENTS, PODS, STRATEGIES, ApiResource
from crowetrade_operator.errors import ClusterError
from crowetrade_operator.reconcile import writes
from crowetrade_operator_tests.integration.desk import Desk, condition_of, trading
from crowetrade_operator_tests.integration.test_other_writers import Other
from crowetrade_operator_tests.integration.webhook import Patch, mutating
from crowetrade_operator_tests.servers import ApiServer, Process, program, start_api_server
from crowetrade_operator_tests.waiting import counted, end, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
AGENTS = "strategy-ema"
CONTROLLERS = "deployment-controller,replicaset-controller,disruption-controller,horizontal-pod-autoscaler-controller"
AUTOSCALERS = ApiResource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
POLICIES = ApiResource(
    "admissionregistration.k8s.io", "v1beta1", "mutatingadmissionpolicies", "MutatingAdmissionPolicy"
)
BINDINGS = ApiResource(
    "admissionregistration.k8s.io", "v1beta1", "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding"
)


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A control plane of its own: its controllers would make pods for the Deployments of all other tests."""
    folder = tmp_path_factory.mktemp("control-plane")
    server, processes = start_api_server(
        folder,
        "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
        "--feature-gates=MutatingAdmissionPolicy=true",
    )
    command: list[str | Path] = [
        program("kube-controller-manager"),
        f"--kubeconfig={server.kubeconfig}",
        f"--controllers={CONTROLLERS}",
        "--horizontal-pod-autoscaler-sync-period=1s",
        "--leader-elect=false",
        "--secure-port=0",
    ]
    processes.insert(0, Process("kube-controller-manager", command, folder))
    yield server
    for process in processes:
        process.stop()


@pytest.fixture
async def kubelet(cluster: Cluster, namespace: str) -> AsyncIterator[None]:
    """Says that each pod runs and is ready."""
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}

    async def run() -> None:
        while True:
            for pod in (await cluster.list(PODS, namespace))[0]:
                if pod["status"].get("phase") != "Running":
                    with contextlib.suppress(ClusterError):
                        path = PODS.path(namespace, pod["metadata"]["name"], "status")
                        await cluster._request(
                            "PATCH", "patch", PODS, path, {}, {"status": ready}, "application/merge-patch+json"
                        )
            await asyncio.sleep(0.1)

    task = asyncio.create_task(run())
    yield
    await end({task})


def written() -> float:
    """What the operator writes to children and to statuses."""
    return counted("child_writes") + counted("status_writes")


async def at_rest(desk: Desk) -> None:
    """Everything is as it should be, and to look at everything three times writes nothing."""

    async def rolled_out() -> bool:
        found = await desk.get(DEPLOYMENTS, AGENTS)
        status, counts = found["status"], ("replicas", "updatedReplicas", "readyReplicas")
        return (
            all(status.get(name) == 1 for name in counts)
            and bool(status["observedGeneration"] == found["metadata"]["generation"])
            and len(await pods(desk)) == 1
        )

    await until("the Deployment to be rolled out", rolled_out)
    await desk.condition(STRATEGIES, "ema", "Reconciling", "False", "AsDesired")
    await desk.condition(STRATEGIES, "ema", "Ready", "True")
    await desk.idle()
    looks = 0

    async def looked_at_three_times_in_a_row() -> bool:
        nonlocal looks
        before, looked = written(), counted("reconciles", result="done")
        desk.parts.controller.enqueue_all()
        await until("everything to be looked at", lambda: counted("reconciles", result="done") >= looked + 3)
        await desk.idle()
        looks = looks + 1 if written() == before else 0
        return looks == 3

    await until("three looks that write nothing", looked_at_three_times_in_a_row)


async def template(desk: Desk) -> Object:
    """The pod template of the agents."""
    found: Object = (await desk.get(DEPLOYMENTS, AGENTS))["spec"]["template"]
    return found


def inject(deployment: Object) -> Patch:
    """As a mesh, a registry mirror and a resource policy that act on Deployments."""
    spec, place = deployment["spec"]["template"]["spec"], "/spec/template"
    first = spec["containers"][0]
    image = f"mirror/{first['image'].split('/')[-1]}"
    patch: Patch = [{"op": "replace", "path": f"{place}/spec/containers/0/image", "value": image}]
    if (first.get("resources") or {}).get("requests"):
        patch.append(
            {"op": "replace", "path": f"{place}/spec/containers/0/resources/requests/memory", "value": "123Mi"}
        )
    if not any(item["name"] == "proxy" for item in spec["containers"]):
        patch += [
            {"op": "add", "path": f"{place}/spec/containers/-", "value": {"name": "proxy", "image": "proxy"}},
            {"op": "add", "path": f"{place}/spec/containers/0/env/-", "value": {"name": "PROXY", "value": "x"}},
            {"op": "add", "path": f"{place}/metadata/annotations/mesh~1injected", "value": "true"},
        ]
    return patch


async def test_a_webhook_that_changes_deployments(desk: Desk, kubelet: None, tmp_path: Path) -> None:
    where = desk.cluster, desk.namespace, "apps", "deployments", inject, tmp_path
    async with mutating(*where) as webhook, trading(desk):
        await at_rest(desk)
        assert webhook.asked > 0
        found = await template(desk)
        assert [item["name"] for item in found["spec"]["containers"]] == ["agent", "proxy"]
        assert found["metadata"]["annotations"]["mesh/injected"] == "true"
        agent = found["spec"]["containers"][0]
        assert agent["image"].startswith("mirror/")
        assert {"name": "PROXY", "value": "x"} in agent["env"]
        # What the operator changes passes through the webhook, too.
        change = {"spec": {"agents": {"updatePolicy": "Immediate"}, "model": {"parameters": {"fast": 4}}}}
        before = (await desk.get(DEPLOYMENTS, AGENTS))["metadata"]["generation"]
        await desk.patch(STRATEGIES, "ema", change)

        async def rolled() -> bool:
            return bool((await desk.get(DEPLOYMENTS, AGENTS))["metadata"]["generation"] > before)

        await until("the change to be there", rolled)
        await at_rest(desk)
        assert (await template(desk))["spec"]["containers"][1]["name"] == "proxy"
        assert await desk.events("ema", "ChildRepaired") == []


def mesh(pod: Object) -> Patch:
    """As a mesh that injects into pods."""
    containers = pod["spec"]["containers"]
    if any(item["name"] == "proxy" for item in containers):
        return []
    return [
        {"op": "add", "path": "/spec/containers/-", "value": {"name": "proxy", "image": "proxy"}},
        {"op": "add", "path": "/spec/initContainers", "value": [{"name": "redirect", "image": "proxy"}]},
        {"op": "add", "path": "/metadata/labels/mesh", "value": "on"},
    ]


def recommend(pod: Object) -> Patch:
    """As the admission controller of the vertical autoscaler: new requests, and an annotation that tells them."""
    annotations = pod["metadata"].get("annotations") or {}
    return [
        {"op": "add", "path": "/spec/containers/0/resources", "value": {"requests": {"cpu": "77m", "memory": "99Mi"}}},
        {"op": "add", "path": "/metadata/annotations", "value": {**annotations, "vpaUpdates": "Pod resources updated"}},
    ]


async def pods(desk: Desk) -> list[Object]:
    """Those of the agents."""
    found = (await desk.cluster.list(PODS, desk.namespace))[0]
    return [item for item in found if item["metadata"]["name"].startswith(AGENTS)]


async def test_a_mesh_that_injects_into_pods(desk: Desk, kubelet: None, tmp_path: Path) -> None:
    async with mutating(desk.cluster, desk.namespace, "", "pods", mesh, tmp_path), trading(desk):
        await at_rest(desk)
        (pod,) = await pods(desk)
        assert [item["name"] for item in pod["spec"]["containers"]] == ["agent", "proxy"]


async def test_a_vertical_autoscaler(desk: Desk, kubelet: None, tmp_path: Path) -> None:
    """It changes pods that come, resizes those that run, and evicts one so that another one comes."""
    async with mutating(desk.cluster, desk.namespace, "", "pods", recommend, tmp_path), trading(desk):
        await at_rest(desk)
        (pod,) = await pods(desk)
        assert pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "77m"
        resized = {"spec": {"containers": [{"name": "agent", "resources": {"requests": {"cpu": "88m"}}}]}}
        name = pod["metadata"]["name"]
        await Other(desk, "vpa-updater").patch(PODS, name, resized, "resize")
        await at_rest(desk)
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = PODS.path(desk.namespace, name, "eviction")
        await desk.cluster._request("POST", "create", PODS, path, {}, eviction)

        async def another() -> bool:
            return [item["metadata"]["name"] for item in await pods(desk)] not in ([], [name])

        await until("another pod", another)
        await at_rest(desk)
        (pod,) = await pods(desk)
        assert pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "77m"
        # Whoever lets it write Deployments gets ChildContested; Auto, Recreate and Initial do not.
        template_resources = {"spec": {"template": {"spec": resized["spec"]}}}
        await Other(desk, "vpa").patch(DEPLOYMENTS, AGENTS, template_resources)
        event = await desk.told("ema", "ChildRepaired")
        assert "resources" in event["note"]
        assert "changed by vpa" in event["note"]
        await at_rest(desk)


async def test_a_horizontal_autoscaler(desk: Desk, kubelet: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wants two, the operator one: each of the first repairs comes at once, then they are as far apart as told."""
    monkeypatch.setattr(writes, "FIRST_DELAY", 60.0)
    async with trading(desk):
        await at_rest(desk)
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": AGENTS}
        cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
        body = {
            "apiVersion": AUTOSCALERS.api_version,
            "kind": AUTOSCALERS.kind,
            "metadata": {"name": AGENTS, "namespace": desk.namespace},
            "spec": {
                "scaleTargetRef": target,
                "minReplicas": 2,
                "maxReplicas": 3,
                "metrics": [{"type": "Resource", "resource": cpu}],
            },
        }
        await desk.cluster.create(AUTOSCALERS, desk.namespace, body)
        event = await desk.told("ema", "ChildRepaired")
        assert "spec.replicas changed by kube-controller-manager (scale), and put back" in event["note"]
        event = await desk.told("ema", "ChildContested")
        assert "less and less often" in event["note"]

        async def scaled() -> bool:
            return bool((await desk.get(DEPLOYMENTS, AGENTS))["spec"]["replicas"] == 2)

        await until("the autoscaler to have won for now", scaled)
        await desk.idle()
        before = counted("child_writes")
        desk.parts.controller.enqueue_all()
        await desk.idle()
        assert counted("child_writes") == before, "nothing is written while the operator waits"
        assert (await desk.get(DEPLOYMENTS, AGENTS))["spec"]["replicas"] == 2
        await desk.cluster.delete(AUTOSCALERS, desk.namespace, AGENTS)


async def test_an_admission_policy_that_changes_deployments(desk: Desk, kubelet: None) -> None:
    """Without a webhook: the API server evaluates it by itself."""
    name = f"{desk.namespace}-mesh"
    added = 'Object{metadata: Object.metadata{annotations: {"mesh": "on"}}}'
    sidecar = (
        "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: "
        '[Object.spec.template.spec.containers{name: "proxy", image: "proxy"}]}}}}'
    )
    policy = {
        "apiVersion": POLICIES.api_version,
        "kind": POLICIES.kind,
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "reinvocationPolicy": "IfNeeded",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "resources": ["deployments"],
                        "operations": ["CREATE", "UPDATE"],
                    }
                ]
            },
            "mutations": [
                {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
                for expression in (added, sidecar)
            ],
        },
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": desk.namespace}}
    binding = {
        "apiVersion": BINDINGS.api_version,
        "kind": BINDINGS.kind,
        "metadata": {"name": name},
        "spec": {"policyName": name, "matchResources": {"namespaceSelector": selector}},
    }
    await desk.cluster.create(POLICIES, "", policy)
    await desk.cluster.create(BINDINGS, "", binding)

    async def in_force() -> bool:
        probe: Object = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "probe", "namespace": desk.namespace},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"x": "y"}},
                "template": {
                    "metadata": {"labels": {"x": "y"}},
                    "spec": {"containers": [{"name": "a", "image": "a"}]},
                },
            },
        }
        with contextlib.suppress(ClusterError):
            await desk.create(DEPLOYMENTS, probe)
        found = await desk.get(DEPLOYMENTS, "probe")
        await desk.delete(DEPLOYMENTS, "probe")
        return bool((found["metadata"].get("annotations") or {}).get("mesh") == "on")

    await until("the policy to be in force", in_force)
    async with trading(desk):
        await at_rest(desk)
        assert [item["name"] for item in (await template(desk))["spec"]["containers"]] == ["agent", "proxy"]
        assert await desk.events("ema", "ChildRepaired") == []


# The API server does not keep who scales to 0: a Scale has no field then.
# What kubectl is told to do, and what follows: an event with these words, or none because it stays.
COMMANDS: dict[str, tuple[str, str]] = {
    "set env": ("set env deployment/strategy-ema EXTRA=1", ""),
    "annotate": ("annotate deployment/strategy-ema team=fx", ""),
    "label": ("label deployment/strategy-ema team=fx", ""),
    "rollout restart": ("rollout restart deployment/strategy-ema", ""),
    "scale": ("scale deployment/strategy-ema --replicas=3", "spec.replicas changed by kubectl (scale), and put back"),
    "scale to none": ("scale deployment/strategy-ema --replicas=0", "spec.replicas changed, and put back. One pod"),
    "rollout pause": ("rollout pause deployment/strategy-ema", "spec.paused changed by kubectl-rollout, and put back"),
    "set image": ("set image deployment/strategy-ema agent=other", "image changed by kubectl-set, and put back"),
}


async def test_kubectl(desk: Desk, kubelet: None, api_server: ApiServer) -> None:
    kubectl = [str(program("kubectl")), f"--kubeconfig={api_server.kubeconfig}", "-n", desk.namespace]
    async with trading(desk):
        desk.parts.context.child_writer.writes.at_once = 1000  # so many repairs in a row contest nothing here
        for name, (command, told) in COMMANDS.items():
            before = len(await desk.events("ema", "ChildRepaired"))
            process = await asyncio.create_subprocess_exec(
                *kubectl, *command.split(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            said, _ = await process.communicate()
            assert process.returncode == 0, (name, said)

            async def event(before: int = before) -> bool:
                return len(await desk.events("ema", "ChildRepaired")) > before

            if told:
                await until(f"an event about {name}", event)
                assert told in (await desk.events("ema", "ChildRepaired"))[-1]["note"], name
            await at_rest(desk)
            assert len(await desk.events("ema", "ChildRepaired")) == before + bool(told), name
        found = await desk.get(DEPLOYMENTS, AGENTS)
        assert found["metadata"]["annotations"]["team"] == "fx"
        assert found["metadata"]["labels"]["team"] == "fx"
        assert {"name": "EXTRA", "value": "1"} in found["spec"]["template"]["spec"]["containers"][0]["env"]
        assert "kubectl.kubernetes.io/restartedAt" in found["spec"]["template"]["metadata"]["annotations"]
        assert not condition_of(await desk.get(STRATEGIES, "ema"), "Stalled")
