"""Events about pods that do not start or were evicted, read when nothing else tells why: see decide/pod_failures.py.

They are read for a whole namespace at once and not more often than each READ_SECONDS, whatever the number of its pods.
Nothing is read while there is no such pod.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import structlog

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object, PodWarning
from crowetrade_operator.cluster.resources import CONFIG_MAPS, EVENTS
from crowetrade_operator.errors import ClusterError

log = structlog.get_logger()

READ_SECONDS = 10.0
"""How old what is known may be."""
ANSWER_SECONDS = 5.0
ASKED_SECONDS = 600.0
"""So long keys of a ConfigMap are kept that nobody has asked for."""
_REASONS = ("FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox", "Evicted")
_SELECTOR = "type=Warning,regarding.kind=Pod"
_LEAST = "Unable to attach or mount volumes"
"""Sums up what other events have said better."""


@dataclass(slots=True)
class _Known:
    """What is known of a namespace, with the times at which it was read."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    read_at: float = float("-inf")
    warnings: dict[str, PodWarning] = field(default_factory=dict)
    # By ConfigMap.
    keys: dict[str, tuple[float, list[str] | None]] = field(default_factory=dict)


class PodEvents:
    """The last warnings about the pods of each namespace."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._known: defaultdict[str, _Known] = defaultdict(_Known)

    def namespaces(self) -> list[str]:
        """Those of which something is known."""
        return list(self._known)

    def forget(self, namespace: str) -> None:
        """Nothing of ours is left in it."""
        self._known.pop(namespace, None)

    async def warnings(self, namespace: str) -> dict[str, PodWarning]:
        """By uid of the pod: what keeps it from starting. What cannot be read stays as it was."""
        known = self._known[namespace]
        async with known.lock:
            if self._clock() - known.read_at < READ_SECONDS:
                return known.warnings
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    events, _ = await self._cluster.list(EVENTS, namespace, fields=_SELECTOR)
                known.warnings = _last(events)
            except (ClusterError, TimeoutError) as error:
                log.warning("pod_events_not_read", namespace=namespace, error=str(error))
            known.read_at = self._clock()
            return known.warnings

    async def keys(self, namespace: str, config_map: str) -> list[str] | None:
        """Keys of a ConfigMap of users; None when it is not there or cannot be read."""
        known = self._known[namespace]
        async with known.lock:
            at, keys = known.keys.get(config_map, (float("-inf"), None))
            if self._clock() - at < READ_SECONDS:
                return keys
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    found, _ = await self._cluster.list(CONFIG_MAPS, namespace, fields=f"metadata.name={config_map}")
                keys = [*(found[0].get("data") or {}), *(found[0].get("binaryData") or {})] if found else None
            except (ClusterError, TimeoutError) as error:
                log.warning("config_map_keys_not_read", namespace=namespace, name=config_map, error=str(error))
            now = self._clock()
            # Names of ConfigMaps may change with their content, so those that nobody asks for go.
            known.keys = {name: item for name, item in known.keys.items() if now - item[0] < ASKED_SECONDS}
            known.keys[config_map] = now, keys
            return keys


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
