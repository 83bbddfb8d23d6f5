"""What a gateway says in the audit trail: taken from its journal, where all of it stands already."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from google.protobuf.json_format import MessageToDict

from crowetrade.audit.v1 import audit_pb2
from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.journal.port import JournalHead, JournalPort, Recovered
from crowetrade_api.names import venue_object
from crowetrade_process.audit.chain import bounded
from crowetrade_process.audit.trail import Trail
from crowetrade_process.identity.holder import Identity

TOLD = frozenset({"session_started", "configuration_applied", "kill_changed", "halt_changed", "breach_changed"})
"""Events of the journal that the audit trail tells, too."""
PROVEN_CHANNEL = "Api"
"""Of a kill order: admission let nobody else stand in spec.engagedBy."""


def gateway_trail(namespace: str, venue: str, pod: str, identity: Identity | None) -> Trail:
    """The trail of a venue's gateway; its service account is named as its other objects."""
    return Trail(namespace, venue_object(venue), pod, identity=identity)


class AuditedJournal:
    """A journal whose events are recorded in the audit trail once they are stored, and by whoever opens it next when
    their append was not confirmed or the process ended. Implements JournalPort."""

    def __init__(self, journal: JournalPort, trail: Trail, namespace: str, venue: str) -> None:
        self._journal = journal
        self._trail = trail
        self._namespace = namespace
        self._venue = venue

    async def open(self) -> Recovered:
        """As JournalPort.open."""
        recovered = await self._journal.open()
        return Recovered(recovered.books, self._found(recovered), recovered.head)

    async def _found(self, recovered: Recovered) -> AsyncIterator[journal_pb2.JournalEvent]:
        """The events; the audit trail gets them once all are read, because none has a sequence before."""
        found: list[tuple[audit_pb2.AuditEvent, int]] = []
        count = 0
        async for event in recovered.events:
            count += 1
            found += self._told([event], count)
            yield event
        before = recovered.head.sequence - count
        self._trail.record_found(((told, before + place) for told, place in found), recovered.head.sequence)

    async def append(
        self, events: Sequence[journal_pb2.JournalEvent], recorded_unix_ns: int, fencing_token: int
    ) -> JournalHead:
        """As JournalPort.append."""
        head = await self._journal.append(events, recorded_unix_ns, fencing_token)
        for told, sequence in self._told(events, head.sequence - len(events) + 1):
            self._trail.record(told, told_sequence=sequence)
        return head

    def _told(
        self, events: Iterable[journal_pb2.JournalEvent], first: int
    ) -> Iterator[tuple[audit_pb2.AuditEvent, int]]:
        """What the audit trail says about them, each with the sequence of its event; `first` is that of the first."""
        for sequence, event in enumerate(events, start=first):
            told = audit_event(self._namespace, self._venue, event)
            if told is not None:
                yield told, sequence

    async def confirm(self) -> None:
        """As JournalPort.confirm."""
        await self._journal.confirm()

    async def write_snapshot(self, books: journal_pb2.Books, head: JournalHead) -> None:
        """As JournalPort.write_snapshot."""
        await self._journal.write_snapshot(books, head)


def audit_event(namespace: str, venue: str, event: journal_pb2.JournalEvent) -> audit_pb2.AuditEvent | None:
    """What the audit trail says about an event of the journal; None for what is not of that kind."""
    kind = event.WhichOneof("event")
    if kind not in TOLD:  # orders, most of all: they do not wait for more than this
        return None
    told = audit_pb2.AuditEvent(
        actor=f"{namespace}.{venue_object(venue)}",
        proof=audit_pb2.ACTOR_PROOF_SELF,
        kind="VenueConnection",
        namespace=namespace,
        name=venue,
        at_unix_ns=event.at_unix_ns,
    )
    match kind:
        case "session_started":
            told.action = audit_pb2.ACTION_STARTED
            told.reason = f"gateway with fencing token {event.session_started.fencing_token}"
        case "configuration_applied":
            _limit_in_force(told, event.configuration_applied)
        case "kill_changed":
            _kill(told, event.kill_changed)
        case "halt_changed":
            halted = event.halt_changed
            told.action = audit_pb2.ACTION_OVERRIDE if halted.cleared else audit_pb2.ACTION_HALT
            told.reason = f"{halted.halt}{' cleared' if halted.cleared else ''}: {halted.text}"
        case _:
            breach = event.breach_changed
            told.action = audit_pb2.ACTION_OVERRIDE if breach.cleared else audit_pb2.ACTION_HALT
            told.kind, told.name, told.uid = "RiskLimit", breach.risk_limit, breach.uid
            told.reason = f"{breach.breach}{' cleared' if breach.cleared else ''}: {breach.text}"
    return told


def _limit_in_force(told: audit_pb2.AuditEvent, applied: journal_pb2.ConfigurationApplied) -> None:
    told.action = audit_pb2.ACTION_LIMIT_IN_FORCE
    told.reason = f"revision {applied.revision}" if applied.revision else "no configuration that can be read"
    if applied.HasField("config"):
        said = MessageToDict(applied.config, preserving_proto_field_name=True)
        told.after = bounded(json.dumps(said, sort_keys=True, separators=(",", ":")))


def _kill(told: audit_pb2.AuditEvent, changed: journal_pb2.KillChanged) -> None:
    order = changed.order
    told.action = audit_pb2.ACTION_REARM if changed.rearmed else audit_pb2.ACTION_KILL
    told.kind, told.namespace, told.name, told.uid = "KillSwitch", order.namespace, order.name, order.uid
    told.reason = f"by {changed.channel or 'unknown'}: {order.reason}"
    if changed.rearmed:
        # Whoever engaged it is not who re-armed it; the operator records who did.
        told.actor, told.proof = "", audit_pb2.ACTOR_PROOF_UNSPECIFIED
        return
    if changed.caller:
        told.actor, told.proof = changed.caller, audit_pb2.ACTOR_PROOF_CERTIFICATE
        told.certificate_sha256 = changed.caller_certificate_sha256
        if order.engaged_by:
            told.reason = f"by {changed.channel}, in the name of {order.engaged_by}: {order.reason}"
        return
    told.actor = order.engaged_by
    told.proof = (
        audit_pb2.ACTOR_PROOF_API_SERVER
        if order.engaged_by and changed.channel == PROVEN_CHANNEL
        else audit_pb2.ACTOR_PROOF_CLAIMED
    )


def keys_used(namespace: str, venue: str, version: str, before: str | None) -> audit_pb2.AuditEvent:
    """The venue's session uses a new version of its keys, of which no part is written; or, without one before, that
    of the first logon of a gateway: it may have been renewed while none ran."""
    since = "at the first logon since the start" if before is None else f"after {before or 'unknown'}"
    return audit_pb2.AuditEvent(
        action=audit_pb2.ACTION_CREDENTIAL_ROTATED,
        actor=f"{namespace}.{venue_object(venue)}",
        proof=audit_pb2.ACTOR_PROOF_SELF,
        kind="VenueConnection",
        namespace=namespace,
        name=venue,
        reason=f"version {version or 'unknown'} of the venue's keys {since}",
    )
