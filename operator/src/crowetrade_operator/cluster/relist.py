"""Lists what is watched: once before the start, and from time to time to find what a watch has lost.

The list at the start means that no decision is ever made from half of the objects. A later list that finds a change
which the watch has not brought shortly after is the sign of a stalled watch, which looks exactly like a quiet cluster
otherwise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from crowetrade_api.names import MANAGED_SELECTOR
from crowetrade_operator import metrics
from crowetrade_operator.cluster.cache import Cache, version_of
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.resources import CUSTOM, WATCHED, ApiResource

log = structlog.get_logger()

GRACE_SECONDS = 30.0


class Relist:
    """Keeps the cache honest and knows whether the watch is alive."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        namespaces: tuple[str, ...],
        clock: Callable[[], float] = time.monotonic,
        watched: Sequence[ApiResource] = WATCHED,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._namespaces = namespaces or ("",)
        self._clock = clock
        self._kinds = watched
        self._watched: dict[str, int] = {}
        self._last_event = clock()
        self.stalled = ""

    def saw(self, item: Object, type_: str) -> None:
        """The watch has brought an object."""
        self._last_event = self._clock()
        kind = item["kind"]
        self._watched[kind] = max(self._watched.get(kind, 0), version_of(item))
        metrics.WATCH_EVENTS.labels(kind, type_).inc()

    def seconds_since_event(self) -> float:
        """How long the watch has been silent; a quiet cluster is silent, too."""
        return self._clock() - self._last_event

    async def fill(self) -> None:
        """Reads everything into the cache."""
        for resource in self._kinds:
            await self._list(resource)

    async def check(self, grace: float = GRACE_SECONDS) -> None:
        """One check: what the list finds must have come by the watch when the grace is over."""
        newest = {resource.kind: await self._list(resource) for resource in self._kinds}
        behind = self._behind(newest)
        if behind:
            await asyncio.sleep(grace)
            behind = self._behind({kind: newest[kind] for kind in behind})
        self.stalled = f"the watch of {', '.join(behind)} is stalled" if behind else ""
        metrics.WATCH_STALLED.set(bool(behind))
        if behind:
            log.error("watch stalled", kinds=behind)

    def _behind(self, newest: dict[str, int]) -> list[str]:
        return sorted(kind for kind, version in newest.items() if version > self._watched.get(kind, 0))

    async def _list(self, resource: ApiResource) -> int:
        """Lists one kind into the cache; returns the newest version that was missing there."""
        newest = 0
        for namespace in self._namespaces:
            self._cache.begin_list()
            selector = "" if resource in CUSTOM else MANAGED_SELECTOR
            items, version = await self._cluster.list(resource, namespace, selector)
            missed = self._cache.replace(resource, namespace, items, version)
            newest = max([newest, *(version_of(item) for item in missed)])
        return newest
