"""Ties queue, reconcilers and events together: which key an event concerns, and what is done for a key.

Everything is level-based: an event only says which keys to look at again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import structlog

from crowetrade import subjects
from crowetrade_api.conditions import ConditionType, find
from crowetrade_api.gateway_config import AnyStrategy, AnyVenue
from crowetrade_api.names import Key, Kind
from crowetrade_api.v1alpha1.risklimit import RiskLimit, RiskLimitStatus, UnreadableLimit
from crowetrade_api.v1alpha1.strategy import StrategyStatus, UnreadableStrategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnectionStatus
from crowetrade_operator import metrics
from crowetrade_operator.cluster.cache import owner_key
from crowetrade_operator.cluster.client import Object
from crowetrade_operator.errors import BusUnavailable, ClusterRefused, OperatorError
from crowetrade_operator.reconcile import (
    risklimit,
    strategy,
    strategy_deletion,
    strategy_report,
    unreadable,
    venueconnection,
)
from crowetrade_operator.reconcile.context import Context
from crowetrade_operator.reconcile.plan import transition_notes
from crowetrade_operator.reconcile.pods import ending
from crowetrade_operator.reconcile.queue import WorkQueue, work

log = structlog.get_logger()

AGENT_MEMORY_SECONDS = 300.0
Resources = AnyStrategy | AnyVenue | RiskLimit | UnreadableLimit
_CUSTOM = {kind.value: kind for kind in Kind}


class Controller:
    """The reconcilers of the three kinds over one queue."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.queue: WorkQueue[Key] = WorkQueue()
        context.cache.listen(self.changed)
        context.bus.on_gateway(self.gateway_spoke)
        context.bus.on_agent(self.agent_spoke)
        context.bus.on_connection(self.enqueue_all)

    # --- events to keys

    def changed(self, before: Object | None, after: Object | None) -> None:
        """An object came, changed or went."""
        item = after or before
        assert item is not None
        if item["kind"] not in _CUSTOM:
            owner = owner_key(item)
            if owner is not None:
                self.queue.add(owner)
            return
        if before is not None and after is not None and _intent(before) == _intent(after):
            return
        self.context.intent_changed(item["metadata"]["namespace"])
        for key in self._concerned(_CUSTOM[item["kind"]], item):
            self.queue.add(key)

    def gateway_spoke(self, namespace: str, venue: str) -> None:
        """A gateway said something new: it concerns its venue, its strategies and all limits."""
        self.queue.add(Key(Kind.VENUE, namespace, venue))
        self._add_all(Kind.RISK_LIMIT, namespace)
        for item in self.context.cache.all(Kind.STRATEGY.value, namespace):
            if venue in _venues(item):
                self.queue.add(Key(Kind.STRATEGY, namespace, item["metadata"]["name"]))

    def agent_spoke(self, namespace: str, strategy_name: str) -> None:
        """An agent said something new."""
        self.queue.add(Key(Kind.STRATEGY, namespace, strategy_name))

    def enqueue_all(self) -> None:
        """Everything is looked at again: after a reconnect, and from time to time."""
        for kind in Kind:
            for item in list(self.context.cache.of_kind(kind.value)):
                self.queue.add(Key(kind, item["metadata"]["namespace"], item["metadata"]["name"]))

    def _concerned(self, kind: Kind, item: Object) -> Iterator[Key]:
        """The object itself and what depends on it: all in its namespace, since selectors may have changed."""
        namespace = item["metadata"]["namespace"]
        yield Key(kind, namespace, item["metadata"]["name"])
        for other in Kind:
            for found in self.context.cache.all(other.value, namespace):
                if other is not kind or kind is not Kind.VENUE:
                    yield Key(other, namespace, found["metadata"]["name"])

    def _add_all(self, kind: Kind, namespace: str) -> None:
        for item in self.context.cache.all(kind.value, namespace):
            self.queue.add(Key(kind, namespace, item["metadata"]["name"]))

    # --- work

    async def run(self) -> None:
        """Workers and the timer that looks at everything again, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.context.settings.workers):
                group.create_task(work(self.queue, self.handle))
            group.create_task(self._resync())

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
            log.error("reconcile failed", kind=key.kind, namespace=key.namespace, name=key.name, error=str(error))
            self.queue.failed(key)
        except OperatorError as error:
            result = "retry"
            delay = self.queue.failed(key)
            log.info("reconcile again", kind=key.kind, name=key.name, error=str(error), seconds=round(delay, 2))
        except Exception:  # the top of the worker's loop: log, count, go on
            result = "failed"
            log.exception("reconcile broke", kind=key.kind, namespace=key.namespace, name=key.name)
            self.queue.failed(key)
        finally:
            metrics.RECONCILES.labels(key.kind.value, result).inc()
            metrics.RECONCILE_SECONDS.labels(key.kind.value).observe(time.monotonic() - started)

    async def reconcile(self, key: Key) -> float | None:
        """Brings one object to where it should be; returns when to look again."""
        match key.kind:
            case Kind.STRATEGY:
                return await self._strategy(key)
            case Kind.VENUE:
                return await self._venue(key)
            case Kind.RISK_LIMIT:
                return await self._risk_limit(key)

    async def _strategy(self, key: Key) -> float | None:
        context = self.context
        resource = context.strategy(key)
        if resource is None:
            context.bus.board.forget_strategy(key.namespace, key.name)
            self._gone(key)
            return None
        previous = StrategyStatus.model_validate(self._previous(key, resource))
        if isinstance(resource, UnreadableStrategy):
            return await self._unreadable_strategy(key, resource, previous)
        observed = strategy.Observed(
            strategy=resource,
            around=context.surroundings(key.namespace),
            children=context.children(key),
            agents=context.bus.board.agents(key.namespace, key.name, context.settings.silent_after_seconds),
            now=context.now(),
        )
        planned = strategy.plan(observed, context.settings)
        refusal = await context.carry_out(key, resource, planned)
        if planned.finalizer is False:
            return None
        status = strategy_report.report(observed, planned, refusal, previous)
        self._report(key, resource, previous, status, strategy_report.WATCHED)
        return _again(planned.again, refusal)

    async def _unreadable_strategy(
        self, key: Key, resource: UnreadableStrategy, previous: StrategyStatus
    ) -> float | None:
        context = self.context
        observed = strategy_deletion.Observed(resource, context.surroundings(key.namespace), context.now())
        planned = unreadable.plan_strategy(observed, context.settings)
        await context.carry_out(key, resource, planned)
        if planned.finalizer is False:
            return None
        status = unreadable.report_strategy(resource, previous, observed.now)
        self._report(key, resource, previous, status, unreadable.STRATEGY_WATCHED)
        return planned.again

    async def _venue(self, key: Key) -> float | None:
        context = self.context
        resource = context.venue(key)
        if resource is None:
            context.bus.board.forget_gateway(key.namespace, key.name)
            self._gone(key)
            return None
        children = context.children(key)
        if ending(children.of_kind("Pod")):
            await context.look_whether_terminating(key.namespace)
        observed = venueconnection.Observed(
            venue=resource,
            around=context.surroundings(key.namespace),
            children=children,
            now=context.now(),
        )
        previous = VenueConnectionStatus.model_validate(self._previous(key, resource))
        planned = venueconnection.plan(observed, context.settings)
        refusal = await context.carry_out(key, resource, planned)
        if planned.finalizer is False:
            return None
        status = venueconnection.report(observed, context.settings, refusal, previous)
        self._report(key, resource, previous, status, venueconnection.WATCHED)
        return _again(planned.again, refusal)

    async def _risk_limit(self, key: Key) -> float | None:
        context = self.context
        resource = context.risk_limit(key)
        if resource is None:
            self._gone(key)
            return None
        previous = RiskLimitStatus.model_validate(self._previous(key, resource))
        if isinstance(resource, UnreadableLimit):
            status = unreadable.report_limit(resource, previous, context.now())
            self._report(key, resource, previous, status, unreadable.LIMIT_WATCHED)
            return None
        observed = risklimit.Observed(resource, context.surroundings(key.namespace), context.now())
        self._report(key, resource, previous, risklimit.report(observed, previous), risklimit.WATCHED)
        return context.settings.silent_after_seconds

    def _gone(self, key: Key) -> None:
        self.context.status.forget(key)
        self.queue.succeeded(key)

    def _previous(self, key: Key, resource: Resources) -> Object:
        return self.context.status.known(key, resource.metadata.uid) or resource.status.to_api()

    def _report(
        self,
        key: Key,
        resource: Resources,
        previous: StrategyStatus | VenueConnectionStatus | RiskLimitStatus,
        status: StrategyStatus | VenueConnectionStatus | RiskLimitStatus,
        watched: tuple[ConditionType, ...],
    ) -> None:
        live = self.context.cache.get(key.kind.value, key.namespace, key.name) or {}
        self.context.status.report(key, resource.metadata.uid, live.get("status") or {}, status.to_api())
        for note in transition_notes(previous.conditions, status.conditions, watched):
            self.context.recorder.record(key.kind.value, resource.metadata, note)
        paused = find(status.conditions, ConditionType.PAUSED)
        if paused is not None and find(previous.conditions, ConditionType.PAUSED) is None:
            log.info("reconciling paused", kind=key.kind, namespace=key.namespace, name=key.name)

    async def _resync(self) -> None:
        """Looks at everything again, forgets pods that are gone, and sweeps configurations without a venue."""
        while True:
            await asyncio.sleep(self.context.settings.resync_seconds)
            self.context.status.doubt()
            self.enqueue_all()
            self.context.bus.board.forget_silent_agents(AGENT_MEMORY_SECONDS)
            try:
                await self.sweep()
            except BusUnavailable as error:
                log.info("configurations not swept", error=str(error))

    async def sweep(self) -> None:
        """Takes configurations off the bus whose VenueConnection is gone; only in namespaces that we work in."""
        known = {
            subjects.gateway_config_key(item["metadata"]["namespace"], item["metadata"]["name"])
            for item in self.context.cache.of_kind(Kind.VENUE.value)
        }
        allowed = self.context.settings.namespaces
        for key in await self.context.bus.config_keys():
            prefix, _, rest = key.partition(".")
            namespace, _, venue = rest.partition(".")
            if prefix == "gateway" and key not in known and (not allowed or namespace in allowed):
                await self.context.bus.delete_config(namespace, venue)
                log.info("swept a configuration without a venue", namespace=namespace, venue=venue)


def _again(planned: float | None, refusal: str) -> float | None:
    """A refusal may be gone when a quota is raised: look again, but not often."""
    return 30.0 if refusal else planned


def _intent(item: Object) -> Object:
    """What users say: everything but status and bookkeeping."""
    metadata = item["metadata"]
    names = ("uid", "generation", "labels", "annotations", "deletionTimestamp", "finalizers")
    return {"metadata": {name: metadata.get(name) for name in names}, "spec": item.get("spec")}


def _venues(item: Object) -> set[str]:
    """Of a Strategy that may not match the schema."""
    listed = (item.get("spec") or {}).get("instruments")
    found = [one.get("venueRef") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {str(one["name"]) for one in found if isinstance(one, dict) and "name" in one}
