"""Ties queue, reconcilers and events together: which key an event concerns, and what is done for a key.

Everything is level-based: an event only says which keys to look at again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog

from crowetrade.config.v1 import kill_pb2
from crowetrade_api.conditions import Condition, ConditionType, find, follow
from crowetrade_api.gateway_config import AnyStrategy, AnyVenue
from crowetrade_api.kill_order import kill_order
from crowetrade_api.names import CLEAR_HALT_ANNOTATION, Key, Kind, VenueAddress, strategy_of
from crowetrade_api.reasons import EventReason, Reason
from crowetrade_api.v1alpha1.killswitch import KillSwitchStatus
from crowetrade_api.v1alpha1.meta import read_status
from crowetrade_api.v1alpha1.risklimit import RiskLimit, RiskLimitStatus, UnreadableLimit
from crowetrade_api.v1alpha1.strategy import StrategyPhase, StrategyStatus, UnreadableStrategy, venues_of
from crowetrade_api.v1alpha1.venueconnection import VenueConnectionStatus
from crowetrade_operator import metrics
from crowetrade_operator.bus.news import GatewayNews, News
from crowetrade_operator.cluster.cache import owner_key
from crowetrade_operator.cluster.objects import Note, Object
from crowetrade_operator.cluster.resources import BY_KIND, Role
from crowetrade_operator.decide import (
    killswitch,
    killswitch_status,
    risklimit,
    risklimit_status,
    strategy,
    strategy_deletion,
    strategy_status,
    unreadable,
    venueconnection,
    venueconnection_status,
)
from crowetrade_operator.decide.observed import ObservedVenue
from crowetrade_operator.decide.plan import (
    Plan,
    bus_deficient,
    identity_unencrypted,
    schema_outdated,
    transition_notes,
    without_identity,
)
from crowetrade_operator.decide.pods import ending
from crowetrade_operator.errors import BusUnavailable, ClusterRefused, Conflict, NotFound, OperatorError
from crowetrade_operator.reconcile.context import Context
from crowetrade_operator.reconcile.figures import Figures
from crowetrade_operator.reconcile.pod_warnings import warnings_about
from crowetrade_operator.reconcile.queue import WorkQueue, work
from crowetrade_operator.reconcile.traders import left_by
from crowetrade_process.stopping import together

log = structlog.get_logger()

AGENT_MEMORY_SECONDS = 300.0
WITHOUT_OBJECT_SECONDS = 5.0
"""So long a kill order has been reported without its KillSwitch before one is created: a KillSwitch that was re-armed
and deleted must not come back because a gateway's word is late."""
NO_NAMESPACE_SECONDS = 30.0
RELAY_SECONDS = 1.0
LIMITS_SECONDS = 1.0
"""How often at most a RiskLimit is looked at because of what is used of it, or of who is bound by it."""
LOOKS_PER_SECOND = 100.0
"""So many Strategies are looked at because of the time alone, when all of them are on their way."""
CONFIRM_SECONDS = 2.0
SILENCE_LOOK_SECONDS = 0.5
AGENTS_READ = frozenset({"model", "policy", "agents"})
"""Sections of spec of a Strategy that no gateway's configuration depends on."""
ROLLOUT_REASONS = frozenset(
    {Reason.ROLLING_OUT, Reason.WAITING_FOR_FLAT, Reason.WAITING_FOR_QUIET, Reason.WAITING_FOR_TURN}
)
Resources = AnyStrategy | AnyVenue | RiskLimit | UnreadableLimit | killswitch.AnyKillSwitch
Status = StrategyStatus | VenueConnectionStatus | RiskLimitStatus | KillSwitchStatus
S = TypeVar("S", bound=Status)


