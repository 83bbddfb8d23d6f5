"""The gateways that a kill order may concern: who they are and where they listen. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lightkube.resources.core_v1 import Pod

from crowetrade.config.v1 import kill_pb2
from crowetrade_api.kill_order import selects_gateway
from crowetrade_api.names import CONTROL_PORT, VENUE_LABEL, venue_object
from crowetrade_api.v1alpha1.strategy import venues_of
from crowetrade_process.identity.name import service_dns_name


class Address(NamedTuple):
    """Of a gateway: namespace and name of its VenueConnection."""

    namespace: str
    venue: str

    @property
    def server_name(self) -> str:
        """The name in the gateway's certificate."""
        return service_dns_name(self.namespace, venue_object(self.venue))

    def __str__(self) -> str:
        return f"{self.namespace}/{self.venue}"


@dataclass(frozen=True, slots=True)
class Gateway:
    """`targets` are HOST:PORT of its control service, each of which may be the one that answers; `guests` are the other
    namespaces whose strategies name the venue, with their labels. Labels that are not known are None."""

    address: Address
    targets: tuple[str, ...] = ()
    venue_labels: Mapping[str, str] | None = None
    namespace_labels: Mapping[str, str] | None = None
    guests: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)


def gateways_of(
    venues: Iterable[Mapping[str, Any]],
    pods: Iterable[Pod],
    namespaces: Mapping[str, Mapping[str, str]],
    strategies: Iterable[Mapping[str, Any]] = (),
) -> list[Gateway]:
    """One per VenueConnection, and per one that a Strategy names or has left in another namespace, which the user may
    not see: the pods listen, and its Service leads to them where the cluster's names are known."""
    guests: dict[Address, set[str]] = defaultdict(set)
    for strategy in strategies:
        home = strategy["metadata"]["namespace"]
        for venue in venues_of(strategy):
            if venue.namespace != home:
                guests[Address(*venue)].add(home)
    ips: dict[Address, list[str]] = defaultdict(list)
    for pod in pods:
        labels = (pod.metadata.labels if pod.metadata else None) or {}
        namespace = (pod.metadata.namespace if pod.metadata else None) or ""
        ip = (pod.status.podIP if pod.status else None) or ""
        if ip and VENUE_LABEL in labels:
            ips[Address(namespace, labels[VENUE_LABEL])].append(f"[{ip}]" if ":" in ip else ip)
    labels_of = {_address(venue): venue["metadata"].get("labels") or {} for venue in venues}
    found = []
    for address in sorted(labels_of.keys() | guests.keys()):
        hosts = [*ips[address], address.server_name]
        targets = tuple(f"{host}:{CONTROL_PORT}" for host in hosts)
        here = {home: namespaces.get(home) for home in sorted(guests.get(address, ()))}
        found.append(Gateway(address, targets, labels_of.get(address), namespaces.get(address.namespace), here))
    return found


def _address(venue: Mapping[str, Any]) -> Address:
    return Address(venue["metadata"]["namespace"], venue["metadata"]["name"])


def concerned(gateways: Iterable[Gateway], order: kill_pb2.KillOrder) -> Sequence[Gateway]:
    """Those that have to obey, in the order of their names; what cannot be decided is concerned."""
    return sorted(
        (
            one
            for one in gateways
            if selects_gateway(order, {**one.guests, one.address.namespace: one.namespace_labels}, one.venue_labels)
        ),
        key=lambda one: one.address,
    )
