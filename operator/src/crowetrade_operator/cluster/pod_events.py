"""Events about pods that do not start, read when a pod is stuck: a volume that cannot be mounted is told nowhere else.

They are read for a whole namespace at once and not more often than each READ_SECONDS, whatever the number of its pods.
Nothing is read while no pod is stuck.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import structlog

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object, PodWarning
from crowetrade_operator.cluster.resources import CONFIG_MAPS, EVENTS
from crowetrade_operator.errors import ClusterError

log = structlog.get_logger()

READ_SECONDS = 10.0
"""How old what is known may be."""
ANSWER_SECONDS = 5.0
_REASONS = ("FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox")
_SELECTOR = "type=Warning,regarding.kind=Pod"
_LEAST = "Unable to attach or mount volumes"
"""Sums up what other events have said better."""


class PodEvents:
    """The last warnings about the pods of each namespace."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._read: dict[str, tuple[float, dict[str, PodWarning]]] = {}
        self._keys: dict[tuple[str, str], tuple[float, list[str] | None]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def warnings(self, namespace: str) -> dict[str, PodWarning]:
        """By uid of the pod: what keeps it from starting. What cannot be read stays as it was."""
        async with self._locks[namespace]:
            at, known = self._read.get(namespace, (float("-inf"), {}))
            if self._clock() - at < READ_SECONDS:
                return known
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    events, _ = await self._cluster.list(EVENTS, namespace, fields=_SELECTOR)
                known = _last(events)
            except (ClusterError, TimeoutError) as error:
                log.warning("pod_events_not_read", namespace=namespace, error=str(error))
            self._read[namespace] = self._clock(), known
            return known

    async def keys(self, namespace: str, config_map: str) -> list[str] | None:
        """Keys of a ConfigMap of users; None when it is not there or cannot be read."""
        async with self._locks[namespace]:
            at, known = self._keys.get((namespace, config_map), (float("-inf"), None))
            if self._clock() - at < READ_SECONDS:
                return known
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    found, _ = await self._cluster.list(CONFIG_MAPS, namespace, fields=f"metadata.name={config_map}")
                known = [*(found[0].get("data") or {}), *(found[0].get("binaryData") or {})] if found else None
            except (ClusterError, TimeoutError) as error:
                log.warning("config_map_keys_not_read", namespace=namespace, name=config_map, error=str(error))
            self._keys[namespace, config_map] = self._clock(), known
            return known


def _last(events: Iterable[Object]) -> dict[str, PodWarning]:
    """By uid of the pod, the latest; but those that say which volume it is before those that do not."""
    found: dict[str, PodWarning] = {}
    for event in sorted(events, key=lambda item: (not _note(item).startswith(_LEAST), _time(item))):
        if event.get("reason") in _REASONS:
            found[str(event["regarding"].get("uid", ""))] = PodWarning(event["reason"], _note(event))
    return found


def _note(event: Object) -> str:
    return str(event.get("note") or "")


def _time(event: Object) -> str:
    """When it happened last: the kubelet still writes the older form of events."""
    series = (event.get("series") or {}).get("lastObservedTime")
    return str(series or event.get("deprecatedLastTimestamp") or event.get("eventTime") or "")
