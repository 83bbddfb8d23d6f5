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

from crowetrade_api.gateway_config import names_venue
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_operator.desired.networkpolicy import strategy_policy, venue_policy
from crowetrade_operator.settings import from_environment
from crowetrade_operator_tests.charts import SYSTEM_NAMESPACE, of_kind, rendered

Object = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """A pod by its labels, in a namespace that has the label of its name."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)


Peer = Pod | str
"""A pod, or an address outside of the cluster."""


def policies_of(values: tuple[str, ...], strategies: list[Strategy], venues: list[VenueConnection]) -> list[Object]:
    """Of the chart with these values, and of the operator with the settings that the chart gives it."""
    objects = rendered(*values)
    (deployment,) = [
        item for item in of_kind(objects, "Deployment") if item["metadata"]["name"] == "crowetrade-operator"
    ]
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    # What is a path in the operator's container is none here.
    given = {item["name"]: item["value"] for item in env if "value" in item and item["name"] != "VAULT_CACERT"}
    settings = from_environment(given | {"OPERATOR_NAMESPACE": SYSTEM_NAMESPACE})
    return [
        *of_kind(objects, "NetworkPolicy"),
        *(strategy_policy(item, [one for one in venues if names_venue(item, one)], settings) for item in strategies),
        *(venue_policy(item, [one for one in strategies if names_venue(one, item)], settings) for item in venues),
    ]


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
    """Only by its number: not every network plugin finds the ports of sidecars by their names."""
    ports = rule.get("ports")
    return not ports or any((item["port"], item["protocol"]) == (port, protocol) for item in ports)


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
