"""Writes children: what differs from what is wanted is applied, what others have changed is repaired and told.

A child is ours when its controller reference has the uid of its owner. An object of somebody else with the name of a
child is left as it is, which the owner's status tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import structlog

from crowetrade_api.names import Key
from crowetrade_api.v1alpha1.meta import Metadata
from crowetrade_operator import metrics
from crowetrade_operator.cluster.cache import Address, Cache, address_of, owner_key
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.compare import (
    controller_uid,
    drifts,
    has_content,
    with_hash,
    without_others,
)
from crowetrade_operator.cluster.events import Recorder
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.packed import Packed
from crowetrade_operator.cluster.resources import BY_KIND
from crowetrade_operator.decide import repairs
from crowetrade_operator.decide.last_applied import has_record, with_record
from crowetrade_operator.decide.plan import Refusal
from crowetrade_operator.errors import ClusterRefused, Conflict, NamespaceTerminating, WebhookSilent
from crowetrade_operator.reconcile.writes import Writes

log = structlog.get_logger()

NAME_TAKEN_SECONDS = 3.0
"""How soon to look again whether a name is free: the watch brings only objects with our label."""
REFUSED_SECONDS = 30.0
"""A refusal may be gone when a quota is raised: look again, but not often."""
SILENT_SECONDS = 5.0
"""A webhook that does not answer may be just starting."""


@dataclass(slots=True)
class Applied:
    """What came of applying the children of a resource."""

    refusal: Refusal | None = None
    # Seconds after which to look again because something could not be written now.
    requeue_after_seconds: float | None = None

    def look_again(self, seconds: float) -> None:
        """The earliest time counts."""
        earlier = self.requeue_after_seconds
        self.requeue_after_seconds = seconds if earlier is None else min(earlier, seconds)


@dataclass(slots=True)
class ChildWriter:
    """Writes children of all owners."""

    cluster: Cluster
    cache: Cache
    recorder: Recorder
    writes: Writes = field(default_factory=Writes)
    # Children that somebody else deleted, by the uid of their owner for as long as it is there: what the garbage
    # collector takes after it is no repair for the next owner of that name.
    _deleted: dict[str, set[Address]] = field(default_factory=dict)
    # uids of those that we have deleted.
    _unwanted: set[str] = field(default_factory=set)
    _creating: set[Address] = field(default_factory=set)
    # Each child as it was when nothing of it differed: what has the same content, and is the same object of the cache,
    # is not compared again.
    _unchanged: dict[Address, Packed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cache.listen(self._changed)

    def creates(self, item: Object) -> bool:
        """Whether a reconcile is just creating it, and goes on with it: nothing else is to be decided from that."""
        return address_of(item) in self._creating

    def is_ours(self, item: Object, owner: Metadata) -> bool:
        """Whether the owner controls it."""
        return controller_uid(item) == owner.uid

    async def apply(self, key: Key, owner: Metadata, children: Sequence[Object]) -> Applied:
        """Applies what differs. What is refused (quota, admission, immutable field, a name that is taken) becomes words
        for the status, and later children wait: each may need those before it."""
        done = Applied()
        for child in children:
            try:
                await self._bring(key, owner, with_hash(child), done, children)
            except (ClusterRefused, WebhookSilent) as error:
                note_refusal(done, child, error)
            if done.refusal is not None:
                break
        return done

    async def delete(self, item: Object, done: Applied) -> bool:
        """Deletes a child that is not wanted any more; whether it was. A refusal becomes words for the status."""
        metadata = item["metadata"]
        self._unwanted.add(metadata["uid"])
        try:
            await self.cluster.delete(BY_KIND[item["kind"]], metadata["namespace"], metadata["name"], metadata["uid"])
        except (ClusterRefused, WebhookSilent) as error:
            self._unwanted.discard(metadata["uid"])
            note_refusal(done, item, error, "the deletion of ")
            return False
        log.info("deleted", kind=item["kind"], namespace=metadata["namespace"], name=metadata["name"])
        return True

    async def _bring(
        self, key: Key, owner: Metadata, desired: Object, done: Applied, children: Sequence[Object]
    ) -> None:
        address = address_of(desired)
        live = self.cache.get(*address)
        if live is None:
            wait = self.writes.seconds_until_repair(address) if self._is_deleted(owner, address) else 0.0
            if wait:
                done.look_again(wait)
                return
            live = await self._create(key, owner, with_record(desired, children))
            if live is None:
                return
        if not self._may_write(desired, live, owner):
            done.refusal = repairs.taken(desired, key)
            done.look_again(NAME_TAKEN_SECONDS)
            return
        await self._update(key, owner, desired, live, done, children)

    def _may_write(self, desired: Object, live: Object, owner: Metadata) -> bool:
        """Ours, or it has our content, which names the owner's uid, and somebody took its owner away."""
        return self.is_ours(live, owner) or (not controller_uid(live) and has_content(desired, live))

    async def _create(self, key: Key, owner: Metadata, desired: Object) -> Object | None:
        """Creates it, or returns the object that is there although the watch, which selects our label, has not brought
        it."""
        address = address_of(desired)
        self._creating.add(address)
        try:
            self._stored(await self.cluster.apply_new(desired), "create")
        except Conflict:
            live = await self.cluster.find(BY_KIND[desired["kind"]], address[1], address[2])
            if live is None:  # gone since: the reconcile is repeated
                raise
            return live
        finally:
            self._creating.discard(address)
        if self._is_deleted(owner, address):
            self._forget_deleted(owner, address)
            self.writes.wrote(address, repair=True)
            self._tell(key, owner, repairs.made_again(desired), address)
        return None

    async def _update(
        self, key: Key, owner: Metadata, desired: Object, live: Object, done: Applied, children: Sequence[Object]
    ) -> None:
        address, current = address_of(desired), has_content(desired, live)
        packed = self.cache.packed(*address)
        known = packed is not None and self._unchanged.get(address) is packed
        found = drifts(desired, live) if current and not known else []
        if current and not found and (known or has_record(live)):
            if packed is not None:
                self._unchanged[address] = packed
            metrics.APPLIES_SKIPPED.inc()
            return
        wait = self.writes.seconds_until_repair(address) if current else 0.0
        if wait:
            done.look_again(wait)
            return
        stored = await self._apply(with_record(desired, children), live)
        self._forget_deleted(owner, address)  # somebody took away the label that the watch selects
        self._stored(stored, "repair" if found else "update")
        self.writes.wrote(address, repair=current)
        if found:
            self._tell(key, owner, repairs.put_back(desired, found), address)

    async def _apply(self, desired: Object, live: Object) -> Object:
        wanted = {**desired, "metadata": {**desired["metadata"], "uid": live["metadata"]["uid"]}}
        try:
            stored = await self.cluster.apply(wanted)
        except ClusterRefused as error:
            # An apply leaves what others have put in the place of ours, and the two together may be invalid.
            patch = without_others(desired, live) if error.code == HTTPStatus.UNPROCESSABLE_ENTITY else None
            if patch is None:
                raise
            await self._take_away(patch, live)
            stored = await self.cluster.apply(wanted)
        patch = without_others(desired, stored)
        return stored if patch is None else await self._take_away(patch, stored)

    async def _take_away(self, patch: Object, live: Object) -> Object:
        metadata = live["metadata"]
        patch = {**patch, "metadata": {"resourceVersion": metadata["resourceVersion"]}}
        return await self.cluster.merge(BY_KIND[live["kind"]], metadata["namespace"], metadata["name"], patch)

    def _stored(self, stored: Object, cause: str) -> None:
        self.cache.put(stored)
        kind, namespace, name = address_of(stored)
        metrics.CHILD_WRITES.labels(kind, cause).inc()
        log.info("applied", kind=kind, namespace=namespace, name=name, cause=cause)

    def _tell(self, key: Key, owner: Metadata, text: str, address: Address) -> None:
        count = self.writes.repairs(address)
        note = repairs.note(text, count, self.writes.at_once)
        if note is not None:
            self.recorder.record(key.kind.value, owner, note)
        else:
            kind, namespace, name = address
            log.info("contested_child_repaired", kind=kind, namespace=namespace, name=name, repairs=count)

    def _changed(self, before: Object | None, after: Object | None) -> None:
        if before is None or after is not None:
            return
        address = address_of(before)
        self._unchanged.pop(address, None)
        uid, key = before["metadata"].get("uid", ""), owner_key(before)
        self._deleted.pop(uid, None)
        if uid in self._unwanted:
            self._unwanted.discard(uid)
            return
        owner = self.cache.get(*key) if key is not None else None
        if owner is not None and owner["metadata"]["uid"] == controller_uid(before):
            self._deleted.setdefault(owner["metadata"]["uid"], set()).add(address)

    def _is_deleted(self, owner: Metadata, address: Address) -> bool:
        return address in self._deleted.get(owner.uid, ())

    def _forget_deleted(self, owner: Metadata, address: Address) -> None:
        self._deleted.get(owner.uid, set()).discard(address)


def note_refusal(done: Applied, item: Object, error: ClusterRefused | WebhookSilent, what: str = "") -> None:
    """What was refused of an object, and what to do; the first refusal counts."""
    tell = log.debug if isinstance(error, NamespaceTerminating) else log.warning
    metadata = item["metadata"]
    tell("write_refused", kind=item["kind"], name=metadata["name"], what=what.strip(), error=str(error))
    done.refusal = done.refusal or repairs.refused(item, error.message, what)
    done.look_again(SILENT_SECONDS if isinstance(error, WebhookSilent) else REFUSED_SECONDS)
