"""The operator's part of the audit trail: what people change, and what shows that no chain was tampered with.

The end of every writer's chain is kept where whoever tampers with the bus cannot change it (see audit_kept). An end
that is kept moves forward alone: a chain that ends before it, or does not hold that record any more, is reported, and
what is kept stays until a person takes the key away.

Beside them is kept, per namespace, what the trail said last about each resource, so that what changes while no operator
works is recorded by the next one that works there, in whichever shard. Only namespaces that this operator works in and
can read are compared. Where nothing is kept because there was no room for it, nothing is claimed: one record says that
it is not known. What an operator had told and not kept when it was killed is read from its chain.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import structlog

from crowetrade.audit.v1 import audit_pb2
from crowetrade_api.names import Kind
from crowetrade_operator import metrics
from crowetrade_operator.bus.nats import Bus
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.packed import Packed
from crowetrade_operator.cluster.relist import is_readable
from crowetrade_operator.cluster.resources import BY_KIND, Role
from crowetrade_operator.decide.changes import (
    REQUESTS,
    WHILE_AWAY,
    WHILE_UNREADABLE,
    Recorded,
    events_of,
    events_while_away,
    follow,
    recorded,
    unknown_while_away,
)
from crowetrade_operator.decide.kept_resources import NOT_KEPT, decode, encode
from crowetrade_operator.errors import BusUnavailable, ClusterError, Conflict
from crowetrade_operator.reconcile.audit_kept import Kept, Place
from crowetrade_operator.settings import Settings
from crowetrade_process.audit.chain import End
from crowetrade_process.audit.trail import Trail
from crowetrade_process.audit.verification import KEPT_CONFIG_MAPS, end_text, place_of, read_ends

log = structlog.get_logger()

KEEP_SECONDS = 30.0
RETRY_SECONDS = 2.0
FINISH_SECONDS = 1.0
FOLLOWED = 10_000
"""So many records of the chain are read at the start: more than wait in a trail and are told while one is kept."""
COMPARED_AT_ONCE = 20
"""So many resources are compared with what was said last in one turn of the event loop: some milliseconds."""
T = TypeVar("T")


class AuditRecord:
    """Records while this operator leads."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        bus: Bus,
        trail: Trail,
        settings: Settings,
        unreadable: Mapping[str, str],
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`unreadable` is why namespaces cannot be read, kept up to date; the empty name stands for all."""
        self._cache = cache
        self._bus = bus
        self._trail = trail
        self._works_in = settings.works_in
        self._unreadable = unreadable
        self._retention_ns = settings.streams.audit_retention_seconds * 10**9
        self._clock_ns = clock_ns
        self._kept = Kept(cluster, settings.operator_namespace)
        self.broken: dict[str, str] = {}
        """What is wrong with a chain, by writer."""
        self.is_caught_up = False
        """Whether it is recorded what changed while no operator worked."""
        # By namespace and uid: what the trail recorded last, and what was there when this operator began. Until the
        # second is compared with what was kept, the first holds only what has changed since.
        self._said: dict[str, dict[str, Recorded]] = {}
        self._found: dict[str, dict[str, Packed]] = {}
        self._changed_since = set[str]()
        # Not compared with what the trail said last, because they cannot or could not be read.
        self._away = set[str]()
        # Where nothing was kept because there was no room, and where something else is to be kept than before.
        self._unknown = set[Place]()
        self._unkept = set[Place]()
        self._began_ns = clock_ns()
        # An operator that ends does not end before what it writes meanwhile.
        self._writing = asyncio.Lock()
        for (_, namespace, _), packed in (found for kind in Kind for found in cache.all_packed(kind)):
            if self._can_read(namespace):
                self._found.setdefault(namespace, {})[packed.uid] = packed
            else:
                self._away.add(namespace)
        cache.listen(self._changed)

    def _can_read(self, namespace: str) -> bool:
        return is_readable(namespace, self._unreadable)

    def _changed(self, before: Object | None, after: Object | None) -> None:
        item = after or before
        assert item is not None
        if BY_KIND[item["kind"]].role is not Role.OWN:
            return
        namespace = _namespace_of(item)
        if not self._can_read(namespace) and (before is None or after is None):
            # It was not created or deleted: half of a namespace was read, or what was read of it is forgotten.
            self._away.add(namespace)
        elif namespace not in self._away:
            for event in events_of(before, after):
                self._trail.record(event)
            self._say(namespace, item["metadata"]["uid"], after)
        elif self._can_read(namespace) and self.is_caught_up:
            self._look_again(namespace)

    def _say(self, namespace: str, uid: str, item: Object | None) -> None:
        said = self._said.setdefault(namespace, {})
        before, after = said.pop(uid, None), recorded(item) if item is not None else None
        if after is not None:
            said[uid] = after
        if before != after:
            self._unkept.add((place_of(uid), namespace))
        if not self.is_caught_up:
            self._changed_since.add(uid)

    def _look_again(self, namespace: str) -> None:
        """Records what has changed in a namespace that can be read again."""
        found = {item["metadata"]["uid"]: item for kind in Kind for item in self._cache.all(kind, namespace)}
        known, unknown = self._known(namespace, found)
        said = self._said.get(namespace, {})
        for event in [*events_while_away(said, _only(found, known), WHILE_UNREADABLE), *unknown]:
            self._trail.record(event, by_itself=True)
        for uid in said.keys() | found.keys():
            self._say(namespace, uid, found.get(uid))
        self._away.discard(namespace)

    def _known(self, namespace: str, uids: Iterable[str]) -> tuple[set[str], list[audit_pb2.AuditEvent]]:
        """What can be compared of what was found; that something cannot is an event."""
        unknown = {place for place in self._unknown if place[1] == namespace}
        self._unknown -= unknown
        self._unkept |= unknown
        known = {uid for uid in uids if (place_of(uid), namespace) not in unknown}
        return known, [unknown_while_away(namespace)] if unknown else []

    async def run(self) -> None:
        """Keeps what must be kept, until cancelled."""
        await self._first_read()
        await self._catch_up()
        for turn in itertools.count():
            try:
                # What a start has added to the trail is kept with what follows: a restart writes nothing by itself.
                await self.keep(writes=turn > 0)
            except (ClusterError, BusUnavailable, ValueError) as error:
                log.warning("audit_ends_not_kept", error=str(error))
            await asyncio.sleep(KEEP_SECONDS)

    async def finish(self) -> None:
        """Keeps what the trail has told of resources, when all of it comes to the bus: who works here next would tell
        it again. Called while the Lease is held."""
        if not self.is_caught_up:
            return
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await self._trail.settle()
                while not await self._is_written(self._ends_at_the_end()):
                    await self._kept.read()
        except (ClusterError, TimeoutError, ValueError) as error:
            log.warning("audit_resources_not_kept_at_the_end", error=str(error) or type(error).__name__)

    def _ends_at_the_end(self) -> dict[str, str]:
        """With the end of the own chain, from where the next operator reads on, if something else is kept there."""
        if not self._unkept:
            return self._kept.ends
        ends, own, writer = read_ends(self._kept.ends), self._trail.end, self._trail.writer
        if own is not None and writer not in self.broken and (writer not in ends or ends[writer].place < own.place):
            ends[writer] = own
        return {writer: end_text(end) for writer, end in ends.items()}

    async def keep(self, *, writes: bool = True) -> None:
        """Looks at every chain once and keeps its end, and what the trail has told of resources, unless `writes` is
        false. At rest it asks the bus alone. Raises ClusterError, BusUnavailable, and ValueError where what is kept
        cannot be read."""
        for namespace in sorted(filter(self._can_read, self._away)):
            self._look_again(namespace)
        broken, wanted = await self._judge()
        if broken:
            # A person may have taken away what was kept.
            await self._kept.read()
            broken, wanted = await self._judge()
        self._tell(broken)
        while writes and not await self._is_written(wanted):
            await self._kept.read()
            broken, wanted = await self._judge()
            self._tell(broken)

    async def _judge(self) -> tuple[dict[str, str], dict[str, str]]:
        """What is wrong with which chain, and which ends are to be kept."""
        kept = read_ends(self._kept.ends)
        # After what is kept was read: another operator may have kept a later end than was there before.
        found = await self._bus.audit_ends()
        broken = {writer: why for writer, end in kept.items() if (why := await self._missing(end, found.get(writer)))}
        ends = {writer: end for writer, end in kept.items() if writer in broken}
        ends |= {writer: end for writer, end in found.items() if writer not in broken and end.head.sequence}
        return broken, {writer: end_text(end) for writer, end in ends.items()}

    async def _is_written(self, ends: Mapping[str, str]) -> bool:
        """Writes; false when another operator has written since it was read: those of other shards do, each at most
        once in KEEP_SECONDS."""
        async with self._writing:
            try:
                await self._write(ends)
            except Conflict:
                return False
        return True

    async def _write(self, ends: Mapping[str, str]) -> None:
        unkept = set[Place]()
        if self._trail.settled:  # what is not on the bus may never come there
            unkept = {place for place in self._unkept if place[1] not in self._trail.summing}
            self._unkept -= unkept
        of = {place: self._said_in(place) for place in unkept}
        try:
            # In a thread: what takes longest, the compression, lets others work.
            texts = await asyncio.to_thread(lambda: {place: encode(said) if said else "" for place, said in of.items()})
            await self._kept.write(ends, texts)
        except BaseException:
            self._unkept |= unkept
            raise

    def _said_in(self, place: Place) -> dict[str, Recorded]:
        number, namespace = place
        return {uid: item for uid, item in self._said.get(namespace, {}).items() if place_of(uid) == number}

    async def _missing(self, kept: End, found: End | None) -> str:
        """Why a chain is not the one whose end is kept; empty when it is, or when that record has expired."""
        if found == kept:
            return ""
        if kept.head.recorded_unix_ns + self._retention_ns < self._clock_ns():
            return ""
        ends_with = found.head.sequence if found is not None else 0
        if ends_with < kept.head.sequence:
            return f"ends with record {ends_with}, and record {kept.head.sequence} was there: its end was cut off"
        if not await self._bus.has_audit_record(kept.place, kept.head.record_hash):
            return f"does not hold record {kept.head.sequence} any more, which was there: it was written again"
        return ""

    def _tell(self, broken: Mapping[str, str]) -> None:
        for writer, why in broken.items():
            if writer not in self.broken:
                name = KEPT_CONFIG_MAPS[place_of(writer)]
                log.error("audit_chain_broken", writer=writer, why=why, kept_in=name, hint="crowetrade audit verify")
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

    async def _catch_up(self) -> None:
        """Records what has changed while no operator worked. Of a namespace of which nothing was kept this is the first
        one."""
        kept: dict[str, dict[str, Recorded]] = {}
        for place, text in self._kept.resources():
            number, namespace = place
            if not self._works_in(namespace):
                continue
            of_namespace = kept.setdefault(namespace, {})
            try:
                of_namespace |= decode(namespace, text)
            except ValueError as error:
                self._unknown.add(place)
                if text != NOT_KEPT:
                    hint = f"look at ConfigMap {KEPT_CONFIG_MAPS[number]}"
                    log.error("audit_resources_unreadable", error=str(error), hint=hint)
        await self._follow(kept)
        found, self._found = self._found, {}
        for namespace in sorted(kept.keys() | found.keys()):
            if namespace in self._away or not self._can_read(namespace):
                self._away.add(namespace)
                self._said[namespace] = kept.get(namespace, {})
            else:
                await self._catch_up_in(namespace, kept.get(namespace, {}), found.get(namespace, {}))
        self.is_caught_up = True
        self._changed_since.clear()

    async def _follow(self, kept: dict[str, dict[str, Recorded]]) -> None:
        """Takes over what the chain tells after its end that is kept: an operator that is killed has not kept it."""
        changed = asyncio.Event()
        self._bus.on_connection(changed.set)
        while True:
            changed.clear()
            try:
                events = await self._told_since()
            except BusUnavailable as error:
                log.info("audit_chain_not_read", error=str(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_SECONDS):
                        await changed.wait()
            else:
                break
        for event in events:
            if self._works_in(event.namespace) and (place_of(event.uid), event.namespace) not in self._unknown:
                follow(kept.setdefault(event.namespace, {}), event)

    async def _told_since(self) -> list[audit_pb2.AuditEvent]:
        """Nothing where it is not known how that follows what is kept. Raises BusUnavailable."""
        try:
            end = read_ends(self._kept.ends).get(self._trail.writer)
        except ValueError:
            return []
        if end is None and any(self._kept.resources()):
            return []
        if end is not None and not await self._bus.has_audit_record(end.place, end.head.record_hash):
            return []
        events = []
        async for event in self._bus.audit_events_after(self._trail.writer, end.place if end is not None else 0):
            # Later than this process began it has written itself, or a replica that is asked and whose clock is ahead:
            # what the operator before it told may follow.
            if event.action in REQUESTS or event.at_unix_ns >= self._began_ns:
                continue
            events.append(event)
            if len(events) > FOLLOWED:
                return []
        return events

    async def _catch_up_in(self, namespace: str, kept: Mapping[str, Recorded], packed: Mapping[str, Packed]) -> None:
        known, unknown = self._known(namespace, packed)
        everything = [*packed, *(kept.keys() - packed.keys())]
        for begin in range(0, len(everything), COMPARED_AT_ONCE):
            uids = everything[begin : begin + COMPARED_AT_ONCE]
            found = {uid: one.open() for uid, one in _only(packed, uids).items()}
            for event in events_while_away(_only(kept, uids), _only(found, known & found.keys()), WHILE_AWAY):
                # The first operator may find more than the queue holds.
                await self._trail.room()
                self._trail.record(event, by_itself=True)
            for uid in uids:
                said = recorded(found[uid]) if uid in found else None
                if kept.get(uid) != said:
                    self._unkept.add((place_of(uid), namespace))
                if said is not None and uid not in self._changed_since:
                    self._said.setdefault(namespace, {})[uid] = said
            # Ten thousand in a row would keep the loop from the Lease.
            await asyncio.sleep(0)
        for event in unknown:
            self._trail.record(event, by_itself=True)

    async def _first_read(self) -> None:
        while True:
            try:
                return await self._kept.read()
            except ClusterError as error:
                log.warning("audit_ends_not_read", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)


def _only(of: Mapping[str, T], uids: Iterable[str]) -> dict[str, T]:
    return {uid: of[uid] for uid in uids if uid in of}


def _namespace_of(item: Object) -> str:
    return str(item["metadata"].get("namespace", ""))
