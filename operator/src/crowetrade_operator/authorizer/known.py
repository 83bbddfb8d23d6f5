"""Which resources of one kind there are, from the API server. What was seen stays while it is away.

A watch that ends in time goes on from the last version that it has brought; after any other end the kind is listed
again (see cluster/client.py). A metric counts places that may not be listed or watched.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog
from prometheus_client import Gauge

from crowetrade_operator.authorizer import metrics
from crowetrade_operator.cluster.client import FORBIDDEN, Cluster
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.resources import ApiResource
from crowetrade_operator.errors import ClusterError

RETRY_SECONDS = 2.0
T = TypeVar("T")
Key = tuple[str, str]
"""Namespace and name."""

log = structlog.get_logger()


class Known(Generic[T]):
    """What is read of every resource of a kind in the watched namespaces."""

    def __init__(
        self,
        cluster: Cluster,
        resource: ApiResource,
        read: Callable[[Object], T],
        count: Gauge,
        namespaces: tuple[str, ...] = (),
    ) -> None:
        """`namespaces` empty: all."""
        self._cluster = cluster
        self._resource = resource
        self._read = read
        self._count = count
        self._places = namespaces or ("",)
        # By place, of those that were listed.
        self._known: dict[str, dict[Key, T]] = {}
        self.changed = asyncio.Event()
        """Set at every change."""
        self.listed = asyncio.Event()
        """Set once everything was listed."""

    @property
    def problem(self) -> str:
        """Why nothing is known yet; empty once everything was listed."""
        return "" if self.listed.is_set() else f"the {self._resource.plural} have not been listed yet"

    def get(self, namespace: str, name: str) -> T | None:
        """None when there is no such resource in a watched namespace."""
        for known in self._known.values():
            if (namespace, name) in known:
                return known[namespace, name]
        return None

    async def run(self) -> None:
        """Lists and watches until cancelled."""
        async with asyncio.TaskGroup() as group:
            for place in self._places:
                group.create_task(self._follow(place))

    async def _follow(self, place: str) -> None:
        while True:
            try:
                items, version = await self._cluster.list(self._resource, place)
                self._known[place] = {_key(item): self._read(item) for item in items}
                if self._known.keys() == set(self._places):
                    self.listed.set()
                self._tell()
                while True:
                    version = await self._watch(place, version)
            except ClusterError as error:
                metrics.WATCH_FAILURES.inc()
                if error.code in FORBIDDEN:
                    self._unreadable(place).set(1)
                log.warning(
                    "resources_not_watched", kind=self._resource.kind, namespace=place or "all", error=str(error)
                )
            await asyncio.sleep(RETRY_SECONDS)

    async def _watch(self, place: str, version: str) -> str:
        """One watch to its end; returns where the next one goes on."""
        known = self._known[place]
        begun = functools.partial(self._unreadable(place).set, 0)
        async for type_, item in self._cluster.watch(self._resource, version, place, begun=begun):
            version = item["metadata"]["resourceVersion"]
            if type_ == "DELETED":
                known.pop(_key(item), None)
            elif type_ != "BOOKMARK":
                known[_key(item)] = self._read(item)
            self._tell()
        return version

    def _unreadable(self, place: str) -> Gauge:
        return metrics.UNREADABLE.labels(self._resource.kind, place)

    def _tell(self) -> None:
        self._count.set(sum(map(len, self._known.values())))
        self.changed.set()


def _key(item: Object) -> Key:
    return item["metadata"]["namespace"], item["metadata"]["name"]
