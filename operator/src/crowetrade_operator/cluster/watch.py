"""Watches children, pods and namespaces, from where they were listed.

kopf watches our own kinds; it keeps whole objects, and what it does with each event costs as much as the reconcile that
the event leads to. Of children the API server sends what is compared, or metadata alone (see resources.py).

A watch that ends in time goes on from the last version that it has brought. One that breaks, that ends before its time,
or whose version is too old, lists its kind again: an API server that comes back from a backup counts from an earlier
version, and would send nothing until it has caught up. Where that list is refused, or the watch itself, the namespace
cannot be read from then on (see relist.py).
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Iterable, Sequence

import structlog

from crowetrade_operator.cluster.client import FORBIDDEN, Cluster
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.relist import Relist
from crowetrade_operator.cluster.resources import ApiResource
from crowetrade_operator.errors import ClusterError, ClusterRefused, NotFound

log = structlog.get_logger()

FIRST_DELAY = 0.2
LAST_DELAY = 10.0
Sink = Callable[[str, Object], None]
"""Takes the type of an event (ADDED, MODIFIED, DELETED) and its object."""


class Watches:
    """One watch for each kind and namespace."""

    def __init__(self, cluster: Cluster, relist: Relist, sink: Sink, kinds: Sequence[ApiResource]) -> None:
        self._cluster = cluster
        self._relist = relist
        self._sink = sink
        self._kinds = kinds
        self._started: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self._to_list: asyncio.Queue[tuple[ApiResource, str]] = asyncio.Queue()
        self._waiting = set[tuple[ApiResource, str]]()

    def start(self, namespaces: Iterable[str]) -> None:
        """Watches these, too, which have been listed; one empty name stands for all."""
        self._started.put_nowait(tuple(namespaces))

    def list_again(self, resource: ApiResource, namespace: str) -> None:
        """Lists a kind of a namespace soon, because kopf has listed it and watches it from there: nobody else tells
        what was deleted before that."""
        if (resource, namespace) not in self._waiting:
            self._waiting.add((resource, namespace))
            self._to_list.put_nowait((resource, namespace))

    async def run(self) -> None:
        """Watches until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._list_what_was_listed())
            while True:
                for namespace in await self._started.get():
                    for resource in self._kinds:
                        group.create_task(self._follow(resource, namespace))

    async def _list_what_was_listed(self) -> None:
        delay = FIRST_DELAY
        while True:
            place = await self._to_list.get()
            self._waiting.discard(place)
            try:
                await self._relist.list_again(*place)
                self._relist.watch_begun(*place)
                delay = FIRST_DELAY
            except (ClusterRefused, NotFound):
                # The namespace cannot be read; all of it is listed before it counts as readable again.
                continue
            except ClusterError as error:
                log.info("kind_not_listed", kind=place[0].kind, namespace=place[1] or "all", error=str(error))
                self.list_again(*place)
                await asyncio.sleep(delay * (0.5 + random.random()))
                delay = min(LAST_DELAY, 2.0 * delay)

    async def _follow(self, resource: ApiResource, namespace: str) -> None:
        version, delay = self._relist.version(resource, namespace), FIRST_DELAY
        clock = asyncio.get_running_loop().time
        while True:
            began, listed = clock(), False
            try:
                if not version:
                    version, listed = await self._relist.list_again(resource, namespace), True
                async for type_, item in self._cluster.watch(
                    resource,
                    version,
                    namespace,
                    resource.selector,
                    metadata_only=resource.metadata_only,
                    begun=functools.partial(self._relist.watch_begun, resource, namespace),
                ):
                    version, delay = item["metadata"]["resourceVersion"], FIRST_DELAY
                    self._relist.heard(resource, namespace)
                    if type_ != "BOOKMARK":
                        self._sink(type_, item)
            except ClusterError as error:
                if listed and error.code in FORBIDDEN:  # otherwise the list that follows may be refused as well
                    self._relist.watch_refused(resource, namespace, error)
                is_told = namespace in self._relist.unreadable
                tell = log.info if delay < LAST_DELAY or is_told else log.warning
                tell("watch_broken", kind=resource.kind, namespace=namespace or "all", error=str(error))
                version = ""
                if clock() - began > LAST_DELAY:
                    # A line that is cut when it is quiet is no sign of a server that cannot answer.
                    delay = FIRST_DELAY
                await asyncio.sleep(delay * (0.5 + random.random()))
                delay = min(LAST_DELAY, 2.0 * delay)
