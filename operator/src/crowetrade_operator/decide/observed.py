"""What a reconcile sees, read once from cache and board: values only, no client."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_api.conditions import Condition
from crowetrade_api.gateway_config import (
    AnyStrategy,
    AnyVenue,
    Halt,
    KeptGuest,
    Namespaces,
    compile_config,
    counts_over_gateways,
    kept_guests,
    refusal,
    rule_hash,
)
from crowetrade_api.names import FINALIZER, VenueAddress, name_at, venue_object
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.common import Labels
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.decide import loosening
from crowetrade_operator.decide.pod_failures import Circumstances, PodWarnings
from crowetrade_operator.decide.pods import Workload, workload

V = TypeVar("V")


class Lazy(Mapping[str, V]):
    """Values by name, each made when it is first asked for, and the same from then on. A name for which None is made
    is not there."""

    def __init__(self, names: Iterable[str], make: Callable[[str], V | None]) -> None:
        self._names = frozenset(names)
        self._make = make
        self._made: dict[str, V | None] = {}

    def __getitem__(self, name: str) -> V:
        if name not in self._made:
            self._made[name] = self._make(name) if name in self._names else None
        found = self._made[name]
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name in sorted(self._names) if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True, slots=True)
class GatewayView:
    """What is known of a gateway: its last status if it is fresh, or that it is silent or was never heard."""

    status: status_pb2.GatewayStatus | None = None
    # Last status, fresh or not.
    last: status_pb2.GatewayStatus | None = None
    # Seconds since the last status.
    age: float | None = None
    # Highest fencing token and highest sequence of the journal on record for the venue.
    record_token: int = 0
    record_sequence: int = 0

    @property
    def below_record(self) -> bool:
        """Whether the gateway's journal lacks what is on record: it reports a lower fencing token or sequence.

        A gateway without a token has not taken its journal over yet.
        """
        last = self.last
        if last is None or last.fencing_token == 0:
            return False
        return last.fencing_token < self.record_token or last.journal_sequence < self.record_sequence

    @property
    def trusted(self) -> status_pb2.GatewayStatus | None:
        """The last status, fresh or not, if what it says about positions and orders can be believed.

        A gateway below its record reports an empty account, which must never count as flat; nor must one that has not
        taken its journal over yet.
        """
        unknown = self.last is None or self.below_record or self.last.fencing_token < self.record_token
        return None if unknown else self.last

    def account(self, strategy: str) -> status_pb2.StrategyAccount | None:
        """The account of a strategy in the last status, if that can be believed."""
        accounts = self.trusted.accounts if self.trusted is not None else ()
        return next((account for account in accounts if account.strategy == strategy), None)


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a gateway has to enforce, without the record, and the hash of each rule by the name of its RiskLimit."""

    config: config_pb2.GatewayConfig
    hashes: Mapping[str, str]


