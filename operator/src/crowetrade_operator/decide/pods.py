"""What pods and Deployments say about themselves: is it available, and if not, why. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crowetrade_api.files import ExitCode
from crowetrade_api.reasons import Reason
from crowetrade_operator.cluster.objects import Object

CRASHES = 2


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


def workload(deployments: Iterable[Object | None], pods: Iterable[Object]) -> Workload:
    """State of the Deployments (None: not created yet) with their pods."""
    found = list(deployments)
    ready = sum(min(1, _ready_replicas(item)) for item in found)
    failure = _failure(sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", ""))))
    if ready >= len(found) > 0:
        return Workload(ready, len(found), Reason.AVAILABLE, f"{ready} of {len(found)} pods are ready.")
    if failure is not None:
        return Workload(ready, len(found), *failure)
    message = f"{ready} of {len(found)} pods are ready."
    return Workload(ready, len(found), Reason.STARTING, message)


def _ready_replicas(deployment: Object | None) -> int:
    if deployment is None:
        return 0
    status = deployment.get("status") or {}
    if int(status.get("observedGeneration") or 0) < int(deployment["metadata"].get("generation") or 0):
        return 0
    return min(int(status.get("readyReplicas") or 0), int(status.get("updatedReplicas") or 0))


def rolled_out(deployment: Object | None) -> bool:
    """Whether the Deployment controller has brought the last template to all pods."""
    if deployment is None:
        return False
    status = deployment.get("status") or {}
    current = int(status.get("observedGeneration") or 0) >= int(deployment["metadata"].get("generation") or 0)
    return current and int(status.get("updatedReplicas") or 0) >= 1


def restarting(deployment: Object) -> bool:
    """Whether its pod is being replaced; one that has not come up within the Deployment's deadline does not count."""
    conditions = (deployment.get("status") or {}).get("conditions") or []
    failed = any(item.get("reason") == "ProgressDeadlineExceeded" for item in conditions)
    observed = int((deployment.get("status") or {}).get("observedGeneration") or 0)
    current = observed >= int(deployment["metadata"].get("generation") or 0)
    return _ready_replicas(deployment) == 0 and not (failed and current)


def _failure(pods: list[Object]) -> tuple[Reason, str] | None:
    """The worst that a pod says; the youngest pod is believed first."""
    for pod in reversed(pods):
        if pod["metadata"].get("deletionTimestamp"):
            continue
        status = pod.get("status") or {}
        for container in [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]:
            failure = _container_failure(pod["metadata"]["name"], container)
            if failure is not None:
                return failure
        failure = _scheduling_failure(pod["metadata"]["name"], status)
        if failure is not None:
            return failure
    return None


def _container_failure(pod: str, container: Object) -> tuple[Reason, str] | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if ended and ended.get("exitCode") == ExitCode.CONFIGURATION_ERROR:
        said = str(ended.get("message") or "").strip() or "the process refused its configuration and said no more"
        return Reason.CONFIGURATION_ERROR, said
    if waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"):
        said = f"Pod {pod} cannot get its image {container.get('image', '')}: {waiting.get('message', '')}"
        return Reason.UNAVAILABLE, said.strip()
    if waiting.get("reason") in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        return Reason.UNAVAILABLE, f"Pod {pod} cannot start: {waiting.get('message', waiting['reason'])}"
    if ended and int(container.get("restartCount") or 0) >= CRASHES and not container.get("ready"):
        said = str(ended.get("message") or "").strip() or f"see kubectl logs {pod} --previous"
        return Reason.CRASHING, f"Pod {pod} keeps ending with exit code {ended.get('exitCode')}: {said}"
    return None


def _scheduling_failure(pod: str, status: Object) -> tuple[Reason, str] | None:
    for item in status.get("conditions") or []:
        if item.get("type") == "PodScheduled" and item.get("status") == "False":
            return Reason.UNAVAILABLE, f"Pod {pod} has no node: {item.get('message', '')}"
    return None


def ending(pods: Iterable[Object]) -> bool:
    """Whether one of them is being stopped."""
    return any(pod["metadata"].get("deletionTimestamp") for pod in pods)
