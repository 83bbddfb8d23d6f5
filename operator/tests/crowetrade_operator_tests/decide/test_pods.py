"""Statuses as the controllers and the kubelet of Kubernetes 1.35 write them; the words are those of its sources."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_api.reasons import Reason
from crowetrade_operator.cluster.objects import PodWarning
from crowetrade_operator.cluster.times import rfc3339
from crowetrade_operator.decide.pod_failures import (
    RECENT_SECONDS,
    Circumstances,
    PodWarnings,
    missed_config_map,
    speaks_in_events,
    stuck,
)
from crowetrade_operator.decide.pods import BROKEN, ready_pods, rolled_out, workload

Object = dict[str, Any]
NOW = 1_767_607_200.0
AROUND = Circumstances(NOW, "spec.agents.resources")


def ago(seconds: float) -> str:
    return rfc3339(NOW - seconds)


def deployment(
    ready: int = 1, updated: int = 1, generation: int = 1, observed: int = 1, conditions: list[Object] | None = None
) -> Object:
    return {
        "metadata": {"name": "strategy-ema", "namespace": "fx", "generation": generation},
        "spec": {"progressDeadlineSeconds": 120},
        "status": {
            "observedGeneration": observed,
            "readyReplicas": ready,
            "updatedReplicas": updated,
            "conditions": conditions or [],
        },
    }


def refused(message: str) -> Object:
    """A Deployment whose ReplicaSet can make no pod."""
    conditions = [
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated"},
        {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"},
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message},
    ]
    return deployment(0, 0, conditions=conditions)


def pod(container: Object | None = None, metadata: Object | None = None, **status: Any) -> Object:
    statuses = [{"name": "agent", "image": "agents:1", "restartCount": 0, "ready": False, **(container or {})}]
    return {
        "metadata": {
            "name": "p",
            "namespace": "fx",
            "uid": "u",
            "creationTimestamp": ago(60),
            **(metadata or {}),
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "agent", "resources": {"limits": {"memory": "512Mi"}}}],
            "volumes": [
                {"name": "data-0", "configMap": {"name": "wrong-key"}},
                {"name": "credentials", "secret": {"secretName": "fix"}},
                {"name": "data-1", "persistentVolumeClaim": {"claimName": "ticks"}},
            ],
        },
        "status": {"phase": "Running", "containerStatuses": statuses if container is not None else [], **status},
    }


def waiting(reason: str, message: str = "") -> Object:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def crashed(restarts: int = 3, **terminated: Any) -> Object:
    back_off = "back-off 40s restarting failed container=agent pod=p_fx(u)"
    return {
        **waiting("CrashLoopBackOff", back_off),
        "restartCount": restarts,
        "lastState": {"terminated": {"reason": "Error", **terminated}},
    }


def unschedulable(message: str) -> Object:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(phase="Pending", conditions=[condition])


def creating(seconds: float = 60, reason: str = "ContainerCreating", **more: Any) -> Object:
    """A pod that got its node so long ago and whose container has not been made."""
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": ago(seconds)}
    return pod(waiting(reason), phase="Pending", conditions=[scheduled], **more)


def failed(reason: str, message: str, seconds: float = 5) -> Object:
    condition = {"type": "Ready", "status": "False", "reason": "PodFailed", "lastTransitionTime": ago(seconds)}
    return pod(phase="Failed", reason=reason, message=message, conditions=[condition])


def evicted(phase: str, exit_code: int, message: str, seconds: float = 5, by_kubelet: str = "") -> Object:
    """A pod of which a node has ended all. Only one whose containers failed is Failed, with a reason: one whose agent
    ended with 0 is Succeeded, and its status says no more, except when the node itself was short of something."""
    reason, at = ("PodFailed" if phase == "Failed" else "PodCompleted"), ago(seconds)
    terminated = {"exitCode": exit_code, "reason": "Completed" if exit_code == 0 else "Error", "finishedAt": at}
    container = {"ready": False, "restartCount": 0, "started": False, "state": {"terminated": terminated}}
    target = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": by_kubelet}
    conditions = [
        *([{**target, "lastTransitionTime": at}] if by_kubelet else []),
        {"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": at},
        {"type": "Initialized", "status": "True", "lastTransitionTime": ago(3000)},
        {"type": "Ready", "status": "False", "reason": reason, "lastTransitionTime": at},
        {"type": "ContainersReady", "status": "False", "reason": reason, "lastTransitionTime": at},
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": ago(3000)},
    ]
    said = {"reason": "Evicted", "message": message} if message else {}
    metadata = {"name": "old", "uid": "old", "creationTimestamp": ago(3600)}
    return pod(container, metadata, phase=phase, conditions=conditions, qosClass="Burstable", **said)


def told(note: str) -> Circumstances:
    """An event of the kubelet about that pod."""
    return Circumstances(NOW, "spec.agents.resources", PodWarnings({"old": PodWarning("Evicted", note)}))


def mounting(note: str, reason: str = "FailedMount", keys: dict[str, list[str]] | None = None) -> Circumstances:
    return Circumstances(NOW, "spec.resources", PodWarnings({"u": PodWarning(reason, note)}, keys or {}))


PODS: dict[str, tuple[Object, Reason, list[str]]] = {
    "a wrong configuration": (
        pod(crashed(exitCode=78, message="model.parameters.fast: must be below slow\n")),
        Reason.CONFIGURATION_ERROR,
        ["model.parameters.fast: must be below slow"],
    ),
    "a wrong configuration without words": (
        pod({"state": {"terminated": {"exitCode": 78}}}),
        Reason.CONFIGURATION_ERROR,
        ["said no more"],
    ),
    "an image that is not there": (
        pod(waiting("ImagePullBackOff", 'Back-off pulling image "agents:1"')),
        Reason.IMAGE_PULL_FAILED,
        ["image agents:1", 'Back-off pulling image "agents:1".', "Check the image's name"],
    ),
    "an image's name that is none": (
        pod(waiting("InvalidImageName", "couldn't parse image name: invalid reference format")),
        Reason.IMAGE_PULL_FAILED,
        ["invalid reference format"],
    ),
    "a Secret for a variable that is not there": (
        pod(waiting("CreateContainerConfigError", 'secret "fix" not found'), phase="Pending"),
        Reason.MOUNT_FAILED,
        ["Secret fix does not exist in namespace fx: create it"],
    ),
    "a key for a variable that is not there": (
        pod(waiting("CreateContainerConfigError", "couldn't find key password in Secret fx/fix"), phase="Pending"),
        Reason.MOUNT_FAILED,
        ["Secret fix has no key password: add it"],
    ),
    "a container that the runtime cannot start": (
        pod(waiting("RunContainerError", "exec: no such file or directory"), phase="Pending"),
        Reason.CONTAINER_FAILED,
        ["exec: no such file or directory."],
    ),
    "more memory than its limit": (
        pod(crashed(1, exitCode=137, reason="OOMKilled")),
        Reason.OUT_OF_MEMORY,
        ["Container agent", "its limit of 512Mi of memory: raise spec.agents.resources.limits.memory."],
    ),
    "more memory than its node has": (
        {
            **pod(crashed(1, exitCode=137, reason="OOMKilled")),
            "spec": {"nodeName": "node-1", "containers": [{"name": "agent"}]},
        },
        Reason.OUT_OF_MEMORY,
        ["its node node-1 had no memory left", "spec.agents.resources.requests.memory"],
    ),
    "more memory than the limit of a container that somebody has added": (
        {
            **pod({**crashed(1, exitCode=137, reason="OOMKilled"), "name": "proxy"}),
            "spec": {"containers": [{"name": "proxy", "resources": {"limits": {"memory": "64Mi"}}}]},
        },
        Reason.OUT_OF_MEMORY,
        ["its limit of 64Mi of memory, which spec.agents.resources says nothing of"],
    ),
    "a crash loop": (
        pod(crashed(exitCode=1)),
        Reason.CRASHING,
        ["exit code 1", "kubectl logs p -n fx -c agent --previous"],
    ),
    "an init container in a crash loop": (
        pod(initContainerStatuses=[{"name": "vault-agent", "ready": False, **crashed(exitCode=2)}], phase="Pending"),
        Reason.CRASHING,
        ["-c vault-agent --previous"],
    ),
    "no node has room": (
        unschedulable(
            "0/3 nodes are available: 1 node(s) had untolerated taint {dedicated: gpu}, 2 Insufficient memory. "
            "preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
        ),
        Reason.UNSCHEDULABLE,
        ["2 Insufficient memory. Add room to the cluster, or lower spec.agents.resources.requests."],
    ),
    "no node has room, in a cluster that allocates devices": (
        unschedulable(
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are "
            "available: 1 Preemption is not helpful for scheduling."
        ),
        Reason.UNSCHEDULABLE,
        ["0/1 nodes are available: 1 Insufficient cpu. Add room to the cluster, or lower spec.agents.resources.req"],
    ),
    "no node is wanted": (
        unschedulable("0/1 nodes are available: 1 node(s) were unschedulable."),
        Reason.UNSCHEDULABLE,
        ["No node takes pod p: 0/1 nodes are available: 1 node(s) were unschedulable."],
    ),
    "a claim that is not there": (
        unschedulable(
            '0/1 nodes are available: persistentvolumeclaim "ticks" not found. preemption: 0/1 nodes are ...'
        ),
        Reason.MOUNT_FAILED,
        ["PersistentVolumeClaim ticks does not exist in namespace fx: create it"],
    ),
    "a claim that is not bound": (
        unschedulable("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: ..."),
        Reason.MOUNT_FAILED,
        ["PersistentVolumeClaim ticks is not bound: see kubectl describe pvc ticks -n fx."],
    ),
    "an eviction": (
        failed("Evicted", "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "),
        Reason.EVICTED,
        ["evicted from node node-1: The node was low on resource: memory.", "spec.agents.resources.requests"],
    ),
    "a node that shuts down": (
        failed("Terminated", "Pod was terminated in response to imminent node shutdown."),
        Reason.POD_FAILED,
        ["Node node-1 has ended pod p (Terminated): Pod was terminated in response to imminent node shutdown."],
    ),
    "a node that had no room after all": (
        pod(phase="Failed", reason="OutOfmemory", message="Pod was rejected: Node didn't have enough resource: memory"),
        Reason.POD_FAILED,
        ["(OutOfmemory): Pod was rejected: Node didn't have enough resource: memory."],
    ),
    "a node that does not answer": (
        pod(
            {"ready": True, "state": {"running": {}}},
            conditions=[{"type": "ContainersReady", "status": "True"}, {"type": "Ready", "status": "False"}],
        ),
        Reason.NODE_LOST,
        ["Node node-1 of pod p does not answer", "kubectl delete pod p -n fx --wait=false"],
    ),
    "a pod that does not go": (
        pod({"state": {"running": {}}}, {"deletionTimestamp": ago(31)}, reason="NodeLost"),
        Reason.NODE_LOST,
        ["should have ended at", "its node node-1 does not confirm it", "kubectl delete pod p -n fx --force"],
    ),
}


@pytest.mark.parametrize("case", PODS)
def test_why_a_pod_is_not_ready_and_what_to_do(case: str) -> None:
    item, reason, words = PODS[case]
    found = workload([deployment(ready=0)], [item], AROUND)
    assert found.reason == reason
    assert [part for part in words if part not in found.message] == [], found.message
    assert not found.available
    assert reason in BROKEN


STARTING = {
    "a first crash": pod(crashed(1, exitCode=1)),
    "a container that runs": pod({"state": {"running": {}}}),
    "an init container that is done": pod(
        waiting("PodInitializing"),
        initContainerStatuses=[{"name": "i", "ready": True, "state": {"terminated": {"exitCode": 0}}}],
    ),
    "an image that is pulled": creating(),
    "a pod that nobody has scheduled yet": pod(phase="Pending"),
    "one that ends in its time": pod(crashed(exitCode=1), {"deletionTimestamp": ago(-10)}),
    "one that is ready after it was wrong": pod({**crashed(exitCode=78), "ready": True}),
    "not ready because of its containers": pod(
        {"state": {"running": {}}},
        conditions=[{"type": "ContainersReady", "status": "False"}, {"type": "Ready", "status": "False"}],
    ),
}


@pytest.mark.parametrize("case", STARTING)
def test_what_is_only_a_start(case: str) -> None:
    found = workload([deployment(ready=0)], [STARTING[case]], AROUND)
    assert (found.reason, found.message) == (Reason.STARTING, "0 of 1 pods are ready.")


MOUNTS: dict[str, tuple[Circumstances, Reason, str]] = {
    "a ConfigMap that is not there": (
        mounting('MountVolume.SetUp failed for volume "data-0" : configmap "not-there" not found'),
        Reason.MOUNT_FAILED,
        "ConfigMap not-there does not exist in namespace fx: create it, or correct the name in the manifest.",
    ),
    "a key that a ConfigMap lacks": (
        mounting(
            'MountVolume.SetUp failed for volume "data-0" : configmap references non-existent config key: quotes.csv',
            keys={"wrong-key": ["Quotes.csv"]},
        ),
        Reason.MOUNT_FAILED,
        "ConfigMap wrong-key of namespace fx has no key quotes.csv, it has Quotes.csv: add the key, or correct",
    ),
    "a key that an empty ConfigMap lacks": (
        mounting(
            'MountVolume.SetUp failed for volume "data-0" : configmap references non-existent config key: quotes.csv',
            keys={"wrong-key": []},
        ),
        Reason.MOUNT_FAILED,
        "has no key quotes.csv, it has none:",
    ),
    "a key that a ConfigMap of many lacks": (
        mounting(
            'MountVolume.SetUp failed for volume "data-0" : configmap references non-existent config key: x',
            keys={"wrong-key": [f"{number:02}.csv" for number in range(13)]},
        ),
        Reason.MOUNT_FAILED,
        "08.csv, 09.csv and 3 more: add",
    ),
    "a key that a Secret lacks": (
        mounting(
            'MountVolume.SetUp failed for volume "credentials" : references non-existent secret key: password',
        ),
        Reason.MOUNT_FAILED,
        "Secret fix of namespace fx has no key password: add it, or correct the name in the manifest. See kubectl",
    ),
    "what only the node understands": (
        mounting("AttachVolume.Attach failed for volume pvc-1 : disk is in use", "FailedAttachVolume"),
        Reason.MOUNT_FAILED,
        "Pod p cannot start: AttachVolume.Attach failed for volume pvc-1 : disk is in use.",
    ),
    "no network": (
        mounting("Failed to create pod sandbox: plugin type=calico: no IP addresses", "FailedCreatePodSandBox"),
        Reason.SANDBOX_FAILED,
        "Pod p cannot start on node node-1: Failed to create pod sandbox",
    ),
}


@pytest.mark.parametrize("case", MOUNTS)
def test_what_events_say_about_a_pod_that_waits_for_its_volumes(case: str) -> None:
    around, reason, words = MOUNTS[case]
    found = workload([deployment(ready=0)], [creating()], around)
    assert found.reason == reason
    assert words in found.message


def test_an_old_event_says_nothing_about_a_pod_whose_container_was_made() -> None:
    around = mounting('MountVolume.SetUp failed for volume "data-0" : configmap "not-there" not found')
    assert workload([deployment(ready=0)], [pod({"state": {"running": {}}})], around).reason == Reason.STARTING
    assert workload([deployment()], [pod({"ready": True})], around).reason == Reason.AVAILABLE


def test_events_are_read_for_pods_that_have_waited_for_their_volumes_for_some_time() -> None:
    assert stuck(creating(), NOW)
    assert stuck(creating(reason="PodInitializing"), NOW)
    assert not stuck(creating(seconds=2), NOW)
    assert not stuck(creating(metadata={"deletionTimestamp": ago(1)}), NOW)
    assert not stuck(creating(reason="ImagePullBackOff"), NOW)
    assert not stuck(unschedulable("0/1 nodes are available"), NOW)
    initialising = creating(initContainerStatuses=[{"name": "vault-agent", "state": {"running": {}}}])
    assert not stuck(initialising, NOW)


def test_keys_are_read_of_a_config_map_that_lacks_one_and_never_of_a_secret() -> None:
    lacks = PodWarning("FailedMount", 'volume "data-0" : configmap references non-existent config key: a')
    secret = PodWarning("FailedMount", 'volume "credentials" : references non-existent secret key: a')
    assert missed_config_map(creating(), lacks) == "wrong-key"
    assert missed_config_map(creating(), secret) is None
    assert missed_config_map(creating(), PodWarning("FailedMount", 'configmap "x" not found')) is None


TMP_FULL = 'Usage of EmptyDir volume "tmp" exceeds the limit "64Mi". '
POD_FULL = "Pod ephemeral local storage usage exceeds the total limit of containers 512Mi. "
NODE_LOW = (
    "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 898240Ki. Container agent "
    "was using 4Ki, request is 64Mi, has larger consumption of ephemeral-storage. "
)
STORAGE_FIELD = "spec.agents.resources.limits.ephemeral-storage"
EVICTIONS: dict[str, tuple[Object, Circumstances, list[str]]] = {
    "a full /tmp, and the agent failed": (
        evicted("Failed", 137, TMP_FULL),
        AROUND,
        [TMP_FULL.strip(), f"for its files in /tmp, set {STORAGE_FIELD} to more: /tmp may take as much."],
    ),
    "a full /tmp, and the agent ended with 0": (
        evicted("Succeeded", 0, ""),
        told(TMP_FULL),
        [TMP_FULL.strip(), f"for its files in /tmp, set {STORAGE_FIELD} to more: /tmp may take as much."],
    ),
    "its limit of storage, and the agent ended with 0": (
        evicted("Succeeded", 0, ""),
        told(POD_FULL),
        [POD_FULL.strip(), f"raise {STORAGE_FIELD}."],
    ),
    "its container's limit of storage": (
        evicted("Failed", 137, 'Container agent exceeded its local ephemeral storage limit "512Mi". '),
        AROUND,
        [f"raise {STORAGE_FIELD}."],
    ),
    "a volume that somebody else has added": (
        evicted("Failed", 137, 'Usage of EmptyDir volume "istio-data" exceeds the limit "1Mi". '),
        AROUND,
        ["See what writes to volume istio-data."],
    ),
    "a node without storage, and the agent failed": (
        evicted("Failed", 137, NODE_LOW, by_kubelet=NODE_LOW),
        AROUND,
        ["available: 898240Ki.", "reserve what the pod needs in spec.agents.resources.requests.ephemeral-storage."],
    ),
    "a node without storage, and the agent ended with 0": (
        evicted("Succeeded", 0, "", by_kubelet=NODE_LOW),
        AROUND,
        ["available: 898240Ki.", "reserve what the pod needs in spec.agents.resources.requests.ephemeral-storage."],
    ),
    "a node without inodes": (
        evicted("Failed", 137, "The node was low on resource: inodes. Threshold quantity: 5, available: 3. "),
        AROUND,
        ["see what takes the inodes of the node."],
    ),
}


@pytest.mark.parametrize("case", EVICTIONS)
def test_why_a_pod_was_evicted_and_what_to_do(case: str) -> None:
    item, around, words = EVICTIONS[case]
    starting = pod({"state": {"running": {}}})
    found = workload([deployment(ready=0)], [item, starting], around)
    assert found.reason == Reason.EVICTED
    assert [part for part in ("Pod old was evicted from node node-1: ", *words) if part not in found.message] == []
    assert found.message.endswith(" Kubernetes starts another one."), found.message


@pytest.mark.parametrize("case", EVICTIONS)
def test_an_eviction_is_told_beside_the_pod_that_has_come_for_it(case: str) -> None:
    """Otherwise only who looks within seconds would read it, and the next one is evicted, too."""
    item, around, words = EVICTIONS[case]
    found = workload([deployment()], [item, pod({"ready": True})], around)
    assert found.available
    assert found.reason == Reason.AVAILABLE
    parts = ("1 of 1 pods are ready. Pod old was evicted from node node-1: ", *words)
    assert [part for part in parts if part not in found.message] == [], found.message
    later = Circumstances(NOW + RECENT_SECONDS, around.resources_field, around.warnings)
    assert workload([deployment()], [item, pod({"ready": True})], later).message == "1 of 1 pods are ready."


def test_a_container_that_is_killed_for_its_memory_again_and_again_is_told_while_it_runs() -> None:
    killed = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": ago(60)}
    item = pod({"ready": True, "state": {"running": {}}, "restartCount": 4, "lastState": {"terminated": killed}})
    found = workload([deployment()], [item], AROUND)
    assert found.reason == Reason.AVAILABLE
    assert "its limit of 512Mi of memory: raise spec.agents.resources.limits.memory." in found.message
    later = Circumstances(NOW + RECENT_SECONDS, AROUND.resources_field)
    assert workload([deployment()], [item], later).message == "1 of 1 pods are ready."


GATE = {"type": "example.com/in-balancer", "status": "True"}


@pytest.mark.parametrize(("gates", "lost"), [([GATE], True), ([{**GATE, "status": "False"}], False), ([], False)])
def test_a_node_is_lost_only_when_nothing_else_keeps_a_pod_from_being_ready(gates: list[Object], lost: bool) -> None:
    of_pod = [{"type": "ContainersReady", "status": "True"}, {"type": "Ready", "status": "False"}]
    item = pod({"ready": True, "state": {"running": {}}}, conditions=[*of_pod, *gates])
    item["spec"]["readinessGates"] = [{"conditionType": GATE["type"]}]
    found = workload([deployment(ready=0)], [item], AROUND)
    assert found.reason == (Reason.NODE_LOST if lost else Reason.STARTING)


def test_a_pod_that_was_ended_and_nobody_says_why() -> None:
    item = evicted("Succeeded", 0, "")
    found = workload([deployment(ready=0)], [item], AROUND)
    assert found.reason == Reason.POD_FAILED
    assert "(Succeeded): it does not say why, see kubectl describe pod old -n fx." in found.message
    assert workload([deployment()], [item], AROUND).message == "1 of 1 pods are ready."
    shuts_down = evicted("Succeeded", 0, "", by_kubelet="Pod was terminated in response to imminent node shutdown.")
    found = workload([deployment(ready=0)], [shuts_down], AROUND)
    assert found.reason == Reason.POD_FAILED
    assert "(Succeeded): Pod was terminated in response to imminent node shutdown." in found.message


def test_events_are_read_for_pods_that_were_ended_not_long_ago_and_do_not_say_why() -> None:
    assert speaks_in_events(evicted("Succeeded", 0, ""), NOW)
    assert speaks_in_events(creating(), NOW)
    assert not speaks_in_events(evicted("Succeeded", 0, "", seconds=RECENT_SECONDS), NOW)
    assert not speaks_in_events(evicted("Succeeded", 0, "", by_kubelet=NODE_LOW), NOW)
    assert not speaks_in_events(evicted("Failed", 137, TMP_FULL), NOW)
    deleted = evicted("Succeeded", 0, "")
    deleted["metadata"] |= {"deletionTimestamp": ago(1)}
    assert not speaks_in_events(deleted, NOW)
    assert workload([deployment(ready=0)], [deleted], told(TMP_FULL)).reason == Reason.STARTING


REFUSALS: dict[str, tuple[str, Reason, list[str]]] = {
    "a quota": (
        'pods "ema-5d4-x9" is forbidden: exceeded quota: team, requested: pods=1, used: pods=1, limited: pods=1',
        Reason.QUOTA_EXCEEDED,
        [
            "for Deployment strategy-ema: exceeded quota: team, requested: pods=1, used: pods=1, limited: pods=1.",
            "Raise ResourceQuota team of namespace fx",
            "spec.agents.resources",
        ],
    ),
    "a quota of what is not said": (
        'pods "x" is forbidden: failed quota: team: must specify limits.cpu for: agent',
        Reason.QUOTA_EXCEEDED,
        ["must specify limits.cpu for: agent", "set it under spec.agents.resources"],
    ),
    "a resource that no quota covers": (
        'pods "x" is forbidden: insufficient quota to consume: requests.nvidia.com/gpu',
        Reason.QUOTA_EXCEEDED,
        ["kubectl describe resourcequota -n fx"],
    ),
    "a LimitRange": (
        'pods "x" is forbidden: maximum memory usage per Container is 256Mi, but limit is 512Mi',
        Reason.LIMIT_RANGE_VIOLATED,
        ["maximum memory usage per Container is 256Mi, but limit is 512Mi.", "Set spec.agents.resources within"],
    ),
    "a LimitRange of two minds": (
        'pods "x" is forbidden: [minimum cpu usage per Container is 100m, but request is 50m, memory max limit to '
        "request ratio per Container is 2, but provided ratio is 4.000000]",
        Reason.LIMIT_RANGE_VIOLATED,
        ["minimum cpu usage per Container is 100m", "provided ratio is 4.000000"],
    ),
    "Pod Security": (
        'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container '
        '"istio-proxy" must set securityContext.allowPrivilegeEscalation=false)',
        Reason.POD_SECURITY_VIOLATED,
        ['container "istio-proxy" must set', "pod-security.kubernetes.io/enforce of namespace fx"],
    ),
    "a webhook that says no": (
        'admission webhook "validate.kyverno.svc-fail" denied the request: resource Pod/fx/x was blocked',
        Reason.ADMISSION_DENIED,
        ["was blocked", "Ask who runs the webhook validate.kyverno.svc-fail"],
    ),
    "a webhook that does not answer": (
        'Internal error occurred: failed calling webhook "inject.sidecar.io": failed to call webhook: Post '
        '"https://sidecar.mesh.svc:443/inject?timeout=10s": service "sidecar" not found',
        Reason.ADMISSION_DENIED,
        ['service "sidecar" not found', "The webhook inject.sidecar.io does not answer"],
    ),
    "a policy": (
        "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'images' with binding 'images' denied request: only ours",
        Reason.ADMISSION_DENIED,
        ["denied request: only ours.", "Ask who wrote ValidatingAdmissionPolicy images"],
    ),
    "an account that is not there": (
        'pods "x" is forbidden: error looking up service account fx/ema: serviceaccount "ema" not found',
        Reason.POD_REFUSED,
        ['serviceaccount "ema" not found.'],
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_why_no_pod_is_made_and_what_to_do(case: str) -> None:
    message, reason, words = REFUSALS[case]
    found = workload([refused(message)], [], AROUND)
    assert found.reason == reason
    assert [part for part in words if part not in found.message] == [], found.message
    assert reason in BROKEN


def test_the_name_of_a_pod_that_never_was_does_not_change_the_message_with_each_try() -> None:
    first, second = (
        workload([refused(f'pods "strategy-ema-{name}" is forbidden: exceeded quota: team')], [], AROUND).message
        for name in ("aaaaa", "bbbbb")
    )
    assert first == second


def test_a_refusal_of_a_spec_that_has_changed_since_is_not_repeated() -> None:
    item = refused('pods "x" is forbidden: exceeded quota: team')
    item["metadata"]["generation"] = 2
    assert workload([item], [], AROUND).reason == Reason.STARTING


def test_only_a_deadline_says_that_pods_are_late() -> None:
    late = {
        "type": "Progressing",
        "status": "False",
        "reason": "ProgressDeadlineExceeded",
        "message": 'ReplicaSet "strategy-ema-5d4" has timed out progressing.',
    }
    item = deployment(0, conditions=[late])
    found = workload([item], [STARTING["a container that runs"]], AROUND)
    assert found.reason == Reason.PROGRESS_DEADLINE_EXCEEDED
    assert "no ready pod 120 s after its last change: see kubectl describe deployment strategy-ema" in found.message
    assert workload([item], [PODS["a crash loop"][0]], AROUND).reason == Reason.CRASHING


def test_an_eviction_is_told_until_the_next_pod_has_had_its_time() -> None:
    successor = pod({"state": {"running": {}}})
    recent = evicted("Failed", 137, "low on memory", seconds=60)
    assert workload([deployment(ready=0)], [recent, successor], AROUND).reason == Reason.EVICTED
    long_ago = evicted("Failed", 137, "low on memory", seconds=601)
    assert workload([deployment(ready=0)], [long_ago, successor], AROUND).reason == Reason.STARTING
    assert workload([deployment(ready=0)], [long_ago], AROUND).reason == Reason.EVICTED


def test_available() -> None:
    assert workload([deployment()], [], AROUND).available
    assert not workload([], [], AROUND).available
    assert workload([deployment(), None], [], AROUND).ready == 1


def test_an_old_answer_of_the_deployment_controller_does_not_count() -> None:
    assert ready_pods([deployment(generation=2, observed=1)]) == 0
    assert not rolled_out(deployment(generation=2, observed=1))
    assert not rolled_out(deployment(updated=0))
    assert not rolled_out(None)
    assert rolled_out(deployment())
