"""Kubernetes events (events.k8s.io/v1), written on transitions only.

No state is in an event, so one that cannot be written is logged and counted, and not kept. A status shows what goes
well again, too: warnings, repairs and ends of resources are written before that, and it takes no room from them.

The event of a transition is written before its status. A leader that ends between the two is followed by one that finds
the same status and decides the same: so the event is named after what it follows from, and the API server keeps the
first.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from crowetrade_api.names import API_VERSION, FIELD_MANAGER
from crowetrade_api.v1alpha1.meta import Metadata
from crowetrade_operator import metrics
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Note, Object
from crowetrade_operator.cluster.resources import EVENTS
from crowetrade_operator.cluster.times import rfc3339_micro, unix_of
from crowetrade_operator.errors import ClusterError, ClusterUnavailable, Conflict, NamespaceTerminating
from crowetrade_process.stopping import together

log = structlog.get_logger()

PAUSES = (0.5, 2.0, 5.0)
"""Seconds between tries to write one event. After these it is given up, unless the API server gives no answer at all,
so that none of the others could be written either."""
WRITERS = 4
SAME_SECONDS = 60.0
"""An event of the same name that is older than this was of another occasion. A leader is followed sooner."""
MOST_NAMES = 10_000
"""So many names are remembered, to know what has happened again."""
MOST_WAITING = 20_000
"""In each of the two lines, at about 1 KB each: when the bus is gone, each of 10,000 Strategies tells it at once."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event that is to be written; `at` is Unix time in seconds."""

    regarding: Object
    note: Note
    at: float
    name: str

    @property
    def is_urgent(self) -> bool:
        """Whether no status tells it, or a person should see it."""
        return self.note.type == "Warning" or self.note.action != "Reconcile"


class Recorder:
    """Writes events in the background, those that are urgent first, each line in order."""

    def __init__(self, cluster: Cluster, instance: str, wall_clock: Callable[[], float] = time.time) -> None:
        self._cluster = cluster
        self._instance = instance
        self._wall_clock = wall_clock
        self._urgent, self._others = deque[Told](), deque[Told]()
        # Of transitions that this instance has told, the oldest first.
        self._names: dict[str, None] = {}
        self._arrived = asyncio.Event()
        self._ended = asyncio.Event()
        self._writing = 0

    def record(self, kind: str, metadata: Metadata, note: Note) -> None:
        """Takes an event to be written; dropped when too many wait already."""
        log.info(
            "event", kind=kind, namespace=metadata.namespace, name=metadata.name, reason=note.reason, text=note.text
        )
        told = Told(_regarding(kind, metadata), note, self._wall_clock(), self._name(metadata, note))
        line = self._urgent if told.is_urgent else self._others
        if len(line) >= MOST_WAITING:
            metrics.EVENTS_DROPPED.labels(note.reason, "queue_full").inc()
            log.warning("event_dropped", reason=note.reason)
            return
        line.append(told)
        self._arrived.set()

    def _name(self, metadata: Metadata, note: Note) -> str:
        """The name that another leader would give it, too; another name when it has happened again."""
        if not note.occasion:
            return _unique_name(metadata.name)
        identity = (metadata.uid, str(metadata.generation), note.action, note.type, note.reason, note.occasion)
        name = f"{metadata.name}.{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]}"
        if name in self._names:
            return _unique_name(metadata.name)
        self._names[name] = None
        if len(self._names) > MOST_NAMES:
            del self._names[next(iter(self._names))]
        return name

    async def run(self) -> None:
        """Writes until cancelled."""
        await together(*(self._write_on() for _ in range(WRITERS)))

    async def drain(self) -> None:
        """Writes what waits, now, and waits for what is being written: at shutdown."""
        await together(*(self._write_all() for _ in range(WRITERS)))
        while self._writing:
            self._ended.clear()
            await self._ended.wait()

    async def _write_on(self) -> None:
        while True:
            await self._write_all()
            self._arrived.clear()
            await self._arrived.wait()

    async def _write_all(self) -> None:
        while line := self._urgent or self._others:
            told = line.popleft()
            self._writing += 1
            try:
                await self._write(told)
            finally:
                self._writing -= 1
                self._ended.set()

    async def _write(self, told: Told) -> None:
        body, reason = event_body(told, self._instance), told.note.reason
        for tries in itertools.count():
            try:
                await self._create(told, body)
            except NamespaceTerminating:
                log.debug("event_not_written_namespace_ends", reason=reason)
                return
            except Conflict:
                pass  # it is there: the answer was lost, or the leader before has told it
            except ClusterUnavailable as error:
                if error.code == 0 or tries < len(PAUSES):
                    await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
                    continue
                self._lost(reason, "unavailable", error)
                return
            except ClusterError as error:
                self._lost(reason, "refused", error)
                return
            metrics.EVENTS.labels(reason).inc()
            return

    async def _create(self, told: Told, body: Object) -> None:
        namespace, name = told.regarding["namespace"], told.name
        try:
            await self._cluster.create(EVENTS, namespace, body)
        except Conflict:
            known = await self._cluster.find(EVENTS, namespace, name)
            if known is None or not known.get("eventTime") or told.at - unix_of(known["eventTime"]) < SAME_SECONDS:
                raise
            body["metadata"]["name"] = _unique_name(told.regarding["name"])
            await self._cluster.create(EVENTS, namespace, body)

    def _lost(self, reason: str, cause: str, error: ClusterError) -> None:
        metrics.EVENTS_DROPPED.labels(reason, cause).inc()
        log.warning("event_not_written", reason=reason, error=str(error))


def event_body(told: Told, instance: str) -> Object:
    """The Event object."""
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": told.name, "namespace": told.regarding["namespace"]},
        "eventTime": rfc3339_micro(told.at),
        "reportingController": FIELD_MANAGER,
        "reportingInstance": instance[:128],
        "action": told.note.action,
        "reason": told.note.reason,
        "type": told.note.type,
        "note": told.note.text[:1000],
        "regarding": told.regarding,
    }


def _unique_name(name: str) -> str:
    return f"{name}.{uuid.uuid4().hex[:16]}"


def _regarding(kind: str, metadata: Metadata) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "namespace": metadata.namespace,
        "name": metadata.name,
        "uid": metadata.uid,
        "resourceVersion": metadata.resource_version,
    }
