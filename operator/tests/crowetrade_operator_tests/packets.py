"""Whether NetworkPolicies let a packet through, as the documentation of networking.k8s.io/v1 says.

Written against that text and not against what it tests: a pod that no policy selects is open in a direction; one that
is selected is open for what any rule of any policy names; a packet passes when its source may send it and its target
may receive it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
PORT_NAMES = {"http": 8080, "client": 4222, "cluster": 6222}
"""Of the containers' ports, which a policy may name."""


@dataclass(frozen=True)
class Pod:
    """A pod by its labels, in a namespace that has the label of its name."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)


Peer = Pod | str
"""A pod, or an address outside of the cluster."""


def passes(policies: Iterable[Object], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether the packet arrives."""
    policies = list(policies)
    return _open(policies, "Egress", source, target, port, protocol) and _open(
        policies, "Ingress", target, source, port, protocol
    )


def _open(policies: list[Object], way: str, pod: Peer, other: Peer, port: int, protocol: str) -> bool:
    if isinstance(pod, str):
        return True
    binding = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and way in policy["spec"]["policyTypes"]
        and _selects(policy["spec"]["podSelector"], pod.labels)
    ]
    side = "to" if way == "Egress" else "from"
    return not binding or any(
        _names_port(rule, port, protocol) and _names_peer(rule.get(side), policy, other)
        for policy in binding
        for rule in policy["spec"].get(way.lower()) or ()
    )


def _names_port(rule: Object, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    return not ports or any(
        (PORT_NAMES.get(item["port"], item["port"]), item["protocol"]) == (port, protocol) for item in ports
    )


def _names_peer(peers: list[Object] | None, policy: Object, other: Peer) -> bool:
    return not peers or any(_is_peer(peer, policy, other) for peer in peers)


def _is_peer(peer: Object, policy: Object, other: Peer) -> bool:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        return (
            isinstance(other, str)
            and _within(other, block["cidr"])
            and not any(_within(other, left_out) for left_out in block.get("except", ()))
        )
    if isinstance(other, str):
        return False
    if "namespaceSelector" in peer:
        if not _selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace}):
            return False
    elif other.namespace != policy["metadata"]["namespace"]:
        return False
    return _selects(peer.get("podSelector", {}), other.labels)


def _within(address: str, cidr: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)


def _selects(selector: Object, labels: Mapping[str, str]) -> bool:
    for expression in selector.get("matchExpressions", ()):
        key, operator = expression["key"], expression["operator"]
        if operator == "Exists":
            found = key in labels
        elif operator == "In":
            found = labels.get(key) in expression["values"]
        else:
            raise AssertionError(f"no policy of ours uses {operator}")
        if not found:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
