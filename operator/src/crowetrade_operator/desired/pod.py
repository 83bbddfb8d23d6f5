"""What every pod of ours has: Pod Security "restricted", probes, a /tmp of its own, and who and where it is."""

from __future__ import annotations

from typing import Any

from crowetrade_api.files import TERMINATION_LOG, EnvName
from crowetrade_api.names import HTTP_PORT, USER_ID
from crowetrade_api.v1alpha1.common import amount_of

POD_SECURITY: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": USER_ID,
    "runAsGroup": USER_ID,
    "fsGroup": USER_ID,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
AGENT, GATEWAY = "agent", "gateway"
MAIN_CONTAINERS = (AGENT, GATEWAY)
"""Those that have the resources which a Strategy or a VenueConnection says; others are beside them."""
TMP_MOUNT: dict[str, Any] = {"name": "tmp", "mountPath": "/tmp"}
TMP_SIZE = "64Mi"
STORAGE = "ephemeral-storage"

# What is written outside of volumes is the log, which the kubelet rotates, and /tmp.
STORAGE_REQUEST = "64Mi"
STORAGE_LIMIT = "512Mi"


def with_storage(resources: dict[str, Any]) -> dict[str, Any]:
    """The same, with what a container may write to its node: one without a limit may fill it, and evict others. Where
    one of request and limit is left out, it gives way to the other: no pod may request more than its limit."""
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    request = min(STORAGE_REQUEST, limits.get(STORAGE, STORAGE_LIMIT), key=amount_of)
    limit = max(STORAGE_LIMIT, requests.get(STORAGE, STORAGE_REQUEST), key=amount_of)
    return {**resources, "requests": {STORAGE: request, **requests}, "limits": {STORAGE: limit, **limits}}


def tmp_volume(resources: dict[str, Any]) -> dict[str, Any]:
    """/tmp of a container with these resources. Its files count as storage of the container, so whoever sets a limit
    of that has said how much may lie here, too."""
    return {"name": "tmp", "emptyDir": {"sizeLimit": resources.get("limits", {}).get(STORAGE, TMP_SIZE)}}


def probe(path: str, period: int, failures: int) -> dict[str, Any]:
    """A probe of the container's HTTP server."""
    return {
        "httpGet": {"path": path, "port": HTTP_PORT, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def environment(nats_url: str, config_hash: str) -> list[dict[str, Any]]:
    """Environment of gateways and agents; nothing secret is ever in it."""
    pod_name = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
    return [
        {"name": EnvName.POD_NAME.value, "valueFrom": pod_name},
        {"name": EnvName.NATS_URL.value, "value": nats_url},
        {"name": EnvName.CONFIG_HASH.value, "value": config_hash},
    ]


def container(
    name: str, image: str, arguments: list[str], env: list[dict[str, Any]], resources: dict[str, Any]
) -> dict[str, Any]:
    """A container of an image of ours, whose entry point is `python -m crowetrade_agents.runtime`.

    An image of a user is built from it and keeps that. Liveness is slow on purpose: a restart costs more.
    """
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": arguments,
        "env": env,
        "resources": with_storage(resources),
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "startupProbe": probe("/healthz", 1, 120),
        "readinessProbe": probe("/readyz", 2, 3),
        "livenessProbe": probe("/healthz", 10, 6),
    }


def port(name: str, number: int) -> dict[str, Any]:
    """A container port."""
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def deployment_spec(
    selector: dict[str, str], labels: dict[str, str], annotations: dict[str, str], pod: dict[str, Any]
) -> dict[str, Any]:
    """spec of a Deployment of one replica. Recreate: two at once would fight for the session."""
    return {
        "replicas": 1,
        # A rollout stops by our own annotation `paused`, which the status tells; this one would stop it in silence.
        "paused": False,
        "revisionHistoryLimit": 2,
        "progressDeadlineSeconds": 120,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": selector},
        "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
    }


def pod_spec(service_account: str, containers: list[dict[str, Any]], volumes: list[dict[str, Any]]) -> dict[str, Any]:
    """spec of a pod that gets no token of the API server unless a volume of it has one."""
    return {
        "serviceAccountName": service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": POD_SECURITY,
        "containers": containers,
        "volumes": volumes,
    }
