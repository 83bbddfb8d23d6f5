"""Why one pod is not ready: what the scheduler, the kubelet and the node controller write into its status. Pure.

Two things are in events alone: a volume that cannot be mounted (the pod stays at ContainerCreating), and why
a node has ended a pod whose containers have ended with 0 (the pod says Succeeded). `speaks_in_events` says for which
pods the events have to be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from crowetrade_api.files import ExitCode
from crowetrade_api.reasons import Reason
from crowetrade_operator.cluster.objects import Object, PodWarning
from crowetrade_operator.cluster.times import unix_of
from crowetrade_operator.desired.pod import MAIN_CONTAINERS

Failure = tuple[Reason, str]
"""Why, and in words what it is and what to do."""

CRASHES = 2
"""So many ends of a container are no accident."""
STUCK_SECONDS = 5.0
"""Longer than this after it got its node, a pod has mounted its volumes."""
RECENT_SECONDS = 600.0
"""So long a pod that was evicted says why its successor is not ready yet, and one whose container was killed for its
memory says so."""
OVERDUE_SECONDS = 30.0
"""So long after the end of its grace period a pod that is deleted is gone, if its node lives."""
SHOWN_KEYS = 10
_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
_IMAGE_MORE = ("RegistryUnavailable", "SignatureValidationFailed")
_CREATION = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError")
_WAITS = ("ContainerCreating", "PodInitializing")
_BY_KUBELET = "TerminationByKubelet"
"""Reason of the condition DisruptionTarget: the node was short of something, or shuts down."""
_NODE_LOW = re.compile(r"The node was low on resource: ([a-z-]+)\.")
_RESERVED = ("memory", "ephemeral-storage")
"""What a node may lack that a pod can reserve."""
_VOLUME_FULL = re.compile(r'Usage of EmptyDir volume "([^"]+)" exceeds the limit')
_STORAGE_FULL = ("ephemeral local storage usage exceeds", "exceeded its local ephemeral storage limit")
_POST_FILTER = re.compile(r" (?:no new claims to deallocate|preemption:)")
"""With these words the scheduler begins to say why it would not help to evict others."""
_MISSING = re.compile(r'\b(configmap|secret|persistentvolumeclaim) "([^"]+)" not found', re.IGNORECASE)
_MISSING_KEY = re.compile(r'volume "([^"]+)" : .*references non-existent (?:config|secret) key: (\S+)')
_MISSING_VARIABLE = re.compile(r"couldn't find key (\S+) in (ConfigMap|Secret) [^/\s]+/(\S+)")
_KINDS = {"configmap": "ConfigMap", "secret": "Secret", "persistentvolumeclaim": "PersistentVolumeClaim"}


@dataclass(frozen=True, slots=True)
class PodWarnings:
    """What the events of a namespace say about pods that do not start."""

    # By uid of the pod.
    last: Mapping[str, PodWarning] = field(default_factory=dict)
    # Keys of ConfigMaps in which one is missed, by the name of the ConfigMap.
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known besides what pods and Deployments say."""

    # Seconds since the Unix epoch.
    now: float
    # Where the resource says what its pods ask for and may use.
    resources_field: str
    warnings: PodWarnings = field(default_factory=PodWarnings)


