"""Makes the streams and buckets of the bus, each with an upper bound on what it holds.

Nothing that is there is changed: a change may delete what a stream holds, and nobody but an administrator may do that.
"""

from __future__ import annotations

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade_operator.errors import BusUnavailable
from crowetrade_operator.settings import StreamSettings

BUCKET_BYTES = 64 * 1024 * 1024
"""More than the configurations of a hundred gateways, each as large as a message can be."""
_INSUFFICIENT = (10047, 10028)
"""Error codes of the JetStream API: the server, or the account, has not that much storage left."""


async def ensure_journal(stream: JetStreamContext, namespace: str, venue: str, settings: StreamSettings) -> None:
    """Makes the streams of a journal and of its snapshots where they are missing. Raises BusUnavailable when one that
    is there cannot be used, or there is no room; and errors of NATS."""
    wanted = subjects.journal_stream_configs(
        namespace, venue, settings.journal_max_bytes, settings.snapshots_max_bytes, settings.replicas
    )
    for config in wanted:
        await _ensure_stream(stream, StreamConfig.from_response(config))


async def _ensure_stream(stream: JetStreamContext, wanted: StreamConfig) -> None:
    assert wanted.name is not None
    try:
        found = (await stream.stream_info(wanted.name)).config
    except nats.js.errors.NotFoundError:
        await _make(stream, wanted)
        return
    if missing := set(wanted.subjects or ()) - set(found.subjects or ()):
        raise BusUnavailable(
            f"stream {wanted.name} does not take the subject {min(missing)}: an administrator has to add it "
            "(nats stream edit)"
        )
    if not found.allow_direct:
        raise BusUnavailable(
            f"stream {wanted.name} does not allow direct reads: an administrator has to allow them (nats stream edit "
            "--allow-direct)"
        )


async def _make(stream: JetStreamContext, wanted: StreamConfig) -> None:
    try:
        await stream.add_stream(wanted)
    except nats.js.errors.APIError as error:
        if error.err_code not in _INSUFFICIENT:
            raise
        raise BusUnavailable(
            f"NATS has no room for stream {wanted.name}, which may hold {wanted.max_bytes} bytes "
            f"({error.description}): give it more storage (nats.maxFileStore of the chart), or lower the bound "
            "(nats.journalMaxBytes)"
        ) from error


async def ensure_bucket(stream: JetStreamContext, name: str, settings: StreamSettings) -> KeyValue:
    """The bucket, which is made where it is missing."""
    try:
        return await stream.key_value(name)
    except nats.js.errors.BucketNotFoundError:
        wanted = subjects.bucket_config(name, BUCKET_BYTES, settings.replicas)
        await stream.add_stream(StreamConfig.from_response(wanted))
        return await stream.key_value(name)
