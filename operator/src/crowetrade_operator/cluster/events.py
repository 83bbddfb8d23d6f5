"""Kubernetes events (events.k8s.io/v1), written on transitions only.

Losing one loses no state, so failures are logged and left.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable

import structlog

from crowetrade_api.names import API_VERSION, FIELD_MANAGER
from crowetrade_api.v1alpha1.meta import Metadata
from crowetrade_operator import metrics
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Note, Object
from crowetrade_operator.cluster.resources import EVENTS
from crowetrade_operator.cluster.times import rfc3339_micro
from crowetrade_operator.errors import ClusterError, ClusterUnavailable, Conflict, NamespaceTerminating

log = structlog.get_logger()

PAUSES = (0.5, 2.0, 5.0)
"""Seconds between tries to write one event; others wait behind it."""


class Recorder:
    """Writes events behind the reconcilers' backs, in order, one at a time."""

    def __init__(self, cluster: Cluster, instance: str, wall_clock: Callable[[], float] = time.time) -> None:
        self._cluster = cluster
        self._instance = instance
        self._wall_clock = wall_clock
        self._queue: asyncio.Queue[tuple[str, Metadata, Note]] = asyncio.Queue(maxsize=1000)

    def record(self, kind: str, metadata: Metadata, note: Note) -> None:
        """Takes an event to be written; dropped when a thousand wait already."""
        log.info(
            "event", kind=kind, namespace=metadata.namespace, name=metadata.name, reason=note.reason, text=note.text
        )
        try:
            self._queue.put_nowait((kind, metadata, note))
        except asyncio.QueueFull:
            log.warning("event_dropped", reason=note.reason)

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            kind, metadata, note = await self._queue.get()
            await self._write(kind, metadata, note)

    async def drain(self) -> None:
        """Writes what waits, now: at shutdown."""
        while not self._queue.empty():
            await self._write(*self._queue.get_nowait())

    async def _write(self, kind: str, metadata: Metadata, note: Note) -> None:
        body = event_body(kind, metadata, note, self._instance, rfc3339_micro(self._wall_clock()))
        for pause in (*PAUSES, None):
            try:
                await self._cluster.create(EVENTS, metadata.namespace, body)
            except NamespaceTerminating:
                log.debug("event_not_written_namespace_ends", reason=note.reason)
                return
            except Conflict:
                pass  # it has been written, and the answer was lost
            except ClusterUnavailable as error:
                if pause is not None:
                    await asyncio.sleep(pause)
                    continue
                log.warning("event_not_written", reason=note.reason, error=str(error))
                return
            except ClusterError as error:
                log.warning("event_not_written", reason=note.reason, error=str(error))
                return
            metrics.EVENTS.labels(note.reason).inc()
            return


def event_body(kind: str, metadata: Metadata, note: Note, instance: str, now: str) -> Object:
    """The Event object."""
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{metadata.name}.{uuid.uuid4().hex[:16]}", "namespace": metadata.namespace},
        "eventTime": now,
        "reportingController": FIELD_MANAGER,
        "reportingInstance": instance[:128],
        "action": note.action,
        "reason": note.reason,
        "type": note.type,
        "note": note.text[:1000],
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": kind,
            "namespace": metadata.namespace,
            "name": metadata.name,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        },
    }
