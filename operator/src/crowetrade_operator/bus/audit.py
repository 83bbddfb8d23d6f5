"""The audit trail's stream, as the operator makes it, and where the chains in it end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import structlog
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import APIError, NotFoundError

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade_operator.settings import StreamSettings
from crowetrade_process.audit.chain import End, Head, decode, digest, head_of
from crowetrade_process.audit.errors import AuditBroken

log = structlog.get_logger()


async def ensure_stream(jetstream: JetStreamContext, settings: StreamSettings) -> None:
    """Makes it. One that exists is left as it is: to keep records for a shorter time deletes some, which an
    administrator does. Without it the audit trail waits, and nothing else does."""
    wanted = StreamConfig.from_response(
        subjects.audit_stream_config(settings.audit_retention_seconds, settings.audit_max_bytes, settings.replicas)
    )
    try:
        found = (await jetstream.stream_info(subjects.AUDIT_STREAM)).config
    except NotFoundError:
        await _make(jetstream, wanted)
        return
    for setting in ("max_age", "deny_delete", "deny_purge"):
        if getattr(found, setting) != getattr(wanted, setting):
            log.warning(
                "audit_stream_differs",
                setting=setting,
                found=getattr(found, setting),
                wanted=getattr(wanted, setting),
                hint="an administrator of the bus has to change the stream AUDIT",
            )


async def _make(jetstream: JetStreamContext, wanted: StreamConfig) -> None:
    try:
        await jetstream.add_stream(wanted)
    except APIError as error:
        hint = "give NATS more storage (nats.maxFileStore of the chart), or lower audit.maxBytes"
        log.error("audit_stream_not_made", error=str(error), hint=hint)


async def ends(jetstream: JetStreamContext) -> dict[str, End]:
    """Where the chain of each writer ends; at record 0 where the last one cannot be read."""
    try:
        info = await jetstream.stream_info(subjects.AUDIT_STREAM, subjects_filter="audit.>")
    except NotFoundError:
        return {}
    found = {}
    for subject in info.state.subjects or {}:
        last = await jetstream.get_last_msg(subjects.AUDIT_STREAM, subject, direct=True)
        found[subject.removeprefix("audit.")] = End(_head(last.data or b""), last.seq or 0)
    return found


def _head(payload: bytes) -> Head:
    try:
        return head_of(payload)
    except AuditBroken:
        return Head()


async def events_after(jetstream: JetStreamContext, writer: str, place: int) -> AsyncIterator[audit_pb2.AuditEvent]:
    """What a writer has recorded after a place of the stream, oldest first."""
    while True:
        try:
            found = await jetstream.get_msg(
                subjects.AUDIT_STREAM, place + 1, subject=f"audit.{writer}", direct=True, next=True
            )
        except NotFoundError:
            return
        place = found.seq or place + 1
        with contextlib.suppress(AuditBroken):
            record = decode(found.data or b"", f"at {place}")
            if record.HasField("event"):
                yield record.event


async def has_record(jetstream: JetStreamContext, place: int, record_hash: bytes) -> bool:
    """Whether the record at a place of the stream is the one with this hash."""
    try:
        found = await jetstream.get_msg(subjects.AUDIT_STREAM, place, direct=True)
    except NotFoundError:
        return False
    return digest(found.data or b"") == record_hash
