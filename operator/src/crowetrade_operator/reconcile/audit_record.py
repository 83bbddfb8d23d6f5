"""The operator's part of the audit trail: what people change, and what shows that no chain was tampered with.

The end of every writer's chain is kept in a ConfigMap, which whoever tampers with the bus cannot change. An end that is
kept moves forward alone: a chain that ends before it, or does not hold that record any more, is told, and what is kept
stays until a person takes the key away. Beside them is kept what the trail said last about each resource, so that what
changes while no operator works is recorded by the next one.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple
from typing import Any

import structlog

from crowetrade.audit.v1 import audit_pb2
from crowetrade_api.names import Kind
from crowetrade_operator import metrics
from crowetrade_operator.bus.nats import Bus
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.resources import BY_KIND, CONFIG_MAPS, Role
from crowetrade_operator.decide.changes import Recorded, events_of, events_while_away, recorded
from crowetrade_operator.errors import BusUnavailable, ClusterError, NotFound
from crowetrade_process.audit.chain import End
from crowetrade_process.audit.trail import Trail
from crowetrade_process.audit.verification import KEPT_CONFIG_MAP, RESOURCES_KEY, end_text, read_ends

log = structlog.get_logger()

KEEP_SECONDS = 30.0
RETRY_SECONDS = 2.0
MAX_RESOURCES_BYTES = 700_000
"""A ConfigMap holds 1 MiB."""


class AuditRecord:
    """Records while this operator leads."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        bus: Bus,
        trail: Trail,
        namespace: str,
        retention_seconds: int,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`namespace` is the operator's."""
        self._cluster = cluster
        self._bus = bus
        self._trail = trail
        self._namespace = namespace
        self._retention_ns = retention_seconds * 10**9
        self._clock_ns = clock_ns
        self._data: dict[str, str] = {}
        self.broken: dict[str, str] = {}
        """What is wrong with a chain, by writer."""
        self._found = {item["metadata"]["uid"]: item for kind in Kind for item in cache.of_kind(kind)}
        self._resources = {uid: recorded(item) for uid, item in self._found.items()}
        cache.listen(self._changed)

    def _changed(self, before: Object | None, after: Object | None) -> None:
        item = after or before
        assert item is not None
        if BY_KIND[item["kind"]].role is not Role.OWN:
            return
        for event in events_of(before, after):
            self._trail.record(event)
        if after is None:
            self._resources.pop(item["metadata"]["uid"], None)
        else:
            self._resources[item["metadata"]["uid"]] = recorded(after)

    async def run(self) -> None:
        """Keeps what must be kept, until cancelled."""
        self._data = await self._first_read()
        self._catch_up(self._data)
        for turn in itertools.count():
            try:
                # What a start has added to the trail is kept with what follows: a restart writes nothing by itself.
                await self.keep(writes=turn > 0)
            except (ClusterError, BusUnavailable, ValueError) as error:
                log.warning("audit_ends_not_kept", error=str(error))
            await asyncio.sleep(KEEP_SECONDS)

    async def keep(self, *, writes: bool = True) -> None:
        """Looks at every chain once and keeps its end, unless `writes` is false. At rest it asks the bus alone. Raises
        ClusterError, BusUnavailable, and ValueError where what is kept cannot be read."""
        found = await self._bus.audit_ends()
        broken, wanted = await self._judge(found)
        if broken or wanted != self._data:
            # A person may have taken away what was kept.
            self._data = await self._read()
            broken, wanted = await self._judge(found)
        self._tell(broken)
        if writes and wanted != self._data:
            await self._write(wanted)

    async def _judge(self, found: Mapping[str, End]) -> tuple[dict[str, str], dict[str, str]]:
        """What is wrong with which chain, and what is to be kept."""
        kept = read_ends(self._data)
        broken = {writer: why for writer, end in kept.items() if (why := await self._missing(end, found.get(writer)))}
        ends = {writer: end for writer, end in kept.items() if writer in broken}
        ends |= {writer: end for writer, end in found.items() if writer not in broken and end.head.sequence}
        return broken, {writer: end_text(end) for writer, end in ends.items()} | {RESOURCES_KEY: self._kept_resources()}

    def _kept_resources(self) -> str:
        text = json.dumps({uid: astuple(item) for uid, item in sorted(self._resources.items())})
        if len(text) > MAX_RESOURCES_BYTES:
            log.warning("audit_resources_not_kept", hint="there are more resources than a ConfigMap can hold")
            return "{}"
        return text

    async def _missing(self, kept: End, found: End | None) -> str:
        """Why a chain is not the one whose end is kept; empty when it is, or when that record has expired."""
        if kept.head.recorded_unix_ns + self._retention_ns < self._clock_ns():
            return ""
        ends_with = found.head.sequence if found is not None else 0
        if ends_with < kept.head.sequence:
            return f"ends with record {ends_with}, and record {kept.head.sequence} was there: its end was cut off"
        if not await self._bus.has_audit_record(kept.place, kept.head.record_hash):
            return f"does not hold record {kept.head.sequence} any more, which was there: it was written anew"
        return ""

    def _tell(self, broken: Mapping[str, str]) -> None:
        for writer, why in broken.items():
            if writer not in self.broken:
                log.error("audit_chain_broken", writer=writer, why=why, hint="crowetrade audit verify")
                self._trail.record(
                    audit_pb2.AuditEvent(
                        action=audit_pb2.ACTION_CHAIN_BELOW_RECORD,
                        actor=self._trail.writer,
                        proof=audit_pb2.ACTOR_PROOF_SELF,
                        reason=f"the chain of {writer} {why}",
                    )
                )
        self.broken = dict(broken)
        metrics.AUDIT_CHAINS_BROKEN.set(len(broken))

    def _catch_up(self, data: Mapping[str, str]) -> None:
        """Records what has changed while no operator worked. Without anything that was kept it is the first one."""
        found, self._found = self._found, {}
        try:
            kept = {uid: Recorded(*fields) for uid, fields in json.loads(data.get(RESOURCES_KEY, "{}")).items()}
        except (ValueError, TypeError, AttributeError) as error:
            log.error("audit_resources_unreadable", error=str(error), hint=f"look at ConfigMap {KEPT_CONFIG_MAP}")
            kept = {}
        for event in events_while_away(kept, found):
            self._trail.record(event)

    async def _first_read(self) -> dict[str, str]:
        while True:
            try:
                return await self._read()
            except ClusterError as error:
                log.warning("audit_ends_not_read", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _read(self) -> dict[str, str]:
        try:
            found = await self._cluster.get(CONFIG_MAPS, self._namespace, KEPT_CONFIG_MAP)
        except NotFound:
            return {}
        return dict(found.get("data") or {})

    async def _write(self, data: dict[str, str]) -> None:
        body: dict[str, Any] = {
            "apiVersion": CONFIG_MAPS.api_version,
            "kind": CONFIG_MAPS.kind,
            "metadata": {"name": KEPT_CONFIG_MAP, "namespace": self._namespace},
            "data": data,
        }
        await self._cluster.apply(body)
        self._data = data
