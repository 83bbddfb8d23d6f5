"""Lists what is watched: once before the start, and later what a watch may have lost.

The list at the start means that no decision is ever made from half of the objects. A watch that still brings something
has lost nothing, and is not listed again: the API server sends a bookmark about once a minute where nothing changes. A
kind whose watch has brought nothing for longer is listed; where that finds a change which the watch has not brought
shortly after, the watch is stalled. For what no watch can tell, everything is listed again from time to time.

A namespace in which one kind cannot be listed, because it is forbidden or not there, is not worked in at all: limits
that nobody sees would not be in force. That holds from the first list that is refused, whoever asks for it: at the
start, when a watch has ended, or later. It holds as well where a kind can be listed and not watched: changes would be
seen late, and their order would not be known. The others go on, and it is asked for again until it can be read.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from http import HTTPStatus

import structlog

from crowetrade_api.names import VENUE_LABEL
from crowetrade_operator import metrics
from crowetrade_operator.cluster.cache import Address, Cache
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object, version_from, version_of
from crowetrade_operator.cluster.resources import DEPLOYMENTS, ApiResource, Role, watched
from crowetrade_operator.errors import ClusterError, ClusterRefused, NotFound

log = structlog.get_logger()

GRACE_SECONDS = 30.0
FOLLOWED_SECONDS = 150.0
"""So long a watch may bring nothing, not even a bookmark, until what it watches is listed again."""
LIST_SECONDS = 3_600.0
"""After so long everything is listed again, whatever its watch brings."""
Place = tuple[str, str]
"""Kind and namespace of a watch; the empty namespace stands for all."""
Versions = Mapping[str, Mapping[str, int]]
"""By namespace of a watch, or the empty one for all, and kind."""


def is_readable(namespace: str, unreadable: Collection[str]) -> bool:
    """Whether all of a namespace was listed, by the names of those that were not: the empty one stands for all."""
    return "" not in unreadable and namespace not in unreadable


def what_to_look_at(resource: ApiResource, code: int) -> str:
    """Where a kind cannot be read: a question to whoever installed the operator, to be added to what is wrong."""
    match code:
        case HTTPStatus.NOT_FOUND:
            return f"; is its CRD installed, and does it serve {resource.version}?"
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return "; does a role of the operator allow it?"
        case _:
            return ""


class Relist:
    """Keeps the cache honest and knows whether the watch is alive."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        namespaces: tuple[str, ...],
        clock: Callable[[], float] = time.monotonic,
        kinds: Sequence[ApiResource] = watched(),
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._namespaces = namespaces or ("",)
        self._clock = clock
        self._kinds = kinds
        # The newest version that a watch has brought.
        self._watched: dict[Place, int] = {}
        # Up to which version a list was read last.
        self._versions: dict[Place, str] = {}
        # When a watch brought something last, and when its list was read.
        self._heard: dict[Place, float] = {}
        self._listed: dict[Place, float] = {}
        # What was refused or forgotten, and not listed since.
        self._unread = set[Place]()
        # What may be listed and not watched.
        self._unwatched = set[Place]()
        # What has been watched.
        self._begun = set[Place]()
        self._behind: list[Place] = []
        self._news = asyncio.Event()
        # The cache tells what came while a list was read, of one list at a time.
        self._listing = asyncio.Lock()
        self.unreadable: dict[str, str] = {}
        """Why a namespace cannot be read; the empty name stands for all."""
        self._last_event = clock()
        self.stalled = ""

    def saw(self, item: Object, type_: str) -> None:
        """The watch has brought an object."""
        self._last_event = self._clock()
        place = item["kind"], "" if self._namespaces == ("",) else item["metadata"].get("namespace", "")
        self._watched[place] = max(self._watched.get(place, 0), version_of(item))
        self._news.set()
        metrics.WATCH_EVENTS.labels(item["kind"], type_).inc()

    def heard(self, resource: ApiResource, namespace: str) -> None:
        """The watch of a kind of a namespace has brought something, if only a bookmark. May be called in any thread."""
        self._heard[resource.kind, namespace] = self._clock()

    def watch_refused(self, resource: ApiResource, namespace: str, error: ClusterError) -> None:
        """The watch of a kind of a namespace may not begin."""
        self._unwatched.add((resource.kind, namespace))
        self._not_read(namespace, resource, error, "watched")

    def watch_begun(self, resource: ApiResource, namespace: str) -> None:
        """The watch of a kind of a namespace has begun: with it the namespace may be readable, once it is listed."""
        self._unwatched.discard((resource.kind, namespace))
        self._begun.add((resource.kind, namespace))
        self._news.set()

    def seconds_since_event(self) -> float:
        """How long the watch has been silent; a quiet cluster is silent, too."""
        return self._clock() - self._last_event

    @property
    def readable(self) -> tuple[str, ...]:
        """The namespaces that can be read; one empty name stands for all."""
        return tuple(namespace for namespace in self._namespaces if namespace not in self.unreadable)

    async def fill(self) -> None:
        """Reads everything into the cache, of the namespaces that can be read."""
        for namespace in self._namespaces:
            if not await self._read(namespace):
                await self._forget(namespace)

    def newest(self, written: Mapping[Place, int]) -> Versions:
        """The newest version of what decisions are made from that was seen or, as told, written."""
        return {
            namespace: {resource.kind: self._newest(resource, namespace, written) for resource in self._decided_from}
            for namespace in self.readable
        }

    async def followed(self) -> None:
        """Returns when something can be read, and all of it is watched."""
        while not self.readable or not self._begun.issuperset(self._places):
            self._news.clear()
            await self._news.wait()

    async def reach(self, versions: Versions | None, seconds: float) -> bool:
        """Waits until the watches have brought these versions, which another leader has seen or written. Returns
        whether they have, in so many seconds; at once when it is not known of all that is watched how far that is."""
        with contextlib.suppress(TimeoutError, KeyError):
            async with asyncio.timeout(seconds):
                while versions is not None:
                    if all(
                        self._has_come(resource, namespace, versions[namespace][resource.kind])
                        for namespace in self.readable
                        for resource in self._decided_from
                    ):
                        return True
                    self._news.clear()
                    await self._news.wait()
        return False

    async def catch_up(self) -> None:
        """Reads again what another leader may have written a moment ago and decisions are made from, because its watch
        may be late: our own kinds, and which gateways restart. Of other children only the content is compared, which is
        the same for all leaders. Raises ClusterError."""
        kinds = [resource for resource in self._decided_from if resource.role is Role.OWN]
        for namespace in self.readable:
            if await self._list(namespace, kinds) is None:
                await self._forget(namespace)
                continue
            gateways, _ = await self._cluster.list(DEPLOYMENTS, namespace, f"{DEPLOYMENTS.selector},{VENUE_LABEL}")
            for item in gateways:
                self._cache.put(item)

    def version(self, resource: ApiResource, namespace: str) -> str:
        """Up to which version a kind of a namespace has been read: its watch begins there."""
        return self._versions[resource.kind, namespace]

    async def list_again(self, resource: ApiResource, namespace: str) -> str:
        """Reads one kind of a namespace, because its watch may have lost something; returns up to which version. Raises
        ClusterError, and the namespace cannot be read any more when that is a refusal."""
        await self._take(resource, namespace)
        return self.version(resource, namespace)

    async def ask_again(self) -> list[str]:
        """Reads the namespaces that could not be read; returns those that can be read now."""
        found = []
        for namespace in list(self.unreadable):
            try:
                if await self._read(namespace):
                    found.append(namespace)
            except ClusterError as error:
                log.warning("namespace_not_read", namespace=namespace or "all", error=str(error))
        return found

    async def check(self, grace: float = GRACE_SECONDS) -> None:
        """One check: what the list finds must have come by the watch when the grace is over. What is followed is not
        listed."""
        newest: dict[Place, int] = {}
        for namespace in self.readable:
            kinds = [resource for resource in self._kinds if not self._is_followed(resource, namespace)]
            for kind, version in (await self._list(namespace, kinds) or {}).items():
                newest[kind, namespace] = version
        behind = self._not_brought(newest)
        if behind:
            await asyncio.sleep(grace)
            behind = self._not_brought({place: newest[place] for place in behind})
        self._tell_behind(behind)

    def close(self) -> None:
        """Takes its series away: another one may read these namespaces, in another process."""
        self._tell_behind([])
        for namespace in self.unreadable:
            metrics.NAMESPACE_UNREADABLE.remove(namespace)

    def _tell_behind(self, behind: list[Place]) -> None:
        for place in self._behind:
            metrics.WATCH_STALLED.remove(*place)
        self._behind = behind
        for place in behind:
            metrics.WATCH_STALLED.labels(*place).set(1)
        names = [f"{kind} in {namespace}" if namespace else kind for kind, namespace in behind]
        self.stalled = f"the watch of {', '.join(names)} is stalled" if names else ""
        if names:
            log.error("watch_stalled", watches=names)

    @property
    def _places(self) -> Iterator[Place]:
        return ((resource.kind, namespace) for namespace in self.readable for resource in self._kinds)

    @property
    def _decided_from(self) -> list[ApiResource]:
        return [resource for resource in self._kinds if resource.role is Role.OWN or resource is DEPLOYMENTS]

    def _newest(self, resource: ApiResource, namespace: str, written: Mapping[Place, int]) -> int:
        ours = (of for (kind, where), of in written.items() if kind == resource.kind and namespace in ("", where))
        watched = self._watched.get((resource.kind, namespace), 0)
        return max(watched, self._cache.newest(resource.kind, namespace), *ours)

    def _has_come(self, resource: ApiResource, namespace: str, version: int) -> bool:
        place = resource.kind, namespace
        return version <= max(self._watched.get(place, 0), version_from(self._versions.get(place, "")))

    def _is_followed(self, resource: ApiResource, namespace: str) -> bool:
        place, now = (resource.kind, namespace), self._clock()
        heard, listed = self._heard.get(place, float("-inf")), self._listed.get(place, float("-inf"))
        return now - heard < FOLLOWED_SECONDS and now - listed < LIST_SECONDS

    def _not_brought(self, newest: Mapping[Place, int]) -> list[Place]:
        return sorted(place for place, version in newest.items() if version > self._watched.get(place, 0))

    async def _read(self, namespace: str) -> bool:
        """Lists all of a namespace; tells whether it can be read now. What was refused or forgotten meanwhile has to be
        listed again first. Raises ClusterUnavailable."""
        if any((resource.kind, namespace) in self._unwatched for resource in self._kinds):
            return False
        listed = await self._list(namespace, self._kinds)
        if listed is None or any((resource.kind, namespace) in self._unread for resource in self._kinds):
            return False
        if self.unreadable.pop(namespace, None) is not None:
            metrics.NAMESPACE_UNREADABLE.remove(namespace)
            self._news.set()
            log.info("namespace_readable", namespace=namespace or "all")
        return True

    async def _list(self, namespace: str, kinds: Sequence[ApiResource]) -> dict[str, int] | None:
        """Lists these kinds of a namespace into the cache; returns the newest version of each that was missing there,
        and None when the namespace cannot be read. Raises ClusterUnavailable."""
        newest = {}
        for resource in kinds:
            try:
                missed = await self._take(resource, namespace)
            except (ClusterRefused, NotFound):
                return None
            newest[resource.kind] = max(missed.values(), default=0)
        return newest

    async def _take(self, resource: ApiResource, namespace: str) -> dict[Address, int]:
        """Lists one kind of a namespace into the cache; returns what was missing there or had gone, with its
        versions."""
        async with self._listing:
            self._cache.begin_list()
            try:
                items, version = await self._cluster.list_as(
                    self._cache.listed, resource, namespace, resource.selector, metadata_only=resource.metadata_only
                )
            except (ClusterRefused, NotFound) as error:
                self._unread.add((resource.kind, namespace))
                # Both are refused: what can be listed again may be watched, too, and its watch says when it may not.
                self._unwatched.discard((resource.kind, namespace))
                self._not_read(namespace, resource, error, "listed")
                raise
            else:
                self._unread.discard((resource.kind, namespace))
                self._versions[resource.kind, namespace] = version
                self._listed[resource.kind, namespace] = self._clock()
                return self._cache.replace(resource, namespace, items, version)
            finally:
                self._cache.end_list()

    def _not_read(self, namespace: str, resource: ApiResource, error: ClusterError, how: str) -> None:
        text = (
            f"{resource.plural} cannot be {how}, so nothing is changed there: {error.message.strip()}"
            f"{what_to_look_at(resource, error.code)}"
        )
        metrics.NAMESPACE_UNREADABLE.labels(namespace).set(1)
        if self.unreadable.get(namespace) != text:
            log.error("namespace_unreadable", namespace=namespace or "all", error=text)
        self.unreadable[namespace] = text
        self._news.set()

    async def _forget(self, namespace: str) -> None:
        """What was read of it already is half of the objects."""
        async with self._listing:
            for resource in self._kinds:
                self._unread.add((resource.kind, namespace))
                self._cache.begin_list()
                self._cache.replace(resource, namespace, (), "0")
