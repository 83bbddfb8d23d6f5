"""What manifests want, as models, by namespace and name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from crowetrade_api.names import NAMESPACE_NAME_LABEL, Kind
from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection


class Address(NamedTuple):
    """Of a resource among those of its kind."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The resources of all manifests."""

    venues: Mapping[Address, VenueConnection] = field(default_factory=dict)
    strategies: Mapping[Address, Strategy] = field(default_factory=dict)
    limits: Mapping[Address, RiskLimit] = field(default_factory=dict)
    switches: Mapping[Address, KillSwitch] = field(default_factory=dict)
    # metadata.labels of every namespace that has a resource, by its name.
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether there is no resource at all."""
        return not (self.venues or self.strategies or self.limits or self.switches)


def venues_of(strategy: Strategy, venues: Mapping[Address, VenueConnection]) -> dict[str, VenueConnection]:
    """Of these venues those that a strategy names, by name."""
    found = ((name, venues.get(Address(strategy.namespace_of(name), name))) for name in strategy.venues)
    return {name: venue for name, venue in found if venue is not None}


def wanted(
    manifests: Iterable[Mapping[str, Any]],
    namespace: str,
    labels: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> Wanted:
    """The resources of manifests that were admitted, in `namespace` unless they name another. `labels` are those of the
    namespaces whose manifest was given; each has the label that the API server gives to all, besides."""
    venues: dict[Address, VenueConnection] = {}
    strategies: dict[Address, Strategy] = {}
    limits: dict[Address, RiskLimit] = {}
    switches: dict[Address, KillSwitch] = {}
    for manifest in manifests:
        metadata = {"namespace": namespace, **manifest["metadata"]}
        item = {**manifest, "metadata": metadata}
        address = Address(metadata["namespace"], metadata["name"])
        match Kind(manifest["kind"]):
            case Kind.VENUE:
                venues[address] = VenueConnection.model_validate(item)
            case Kind.STRATEGY:
                strategies[address] = Strategy.model_validate(item)
            case Kind.RISK_LIMIT:
                limits[address] = RiskLimit.model_validate(item)
            case Kind.KILL_SWITCH:
                switches[address] = KillSwitch.model_validate(item)
    used = {address.namespace for address in (*venues, *strategies, *limits, *switches)}
    namespaces = {name: {**labels.get(name, {}), NAMESPACE_NAME_LABEL: name} for name in used}
    return Wanted(venues, strategies, limits, switches, namespaces)
