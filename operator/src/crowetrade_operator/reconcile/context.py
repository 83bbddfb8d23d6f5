"""What reconcilers work with: reads from the cache and the board, and the writes that a plan asks for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import structlog

from crowetrade.config.v1 import config_pb2, kill_pb2
from crowetrade_api import kill_order
from crowetrade_api.gateway_config import (
    AnyStrategy,
    AnyVenue,
    Namespaces,
    counts_over_gateways,
    kept_guests,
    refusal,
    uses_venue,
)
from crowetrade_api.names import (
    CHANGED_BY_ANNOTATION,
    CLEAR_BREACH_ANNOTATION,
    CLEAR_HALT_ANNOTATION,
    FINALIZER,
    FOREGROUND_FINALIZER,
    Key,
    Kind,
    child_names,
    venue_object,
)
from crowetrade_api.v1alpha1.common import Labels
from crowetrade_api.v1alpha1.killswitch import KillSwitch, UnreadableKillSwitch
from crowetrade_api.v1alpha1.meta import Metadata, Resource, Unreadable, read
from crowetrade_api.v1alpha1.risklimit import RiskLimit, UnreadableLimit
from crowetrade_api.v1alpha1.strategy import Strategy, UnreadableStrategy, venues_of
from crowetrade_api.v1alpha1.venueconnection import UnreadableVenue, VenueConnection
from crowetrade_operator.bus.nats import Bus
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.compare import controller_uid
from crowetrade_operator.cluster.events import Recorder
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.packed import Packed
from crowetrade_operator.cluster.pod_events import PodEvents
from crowetrade_operator.cluster.relist import is_readable
from crowetrade_operator.cluster.resources import BY_KIND, KILL_SWITCHES, NAMESPACES
from crowetrade_operator.cluster.status import StatusWriter
from crowetrade_operator.cluster.times import rfc3339
from crowetrade_operator.control.orders import DirectOrders
from crowetrade_operator.decide import killswitch, loosening
from crowetrade_operator.decide.observed import Children, GatewayView, Kept, Lazy, Moment, NamespaceView
from crowetrade_operator.decide.plan import Plan, Refusal
from crowetrade_operator.errors import (
    BusUnavailable,
    ClusterError,
    ClusterRefused,
    ClusterUnavailable,
    Conflict,
    JournalRefused,
    NotFound,
    WebhookSilent,
)
from crowetrade_operator.reconcile.children import REFUSED_SECONDS, Applied, ChildWriter, note_refusal
from crowetrade_operator.reconcile.indexes import Indexes
from crowetrade_operator.reconcile.restarts import Restarts
from crowetrade_operator.reconcile.traders import Traders
from crowetrade_operator.reconcile.vault_roles import VaultRoleKeeper
from crowetrade_operator.settings import Settings

log = structlog.get_logger()

NAMESPACE_SECONDS = 60.0
"""How old what is known of a namespace may be that is not watched: an operator of some namespaces cannot."""
NAMESPACE_READ_SECONDS = 2.0
PARSED_KEPT = 1_000
"""So many resources, those that were used last, are kept as their models, about 17 KiB each: more than all else that is
kept of an object. The others are parsed each time, which takes less than a tenth of a millisecond."""
BEYOND_SECONDS = 60.0
"""How old what is known of gateways of other namespaces may be while a KillSwitch is not engaged."""
R = TypeVar("R", bound=Resource)
U = TypeVar("U", bound=Unreadable)


@dataclass(slots=True)
class Context:
    """Everything that a reconcile needs besides its key."""

    settings: Settings
    cluster: Cluster
    cache: Cache
    bus: Bus
    direct: DirectOrders
    status: StatusWriter
    recorder: Recorder
    indexes: Indexes
    # Namespaces that cannot be read, and why; see Relist.
    unreadable: Mapping[str, str] = field(default_factory=dict)
    wall_clock: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    # Called when the labels of a namespace have changed, or when it is being deleted.
    on_namespace: Callable[[str], None] = lambda namespace: None
    # In the order in which they were used last.
    _parsed: OrderedDict[Key, tuple[Packed, Resource]] = field(default_factory=OrderedDict)
    _readable: dict[tuple[Kind, str], tuple[int, Mapping[str, Resource]]] = field(default_factory=dict)
    _compiled: dict[str, dict[str, Kept]] = field(default_factory=dict)
    _terminating: set[str] = field(default_factory=set)
    _tightened: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    _namespaces: dict[str, tuple[Labels | None, float]] = field(default_factory=dict)
    # Since when an object, by its uid, has been seen being deleted.
    _deletions: dict[Key, tuple[str, float]] = field(default_factory=dict)
    # What is on the bus for gateways of namespaces that are not seen, and when that was read.
    _beyond: tuple[Mapping[tuple[str, str], config_pb2.GatewayConfig | None], float] | None = None
    traders: Traders = field(init=False)
    restarts: Restarts = field(init=False)
    pod_events: PodEvents = field(init=False)
    vault_roles: VaultRoleKeeper = field(init=False)
    child_writer: ChildWriter = field(init=False)

    def __post_init__(self) -> None:
        self.traders = self.indexes.traders
        self.restarts = self.indexes.restarts
        self.pod_events = PodEvents(self.cluster, self.clock)
        self.vault_roles = VaultRoleKeeper(self.settings, self.all_venues, self.sees)
        self.child_writer = ChildWriter(self.cluster, self.cache, self.recorder)
        for item in self.cache.of_kind(NAMESPACES.kind):
            self._namespace_seen(None, item)
        self.cache.listen(self._namespace_seen)

    def all_venues(self) -> list[AnyVenue]:
        """Those of all namespaces in which the operator works."""
        namespaces = self.cache.namespaces(Kind.VENUE.value)
        found = (self._all(Kind.VENUE, name, VenueConnection, UnreadableVenue).values() for name in namespaces)
        return [venue for venues in found for venue in venues]

    def deleted_seconds(self, key: Key, metadata: Metadata) -> float:
        """For how long an object has been seen being deleted; 0 when it is not. The clocks of the API server and of
        this node may differ, so the time that is written in it does not count."""
        if metadata.deletion_timestamp is None:
            return 0.0
        uid, since = self._deletions.get(key, ("", 0.0))
        if uid != metadata.uid:
            since = self.clock()
            self._deletions[key] = (metadata.uid, since)
        return self.clock() - since

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self.status.forget(key)
        self._deletions.pop(key, None)
        if key.kind is Kind.VENUE:
            self._tightened.pop((key.namespace, key.name), None)

    def now(self) -> Moment:
        """The wall clock."""
        unix = self.wall_clock()
        return Moment(rfc3339(unix), unix)

    def strategy(self, key: Key) -> AnyStrategy | None:
        """A Strategy, readable or not; None when it is gone."""
        return self._resource(key, Strategy, UnreadableStrategy)

    def venue(self, key: Key) -> AnyVenue | None:
        """A VenueConnection, readable or not; None when it is gone."""
        return self._resource(key, VenueConnection, UnreadableVenue)

    def risk_limit(self, key: Key) -> RiskLimit | UnreadableLimit | None:
        """A RiskLimit, readable or not; None when it is gone."""
        return self._resource(key, RiskLimit, UnreadableLimit)

    def kill_switch(self, key: Key) -> killswitch.AnyKillSwitch | None:
        """A KillSwitch, readable or not; None when it is gone."""
        return self._resource(key, KillSwitch, UnreadableKillSwitch)

    def stored_status(self, key: Key, uid: str) -> Object:
        """What the API server has as the status of an object; empty when another one has its name now."""
        item = self.cache.get(key.kind.value, key.namespace, key.name)
        return (item.get("status") or {}) if item is not None and item["metadata"].get("uid", "") == uid else {}

    async def know_gateways_beyond(self, switch: killswitch.AnyKillSwitch) -> bool:
        """Looks who is configured on the bus besides the gateways of the namespaces that the operator sees: those of
        other shards, and of namespaces that it cannot read, obey a KillSwitch, too. Returns whether they are known, if
        perhaps not of this moment: one that has come since is known as soon as it reports."""
        if not self.unreadable and (not self.settings.namespaces or killswitch.stays_in_namespace(switch)):
            return True
        engaged = kill_order.kill_order(switch) is not None
        seconds = self.settings.silent_after_seconds if engaged else BEYOND_SECONDS
        if self._beyond is not None and self.clock() - self._beyond[1] < seconds:
            return True
        try:
            self._beyond = (await self.bus.configs(lambda place: not self.sees(place[0])), self.clock())
        except BusUnavailable as error:
            log.info("gateways_beyond_not_read", error=str(error))
        return self._beyond is not None

    def gateways(self, switch: killswitch.AnyKillSwitch) -> list[killswitch.Gateway]:
        """Every gateway of the namespaces in which the operator works, and what it says about the KillSwitch; and those
        of other namespaces that report, or that have a configuration on the bus."""
        place, found = (switch.namespace, switch.name), []
        known = set[tuple[str, str]]()
        for namespace in self.cache.namespaces(Kind.VENUE.value):
            labels = self._labels(namespace)
            for name, venue in self._all(Kind.VENUE, namespace, VenueConnection, UnreadableVenue).items():
                known.add((namespace, name))
                view = self._gateway(namespace, venue)
                if view.last is None and view.record_token == 0 and not self._deployed(namespace, name):
                    continue
                guests: dict[str, Labels | None] = {
                    item.namespace: self._labels(item.namespace)
                    for item in self._guests(namespace)
                    if uses_venue(item, venue) and not refusal(item, venue, self._namespaces_around(namespace))
                }
                on_the_bus = self.bus.config(namespace, name)
                if self.unreadable and on_the_bus is not None:
                    kept = kept_guests(on_the_bus, namespace, self.unreadable)
                    guests = {**{item.namespace: item.namespace_labels for item in kept}, **guests}
                answer = self.direct.answer(place, (namespace, name), self.settings.silent_after_seconds)
                found.append(killswitch.Gateway(namespace, name, view, venue.metadata.labels, labels, guests, answer))
        return found + self._gateways_beyond(place, known)

    def _gateways_beyond(self, switch: tuple[str, str], known: set[tuple[str, str]]) -> list[killswitch.Gateway]:
        configs = self._beyond[0] if self._beyond is not None else {}
        heard = {place for place in self.bus.board.gateways() if not self.sees(place[0])}
        found = []
        for namespace, name in sorted((configs.keys() | heard) - known):
            config = configs.get((namespace, name))
            record = (config.on_record.fencing_token, config.on_record.sequence) if config is not None else (0, 0)
            found.append(
                killswitch.Gateway(
                    namespace,
                    name,
                    self._view(namespace, name, *record),
                    dict(config.venue_labels) if config is not None else None,
                    dict(config.namespace_labels) if config is not None else None,
                    _guests_of(config) if config is not None else {},
                    self.direct.answer(switch, (namespace, name), self.settings.silent_after_seconds),
                )
            )
        return found

    def sees(self, namespace: str) -> bool:
        """Whether the operator works in the namespace, and what is not in its cache is not there."""
        return self.settings.works_in(namespace) and self.may_work_in(namespace)

    def may_work_in(self, namespace: str) -> bool:
        """Whether everything in the namespace can be seen: what is not seen would count as not there."""
        return is_readable(namespace, self.unreadable)

    def namespace_view(self, namespace: str) -> NamespaceView:
        """Venues and limits of a namespace, who trades there, and what the bus said about them. What is by venue is
        made when it is asked for: most look at one venue of many."""
        venues = self._all(Kind.VENUE, namespace, VenueConnection, UnreadableVenue)
        limits = self._all(Kind.RISK_LIMIT, namespace, RiskLimit, UnreadableLimit)
        namespaces = self._namespaces_around(namespace)
        compiled = self._compiled.setdefault(namespace, {})
        for name in venues.keys() - compiled.keys():
            compiled[name] = Kept()
        return NamespaceView(
            namespace=namespace,
            traders=Lazy(venues, lambda name: self._traders_at(namespace, name)),
            venues=venues,
            limits={name: item for name, item in limits.items() if isinstance(item, RiskLimit)},
            unreadable_limits=[name for name, item in limits.items() if not isinstance(item, RiskLimit)],
            gateways=Lazy(venues, lambda name: self._gateway(namespace, venues[name])),
            gateway_deployments=Lazy(venues, lambda name: self._deployed(namespace, name) or None),
            restarting=self.restarts.of(Kind.VENUE, namespace),
            restarting_strategies=self.restarts.of(Kind.STRATEGY, namespace),
            bus_connected=self.bus.connected,
            bus_problem=self.bus.problem,
            terminating=frozenset(self._terminating & namespaces.keys()),
            namespaces=namespaces,
            on_the_bus=Lazy(venues, lambda name: self.bus.config(namespace, name)),
            bus_is_read=all(self.bus.config_is_known(namespace, name) for name in venues),
            unreadable=frozenset(self.unreadable),
            tightened=Lazy(venues, lambda name: self._tightened.get((namespace, name))),
            compiled=dict(compiled),
        )

    def namespace_views_beyond(self, strategy: AnyStrategy) -> dict[str, NamespaceView]:
        """Of the venues of a Strategy that are of other namespaces."""
        named = {strategy.namespace_of(name) for name in strategy.venues}
        namespaces = named.union(item.namespace for item in strategy.status.venues) - {strategy.namespace}
        return {namespace: self.namespace_view(namespace) for namespace in sorted(namespaces)}

    def counts_over_gateways(self, namespace: str) -> bool:
        """Whether a RiskLimit of the namespace is split among gateways: what concerns one then concerns all."""
        limits = self._all(Kind.RISK_LIMIT, namespace, RiskLimit, UnreadableLimit).values()
        return any(isinstance(limit, RiskLimit) and counts_over_gateways(limit) for limit in limits)

    def compile_again(self, namespace: str, venue: str = "") -> None:
        """Something has changed of what the gateway of a venue, or all of a namespace, have to enforce. A reconcile
        that runs keeps what it has, and its key is queued again."""
        compiled = self._compiled.get(namespace, {})
        for name in [venue] if venue and not self.counts_over_gateways(namespace) else list(compiled):
            compiled[name] = Kept()

    def forget_namespace(self, namespace: str) -> None:
        """If nothing is left in it: another one may get its name."""
        if self._holds_ours(namespace):
            return
        self._terminating.discard(namespace)
        self._compiled.pop(namespace, None)
        self.pod_events.forget(namespace)

    def forget_unused(self) -> None:
        """From time to time: a reconcile that was under way when the last object of a namespace went may have come back
        to it, and namespaces are named in which there was never anything."""
        for namespace in {*self.pod_events.namespaces(), *self._compiled}:
            if not self._holds_ours(namespace):
                self.pod_events.forget(namespace)
                self._compiled.pop(namespace, None)
        unused = [name for name in self._namespaces if not self._holds_ours(name) and not self.traders.guests(name)]
        for namespace in unused:
            del self._namespaces[namespace]
        for kind, namespace in [place for place in self._readable if not self.cache.names(place[0].value, place[1])]:
            del self._readable[kind, namespace]

    def _holds_ours(self, namespace: str) -> bool:
        return any(self.cache.names(kind.value, namespace) for kind in Kind)

    async def know_namespace(self, namespace: str) -> None:
        """Reads the labels of a namespace if what is known is old. What cannot be read stays as it was known: also that
        nothing is known, where the API server has not answered."""
        if not self._is_old(namespace):
            return
        labels, _ = self._namespaces.get(namespace, (None, 0.0))
        found = labels
        try:
            async with asyncio.timeout(NAMESPACE_READ_SECONDS):
                stored = await self.cluster.get(NAMESPACES, "", namespace)
            found = _labels(stored)
        except (ClusterError, TimeoutError) as error:
            log.warning("namespace_labels_not_read", namespace=namespace, error=str(error))
            if isinstance(error, (ClusterUnavailable, TimeoutError)) and namespace not in self._namespaces:
                return
        self._namespaces[namespace] = (found, self.clock())
        if found != labels:
            self._namespace_changed(namespace)

    def _is_old(self, namespace: str) -> bool:
        if self._watched(namespace) is not None:
            return False
        _, at = self._namespaces.get(namespace, (None, float("-inf")))
        return self.clock() - at >= NAMESPACE_SECONDS

    def _watched(self, namespace: str) -> Object | None:
        return self.cache.get(NAMESPACES.kind, "", namespace)

    def _namespace_seen(self, before: Object | None, after: Object | None) -> None:
        """The watch has brought a namespace; that an operator of some namespaces does not have."""
        item = after or before
        if item is None or item["kind"] != NAMESPACES.kind:
            return
        name = item["metadata"]["name"]
        known = _labels(before) if before is not None else self._namespaces.pop(name, (None, 0.0))[0]
        ends = after is not None and bool(after["metadata"].get("deletionTimestamp"))
        if ends and name not in self._terminating:
            log.info("namespace_terminating", namespace=name)
            self._terminating.add(name)
            self._namespace_changed(name)
        elif not ends:
            self._terminating.discard(name)  # gone, and perhaps another one has its name
        if (_labels(after) if after is not None else None) != known:
            self._namespace_changed(name)

    def _namespace_changed(self, namespace: str) -> None:
        self._compiled.clear()
        self.on_namespace(namespace)

    async def know_around(self, key: Key) -> None:
        """Reads what is not watched, of all that a reconcile of the key looks at. Raises ClusterUnavailable when the
        labels of a namespace were never read: a strategy would lose the venue of another one because of one request."""
        namespaces = {key.namespace}
        if key.kind is Kind.STRATEGY:
            item = self.cache.get(key.kind.value, key.namespace, key.name)
            namespaces |= {namespace for namespace, _ in venues_of(item)} if item is not None else set()
        labelled = namespaces.union(*map(self.traders.homes, namespaces))
        await asyncio.gather(*map(self.know_namespace, sorted(filter(self._is_old, labelled))))
        if unknown := sorted(name for name in labelled if name not in self._namespaces and not self._watched(name)):
            raise ClusterUnavailable(
                "get", NAMESPACES.path("", unknown[0]), 0, "the labels of the namespace are not known"
            )
        for namespace in sorted(namespaces):
            await self.know_configs(namespace)

    async def know_configs(self, namespace: str) -> None:
        """Reads what is on the bus for the gateways of a namespace, once per connection."""
        try:
            for name in sorted(self.cache.names(Kind.VENUE.value, namespace)):
                await self.bus.read_config(namespace, name)
        except BusUnavailable as error:
            log.info("configurations_not_read", namespace=namespace, error=str(error))

    async def know_namespaces_of_venues(self) -> None:
        """Their labels, for every namespace that has a gateway or a strategy that trades in another one."""
        namespaces = set(self.cache.namespaces(Kind.VENUE.value))
        await asyncio.gather(*map(self.know_namespace, namespaces.union(*map(self.traders.homes, namespaces))))

    def gateway_acknowledged(self, namespace: str, venue: str) -> bool:
        """Whether a gateway has acknowledged rules that it was told to tighten, so that others need wait no more."""
        known, heard = self._tightened.get((namespace, venue)), self.bus.board.gateway(namespace, venue)
        if not known or heard is None:
            return False
        said = {item.hash for item in heard.message.risk_acknowledgements}
        done = [name for name, hash_ in known.items() if hash_ in said]
        for name in done:
            del known[name]
        return bool(done)

    async def look_whether_terminating(self, namespace: str) -> None:
        """Asks the API server whether the namespace is being deleted, which never ends otherwise than with its end.

        Kubernetes 1.33 and later stop the pods of such a namespace first and mark what else is in it only when they are
        gone (KEP-5080, ordered namespace deletion): too late for a gateway that has to close positions.
        """
        if namespace in self._terminating:
            return
        try:
            found = await self.cluster.get(NAMESPACES, "", namespace)
        except NotFound:
            return
        if found["metadata"].get("deletionTimestamp"):
            log.info("namespace_terminating", namespace=namespace)
            self._terminating.add(namespace)
            self._namespace_changed(namespace)

    def children(self, key: Key) -> Children:
        """Live children of a custom resource: what it controls, and the pods of its Deployments."""
        owner = self.cache.get(key.kind.value, key.namespace, key.name)
        uid = owner["metadata"]["uid"] if owner is not None else ""
        return Children([item for item in self.cache.owned(key) if uid and _belongs(item, key, uid)])

    async def carry_out(self, key: Key, resource: Resource, plan: Plan) -> Applied:
        """Writes what the plan asks for; returns what came of the children."""
        applied = Applied()
        if plan.finalizer is True and not await self._has_finalizer(key, resource.metadata, applied):
            return applied
        no_journal = await self._ensure_journal(key) if plan.journal else None
        if no_journal is not None and not self._has_journaled(key):
            return await self._without_gateway(key, no_journal)
        if plan.config is not None:
            await self._put_config(key, plan.config)
        if plan.background and not await self._goes_on_in_background(key, resource.metadata, applied):
            return applied
        applied = await self.child_writer.apply(key, resource.metadata, plan.apply)
        applied.refusal = no_journal or applied.refusal
        gone = [await self.child_writer.delete(item, applied) for item in plan.delete]
        if not all(gone):
            return applied
        if plan.delete_config:
            await self._delete_config(key)
        for done, annotation in (
            (plan.halts_cleared, CLEAR_HALT_ANNOTATION),
            (plan.breaches_cleared, CLEAR_BREACH_ANNOTATION),
        ):
            if done:
                # What is taken away is the operator's change: whoever asked for it is not its author.
                annotations = {annotation: None, CHANGED_BY_ANNOTATION: None}
                with _refusal_told(key, applied, f"the removal of {annotation} of "):
                    await self._merge(key, resource.metadata, {"annotations": annotations})
                    continue
                return applied
        if plan.finalizer is False and not await self._lets_go(key, resource.metadata, applied):
            return applied
        for note in plan.notes:
            self.recorder.record(key.kind.value, resource.metadata, note)
        return applied

    def _has_journaled(self, key: Key) -> bool:
        """Whether the venue has had a journal, so that its account may hold something."""
        venue = self.venue(key)
        view = self._gateway(key.namespace, venue) if venue is not None else GatewayView()
        return view.record_token > 0 or (view.last is not None and view.last.fencing_token > 0)

    async def _without_gateway(self, key: Key, why: Refusal) -> Applied:
        """A gateway without a journal only fails, and its configuration would take room from those of others. One that
        was made while the bus was away, when nobody knew, goes again."""
        venue, applied = self.venue(key), Applied(why, REFUSED_SECONDS)
        for item in self.children(key).of_kind("Deployment") if venue is not None and not venue.paused else ():
            await self.child_writer.delete(item, applied)
        return applied

    async def relay(self, switch: killswitch.AnyKillSwitch, wanted: killswitch.Relay) -> bool:
        """Puts an order on the bus or takes it away, and sends it directly where the gateway is not heard; returns
        whether the bus has what it should."""
        place, metadata = (switch.namespace, switch.name), switch.metadata
        self.direct.want(place, wanted.order, wanted.direct)
        try:
            if wanted.order is None:
                changed = await self.bus.remove_kill(*place, metadata.uid, metadata.generation)
            else:
                changed = await self.bus.put_kill(wanted.order, int(self.wall_clock() * 1e9))
        except BusUnavailable as error:
            log.warning("kill_order_not_on_bus", namespace=place[0], kill_switch=place[1], error=str(error))
            return False
        if changed:
            engaged = wanted.order is not None
            log.info("kill_order_relayed", namespace=place[0], kill_switch=place[1], engaged=engaged)
        return True

    async def create_kill_switch(self, order: kill_pb2.KillOrder) -> Metadata:
        """The KillSwitch of an order that came without one; raises when it cannot be made."""
        body = kill_order.manifest(order)
        stored = await self.cluster.create(KILL_SWITCHES, order.namespace, body)
        self.cache.put({**stored, "apiVersion": KILL_SWITCHES.api_version, "kind": KILL_SWITCHES.kind})
        return Metadata.model_validate(stored["metadata"])

    def _labels(self, namespace: str) -> Labels | None:
        watched = self._watched(namespace)
        if watched is not None:
            return _labels(watched)
        return self._namespaces.get(namespace, (None, 0.0))[0]

    def _namespaces_around(self, namespace: str) -> dict[str, Labels | None]:
        return {name: self._labels(name) for name in (namespace, *self.traders.homes(namespace))}

    def _traders_at(self, namespace: str, venue: str) -> list[AnyStrategy]:
        found = map(self.strategy, sorted(self.traders.at(namespace, venue)))
        return [strategy for strategy in found if strategy is not None]

    def _guests(self, namespace: str) -> list[AnyStrategy]:
        found = map(self.strategy, self.traders.guests(namespace))
        return [strategy for strategy in found if strategy is not None]

    def _deployed(self, namespace: str, venue: str) -> bool:
        return self.children(Key(Kind.VENUE, namespace, venue)).get("Deployment", venue_object(venue)) is not None

    def _resource(self, key: Key, model: type[R], unreadable: type[U]) -> R | U | None:
        """One custom resource as its model, parsed once a version: without its conditions, which nothing is decided
        from, and which take more than the rest (see `stored_status`)."""
        packed = self.cache.packed(key.kind.value, key.namespace, key.name)
        known = self._parsed.pop(key, None)
        if packed is None:
            return None
        if known is None or known[0] is not packed:
            item = packed.open()
            (item.get("status") or {}).pop("conditions", None)
            known = (packed, read(item, model, unreadable))
            if isinstance(known[1], Unreadable):
                log.error("resource_unreadable", kind=key.kind, name=key.name, problem=known[1].problem)
        self._parsed[key] = known
        if len(self._parsed) > PARSED_KEPT:
            self._parsed.popitem(last=False)
        return cast(R | U, known[1])

    def _all(self, kind: Kind, namespace: str, model: type[R], unreadable: type[U]) -> Mapping[str, R | U]:
        """All of a kind; gone through again when one of them has changed."""
        changes = self.cache.changes(kind.value, namespace)
        known = self._readable.get((kind, namespace))
        if known is None or known[0] != changes:
            known = (changes, self._read_all(kind, namespace, model, unreadable))
            self._readable[kind, namespace] = known
        return cast(Mapping[str, R | U], known[1])

    def _read_all(self, kind: Kind, namespace: str, model: type[R], unreadable: type[U]) -> dict[str, R | U]:
        keys = [Key(kind, namespace, name) for name in sorted(self.cache.names(kind.value, namespace))]
        found = ((key.name, self._resource(key, model, unreadable)) for key in keys)
        return {name: resource for name, resource in found if resource is not None}

    def _gateway(self, namespace: str, venue: AnyVenue) -> GatewayView:
        return self._view(namespace, venue.name, *self._record(venue))

    def _view(self, namespace: str, venue: str, token: int, sequence: int) -> GatewayView:
        heard = self.bus.board.gateway(namespace, venue)
        if heard is None:
            return GatewayView(record_token=token, record_sequence=sequence)
        age = self.bus.board.clock() - heard.at
        fresh = heard.message if age <= self.settings.silent_after_seconds else None
        return GatewayView(fresh, heard.message, age, token, sequence)

    def _record(self, venue: AnyVenue) -> tuple[int, int]:
        """Token and sequence as reported last, whether they are written already or not."""
        known = self.status.known(Key(Kind.VENUE, venue.namespace, venue.name), venue.metadata.uid)
        if known is None:
            return venue.status.session.fencing_token, venue.status.journal.sequence
        return known["session"]["fencingToken"], known["journal"]["sequence"]

    async def _ensure_journal(self, key: Key) -> Refusal | None:
        """Why there is no room for it. A gateway whose stream cannot be made for another reason cannot journal, so it
        sends nothing, and its status says that the bus is down."""
        try:
            await self.bus.ensure_journal(key.namespace, key.name)
        except JournalRefused as error:
            return Refusal(error.reason, str(error))
        except BusUnavailable as error:
            log.warning("journal_stream_not_ensured", namespace=key.namespace, venue=key.name, error=str(error))
        return None

    async def _put_config(self, key: Key, config: config_pb2.GatewayConfig) -> None:
        """Without the bus the children are still looked after, and the status says that the bus is down."""
        try:
            await self.bus.read_config(key.namespace, key.name)
            before = self.bus.config(key.namespace, key.name)
            if before is not None:
                # Before it is put: the gateway may acknowledge it sooner than the bus confirms it.
                self._remember_tightened(key, before, config)
            if await self.bus.put_config(key.namespace, key.name, config):
                log.info("gateway_configured", namespace=key.namespace, venue=key.name, revision=config.revision[:12])
        except BusUnavailable as error:
            log.warning("gateway_not_configured", namespace=key.namespace, venue=key.name, error=str(error))

    def _remember_tightened(self, key: Key, before: config_pb2.GatewayConfig, after: config_pb2.GatewayConfig) -> None:
        place = key.namespace, key.name
        awaited = loosening.awaited(self._tightened.get(place, {}), before, after)
        if awaited:
            self._tightened[place] = awaited
        else:
            self._tightened.pop(place, None)

    async def _delete_config(self, key: Key) -> None:
        try:
            # Last, so that a configuration which is left means that shares may be left, too.
            await self.bus.release_shares(key.namespace, key.name)
            await self.bus.delete_config(key.namespace, key.name)
        except BusUnavailable as error:
            log.warning("configuration_left_on_bus", venue=key.name, error=str(error))

    async def _has_finalizer(self, key: Key, metadata: Metadata, applied: Applied) -> bool:
        """Adds it when it is not there. Without it nothing may be made: nobody would stop it in order."""
        with _refusal_told(key, applied, "the finalizer of "):
            if FINALIZER not in metadata.finalizers:
                await self._set_finalizers(key, metadata, [*metadata.finalizers, FINALIZER])
            return True
        return False

    async def _goes_on_in_background(self, key: Key, metadata: Metadata, applied: Applied) -> bool:
        """Takes the finalizer of a deletion in the foreground away: with it, whatever is made is deleted at once."""
        left = [item for item in metadata.finalizers if item != FOREGROUND_FINALIZER]
        with _refusal_told(key, applied, f"the removal of {FOREGROUND_FINALIZER} of "):
            await self._set_finalizers(key, metadata, left)
            return True
        return False

    async def _lets_go(self, key: Key, metadata: Metadata, applied: Applied) -> bool:
        """Takes the finalizer away; whether it was this reconcile that has let the object go, and has to tell it."""
        if FINALIZER not in metadata.finalizers:
            return False
        left = [item for item in metadata.finalizers if item != FINALIZER]
        with contextlib.suppress(NotFound), _refusal_told(key, applied, "the removal of the finalizer of "):
            await self._set_finalizers(key, metadata, left)
            return True
        return False

    async def _set_finalizers(self, key: Key, metadata: Metadata, finalizers: list[str]) -> None:
        stored = await self._merge(key, metadata, {"finalizers": finalizers})
        if FINALIZER in finalizers or not stored["metadata"].get("deletionTimestamp"):
            self.cache.put(stored)

    async def _merge(self, key: Key, metadata: Metadata, changes: Object) -> Object:
        """Changes metadata; refused with Conflict when the object changed meanwhile: the reconcile is then repeated."""
        patch: dict[str, Any] = {"metadata": {**changes, "resourceVersion": metadata.resource_version}}
        stored = await self.cluster.merge(BY_KIND[key.kind.value], key.namespace, key.name, patch)
        if stored["metadata"].get("uid") != metadata.uid:
            raise Conflict("patch", f"{key.kind} {key.name}", 409, "another object has the name now")
        return stored


@contextlib.contextmanager
def _refusal_told(key: Key, applied: Applied, what: str) -> Iterator[None]:
    """Where the API server refuses to change the resource itself, its status says so, and is written all the same."""
    try:
        yield
    except (ClusterRefused, WebhookSilent) as error:
        item = {"kind": key.kind.value, "metadata": {"name": key.name, "namespace": key.namespace}}
        note_refusal(applied, item, error, what)


def _guests_of(config: config_pb2.GatewayConfig) -> Namespaces:
    return {name: dict(known.labels) for name, known in config.strategy_namespaces.items()}


def _labels(namespace: Object) -> Labels:
    return cast(Labels, namespace["metadata"].get("labels") or {})


def _belongs(item: Object, key: Key, uid: str) -> bool:
    """Whether the resource controls it. Of a pod, a ReplicaSet of a Deployment of its name does."""
    if item["kind"] != "Pod":
        return controller_uid(item) == uid
    owners = item["metadata"].get("ownerReferences") or ()
    sets = (owner["name"] for owner in owners if owner.get("controller") and owner["kind"] == "ReplicaSet")
    return any(name.rpartition("-")[0] in child_names(key) for name in sets)