def sentence(text: str) -> str:
    """Text of others, with a full stop."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def created(pod: Object) -> tuple[str, str]:
    """To sort pods by age; those of the same second by name."""
    return str(pod["metadata"].get("creationTimestamp", "")), str(pod["metadata"]["name"])


def stuck(pod: Object, now: float) -> bool:
    """Whether the pod has had a node for some time, and none of its containers has started."""
    status = pod.get("status") or {}
    scheduled = _condition(status, "PodScheduled")
    if _ends(pod) or status.get("phase") != "Pending" or scheduled is None or scheduled.get("status") != "True":
        return False
    waits = [((item.get("state") or {}).get("waiting") or {}).get("reason") for item in _containers(status)]
    return now - unix_of(scheduled["lastTransitionTime"]) >= STUCK_SECONDS and all(item in _WAITS for item in waits)


def ended_in_silence(pod: Object, now: float) -> bool:
    """Whether its node has ended the pod not long ago, and its status does not say why: a container that is told to end
    and does so with 0 makes it Succeeded, which no pod of a Deployment becomes by itself."""
    status = pod.get("status") or {}
    silent = status.get("phase") == "Succeeded" and not status.get("reason") and not _said_by_kubelet(status)
    return silent and not _ends(pod) and now - _ended_at(pod) < RECENT_SECONDS


def speaks_in_events(pod: Object, now: float) -> bool:
    """Whether only events say what is wrong with it."""
    return stuck(pod, now) or ended_in_silence(pod, now)


def missed_config_map(pod: Object, warned: PodWarning) -> str | None:
    """The ConfigMap that lacks a key which the pod mounts."""
    found = _MISSING_KEY.search(warned.note)
    kind, name = _source(pod, found[1]) if found else ("", "")
    return name if kind == "ConfigMap" else None


def failure_of(pod: Object, youngest: bool, around: Circumstances) -> Failure | None:
    """What keeps the pod from being ready; None when it says nothing, or is being deleted."""
    if _ends(pod):
        return None
    status = pod.get("status") or {}
    if status.get("phase") in ("Failed", "Succeeded"):
        return _ended(pod, youngest, around)
    for container in _containers(status):
        failure = _container_failure(pod, container, around.resources_field)
        if failure is not None:
            return failure
    return _scheduling_failure(pod, around.resources_field) or _mount_failure(pod, around) or _node_lost(pod)


def overdue(pod: Object, around: Circumstances) -> Failure | None:
    """A pod that is deleted and does not go: nobody says any more that it has ended."""
    if not _ends(pod) or around.now - unix_of(pod["metadata"]["deletionTimestamp"]) < OVERDUE_SECONDS:
        return None
    name, node = pod["metadata"]["name"], _node(pod)
    text = (
        f"Pod {name} was deleted and should have ended at {pod['metadata']['deletionTimestamp']}, but its node {node} "
        "does not confirm it. See kubectl describe node. When it is sure that it runs no more (the node is off), "
        f"kubectl delete pod {name} -n {_namespace(pod)} --force lets another one start."
    )
    return Reason.NODE_LOST, text


def _ends(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _namespace(pod: Object) -> str:
    return str(pod["metadata"].get("namespace", ""))


def _node(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "(none)")


def _condition(status: Object, type_: str) -> Object | None:
    return next((item for item in status.get("conditions") or [] if item.get("type") == type_), None)


def _containers(status: Object) -> Iterator[Object]:
    yield from status.get("initContainerStatuses") or []
    yield from status.get("containerStatuses") or []


def _container_failure(pod: Object, container: Object, resources_field: str) -> Failure | None:
    state, name = container.get("state") or {}, pod["metadata"]["name"]
    waiting = state.get("waiting") or {}
    reason, said = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    if container.get("ready"):
        return None
    if reason in (*_IMAGE, *_IMAGE_MORE):
        text = f"Pod {name} cannot get its image {container.get('image', '')}: {sentence(said or reason)}"
        return Reason.IMAGE_PULL_FAILED, f"{text} Check the image's name, and that its node may pull it."
    if reason in _CREATION:
        return _creation_failure(pod, container, said or reason)
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if not ended or ended.get("exitCode") == 0:
        return None
    message = str(ended.get("message") or "").strip()
    if ended.get("exitCode") == ExitCode.CONFIGURATION_ERROR:
        return Reason.CONFIGURATION_ERROR, message or "the process refused its configuration and said no more"
    if ended.get("reason") == "OOMKilled":
        return Reason.OUT_OF_MEMORY, _out_of_memory(pod, str(container.get("name")), resources_field)
    if int(container.get("restartCount") or 0) >= CRASHES:
        told = message or f"see kubectl logs {name} -n {_namespace(pod)} -c {container.get('name')} --previous"
        return Reason.CRASHING, f"Pod {name} keeps ending with exit code {ended.get('exitCode')}: {told}"
    return None


def _creation_failure(pod: Object, container: Object, said: str) -> Failure:
    what = f"Container {container.get('name')} of pod {pod['metadata']['name']} cannot start"
    missing = _missing(said, _namespace(pod))
    if missing:
        return Reason.MOUNT_FAILED, f"{what}: {missing}"
    if key := _MISSING_VARIABLE.search(said):
        return Reason.MOUNT_FAILED, f"{what}: {key[2]} {key[3]} has no key {key[1]}: add it."
    return Reason.CONTAINER_FAILED, f"{what}: {sentence(said)}"


def _out_of_memory(pod: Object, container: str, resources_field: str) -> str:
    spec = pod.get("spec") or {}
    of_pod = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    found: Object = next((item for item in of_pod if item.get("name") == container), {})
    limit = ((found.get("resources") or {}).get("limits") or {}).get("memory")
    killed = f"Container {container} of pod {pod['metadata']['name']} was killed"
    if limit is None:
        where = f"in {resources_field}.requests.memory" if container in MAIN_CONTAINERS else "where it comes from"
        return f"{killed} because its node {_node(pod)} had no memory left: reserve what it needs {where}."
    text = f"{killed} because it used more than its limit of {limit} of memory"
    if container not in MAIN_CONTAINERS:
        return f"{text}, which {resources_field} says nothing of: raise it where the container comes from."
    return f"{text}: raise {resources_field}.limits.memory."


def _scheduling_failure(pod: Object, resources_field: str) -> Failure | None:
    scheduled = _condition(pod.get("status") or {}, "PodScheduled")
    if scheduled is None or scheduled.get("status") != "False":
        return None
    said = _POST_FILTER.split(str(scheduled.get("message") or scheduled.get("reason") or ""))[0]
    what = f"No node takes pod {pod['metadata']['name']}"
    missing = _missing(said, _namespace(pod))
    if missing:
        return Reason.MOUNT_FAILED, f"{what}: {missing}"
    if "unbound immediate PersistentVolumeClaims" in said:
        claims = ", ".join(_claims(pod))
        text = f"PersistentVolumeClaim {claims} is not bound: see kubectl describe pvc {claims} -n {_namespace(pod)}."
        return Reason.MOUNT_FAILED, f"{what}: {text}"
    remedy = f" Add room to the cluster, or lower {resources_field}.requests." if "Insufficient " in said else ""
    return Reason.UNSCHEDULABLE, f"{what}: {sentence(said)}{remedy}"


def _mount_failure(pod: Object, around: Circumstances) -> Failure | None:
    warned = around.warnings.last.get(str(pod["metadata"].get("uid", "")))
    if warned is None or warned.reason == "Evicted" or not stuck(pod, around.now):
        return None
    what = f"Pod {pod['metadata']['name']} cannot start"
    if warned.reason == "FailedCreatePodSandBox":
        return Reason.SANDBOX_FAILED, f"{what} on node {_node(pod)}: {sentence(warned.note)}"
    missing = _missing(warned.note, _namespace(pod)) or _missing_key(pod, warned, around.warnings.keys)
    return Reason.MOUNT_FAILED, f"{what}: {missing or sentence(warned.note)}"


def _missing(said: str, namespace: str) -> str:
    """What does not exist, in words; empty when it is something else."""
    found = _MISSING.search(said)
    if found is None:
        return ""
    kind = _KINDS[found[1].lower()]
    return f"{kind} {found[2]} does not exist in namespace {namespace}: create it, or correct the name in the manifest."


def _missing_key(pod: Object, warned: PodWarning, keys: Mapping[str, Sequence[str]]) -> str:
    """Which key is missing where, and those that are there if they may be known; of a Secret they may not."""
    found = _MISSING_KEY.search(warned.note)
    if found is None:
        return ""
    (kind, name), key, namespace = _source(pod, found[1]), found[2], _namespace(pod)
    what = f"{kind} {name} of namespace {namespace} has no key {key}"
    if kind != "ConfigMap" or name not in keys:
        return f"{what}: add it, or correct the name in the manifest. See kubectl describe {kind.lower()} {name}."
    there = ", ".join(sorted(keys[name])[:SHOWN_KEYS]) or "none"
    more = f" and {len(keys[name]) - SHOWN_KEYS} more" if len(keys[name]) > SHOWN_KEYS else ""
    return f"{what}, it has {there}{more}: add the key, or correct the name in the manifest."


def _source(pod: Object, volume: str) -> tuple[str, str]:
    """Kind and name of what a volume of the pod has its files from."""
    volumes = (pod.get("spec") or {}).get("volumes") or []
    found: Object = next((item for item in volumes if item.get("name") == volume), {})
    if "configMap" in found:
        return "ConfigMap", str(found["configMap"].get("name"))
    if "secret" in found:
        return "Secret", str(found["secret"].get("secretName"))
    return "Volume", volume


def _claims(pod: Object) -> list[str]:
    volumes = (pod.get("spec") or {}).get("volumes") or []
    return [str(item["persistentVolumeClaim"]["claimName"]) for item in volumes if "persistentVolumeClaim" in item]


def _ended(pod: Object, youngest: bool, around: Circumstances) -> Failure | None:
    """A pod that its node has refused or ended stays as an object; its Deployment makes another one."""
    if not youngest and around.now - _ended_at(pod) >= RECENT_SECONDS:
        return None
    status, name = pod["status"], pod["metadata"]["name"]
    evicted = _eviction(pod, around)
    if evicted is not None:
        return Reason.EVICTED, f"{evicted} Kubernetes starts another one."
    reason = str(status.get("reason") or status["phase"])
    said = str(status.get("message") or _said_by_kubelet(status)).strip()
    if not said:
        said = f"it does not say why, see kubectl describe pod {name} -n {_namespace(pod)}"
    text = f"Node {_node(pod)} has ended pod {name} ({reason}): {sentence(said)} Kubernetes starts another one."
    return Reason.POD_FAILED, text


def recent_end_of(pod: Object, around: Circumstances) -> str | None:
    """Why a pod was evicted not long ago, or a container that runs again was killed for its memory, and what to do;
    None when nothing was. Both may happen again and again, with pods that are ready in between."""
    if _ends(pod):
        return None
    for container in _containers(pod.get("status") or {}):
        ended = (container.get("lastState") or {}).get("terminated") or {}
        at = ended.get("finishedAt")
        if ended.get("reason") == "OOMKilled" and at and around.now - unix_of(at) < RECENT_SECONDS:
            return _out_of_memory(pod, str(container.get("name")), around.resources_field)
    return _eviction(pod, around) if around.now - _ended_at(pod) < RECENT_SECONDS else None


def _eviction(pod: Object, around: Circumstances) -> str | None:
    """An eviction shows in the pod's reason, in its condition, or in an event alone: see `ended_in_silence`."""
    status = pod.get("status") or {}
    said, kubelet = str(status.get("message") or ""), _said_by_kubelet(status)
    warned = around.warnings.last.get(str(pod["metadata"].get("uid", "")))
    if status.get("phase") not in ("Failed", "Succeeded"):
        return None
    if status.get("reason") != "Evicted":
        if status.get("reason"):
            return None
        if _NODE_LOW.search(kubelet):
            said = kubelet
        elif ended_in_silence(pod, around.now) and warned is not None and warned.reason == "Evicted":
            said = warned.note
        else:
            return None
    what = f"Pod {pod['metadata']['name']} was evicted from node {_node(pod)}"
    return f"{what}: {sentence(said.strip() or 'no message')} {_room(said, around.resources_field)}"


