"""What somebody else does to children, and the operator puts back: to each kind that it writes for a Strategy.

What it leaves alone (a key beside its own in a ConfigMap, a sidecar, anybody's annotation) is not in here. A
Certificate is one of the children only where cert-manager issues identities, which is not how the benchmark installs
the operator.
"""

from __future__ import annotations

from typing import Any

from crowetrade_api.names import INSTRUMENTS_ANNOTATION, MANAGED_BY_LABEL, NAME_LABEL
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    NETWORK_POLICIES,
    SERVICE_ACCOUNTS,
    SERVICES,
    ApiResource,
)

Object = dict[str, Any]
Patch = list[Object]
"""Operations of a JSON patch, which the API server carries out together or not at all."""
_SOMEBODY = "kubectl-edit"
_CONTAINER = "/spec/template/spec/containers/0"


def _at(path: str, *keys: str) -> str:
    """A JSON pointer to a key below a path."""
    return "/".join((path, *(key.replace("~", "~0").replace("/", "~1") for key in keys)))


def _change(path: str, value: Any) -> Patch:
    return [{"op": "replace", "path": path, "value": value}]


def _add(path: str, value: Any) -> Patch:
    return [{"op": "add", "path": path, "value": value}]


def _remove(path: str) -> Patch:
    return [{"op": "remove", "path": path}]


_LABEL, _OWNER = _at("/metadata/labels", MANAGED_BY_LABEL), "/metadata/ownerReferences"
_METADATA = {
    "a label is changed": _change(_LABEL, "Helm"),
    "a label is removed": _remove(_LABEL),
    "the owner is removed": _remove(_OWNER),
}
EDITS: dict[ApiResource, dict[str, Patch]] = {
    SERVICE_ACCOUNTS: {
        "a token for every pod": _change("/automountServiceAccountToken", True),
        "nothing said of tokens": _remove("/automountServiceAccountToken"),
        **_METADATA,
    },
    CONFIG_MAPS: {
        "another configuration": _change("/data/strategy.json", "{}"),
        "no configuration": _remove("/data/strategy.json"),
        "other venues": _change(_at("/metadata/annotations", INSTRUMENTS_ANNOTATION), "bench-000/other/EUR-USD"),
        **_METADATA,
    },
    NETWORK_POLICIES: {
        "another port": _change("/spec/ingress/0/ports/0/port", 1),
        "a range of ports": _add("/spec/ingress/0/ports/0/endPort", 65535),
        "fewer pods": _add("/spec/podSelector/matchLabels/x", "y"),
        "one more peer": _add("/spec/ingress/0/from/-", {"namespaceSelector": {}}),
        "one more way out": _add("/spec/egress/-", {}),
        "every port": _remove("/spec/ingress/0/ports"),
        "no way out": _remove("/spec/egress"),
        "whatever way out": _change("/spec/policyTypes", ["Ingress"]),
        **_METADATA,
    },
    SERVICES: {
        "other pods": _change(_at("/spec/selector", NAME_LABEL), "other"),
        "fewer pods": _add("/spec/selector/x", "y"),
        "more pods": _remove(_at("/spec/selector", NAME_LABEL)),
        "another port of the pods": _change("/spec/ports/0/targetPort", 1),
        "one more port": _add("/spec/ports/-", {"name": "more", "port": 9999, "targetPort": 9999, "protocol": "TCP"}),
        "an address outside": _add("/spec/externalIPs", ["203.0.113.7"]),
        "pods that are not ready": _add("/spec/publishNotReadyAddresses", True),
        "a name outside": _add("/spec/externalName", "example.com"),
        "an address of a load balancer": _add("/spec/loadBalancerIP", "203.0.113.7"),
        **_METADATA,
    },
    DISRUPTION_BUDGETS: {
        "half of the pods": _change("/spec/maxUnavailable", "50%"),
        "fewer pods": _add("/spec/selector/matchLabels/x", "y"),
        "one more rule for pods": _add("/spec/selector/matchExpressions", [{"key": "x", "operator": "Exists"}]),
        "no budget": _remove("/spec/maxUnavailable"),
        "the other bound": [*_remove("/spec/maxUnavailable"), *_add("/spec/minAvailable", 1)],
        **_METADATA,
    },
    DEPLOYMENTS: {
        "more pods": _change("/spec/replicas", 3),
        "another image": _change(f"{_CONTAINER}/image", "other"),
        "a rollout that is paused": _add("/spec/paused", True),
        "the node's network": _add("/spec/template/spec/hostNetwork", True),
        "the node's processes": _add("/spec/template/spec/hostPID", True),
        "the node's shared memory": _add("/spec/template/spec/hostIPC", True),
        "another command": _add(f"{_CONTAINER}/args/-", "--more"),
        "a variable less": _remove(f"{_CONTAINER}/env/0"),
        **_METADATA,
    },
}
"""By kind and by what it comes to. Values are changed, keys and items added, fields removed."""
GATEWAY_EDITS: dict[ApiResource, dict[str, Patch]] = {
    SERVICES: {
        "a load balancer for some addresses": [
            *_change("/spec/type", "LoadBalancer"),
            *_add("/spec/loadBalancerSourceRanges", ["203.0.113.0/24"]),
        ],
        "a load balancer of a kind": [
            *_change("/spec/type", "LoadBalancer"),
            *_add("/spec/loadBalancerClass", "example.com/internal"),
        ],
    },
}
"""Of a VenueConnection's children alone: a Strategy's Service is headless, and the API server takes no such one for a
load balancer."""


async def edit(cluster: Cluster, resource: ApiResource, namespace: str, name: str, patch: Patch) -> Object:
    """Writes as somebody else: a write under the operator's own name would be less to notice."""
    return await cluster._request(
        "PATCH",
        "patch",
        resource,
        resource.path(namespace, name),
        {"fieldManager": _SOMEBODY},
        patch,
        "application/json-patch+json",
    )
