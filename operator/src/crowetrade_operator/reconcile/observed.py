"""What a reconcile sees, read once from cache and board: values only, no client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_api.gateway_config import compile_config
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GatewayView:
    """What is known of a gateway: its last status if it is fresh, or that it is silent or was never heard."""

    status: status_pb2.GatewayStatus | None = None
    # Last status, fresh or not.
    last: status_pb2.GatewayStatus | None = None
    # Seconds since the last status.
    age: float | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All resources of a namespace, and what the bus said."""

    strategies: Mapping[str, Strategy] = field(default_factory=dict)
    venues: Mapping[str, VenueConnection] = field(default_factory=dict)
    limits: Mapping[str, RiskLimit] = field(default_factory=dict)
    gateways: Mapping[str, GatewayView] = field(default_factory=dict)
    # Venues that have (or had) a gateway Deployment.
    gateway_deployments: frozenset[str] = frozenset()
    bus_connected: bool = True
    bus_problem: str = ""
    # RiskLimits that this operator cannot read, as after a downgrade: what they forbid is not known.
    unreadable_limits: Sequence[str] = ()
    # By venue; kept from one reconcile to the next, until somebody changes a resource of the namespace.
    compiled: dict[str, config_pb2.GatewayConfig] = field(default_factory=dict)

    def config(self, venue: VenueConnection) -> config_pb2.GatewayConfig:
        """What the gateway of a venue has to enforce: nothing trades under a limit that cannot be read.

        Compiled once: all strategies of a namespace ask for it each time that their gateway speaks.
        """
        strategies, limits = self.strategies.values(), self.limits.values()
        if self.unreadable_limits:
            return compile_config(venue, strategies, limits, halted=True)
        if venue.name not in self.compiled:
            self.compiled[venue.name] = compile_config(venue, strategies, limits)
        return self.compiled[venue.name]

    def gateway(self, venue: str) -> GatewayView:
        """The gateway of a venue."""
        return self.gateways.get(venue, GatewayView())


@dataclass(frozen=True, slots=True)
class Children:
    """Live children of a resource."""

    items: Sequence[Object] = ()

    def get(self, kind: str, name: str) -> Object | None:
        """One child."""
        return next((i for i in self.items if i["kind"] == kind and i["metadata"]["name"] == name), None)

    def of_kind(self, kind: str) -> list[Object]:
        """All children of a kind."""
        return [item for item in self.items if item["kind"] == kind]


@dataclass(frozen=True, slots=True)
class Moment:
    """When it is: wall clock for what people read, as RFC 3339 and in seconds since the Unix epoch."""

    text: str
    unix: float