def _room(said: str, resources_field: str) -> str:
    """What to do, so that it is not evicted again for this."""
    low, full = _NODE_LOW.search(said), _VOLUME_FULL.search(said)
    if full is not None and full[1] == "tmp":
        text = f"If that is too little for its files in /tmp, set {resources_field}.limits.ephemeral-storage"
        return f"{text} to more: /tmp may take as much."
    if full is not None:
        return f"See what writes to volume {full[1]}."
    if any(words in said for words in _STORAGE_FULL):
        return f"If that is too little for its log and its files, raise {resources_field}.limits.ephemeral-storage."
    if low is not None and low[1] not in _RESERVED:
        return f"If it happens again, see what takes the {low[1]} of the node."
    name = f".{low[1]}" if low is not None else ""
    return f"If it happens again, reserve what the pod needs in {resources_field}.requests{name}."


def _said_by_kubelet(status: Object) -> str:
    target = _condition(status, "DisruptionTarget") or {}
    by_it = target.get("status") == "True" and target.get("reason") == _BY_KUBELET
    return str(target.get("message") or "").strip() if by_it else ""


def _ended_at(pod: Object) -> float:
    conditions = (pod.get("status") or {}).get("conditions") or []
    changes = [item["lastTransitionTime"] for item in conditions if item.get("lastTransitionTime")]
    return unix_of(max([pod["metadata"]["creationTimestamp"], *changes]))


def _node_lost(pod: Object) -> Failure | None:
    """The node controller alone says that a pod is not ready whose containers and readiness gates are: their node has
    stopped reporting."""
    status = pod.get("status") or {}
    ready, containers = _condition(status, "Ready"), _condition(status, "ContainersReady")
    gates = [_condition(status, item["conditionType"]) for item in (pod.get("spec") or {}).get("readinessGates") or []]
    if ready is None or containers is None or any(gate is None or gate.get("status") != "True" for gate in gates):
        return None
    if (ready.get("status"), containers.get("status")) != ("False", "True"):
        return None
    name, node = pod["metadata"]["name"], _node(pod)
    text = (
        f"Node {node} of pod {name} does not answer. After 5 minutes Kubernetes starts another pod elsewhere; kubectl "
        f"delete pod {name} -n {_namespace(pod)} --wait=false makes it do so now."
    )
    return Reason.NODE_LOST, text
