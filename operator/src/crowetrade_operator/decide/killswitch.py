"""KillSwitch: gateways obey it by themselves. Here is what is relayed to them; what its status says: see
decide/killswitch_status.py.

It has no finalizer and is never paused: nothing that the operator does or leaves undone stands between it and the
gateways.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from crowetrade.config.v1 import kill_pb2
from crowetrade_api.gateway_config import Namespaces
from crowetrade_api.kill_order import kill_order, selects_gateway
from crowetrade_api.v1alpha1.killswitch import (
    KillSwitch,
    UnreadableKillSwitch,
)
from crowetrade_operator.decide.observed import GatewayView, Moment

AnyKillSwitch = KillSwitch | UnreadableKillSwitch


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway of the cluster, and what it says about the KillSwitch."""

    namespace: str
    venue: str
    view: GatewayView
    # Labels are None when they are not known.
    venue_labels: Mapping[str, str] | None
    namespace_labels: Mapping[str, str] | None = None
    # Other namespaces whose strategies are bound, with their labels.
    guests: Namespaces = field(default_factory=dict)
    # What it has answered to the order that we sent it directly, if that is fresh.
    answered: kill_pb2.KillAcknowledgement | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.namespace}/{self.venue}"

    @property
    def namespaces(self) -> Namespaces:
        """Its own, and those of the strategies that are bound."""
        return {**self.guests, self.namespace: self.namespace_labels}

    @property
    def heard(self) -> bool:
        """Whether what it says is fresh, by whatever way."""
        return self.view.status is not None or self.answered is not None

    def says(self, switch: AnyKillSwitch) -> kill_pb2.KillAcknowledgement | None:
        """What it says now; None when it is silent or has nothing of this name in force."""
        return self._entry(switch, fresh=True)

    def said(self, switch: AnyKillSwitch) -> kill_pb2.KillAcknowledgement | None:
        """What it said last, fresh or not."""
        return self._entry(switch, fresh=False)

    def _entry(self, switch: AnyKillSwitch, fresh: bool) -> kill_pb2.KillAcknowledgement | None:
        if self.view.status is None and self.answered is not None:
            return self.answered
        status = self.view.status if fresh else self.view.last
        wanted = (switch.namespace, switch.name)
        kills = status.kills if status is not None else ()
        return next((item for item in kills if (item.namespace, item.name) == wanted), None)


@dataclass(frozen=True, slots=True)
class Observed:
    """All that is looked at for one KillSwitch."""

    switch: AnyKillSwitch
    # Of every namespace; only those that there is or was something of: a VenueConnection that has never had a pod has
    # nothing to stop.
    gateways: Sequence[Gateway]
    now: Moment
    bus_connected: bool = True
    bus_problem: str = ""
    # Whether `gateways` has those that it concerns of namespaces which the operator does not see.
    gateways_are_known: bool = True


@dataclass(frozen=True, slots=True)
class Relay:
    """What the operator does besides the gateways' own watch."""

    # Put on the bus; None: nothing of this KillSwitch belongs there.
    order: kill_pb2.KillOrder | None = None
    # Gateways that get it directly, by namespace and venue, because they are not heard on the bus.
    direct: frozenset[tuple[str, str]] = frozenset()


def stays_in_namespace(switch: AnyKillSwitch) -> bool:
    """Whether it stops gateways of its own namespace alone, and strategies of it elsewhere."""
    return isinstance(switch, KillSwitch) and switch.spec.scope.namespaces.from_ == "Same"


def asks_for_namespace_labels(switch: AnyKillSwitch) -> bool:
    """Whether it depends on labels of namespaces whom it concerns."""
    return isinstance(switch, KillSwitch) and switch.spec.scope.namespaces.from_ == "Selector"


def relay(observed: Observed) -> Relay:
    """An order is relayed as long as it is engaged; that it no longer is, gateways learn from the API server alone."""
    order = kill_order(observed.switch)
    if order is None:
        return Relay()
    silent = {
        (gateway.namespace, gateway.venue)
        for gateway in concerned_gateways(observed, order)
        if gateway.view.status is None
    }
    return Relay(order, frozenset(silent))


def selected_gateways(order: kill_pb2.KillOrder, gateways: Iterable[Gateway]) -> list[Gateway]:
    """Those that the order's scope names."""
    return [gateway for gateway in gateways if selects_gateway(order, gateway.namespaces, gateway.venue_labels)]


def concerned_gateways(observed: Observed, order: kill_pb2.KillOrder) -> list[Gateway]:
    """Gateways that it selects, and those where it has stopped somebody who has other labels by now."""
    stopping = {
        gateway.name
        for gateway in observed.gateways
        if (entry := gateway.said(observed.switch)) is not None and entry.strategies
    }
    selected = {gateway.name for gateway in selected_gateways(order, observed.gateways)}
    return [gateway for gateway in observed.gateways if gateway.name in stopping | selected]


def order_of(said: kill_pb2.KillAcknowledgement) -> kill_pb2.KillOrder:
    """The order that a gateway has in force."""
    return kill_pb2.KillOrder(
        namespace=said.namespace,
        name=said.name,
        uid=said.uid,
        generation=said.generation,
        mode=said.mode,
        scope=said.scope,
        reason=said.reason,
        engaged_by=said.engaged_by,
    )
