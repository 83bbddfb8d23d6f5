"""What pods and Deployments say about themselves: is it available, and if not, why and what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crowetrade_api.reasons import Reason
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.decide.pod_failures import Circumstances, Failure, created, failure_of, overdue, recent_end_of
from crowetrade_operator.decide.pod_refusals import refusal_of

BROKEN = frozenset(
    {
        Reason.CONFIGURATION_ERROR,
        Reason.QUOTA_EXCEEDED,
        Reason.LIMIT_RANGE_VIOLATED,
        Reason.POD_SECURITY_VIOLATED,
        Reason.ADMISSION_DENIED,
        Reason.POD_REFUSED,
        Reason.UNSCHEDULABLE,
        Reason.IMAGE_PULL_FAILED,
        Reason.MOUNT_FAILED,
        Reason.SANDBOX_FAILED,
        Reason.CONTAINER_FAILED,
        Reason.OUT_OF_MEMORY,
        Reason.CRASHING,
        Reason.EVICTED,
        Reason.POD_FAILED,
        Reason.NODE_LOST,
        Reason.PROGRESS_DEADLINE_EXCEEDED,
    }
)
"""Reasons for which pods do not become ready by themselves, or not soon."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Pods that are ready of those wanted; when some are missing, why."""

    ready: int
    desired: int
    reason: Reason
    message: str

    @property
    def available(self) -> bool:
        """Whether all are ready."""
        return self.ready >= self.desired > 0


def workload(deployments: Iterable[Object | None], pods: Iterable[Object], around: Circumstances) -> Workload:
    """State of the Deployments (None: not created yet) with their pods."""
    found = list(deployments)
    ready = ready_pods(found)
    by_age, text = sorted(pods, key=created), f"{ready} of {len(found)} pods are ready."
    if ready >= len(found) > 0:
        # What follows may be ready within seconds, and end for the same reason.
        ended = next((said for pod in reversed(by_age) if (said := recent_end_of(pod, around)) is not None), None)
        return Workload(ready, len(found), Reason.AVAILABLE, f"{text} {ended}" if ended is not None else text)
    failure = _failure(found, by_age, around)
    if failure is not None:
        return Workload(ready, len(found), *failure)
    return Workload(ready, len(found), Reason.STARTING, text)


def ready_pods(deployments: Iterable[Object | None]) -> int:
    """How many of the Deployments have a ready pod of their present template."""
    return sum(min(1, _ready_replicas(item)) for item in deployments)


def runs(deployments: Iterable[Object | None]) -> bool:
    """Whether one of the Deployments has a ready pod. Until its controller has seen the last change of a Deployment,
    the pod of before counts: whoever edits a Deployment has not stopped it yet, and it may be put back in time."""
    return any(
        _ready_replicas(item) if _seen(item) else int(_status(item).get("readyReplicas") or 0)
        for item in deployments
        if item is not None
    )


def rolled_out(deployment: Object | None) -> bool:
    """Whether the Deployment controller has brought the last template to all pods."""
    return deployment is not None and _seen(deployment) and int(_status(deployment).get("updatedReplicas") or 0) >= 1


def restarting(deployment: Object) -> bool:
    """Whether its pod is being replaced; one that has not come up within the Deployment's deadline does not count."""
    progressing = _condition(deployment, "Progressing") or {}
    failed = progressing.get("reason") == "ProgressDeadlineExceeded"
    return ready_pods([deployment]) == 0 and not (failed and _seen(deployment))


def ending(pods: Iterable[Object]) -> bool:
    """Whether one of them is being stopped."""
    return any(pod["metadata"].get("deletionTimestamp") for pod in pods)


def _status(deployment: Object) -> Object:
    return deployment.get("status") or {}


def _seen(deployment: Object) -> bool:
    """Whether the Deployment controller reports on the present spec."""
    observed = int(_status(deployment).get("observedGeneration") or 0)
    return observed >= int(deployment["metadata"].get("generation") or 0)


def _ready_replicas(deployment: Object | None) -> int:
    if deployment is None or not _seen(deployment):
        return 0
    status = _status(deployment)
    return min(int(status.get("readyReplicas") or 0), int(status.get("updatedReplicas") or 0))


def _failure(deployments: list[Object | None], pods: list[Object], around: Circumstances) -> Failure | None:
    """Why pods are missing: what the API server refuses, what the youngest pod says, then the older ones; the deadline
    of a rollout says least."""
    waiting = [item for item in deployments if item is not None and _seen(item) and _ready_replicas(item) == 0]
    for item in waiting:
        refused = _condition(item, "ReplicaFailure")
        if refused is not None and refused.get("status") == "True":
            return refusal_of(item, str(refused.get("message") or ""), around.resources_field)
    youngest = len(pods) - 1
    for number in range(youngest, -1, -1):
        failure = failure_of(pods[number], number == youngest, around)
        if failure is not None:
            return failure
    for pod in reversed(pods):
        failure = overdue(pod, around)
        if failure is not None:
            return failure
    return next((late for item in waiting if (late := _too_late(item)) is not None), None)


def _condition(deployment: Object, type_: str) -> Object | None:
    found = _status(deployment).get("conditions") or []
    return next((item for item in found if item.get("type") == type_), None)


def _too_late(deployment: Object) -> Failure | None:
    progressing = _condition(deployment, "Progressing")
    if progressing is None or progressing.get("reason") != "ProgressDeadlineExceeded":
        return None
    name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
    text = (
        f"Deployment {name} has no ready pod {deployment['spec'].get('progressDeadlineSeconds', 600)} s after its last "
        f"change: see kubectl describe deployment {name} -n {namespace}, and kubectl logs deployment/{name}."
    )
    return Reason.PROGRESS_DEADLINE_EXCEEDED, text
