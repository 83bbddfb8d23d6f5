"""Which resources of one kind there are, from the API server. What was seen stays while it is away, for an hour: a
deleted resource, or a venue taken from a strategy, must stop counting. A shorter time would make an outage of the
API server one of trading, because each process connects again when its certificate is renewed.

A watch that ends in time goes on from the last version that it has brought; after any other end the kind is listed
again (see cluster/client.py). A metric counts places that may not be listed or watched.
"""

from __future__ import annotations

import asyncio
import functools
import time
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
STALE_SECONDS = 3600.0
"""Without an answer, until what was seen counts no more. The default lifetime of certificates, for which Vault has the
API server vouch: whoever has another source of certificates comes in as long as with that one."""
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`namespaces` empty: all. `clock` is monotonic."""
        self._cluster = cluster
        self._resource = resource
        self._read = read
        self._count = count
        self._places = namespaces or ("",)
        # By place, of those that were listed.
        self._known: dict[str, dict[Key, T]] = {}
        self._clock = clock
        # By place; those that have not answered yet count from now.
        self._answered = dict.fromkeys(self._places, clock())
        for place in self._places:
            age = functools.partial(self._age, place)
            metrics.ANSWER_AGE_SECONDS.labels(resource.kind, place).set_function(age)
        self.changed = asyncio.Event()
        """Set at every change."""
        self.listed = asyncio.Event()
        """Set once everything was listed."""

    @property
    def problem(self) -> str:
        """Why not everything is known; empty when it is."""
        if not self.listed.is_set():
            return f"the {self._resource.plural} have not been listed yet"
        if stale := sorted(place for place in self._places if self._is_stale(place)):
            where = ", ".join(place or "all namespaces" for place in stale)
            return f"the API server has said nothing of the {self._resource.plural} of {where} for an hour"
        return ""

    def get(self, namespace: str, name: str) -> T | None:
        """None when there is no such resource in a watched namespace, and of a namespace that is not known any more."""
        for place, known in self._known.items():
            if (namespace, name) in known and not self._is_stale(place):
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
                self._answer(place)
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

        def begun() -> None:
            self._unreadable(place).set(0)
            self._answer(place)

        async for type_, item in self._cluster.watch(self._resource, version, place, begun=begun):
            self._answer(place)
            version = item["metadata"]["resourceVersion"]
            if type_ == "DELETED":
                known.pop(_key(item), None)
            elif type_ != "BOOKMARK":
                known[_key(item)] = self._read(item)
            self._tell()
        return version

    def _answer(self, place: str) -> None:
        """Notes that the API server has answered; a bookmark comes about once a minute where nothing changes."""
        self._answered[place] = self._clock()

    def _age(self, place: str) -> float:
        return self._clock() - self._answered[place]

    def _is_stale(self, place: str) -> bool:
        return self._age(place) > STALE_SECONDS

    def _unreadable(self, place: str) -> Gauge:
        return metrics.UNREADABLE.labels(self._resource.kind, place)

    def _tell(self) -> None:
        self._count.set(sum(map(len, self._known.values())))
        self.changed.set()


def _key(item: Object) -> Key:
    return item["metadata"]["namespace"], item["metadata"]["name"]