class Controller:
    """The reconcilers of the four kinds over one queue."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.queue: WorkQueue[Key] = WorkQueue()
        self.reconciled = 0
        """So many reconciles have ended."""
        self._kills: dict[tuple[str, str], list[kill_pb2.KillAcknowledgement]] = {}
        # Kill orders without a KillSwitch, with the time at which that was noticed.
        self._without_object: dict[Key, float] = {}
        # uid and generation of KillSwitches that are gone and were re-armed before.
        self._rearmed: dict[Key, tuple[str, int]] = {}
        self._orders_looked_for = asyncio.Event()
        context.cache.listen(self.changed)
        context.bus.on_gateway(self.gateway_reported)
        context.bus.on_agent(self.agent_reported)
        context.bus.on_connection(self.enqueue_all)
        context.bus.on_faults(self.enqueue_all)
        context.bus.on_connection(self.look_for_orders)
        context.direct.on_answer(self.gateway_answered)
        context.status.on_undeclared = self.enqueue_all
        context.vault_roles.changed = lambda namespace, name: self.queue.add(Key(Kind.VENUE, namespace, name))
        context.on_namespace = self.namespace_changed
        self.figures = Figures(self.queue, context.status)
        # Who waits until something is closed or flat: figures are news to them.
        self._waiting: set[Key] = set()
        # By kind and namespace: who waits for a turn to restart.
        self._lines: defaultdict[tuple[Kind, str], dict[Key, None]] = defaultdict(dict)
        context.restarts.on_free = self._next_in_turn
        # What the change of each is at, and how many are at each.
        self._rollouts: dict[Key, str] = {}
        self._rollout_counts: Counter[tuple[Kind, str]] = Counter()
        metrics.ROLLOUTS.clear()
        # By venue: the revision that its gateway was to have when it was looked at last.
        self._revisions: dict[Key, str] = {}
        # By venue: guests that its gateway keeps because their namespaces cannot be read.
        self._kept: dict[Key, set[str]] = {}

    # --- events to keys

    def begin(self) -> None:
        """Everything is looked at, with what gateways have said before this replica led."""
        self.enqueue_all()
        for place in self.context.bus.board.gateways():
            self._kills_reported(*place)

    def changed(self, before: Object | None, after: Object | None) -> None:
        """An object came, changed or went."""
        item = after or before
        assert item is not None
        if BY_KIND[item["kind"]].role is not Role.OWN:
            if before is None and self.context.child_writer.creates(item):
                return  # by the answer or by the watch, whichever comes first
            for owner in {owner_key(seen) for seen in (before, after) if seen is not None}:
                if owner is not None:
                    self.queue.add(owner)
            return
        if before is not None and after is not None and _intent(before) == _intent(after):
            key = Key(Kind(item["kind"]), item["metadata"]["namespace"], item["metadata"]["name"])
            if self.context.status.is_overwritten(key, after):
                self.context.status.doubt(key)
                self.queue.add(key)
            elif _record(before) != _record(after):
                self.queue.add(key)
            return
        if item["kind"] == Kind.KILL_SWITCH:
            self._kill_switch_changed(item, gone=after is None)
            return
        for key in self._concerned(before, after):
            self.queue.add(key)
        if after is None:
            self.context.forget_namespace(item["metadata"]["namespace"])

    def gateway_reported(self, namespace: str, venue: str, news: GatewayNews) -> None:
        """A gateway said something new: whom it concerns is looked at again, for figures when it is their turn. Where
        other operators work, that is KillSwitches alone."""
        if not self.context.settings.works_in(namespace):
            self._kills_reported(namespace, venue)
            return
        if news.gateway in (News.STATE, News.FIRST):
            for key in self._all_at(namespace, venue):
                self._take_report(key, news.gateway)
            if self.context.gateway_acknowledged(namespace, venue):
                self._add_all(Kind.VENUE, namespace)
            self._kills_reported(namespace, venue)
            return
        self._take_report(Key(Kind.VENUE, namespace, venue), News.FIGURES)
        for name in self.context.cache.names(Kind.RISK_LIMIT.value, namespace):
            self.queue.add_after(Key(Kind.RISK_LIMIT, namespace, name), LIMITS_SECONDS)
        for known_as, found in (news.accounts or {}).items():
            self._take_report(Key(Kind.STRATEGY, *strategy_of(known_as, namespace)), found)

    def _take_report(self, key: Key, news: News) -> None:
        """A report has something new about it. Where all report for the first time, as to a new leader, each key waits
        already, and what was changed meanwhile goes first."""
        if news is News.FIGURES and key not in self._waiting:
            self.figures.add(key)
        else:
            self.queue.add(key, first=news is not News.FIRST or key not in self.queue)

    def _all_at(self, namespace: str, venue: str) -> Iterator[Key]:
        """The venue, the limits that may bind who trades there, and these."""
        yield Key(Kind.VENUE, namespace, venue)
        yield from self._all_of(Kind.RISK_LIMIT, namespace)
        yield from self.context.traders.at(namespace, venue)

    def namespace_changed(self, namespace: str) -> None:
        """Its labels have changed, or it is being deleted: that concerns all in it, and who trades there or from
        there."""
        for kind in Kind:
            self._add_all(kind, namespace)
        for key in self.context.traders.guests(namespace):
            self.queue.add(key)
        for item in self.context.cache.all(Kind.STRATEGY.value, namespace):
            for place in venues_of(item):
                self.queue.add(Key(Kind.VENUE, *place))

    def gateway_answered(self, namespace: str, name: str) -> None:
        """A gateway has answered to a kill order that it was sent directly."""
        self.queue.add(Key(Kind.KILL_SWITCH, namespace, name))

    def _kills_reported(self, namespace: str, venue: str) -> None:
        """Looks at every KillSwitch when a gateway has another one in force than before, whatever their namespaces, and
        at those that have no object."""
        heard = self.context.bus.board.gateway(namespace, venue)
        said = list(heard.message.kills) if heard is not None else []
        if self._kills.get((namespace, venue)) == said:
            return
        self._kills[namespace, venue] = said
        for key in self._kill_switches():
            self.queue.add(key)
        for kill in said:
            self.queue.add(Key(Kind.KILL_SWITCH, kill.namespace, kill.name))

    def _kill_switch_changed(self, item: Object, gone: bool) -> None:
        """Gateways obey it by themselves, so nothing else is looked at again."""
        metadata = item["metadata"]
        key = Key(Kind.KILL_SWITCH, metadata["namespace"], metadata["name"])
        if gone and (item.get("spec") or {}).get("engaged") is False:
            self._rearmed[key] = (metadata["uid"], int(metadata.get("generation") or 0))
        self.queue.add(key)

    def _kill_switches(self) -> Iterator[Key]:
        for _, namespace, name in self.context.cache.addresses(Kind.KILL_SWITCH.value):
            yield Key(Kind.KILL_SWITCH, namespace, name)

    def agent_reported(self, namespace: str, strategy_name: str, news: News) -> None:
        """An agent said something new."""
        if not self.context.settings.works_in(namespace):
            return
        self._take_report(Key(Kind.STRATEGY, namespace, strategy_name), news)

    def notice_silence(self) -> None:
        """Who has not reported for too long is looked at again, and who depends on them. Where other operators work,
        nobody tells when a gateway is gone for good: a silent one that has a configuration is waited for all the same.
        """
        works_in = self.context.settings.works_in
        gateways, strategies = self.context.bus.board.notice_silence(self.context.settings.silent_after_seconds)
        for place in gateways:
            if works_in(place[0]):
                for key in self._all_at(*place):
                    self.queue.add(key)
            else:
                self.context.bus.board.forget_gateway(*place)
                self._kills.pop(place, None)
        for place in strategies:
            if works_in(place[0]):
                self.queue.add(Key(Kind.STRATEGY, *place))

    def enqueue_all(self) -> None:
        """Everything is looked at again, after what somebody waits for: also what was changed and not looked at yet,
        as while nobody worked."""
        for key in self._everything():
            self.queue.add(key, first=key in self.context.indexes.unobserved)

    def _everything(self) -> list[Key]:
        """What stops comes first, and gateways before ten thousand who trade there."""
        return [
            Key(kind, namespace, name)
            for kind in (Kind.KILL_SWITCH, Kind.RISK_LIMIT, Kind.VENUE, Kind.STRATEGY)
            for _, namespace, name in self.context.cache.addresses(kind.value)
        ]

    def _concerned(self, before: Object | None, after: Object | None) -> Iterator[Key]:
        """The object itself and what depends on it, and what has to be compiled again."""
        item = after or before
        assert item is not None
        key = Key(Kind(item["kind"]), item["metadata"]["namespace"], item["metadata"]["name"])
        yield key
        match key.kind:
            case Kind.STRATEGY:
                if _binding(before) != _binding(after):
                    yield from self._of_venues(_venues(before) | _venues(after))
            case Kind.VENUE:
                self.context.compile_again(key.namespace)
                yield from self._kill_switches()
                yield from self.context.traders.at(key.namespace, key.name)
                yield from self._all_of(Kind.RISK_LIMIT, key.namespace)
                if self.context.counts_over_gateways(key.namespace):
                    yield from self._all_of(Kind.VENUE, key.namespace)
            case Kind.RISK_LIMIT:
                self.context.compile_again(key.namespace)
                yield from self._all_of(Kind.VENUE, key.namespace)

    def _of_venues(self, places: Iterable[VenueAddress]) -> Iterator[Key]:
        """Another Strategy is bound at these venues, or one less, or in another way."""
        for namespace, name in places:
            self.context.compile_again(namespace, name)
            yield Key(Kind.VENUE, namespace, name)
            if self.context.counts_over_gateways(namespace):
                yield from self._all_of(Kind.VENUE, namespace)
            for key in self._all_of(Kind.RISK_LIMIT, namespace):
                self.queue.add_after(key, LIMITS_SECONDS)

    def _all_of(self, kind: Kind, namespace: str) -> Iterator[Key]:
        return (Key(kind, namespace, name) for name in self.context.cache.names(kind.value, namespace))

    def _add_all(self, kind: Kind, namespace: str) -> None:
        for key in self._all_of(kind, namespace):
            self.queue.add(key)

    # --- work

    async def run(self) -> None:
        """Workers and the timer that looks at everything again, until cancelled."""
        await together(
            *(work(self.queue, self.handle) for _ in range(self.context.settings.workers)),
            self._resync(),
            self._notice_silence(),
            self.figures.run(),
            self._look_for_orders_without_object(),
        )

    async def handle(self, key: Key) -> None:
        """One reconcile with its errors: nothing that is raised here may end the worker."""
        started = time.monotonic()
        result = "done"
        try:
            again = await self.reconcile(key)
            self.queue.succeeded(key)
            if again is not None:
                self.queue.add_after(key, again)
        except ClusterRefused as error:
            result = "failed"
            log.error("reconcile_failed", kind=key.kind, namespace=key.namespace, name=key.name, error=str(error))
            self.queue.failed(key)
        except OperatorError as error:
            result = "retry"
            delay = self.queue.failed(key)
            log.info("reconcile_retried", kind=key.kind, name=key.name, error=str(error), seconds=round(delay, 2))
        except Exception:  # the top of the worker's loop: log, count, go on
            result = "failed"
            log.exception("reconcile_broke", kind=key.kind, namespace=key.namespace, name=key.name)
            self.queue.failed(key)
        finally:
            self.reconciled += 1
            metrics.RECONCILES.labels(key.kind.value, result).inc()
            metrics.RECONCILE_SECONDS.labels(key.kind.value).observe(time.monotonic() - started)

    async def reconcile(self, key: Key) -> float | None:
        """Brings one object to where it should be; returns when to look again."""
        if not all(map(self.context.may_work_in, self._looked_at(key))) and not self._is_known_kill_switch(key):
            self._leave_line(key)
            return None
        if key.kind is not Kind.KILL_SWITCH:
            await self.context.know_around(key)
        match key.kind:
            case Kind.STRATEGY:
                return await self._strategy(key)
            case Kind.VENUE:
                return await self._venue(key)
            case Kind.RISK_LIMIT:
                return await self._risk_limit(key)
            case Kind.KILL_SWITCH:
                return await self._kill_switch(key)

    def _looked_at(self, key: Key) -> set[str]:
        """Namespaces of which everything has to be seen: of a Strategy also those of its venues, because a venue that
        is not seen would be taken for one that is gone."""
        item = self.context.cache.get(key.kind.value, key.namespace, key.name) if key.kind is Kind.STRATEGY else None
        venues = venues_of(item) if item is not None else ()
        return {key.namespace, *(place.namespace for place in venues)}

    def _is_known_kill_switch(self, key: Key) -> bool:
        """It stops gateways of other namespaces, too, so it is relayed for as long as it is known."""
        return key.kind is Kind.KILL_SWITCH and self.context.kill_switch(key) is not None

    async def _strategy(self, key: Key) -> float | None:
        context = self.context
        resource = context.strategy(key)
        if resource is None:
            context.bus.board.forget_strategy(key.namespace, key.name)
            self._waiting.discard(key)
            self._gone(key)
            return None
        previous = self._previous(key, resource, StrategyStatus)
        if isinstance(resource, UnreadableStrategy):
            self._leave_line(key)
            return await self._unreadable_strategy(key, resource, previous)
        children, now = context.children(key), context.now()
        warnings = await warnings_about(children.of_kind("Pod"), context.pod_events, now.unix)
        silent_after = context.settings.silent_after_seconds
        observed = strategy.Observed(
            strategy=resource,
            around=context.namespace_view(key.namespace),
            children=children,
            agents=context.bus.board.agents(key.namespace, key.name, silent_after),
            agents_are_known=context.bus.received_agents_for(silent_after),
            now=now,
            beyond=context.namespace_views_beyond(resource),
            warnings=warnings,
            deleted_seconds=context.deleted_seconds(key, resource.metadata),
        )
        planned = strategy.plan(observed, context.settings)
        with self._restarting(key, planned):
            applied = await context.carry_out(key, resource, planned)
        if planned.finalizer is False and applied.refusal is None:
            return None
        if (children := context.children(key)) != observed.children:
            observed = replace(observed, children=children)
        status = strategy_status.report(observed, planned, applied.refusal, previous)
        leaves = find(status.conditions, ConditionType.LEFT_BEHIND) is not None or not all(
            item.symbols for item in status.venues
        )
        blocked = bool(planned.rollout_blocked_by) and not _waits_for_turn(planned)
        self._wait_for_figures(key, blocked or leaves or status.phase == StrategyPhase.STOPPING)
        self._report(key, resource, previous, status, strategy_status.WATCHED)
        refused = find(status.conditions, ConditionType.ORDERS_REFUSED)
        # That changes with time, too.
        changes = not observed.workload.available or (refused is not None and refused.status == "True")
        return _earlier(
            planned.requeue_after_seconds,
            applied.requeue_after_seconds,
            self._requeue_after_seconds(status.conditions, changes),
        )

    def _requeue_after_seconds(self, conditions: Sequence[Condition], changes: bool = False) -> float | None:
        """When to look again at what changes with time, which no event says. While it is on its way a pod may get
        stuck, or patience may end."""
        moving = find(conditions, ConditionType.RECONCILING)
        if changes or (moving is not None and moving.status == "True"):
            fleet = self.context.cache.count(Kind.STRATEGY.value) / LOOKS_PER_SECOND
            return max(self.context.settings.silent_after_seconds, fleet)
        return None

    @contextlib.contextmanager
    def _restarting(self, key: Key, planned: Plan) -> Iterator[None]:
        """While a plan is carried out that may restart it."""
        if planned.restarts:
            self.context.restarts.begin(key)
        if _waits_for_turn(planned):
            self._lines[key.kind, key.namespace].setdefault(key)
        else:
            self._leave_line(key)
        try:
            yield
        finally:
            self.context.restarts.carried_out(key)

    def _leave_line(self, key: Key) -> None:
        """It waits for no turn any more. Perhaps it has not taken the one for which it was looked at."""
        line = self._lines.get((key.kind, key.namespace), {})
        if key in line:
            del line[key]
            self._next_in_turn(key.kind, key.namespace)

    def _next_in_turn(self, kind: Kind, namespace: str) -> None:
        """A turn may be free: whoever has waited longest is looked at again."""
        if line := self._lines.get((kind, namespace)):
            self.queue.add(next(iter(line)))

    def _wait_for_figures(self, key: Key, waits: bool) -> None:
        if waits:
            self._waiting.add(key)
        else:
            self._waiting.discard(key)

    async def _unreadable_strategy(
        self, key: Key, resource: UnreadableStrategy, previous: StrategyStatus
    ) -> float | None:
        context = self.context
        observed = strategy_deletion.Observed(
            resource,
            context.namespace_view(key.namespace),
            context.now(),
            context.namespace_views_beyond(resource),
            context.deleted_seconds(key, resource.metadata),
        )
        planned = unreadable.plan_strategy(observed, context.settings)
        applied = await context.carry_out(key, resource, planned)
        if planned.finalizer is False:
            return applied.requeue_after_seconds
        status = unreadable.report_strategy(resource, previous, observed.now)
        self._report(key, resource, previous, status, unreadable.STRATEGY_WATCHED)
        return planned.requeue_after_seconds

    async def _venue(self, key: Key) -> float | None:
        context = self.context
        resource = context.venue(key)
        if resource is None:
            context.bus.board.forget_gateway(key.namespace, key.name)
            self._kills.pop((key.namespace, key.name), None)
            self._revisions.pop(key, None)
            self._kept.pop(key, None)
            self._waiting.discard(key)
            self._gone(key)
            return None
        children, now = context.children(key), context.now()
        warnings = await warnings_about(children.of_kind("Pod"), context.pod_events, now.unix)
        if ending(children.of_kind("Pod")) or (resource.deleting and not children.of_kind("Deployment")):
            await context.look_whether_terminating(key.namespace)
        observed = ObservedVenue(
            venue=resource,
            around=context.namespace_view(key.namespace),
            children=children,
            now=now,
            vault_role=context.vault_roles.condition(key.namespace, key.name),
            warnings=warnings,
            deleted_seconds=context.deleted_seconds(key, resource.metadata),
        )
        previous = self._previous(key, resource, VenueConnectionStatus)
        planned = venueconnection.plan(observed, context.settings)
        with self._restarting(key, planned):
            applied = await context.carry_out(key, resource, planned)
        if planned.finalizer is False and applied.refusal is None:
            return None
        if (children := context.children(key)) != observed.children:
            observed = replace(observed, children=children)
        self._tell_kept(key, observed)
        self._configured(key, observed.config.revision)
        self._wait_for_figures(key, bool(planned.rollout_blocked_by))
        status = venueconnection_status.report(observed, planned, context.settings, applied.refusal, previous)
        self._report(key, resource, previous, status, venueconnection_status.WATCHED)
        return _earlier(
            planned.requeue_after_seconds, applied.requeue_after_seconds, self._requeue_after_seconds(status.conditions)
        )

    def _tell_kept(self, key: Key, observed: ObservedVenue) -> None:
        """Once for each set of guests."""
        kept = {f"{item.namespace}/{item.name}" for item in observed.around.kept_guests(key.name)}
        if kept != self._kept.get(key, set()):
            log.warning(
                "unreadable_strategies_kept",
                namespace=key.namespace,
                venue=key.name,
                strategies=sorted(kept),
            )
        self._kept[key] = kept

    def _configured(self, key: Key, revision: str) -> None:
        """Who trades at a venue is looked at again when its gateway has had the time to confirm what is new for it: as
        long as it has not, they say so."""
        if self._revisions.get(key) == revision:
            return
        self._revisions[key] = revision
        for trader in self.context.traders.at(key.namespace, key.name):
            self.queue.add_after(trader, CONFIRM_SECONDS)

    async def _risk_limit(self, key: Key) -> float | None:
        context = self.context
        resource = context.risk_limit(key)
        if resource is None:
            self._gone(key)
            return None
        previous = self._previous(key, resource, RiskLimitStatus)
        if isinstance(resource, UnreadableLimit):
            status = unreadable.report_limit(resource, previous, context.now())
            self._report(key, resource, previous, status, unreadable.LIMIT_WATCHED)
            return None
        observed = risklimit.Observed(resource, context.namespace_view(key.namespace), context.now())
        applied = await context.carry_out(key, resource, risklimit.plan(observed, previous))
        status = risklimit_status.report(observed, previous)
        self._report(key, resource, previous, status, risklimit_status.WATCHED)
        for note in risklimit_status.notes(previous, status, resource):
            context.recorder.record(key.kind.value, resource.metadata, note)
        highest = float(status.utilisation[0].ratio) if status.utilisation else 0.0
        metrics.LIMIT_UTILISATION.labels(key.namespace, key.name).set(highest)
        warned = find(status.conditions, ConditionType.WARNING) is not None
        metrics.LIMIT_WARNING.labels(key.namespace, key.name).set(warned)
        metrics.LIMIT_BREACHES.labels(key.namespace, key.name).set(len(status.breached))
        return _earlier(applied.requeue_after_seconds, self._requeue_after_seconds(status.conditions))

    async def _kill_switch(self, key: Key) -> float | None:
        context = self.context
        switch = context.kill_switch(key)
        if switch is None:
            self._gone(key)
            return await self._kill_switch_gone(key)
        self._without_object.pop(key, None)
        self._rearmed.pop(key, None)
        if killswitch.asks_for_namespace_labels(switch):
            await context.know_namespaces_of_venues()
        are_known = await context.know_gateways_beyond(switch)
        observed = killswitch.Observed(
            switch,
            context.gateways(switch),
            context.now(),
            context.bus.connected,
            context.bus.problem,
            gateways_are_known=are_known,
        )
        relayed = await context.relay(switch, killswitch.relay(observed))
        stored = self._previous(key, switch, KillSwitchStatus)
        previous = stored.model_copy(update={"conditions": stored.conditions or killswitch_status.before_the_first()})
        status = killswitch_status.report(observed, previous)
        self._report(key, switch, previous, status, killswitch_status.WATCHED)
        counts = status.acknowledgements
        metrics.KILL_SWITCH_PENDING.labels(key.namespace, key.name).set(counts.concerned - counts.acknowledged)
        metrics.KILL_SWITCH_ENGAGED.labels(key.namespace, key.name).set(kill_order(switch) is not None)
        return context.settings.silent_after_seconds if relayed else RELAY_SECONDS

    async def _kill_switch_gone(self, key: Key) -> float | None:
        """A KillSwitch that is gone re-arms nothing: what is still in force gets one again."""
        context = self.context
        context.direct.want((key.namespace, key.name), None, ())
        rearmed = self._rearmed.pop(key, None)
        if rearmed is not None:
            await context.bus.remove_kill(key.namespace, key.name, *rearmed)
        if not context.settings.works_in(key.namespace):
            return None
        since = self._without_object.setdefault(key, context.clock())
        order = self._reported(key, since) or await self._on_the_bus(key)
        waited = context.clock() - since
        if order is None:
            if self._reported(key, 0.0) is None:
                self._without_object.pop(key)
                return None
            return RELAY_SECONDS if waited < WITHOUT_OBJECT_SECONDS else context.settings.silent_after_seconds
        if waited < WITHOUT_OBJECT_SECONDS:
            return WITHOUT_OBJECT_SECONDS - waited
        return await self._create_kill_switch(key, order)

    async def _create_kill_switch(self, key: Key, order: kill_pb2.KillOrder) -> float | None:
        try:
            metadata = await self.context.create_kill_switch(order)
        except Conflict:
            return RELAY_SECONDS  # somebody has made it meanwhile
        except (ClusterRefused, NotFound) as error:
            hint = "create the namespace, and the KillSwitch in it, to re-arm" if isinstance(error, NotFound) else ""
            log.error("kill_switch_not_created", key=str(key), error=str(error), hint=hint)
            return NO_NAMESPACE_SECONDS
        text = (
            f"Gateways have the kill order {key.namespace}/{key.name} in force and it had no KillSwitch: this one was "
            "created, engaged. To re-arm, somebody writes their user name to spec.engagedBy, then another person sets "
            "spec.engaged to false."
        )
        note = Note("Warning", EventReason.ORDER_WITHOUT_OBJECT, "Reconcile", text)
        self.context.recorder.record(key.kind.value, metadata, note)
        return None

    def _reported(self, key: Key, since: float) -> kill_pb2.KillOrder | None:
        """The order of this name that a gateway has reported since then."""
        for namespace, venue in self._kills:
            heard = self.context.bus.board.gateway(namespace, venue)
            if heard is None or heard.at < since:
                continue
            for kill in heard.message.kills:
                if (kill.namespace, kill.name) == (key.namespace, key.name):
                    return killswitch.order_of(kill)
        return None

    async def _on_the_bus(self, key: Key) -> kill_pb2.KillOrder | None:
        if not self.context.bus.connected:
            return None
        wanted = (key.namespace, key.name)
        found = await self.context.bus.kill_orders()
        return next((order for order in found if (order.namespace, order.name) == wanted), None)

    def look_for_orders(self) -> None:
        """Kill orders on the bus that have no KillSwitch are looked for now, not only from time to time."""
        self._orders_looked_for.set()

    async def _look_for_orders_without_object(self) -> None:
        """Whoever gave an order on the bus while the API server was down has made no KillSwitch."""
        while True:
            self._orders_looked_for.clear()
            try:
                for order in await self.context.bus.kill_orders():
                    self.queue.add(Key(Kind.KILL_SWITCH, order.namespace, order.name))
            except BusUnavailable as error:
                log.info("kill_orders_not_read", error=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.context.settings.resync_seconds):
                    await self._orders_looked_for.wait()

    def _gone(self, key: Key) -> None:
        self.context.forget(key)
        self._leave_line(key)
        self._count_rollout(key, ())
        metrics.forget(key.kind.value, key.namespace, key.name)
        self.queue.succeeded(key)

    def _previous(self, key: Key, resource: Resources, model: type[S]) -> S:
        """The status that was reported last, by this operator or by one before it."""
        uid = resource.metadata.uid
        return read_status(self.context.status.known(key, uid) or self.context.stored_status(key, uid), model)

    def _report(
        self,
        key: Key,
        resource: Resources,
        previous: Status,
        status: Status,
        watched: tuple[ConditionType, ...],
    ) -> None:
        if beside := self._of_the_installation(key.kind):
            generation, now = resource.metadata.generation, self.context.now().text
            followed = follow(previous.conditions, beside, generation, now)
            status = status.model_copy(update={"conditions": [*status.conditions, *followed]})
        self._count_rollout(key, status.conditions)
        live = self.context.cache.get(key.kind.value, key.namespace, key.name) or {}
        self.context.status.report(key, resource.metadata.uid, live.get("status") or {}, status.to_api())
        for note in transition_notes(previous.conditions, status.conditions, watched):
            self.context.recorder.record(key.kind.value, resource.metadata, note)
        paused = find(status.conditions, ConditionType.PAUSED)
        if paused is not None and find(previous.conditions, ConditionType.PAUSED) is None:
            log.info("reconciling_paused", kind=key.kind, namespace=key.namespace, name=key.name)

    def _count_rollout(self, key: Key, conditions: Sequence[Condition]) -> None:
        moving = find(conditions, ConditionType.RECONCILING)
        before = self._rollouts.pop(key, None)
        if moving is not None and moving.status == "True" and moving.reason in ROLLOUT_REASONS:
            self._rollouts[key] = moving.reason
        after = self._rollouts.get(key)
        if before == after:
            return
        for reason, change in ((before, -1), (after, 1)):
            if reason is not None:
                self._rollout_counts[key.kind, reason] += change
                metrics.ROLLOUTS.labels(key.kind.value, reason).set(self._rollout_counts[key.kind, reason])

    def _of_the_installation(self, kind: Kind) -> list[Condition]:
        """Conditions that no resource is the cause of."""
        disabled = [] if self.context.settings.identity else [without_identity()]
        faults = self.context.bus.faults if kind is Kind.VENUE else ()
        left_out = self.context.status.undeclared.of(kind)
        return [
            *disabled,
            *identity_unencrypted(self.context.settings),
            *([bus_deficient(faults)] if faults else []),
            *([schema_outdated(left_out)] if left_out else []),
        ]

    async def _resync(self) -> None:
        """Looks at everything again, a part each second, so that nobody waits behind all of it; forgets pods that are
        gone and what is known of such namespaces, and sweeps configurations without a venue."""
        while True:
            keys, parts = self._everything(), max(1, int(self.context.settings.resync_seconds))
            for part in range(parts):
                await asyncio.sleep(self.context.settings.resync_seconds / parts)
                for key in keys[part::parts]:
                    self.context.status.doubt(key)
                    self.queue.add(key, first=False)
            self.context.child_writer.writes.forget_old()
            self.context.forget_unused()
            self.context.bus.board.forget_silent_agents(AGENT_MEMORY_SECONDS)
            try:
                await self.sweep()
            except BusUnavailable as error:
                log.info("configurations_not_swept", error=str(error))

    async def _notice_silence(self) -> None:
        while True:
            await asyncio.sleep(SILENCE_LOOK_SECONDS)
            self.notice_silence()

    async def sweep(self) -> None:
        """Takes configurations off the bus whose VenueConnection is gone; only in namespaces that we work in and can
        read."""
        context = self.context
        known = {(namespace, name) for _, namespace, name in context.cache.addresses(Kind.VENUE.value)}

        def left_over(place: tuple[str, str]) -> bool:
            return context.sees(place[0]) and place not in known

        for namespace, venue in await context.bus.configs(left_over):
            await context.bus.release_shares(namespace, venue)
            await context.bus.delete_config(namespace, venue)
            log.info("configuration_swept", namespace=namespace, venue=venue)


def _waits_for_turn(planned: Plan) -> bool:
    return bool(planned.rollout_blocked_by) and planned.blocked_reason is Reason.WAITING_FOR_TURN


def _earlier(*times: float | None) -> float | None:
    return min((seconds for seconds in times if seconds is not None), default=None)


def _intent(item: Object) -> Object:
    """What users say, and what a Strategy has left at venues: everything but the rest of the status and bookkeeping."""
    metadata = item["metadata"]
    names = ("uid", "generation", "labels", "annotations", "deletionTimestamp")
    left = left_by(item) if item["kind"] == Kind.STRATEGY else None
    return {"metadata": {name: metadata.get(name) for name in names}, "spec": item.get("spec"), "left": left}


def _record(item: Object) -> object:
    """Of the status of a VenueConnection, what its gateway is told when it is stored: the fencing token on record, and
    the whole record while a person clears a halt."""
    status = item.get("status") or {}
    cleared = CLEAR_HALT_ANNOTATION in (item["metadata"].get("annotations") or {})
    return (status.get("session") or {}).get("fencingToken"), cleared and status.get("journal")


def _binding(item: Object | None) -> Object | None:
    """What gateways have to know of a Strategy: everything but what its agents alone read."""
    if item is None:
        return None
    metadata, spec = item["metadata"], item.get("spec")
    names = ("uid", "labels", "annotations", "deletionTimestamp")
    found = {name: metadata.get(name) for name in names}
    if isinstance(spec, dict):
        spec = {name: value for name, value in spec.items() if name not in AGENTS_READ}
    return {"metadata": found, "spec": spec, "left": left_by(item)}


def _venues(item: Object | None) -> set[VenueAddress]:
    return venues_of(item) if item is not None else set()
