"""What the operator keeps of the audit trail, in ConfigMaps of its own namespace.

Each of them holds the ends of some chains (data, a key per writer) and some resources of each namespace (binaryData, a
key per namespace). They are written by merge patch and compare-and-set: operators of several shards write to them,
each the keys of its own namespaces, and none takes back what another has written. What one ConfigMap cannot hold is not
kept, resources first, and the key says so.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.resources import CONFIG_MAPS
from crowetrade_operator.decide.kept_resources import NOT_KEPT
from crowetrade_operator.errors import NotFound
from crowetrade_process.audit.verification import KEPT_CONFIG_MAPS, place_of

log = structlog.get_logger()

MAX_BYTES = 900_000
"""Of what one ConfigMap keeps. The API server takes 1 MiB, and etcd 1.5 MiB together with metadata."""

FORMER_KEY = "resources"
"""Of data, under which earlier operators kept the resources of all namespaces: goes with the first write."""

Place = tuple[int, str]
"""Number of the ConfigMap and namespace: where some resources of the namespace are kept."""


@dataclass(slots=True)
class _Part:
    """One ConfigMap, as it was read or written last; without a version it is not there."""

    version: str = ""
    ends: dict[str, str] = field(default_factory=dict)
    resources: dict[str, str] = field(default_factory=dict)

    def take(self, item: Object) -> None:
        self.version = item["metadata"]["resourceVersion"]
        self.ends = dict(item.get("data") or {})
        self.resources = dict(item.get("binaryData") or {})


class Kept:
    """All of them."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._parts = [_Part() for _ in KEPT_CONFIG_MAPS]
        self._refused = frozenset[str]()

    @property
    def ends(self) -> dict[str, str]:
        """Text of each chain's end, by writer."""
        found = dict(itertools.chain.from_iterable(part.ends.items() for part in self._parts))
        found.pop(FORMER_KEY, None)
        return found

    def resources(self) -> Iterator[tuple[Place, str]]:
        """What is kept of each namespace, and where."""
        for number, part in enumerate(self._parts):
            for namespace, text in part.resources.items():
                yield (number, namespace), text

    async def read(self) -> None:
        """Reads all. Raises ClusterError."""
        for number, name in enumerate(KEPT_CONFIG_MAPS):
            part = _Part()
            with contextlib.suppress(NotFound):
                part.take(await self._cluster.get(CONFIG_MAPS, self._namespace, name))
            self._parts[number] = part

    async def write(self, ends: Mapping[str, str], resources: Mapping[Place, str]) -> None:
        """Keeps these ends and no others, and of these places this, nothing where the text is empty. What is kept
        already is not written again. Raises ClusterError; Conflict where another one has written since it was read.

        An operator may be killed between two ConfigMaps, so what belongs elsewhere is taken away last."""
        refused = set[str]()
        for number, part in sorted(enumerate(self._parts), key=lambda item: _holds_others(*item)):
            wanted_ends = {writer: text for writer, text in ends.items() if place_of(writer) == number}
            here = {namespace: text for (place, namespace), text in resources.items() if place == number}
            wanted = {namespace: text for namespace, text in (part.resources | here).items() if text}
            refused |= _fit(part, wanted_ends, wanted)
            changes = {"data": _changes(part.ends, wanted_ends), "binaryData": _changes(part.resources, wanted)}
            if any(changes.values()):
                part.take(await self._send(number, part, changes))
                self._log_not_kept(number, changes["binaryData"])
        if refused - self._refused:
            log.error("audit_writers_not_kept", writers=sorted(refused), hint="there are too many writers")
        self._refused = frozenset(refused)

    async def _send(self, number: int, part: _Part, changes: dict[str, dict[str, str | None]]) -> Object:
        name = KEPT_CONFIG_MAPS[number]
        if part.version:
            metadata = {"resourceVersion": part.version}
            return await self._cluster.merge(CONFIG_MAPS, self._namespace, name, {"metadata": metadata, **changes})
        body: dict[str, Any] = {
            "apiVersion": CONFIG_MAPS.api_version,
            "kind": CONFIG_MAPS.kind,
            "metadata": {"name": name, "namespace": self._namespace},
            **changes,
        }
        return await self._cluster.create(CONFIG_MAPS, self._namespace, body)

    def _log_not_kept(self, number: int, changes: Mapping[str, str | None]) -> None:
        if namespaces := sorted(namespace for namespace, text in changes.items() if text == NOT_KEPT):
            log.warning(
                "audit_resources_not_kept",
                config_map=KEPT_CONFIG_MAPS[number],
                namespaces=namespaces,
                hint="there is more than a ConfigMap can hold: changes while no operator works are not found there",
            )


def _holds_others(number: int, part: _Part) -> bool:
    """Whether ends stand there that belong into another ConfigMap, as earlier operators kept all in one."""
    return any(place_of(writer) != number for writer in part.ends)


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """As a merge patch."""
    changed: dict[str, str | None] = {key: text for key, text in after.items() if before.get(key) != text}
    return changed | dict.fromkeys(before.keys() - after.keys())


def _fit(part: _Part, ends: dict[str, str], resources: dict[str, str]) -> set[str]:
    """Takes away what there is no room for: the largest namespaces, and then ends that were not kept before, which are
    returned."""
    size = sum(len(key) + len(text) for key, text in ends.items())
    size += sum(len(key) + _decoded(text) for key, text in resources.items())
    for namespace in sorted(resources, key=lambda key: -len(resources[key])):
        if size <= MAX_BYTES:
            break
        size -= _decoded(resources[namespace]) - _decoded(NOT_KEPT)
        resources[namespace] = NOT_KEPT
    refused = set[str]()
    for writer in sorted(ends.keys() - part.ends.keys(), reverse=True):
        if size <= MAX_BYTES:
            break
        size -= len(writer) + len(ends.pop(writer))
        refused.add(writer)
    return refused


def _decoded(text: str) -> int:
    """Bytes of what is in base64: they are what counts."""
    return len(text) * 3 // 4
