"""NetworkPolicies: nothing in and nothing out but what is named here.

A strategy reaches the bus, DNS and the gateways of its venues that admit it, whatever their namespace. A gateway
reaches the bus, DNS and the API server, where it watches KillSwitches, and Vault when its key is there; strategies of
its namespace and those of others that it admits reach it. Both reach Vault when they have their certificates from it.
The gateway's control service, where orders to stop come in, is reached from the operator's namespace, and by pods of
any namespace that are labelled for it. Metrics and probes come from the operator's namespace,
from where monitoring is, and from the node.

Where NATS, Vault, DNS and the API server are is in the settings: pods by their labels, or networks. A network never
holds the addresses at which clouds tell a machine its credentials, unless it is one of them.
"""

from __future__ import annotations

import functools
import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from crowetrade_api.gateway_config import AnyVenue, Bound
from crowetrade_api.names import (
    AGENT_APP,
    CONTROL_LABEL,
    CONTROL_PORT,
    GATEWAY_APP,
    GRPC_PORT,
    HTTP_PORT,
    NAME_LABEL,
    NAMESPACE_NAME_LABEL,
    STRATEGY_LABEL,
    VENUE_LABEL,
)
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_operator.desired.metadata import Owner, metadata, selector
from crowetrade_operator.settings import Peer, Settings
from crowetrade_process.identity.variables import IdentitySource, IdentityVariable

METADATA_NETWORKS = ("169.254.0.0/16", "fd00:ec2::254/128", "fd20:ce::254/128", "fe80::/10")
"""Link-local addresses, 169.254.169.254 of every large cloud among them, and the IPv6 addresses of the metadata of
Amazon EC2 and of Google Compute Engine. The chart's policies leave out the same (crowetrade.networks)."""


def strategy_policy(strategy: Strategy, venues: Iterable[AnyVenue], settings: Settings) -> dict[str, Any]:
    """The policy of all pods of a strategy; `venues` are those of its venues that admit it."""
    gateways = [
        {
            **_namespace(venue.namespace, strategy.namespace),
            "podSelector": {"matchLabels": {NAME_LABEL: GATEWAY_APP, VENUE_LABEL: venue.name}},
        }
        for venue in sorted(venues, key=lambda item: (item.namespace, item.name))
    ]
    egress = [*_to(settings.bus), *_to_dns(settings)]
    if gateways:  # a rule without peers would let everything out
        egress.append({"to": gateways, "ports": [_port(GRPC_PORT)]})
    if _asks_vault(settings):
        egress += _to(settings.vault)
    return _policy(strategy, [_metrics(settings)], egress)


def venue_policy(venue: VenueConnection, bound: Iterable[Bound], settings: Settings) -> dict[str, Any]:
    """The policy of a gateway's pod; `bound` are the strategies that it admits."""
    own = {"podSelector": {"matchExpressions": [{"key": STRATEGY_LABEL, "operator": "Exists"}]}}
    guests: dict[str, list[str]] = defaultdict(list)
    for item in bound:
        if item.namespace != venue.namespace:
            guests[item.namespace].append(item.name)
    strategies = {
        "from": [own, *(_strategies_of(namespace, names) for namespace, names in sorted(guests.items()))],
        "ports": [_port(GRPC_PORT)],
    }
    labelled = {"namespaceSelector": {}, "podSelector": {"matchLabels": {CONTROL_LABEL: "true"}}}
    control = {"from": [_operator(settings), labelled], "ports": [_port(CONTROL_PORT)]}
    egress = [*_to(settings.bus), *_to_dns(settings), *_to(settings.api_server)]
    with_key = venue.spec.credentials is not None and venue.spec.credentials.vault is not None
    if with_key or _asks_vault(settings):
        egress += _to(settings.vault)
    return _policy(venue, [strategies, control, _metrics(settings)], egress)


def _strategies_of(namespace: str, names: Iterable[str]) -> dict[str, Any]:
    """Pods of these strategies of another namespace."""
    named = {"key": STRATEGY_LABEL, "operator": "In", "values": sorted(names)}
    pods = {"matchLabels": {NAME_LABEL: AGENT_APP}, "matchExpressions": [named]}
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME_LABEL: namespace}}, "podSelector": pods}


def _namespace(namespace: str, own: str) -> dict[str, Any]:
    """The part of a peer that names its namespace, where that is another one."""
    if namespace == own:
        return {}
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME_LABEL: namespace}}}


def _policy(owner: Owner, ingress: list[dict[str, Any]], egress: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(owner),
        "spec": {
            "podSelector": {"matchLabels": selector(owner)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }


def _port(number: int, protocol: str = "TCP") -> dict[str, Any]:
    return {"port": number, "protocol": protocol}


def _to(peer: Peer, *protocols: str) -> list[dict[str, Any]]:
    """The rule that lets out to it. No rule where a list would be empty, which lets everything out."""
    ports = [_port(number, protocol) for protocol in protocols or ("TCP",) for number in peer.ports]
    selectors = _selectors(peer)
    return [{"to": selectors, "ports": ports}] if selectors and ports else []


def _selectors(peer: Peer) -> list[dict[str, Any]]:
    networks = [{"ipBlock": _block(cidr)} for cidr in peer.cidrs]
    if not peer.namespace_labels and not peer.pod_labels:
        return networks
    # An empty selector is every namespace, and one that is missing the policy's own.
    every: dict[str, Any] = {"namespaceSelector": {}}
    pods = {"namespaceSelector": {"matchLabels": dict(peer.namespace_labels)}} if peer.namespace_labels else every
    if peer.pod_labels:
        pods["podSelector"] = {"matchLabels": dict(peer.pod_labels)}
    return [pods, *networks]


def _block(cidr: str) -> dict[str, Any]:
    left_out = _left_out(cidr)
    return {"cidr": cidr, "except": list(left_out)} if left_out else {"cidr": cidr}


@functools.lru_cache
def _left_out(cidr: str) -> tuple[str, ...]:
    """Networks are those of the settings, and are asked for with each policy."""
    network = ipaddress.ip_network(cidr)
    return tuple(other for other in METADATA_NETWORKS if _inside(ipaddress.ip_network(other), network))


def _inside(inner: ipaddress.IPv4Network | ipaddress.IPv6Network, outer: object) -> bool:
    """Whether it is a part of the other and not the whole."""
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner != outer and inner.subnet_of(outer)
    if isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network):
        return inner != outer and inner.subnet_of(outer)
    return False


def _operator(settings: Settings) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME_LABEL: settings.operator_namespace}}}


def _metrics(settings: Settings) -> dict[str, Any]:
    return {"from": [_operator(settings), *_selectors(settings.monitoring)], "ports": [_port(HTTP_PORT)]}


def _asks_vault(settings: Settings) -> bool:
    """Whether every pod asks Vault for its certificate."""
    return settings.identity.get(IdentityVariable.SOURCE) == IdentitySource.VAULT


def _to_dns(settings: Settings) -> list[dict[str, Any]]:
    return _to(settings.dns, "UDP", "TCP")
