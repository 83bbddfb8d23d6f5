"""The audit trail's stream, as the operator makes it, and where the chains in it end."""

from __future__ import annotations

import structlog
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import APIError, NotFoundError

from crowetrade import subjects
from crowetrade_operator.settings import StreamSettings
from crowetrade_process.audit.chain import End, Head, digest, head_of
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


async def has_record(jetstream: JetStreamContext, place: int, record_hash: bytes) -> bool:
    """Whether the record at a place of the stream is the one with this hash."""
    try:
        found = await jetstream.get_msg(subjects.AUDIT_STREAM, place, direct=True)
    except NotFoundError:
        return False
    return digest(found.data or b"") == record_hash
