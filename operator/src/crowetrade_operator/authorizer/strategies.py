"""Which venues each Strategy trades at, from the API server. What was seen stays while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from crowetrade_api.names import Kind
from crowetrade_api.v1alpha1.strategy import venues_of
from crowetrade_operator.authorizer import metrics
from crowetrade_operator.authorizer.permissions import Venue
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.resources import BY_KIND
from crowetrade_operator.errors import ClusterError

RETRY_SECONDS = 2.0
_RESOURCE = BY_KIND[Kind.STRATEGY.value]
Key = tuple[str, str]
"""Namespace and name of a Strategy."""

log = structlog.get_logger()


class Strategies:
    """The venues of every Strategy in the watched namespaces."""

    def __init__(self, cluster: Cluster, namespaces: tuple[str, ...] = ()) -> None:
        """`namespaces` empty: all."""
        self._cluster = cluster
        self._places = namespaces or ("",)
        self._unread = set(self._places)
        self._known: dict[str, dict[Key, frozenset[Venue]]] = {place: {} for place in self._places}
        self.changed = asyncio.Event()
        """Set at every change."""

    @property
    def problem(self) -> str:
        """Why nothing is known yet; empty once everything was listed."""
        return "the Strategies have not been listed yet" if self._unread else ""

    def venues(self, namespace: str, strategy: str) -> frozenset[Venue] | None:
        """None when there is no such Strategy."""
        for known in self._known.values():
            if (namespace, strategy) in known:
                return known[namespace, strategy]
        return None

    async def run(self) -> None:
        """Lists and watches until cancelled."""
        async with asyncio.TaskGroup() as group:
            for place in self._places:
                group.create_task(self._follow(place))

    async def _follow(self, place: str) -> None:
        while True:
            try:
                items, version = await self._cluster.list(_RESOURCE, place)
                self._known[place] = {_key(item): readable_venues(item) for item in items}
                self._unread.discard(place)
                self._tell()
                while True:
                    version = await self._watch(place, version)
            except ClusterError as error:
                metrics.WATCH_FAILURES.inc()
                log.warning("strategies_not_watched", namespace=place or "all", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _watch(self, place: str, version: str) -> str:
        """One watch to its end; returns where the next one goes on."""
        known = self._known[place]
        async for type_, item in self._cluster.watch(_RESOURCE, version, place):
            version = item["metadata"]["resourceVersion"]
            if type_ == "DELETED":
                known.pop(_key(item), None)
            elif type_ != "BOOKMARK":
                known[_key(item)] = readable_venues(item)
            self._tell()
        return version

    def _tell(self) -> None:
        metrics.STRATEGIES.set(sum(map(len, self._known.values())))
        self.changed.set()


def _key(item: Object) -> Key:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def readable_venues(item: Object) -> frozenset[Venue]:
    """The venues that a Strategy names, and those that it has left: its agents run there until they are configured for
    others. What cannot be read is none: the schema of another version may differ.

    Of another namespace those count that the operator has found to admit it: who writes a Strategy writes no status.
    """
    own = item["metadata"]["namespace"]
    status = item.get("status")
    listed = status.get("admittedVenues") if isinstance(status, Mapping) else None
    admitted = set(listed) if isinstance(listed, list) else set()
    return frozenset(venue for venue in venues_of(item) if venue.namespace == own or str(venue) in admitted)