@dataclass(slots=True)
class Kept:
    """The configuration of one gateway, once it is compiled. When something that it is made of changes, another one
    takes its place: who was looking at the world before keeps this one to themselves."""

    compiled: Compiled | None = None
    # By venue: the guests of namespaces that cannot be read, with which it was compiled.
    guests: Mapping[str, Sequence[KeptGuest]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """The venues and limits of a namespace, who trades there, and what the bus said."""

    namespace: str = ""
    # By venue: every Strategy that uses it, whether it is admitted or not.
    traders: Mapping[str, Sequence[AnyStrategy]] = field(default_factory=dict)
    venues: Mapping[str, AnyVenue] = field(default_factory=dict)
    limits: Mapping[str, RiskLimit] = field(default_factory=dict)
    gateways: Mapping[str, GatewayView] = field(default_factory=dict)
    # Venues that have (or had) a gateway Deployment.
    gateway_deployments: Collection[str] = ()
    # Of these, the ones whose gateway is being replaced.
    restarting: Collection[str] = ()
    # Strategies whose agents are being replaced.
    restarting_strategies: Collection[str] = ()
    bus_connected: bool = True
    bus_problem: str = ""
    # RiskLimits that this operator cannot read, as after a downgrade: what they forbid is not known.
    unreadable_limits: Sequence[str] = ()
    # Of the namespace and those of the guests, the ones that are being deleted.
    terminating: frozenset[str] = frozenset()
    # metadata.labels of the namespace and those of the guests; None where they are not known.
    namespaces: Namespaces = field(default_factory=dict)
    # By venue: what is on the bus for its gateway, as far as that is known.
    on_the_bus: Mapping[str, config_pb2.GatewayConfig] = field(default_factory=dict)
    # Whether what is on the bus for each gateway of the namespace has been looked at: a venue of which nothing is there
    # then has never had a configuration.
    bus_is_read: bool = True
    # Namespaces that the operator should see and cannot: what is not seen of them is not gone.
    unreadable: frozenset[str] = frozenset()
    # By venue: the rules that its gateway was told to tighten last, by RiskLimit, with their hashes.
    tightened: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # By venue; kept from one reconcile to the next.
    compiled: Mapping[str, Kept] = field(default_factory=lambda: defaultdict(Kept))
    _held: dict[str, tuple[Compiled, Mapping[str, Sequence[str]]]] = field(default_factory=dict, init=False)

    @property
    def namespace_labels(self) -> Labels | None:
        """metadata.labels of the namespace; None when they are not known."""
        return self.namespaces.get(self.namespace)

    def traders_at(self, venue: AnyVenue) -> Sequence[AnyStrategy]:
        """Every Strategy that uses the venue, whether it is admitted or not."""
        return self.traders.get(venue.name, ())

    def kept_guests(self, venue: str) -> Sequence[KeptGuest]:
        """Strategies of namespaces that cannot be read that the gateway of a venue has: they stay as they are there."""
        present = self.on_the_bus.get(venue) if self.unreadable else None
        if present is None:
            return ()
        seen = {(item.namespace, item.name) for item in self.traders.get(venue, ())}
        kept = kept_guests(present, self.namespace, self.unreadable)
        return [item for item in kept if (item.namespace, item.name) not in seen]

    @property
    def guests_are_known(self) -> bool:
        """Whether all who may trade here are known, by their resources or by what is on the bus."""
        return not self.unreadable or self.bus_is_read

    def config(self, venue: AnyVenue) -> config_pb2.GatewayConfig:
        """What the gateway of a venue has to enforce now: nothing trades under a limit that cannot be read, and nothing
        is loosened before what the same RiskLimit tightens elsewhere is in force (see `loosening`)."""
        return self._now(venue)[0].config

    def rule_hash(self, venue: AnyVenue, risk_limit: str) -> str:
        """What the gateway must acknowledge for a RiskLimit that has a rule there."""
        return self._now(venue)[0].hashes[risk_limit]

    def held(self, venue: AnyVenue) -> Mapping[str, Sequence[str]]:
        """RiskLimits that are not loosened yet at the gateway of a venue, with the venues that are waited for."""
        return self._now(venue)[1]

    def _now(self, venue: AnyVenue) -> tuple[Compiled, Mapping[str, Sequence[str]]]:
        found = self._held.get(venue.name)
        if found is None:
            found = self._held[venue.name] = self._hold(venue)
        return found

    def _hold(self, venue: AnyVenue) -> tuple[Compiled, Mapping[str, Sequence[str]]]:
        wanted, present = self._compile(venue), self.on_the_bus.get(venue.name)
        if present is None or present.revision == wanted.config.revision:
            return wanted, {}
        all_wanted = Lazy(self.venues, lambda name: self._compile(self.venues[name]).config)
        deployed = {name: config for name, config in self.on_the_bus.items() if name in self.gateway_deployments}
        unacknowledged = Lazy(deployed, self._unacknowledged)
        held = loosening.held(venue.name, all_wanted, {**deployed, venue.name: present}, unacknowledged)
        if not held:
            return wanted, {}
        return _compiled(loosening.holding(wanted.config, present, held)), held

    def _unacknowledged(self, venue: str) -> list[str]:
        """RiskLimits that the gateway was told to tighten and has not acknowledged."""
        status = self.gateway(venue).status
        said = {item.hash for item in status.risk_acknowledgements} if status is not None else set()
        return [name for name, hash_ in self.tightened.get(venue, {}).items() if hash_ not in said]

    def _compile(self, venue: AnyVenue) -> Compiled:
        """Done once: all who trade there ask for it each time that their gateway reports."""
        kept, guests = self.compiled[venue.name], self._guests_around(venue)
        if kept.compiled is None or kept.guests != guests:
            halt = _unreadable_limits(self.unreadable_limits) if self.unreadable_limits else None
            config = compile_config(
                venue,
                self._bound_with(venue),
                self.limits.values(),
                halt,
                self.terminating,
                self.venues.values(),
                self.namespaces,
                guests,
            )
            kept.compiled, kept.guests = _compiled(config), guests
        return kept.compiled

    def _guests_around(self, venue: AnyVenue) -> dict[str, Sequence[KeptGuest]]:
        """Those that are kept of whom the configuration of the venue depends on, as `_bound_with`."""
        if not self.unreadable:
            return {}
        split = any(counts_over_gateways(limit) for limit in self.limits.values())
        found = {name: self.kept_guests(name) for name in ({*self.venues, venue.name} if split else {venue.name})}
        return {name: guests for name, guests in found.items() if guests}

    def _bound_with(self, venue: AnyVenue) -> Iterable[AnyStrategy]:
        """Strategies that the configuration of the venue depends on: those that name another venue count only where a
        limit is split among the gateways that it binds."""
        if not any(counts_over_gateways(limit) for limit in self.limits.values()):
            return self.traders_at(venue)
        found = (item for name in {*self.venues, venue.name} for item in self.traders.get(name, ()))
        return {(item.namespace, item.name): item for item in found}.values()

    def gateway(self, venue: str) -> GatewayView:
        """The gateway of a venue."""
        return self.gateways.get(venue, GatewayView())

    def gateway_is_gone(self, venue: AnyVenue) -> bool:
        """Whether the gateway of a venue has worked, and neither is there nor will be: one whose Deployment somebody
        has deleted is made again, except where the namespace ends, or while the children are left alone."""
        made_again = isinstance(venue, VenueConnection) and not venue.paused and venue.namespace not in self.terminating
        if made_again and (not venue.deleting or FINALIZER in venue.metadata.finalizers):
            return False
        return venue.name not in self.gateway_deployments and self.gateway(venue.name).status is None


def _compiled(config: config_pb2.GatewayConfig) -> Compiled:
    return Compiled(config, {rule.risk_limit: rule_hash(rule) for rule in config.rules})


def _unreadable_limits(names: Sequence[str]) -> Halt:
    text = (
        f"RiskLimit {', '.join(names)} does not match the operator's schema: upgrade it, or correct or delete the limit"
    )
    return Halt(Reason.LIMIT_UNREADABLE, text)


@dataclass(frozen=True)
class StrategyVenues:
    """The venues of one Strategy by their names, each in the view of its namespace."""

    strategy: AnyStrategy
    own: NamespaceView
    # By namespace, of the venues that are of another one.
    beyond: Mapping[str, NamespaceView]

    @cached_property
    def addresses(self) -> Mapping[str, VenueAddress]:
        """Those that the spec names and those that it has left, by what the strategy calls them: the name, or
        NAMESPACE/NAME of one whose name now means another."""
        strategy = self.strategy
        found = {name: VenueAddress(strategy.namespace_of(name), name) for name in strategy.venues}
        for item in strategy.status.venues:
            if item.address not in found.values():
                found[item.name if item.name not in found else str(item.address)] = item.address
        return found

    @property
    def left(self) -> list[str]:
        """Those that the spec names no more."""
        return [name for name in self.addresses if name not in self.strategy.venues]

    def called(self, venue: AnyVenue) -> str:
        """What the strategy calls a venue that it uses."""
        return next(name for name, address in self.addresses.items() if address == (venue.namespace, venue.name))

    def around(self, venue: str) -> NamespaceView:
        """The view of the namespace of a venue."""
        return self._namespace(self.addresses[venue].namespace)

    def _namespace(self, namespace: str) -> NamespaceView:
        return self.own if namespace == self.strategy.namespace else self.beyond.get(namespace, NamespaceView())

    @cached_property
    def present(self) -> Mapping[str, AnyVenue]:
        """Those that exist."""
        found = ((name, self.around(name).venues.get(address.name)) for name, address in self.addresses.items())
        return {name: venue for name, venue in found if venue is not None}

    def gateway(self, venue: str) -> GatewayView:
        """The gateway of a venue."""
        return self.around(venue).gateway(self.addresses[venue].name)

    def account(self, venue: str) -> status_pb2.StrategyAccount | None:
        """The strategy's account in the last status of a gateway, if that can be believed; looked for once among those
        of all who trade there."""
        if venue not in self._accounts:
            self._accounts[venue] = self.gateway(venue).account(self.name_at(venue))
        return self._accounts[venue]

    @cached_property
    def _accounts(self) -> dict[str, status_pb2.StrategyAccount | None]:
        return {}

    def name_at(self, venue: str) -> str:
        """What the gateway of a venue calls the strategy."""
        return name_at(self.addresses[venue].namespace, self.strategy.namespace, self.strategy.name)

    def admitted(self, venue: AnyVenue) -> bool:
        """Whether the venue admits the strategy."""
        return not refusal(self.strategy, venue, self._namespace(venue.namespace).namespaces)

    def configured(self, venue: str) -> bool:
        """Whether the gateway of a venue that exists reports, and has all that it has to enforce now."""
        status, around = self.gateway(venue).status, self.around(venue)
        if status is None or self.gateway(venue).trusted is None:
            return False
        return status.config_revision == around.config(self.present[venue]).revision

    @property
    def admitted_beyond(self) -> list[str]:
        """NAMESPACE/NAME of those of other namespaces that admit the strategy."""
        found = (venue for venue in self.present.values() if venue.namespace != self.strategy.namespace)
        return sorted(f"{venue.namespace}/{venue.name}" for venue in found if self.admitted(venue))

    @property
    def unreadable_limits(self) -> Mapping[str, Sequence[str]]:
        """By namespace, of those that have a venue of the strategy: RiskLimits that cannot be read."""
        namespaces = {address.namespace: self.around(name) for name, address in self.addresses.items()}
        return {name: around.unreadable_limits for name, around in namespaces.items() if around.unreadable_limits}


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


@dataclass(frozen=True, slots=True)
class ObservedVenue:
    """All that is looked at for one VenueConnection, readable or not."""

    venue: AnyVenue
    around: NamespaceView
    children: Children
    now: Moment
    # Absent where nobody looks after Vault roles.
    vault_role: Condition | None = None
    warnings: PodWarnings = field(default_factory=PodWarnings)
    # For how long it has been seen being deleted; counted again by each process that begins to work.
    deleted_seconds: float = 0.0

    @property
    def gateway(self) -> GatewayView:
        """Its gateway on the bus."""
        return self.around.gateway(self.venue.name)

    @property
    def config(self) -> config_pb2.GatewayConfig:
        """What the gateway has to enforce."""
        return self.around.config(self.venue)

    @property
    def workload(self) -> Workload:
        """Its Deployment and pods."""
        deployment = self.children.get("Deployment", venue_object(self.venue.name))
        around = Circumstances(self.now.unix, "spec.resources", self.warnings)
        return workload([deployment], self.children.of_kind("Pod"), around)
