"""Makes the streams and buckets of the bus, each with an upper bound on what it holds.

Nothing that is there is changed: a change may delete what a stream holds, and nobody but an administrator may do that.
"""

from __future__ import annotations

import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade_api.reasons import Reason
from crowetrade_operator.bus import namespace_store
from crowetrade_operator.bus.stored import ANSWER_SECONDS, reserved_bytes
from crowetrade_operator.errors import BusUnavailable, JournalRefused
from crowetrade_operator.settings import StreamSettings

BUCKET_BYTES = 64 * 1024 * 1024
"""More than the configurations of a hundred gateways, each as large as a message can be."""
_INSUFFICIENT = (10047, 10028)
"""Error codes of the JetStream API: the server, or the account, has not that much storage left."""


class StoreFull(BusUnavailable):
    """NATS has no room for a stream."""


async def ensure_journal(client: Client, namespace: str, venue: str, settings: StreamSettings) -> None:
    """Makes the streams of a journal and of its snapshots where they are missing. Raises JournalRefused when there is
    no room for the journal, BusUnavailable when a stream that is there cannot be used; and errors of NATS.

    What is there stays, whatever the namespace has reserved: a journal gets its snapshots. The journal is made last, so
    that one that is there had room for both.
    """
    stream = client.jetstream(timeout=ANSWER_SECONDS)
    journal, snapshots = (
        StreamConfig.from_response(config)
        for config in subjects.journal_stream_configs(
            namespace, venue, settings.journal_max_bytes, settings.snapshots_max_bytes, settings.replicas
        )
    )
    missing = [config for config in (snapshots, journal) if not await _is_there(stream, config)]
    if journal not in missing:
        for config in missing:
            await _make(stream, config)
        return
    if settings.namespace_max_bytes:
        wanted = sum(config.max_bytes or 0 for config in missing)
        reserved = await reserved_bytes(client, namespace)
        if text := namespace_store.refusal(namespace, wanted, reserved, settings.namespace_max_bytes):
            raise JournalRefused(Reason.NAMESPACE_STORE_FULL, f"Venue {venue} gets no journal: {text}.")
    for config in missing:
        try:
            await _make(stream, config)
        except StoreFull as error:
            raise JournalRefused(Reason.BUS_STORE_FULL, f"Venue {venue} gets no journal: {error}.") from error


async def _is_there(stream: JetStreamContext, wanted: StreamConfig) -> bool:
    """Whether it is there, and can be used."""
    assert wanted.name is not None
    try:
        found = (await stream.stream_info(wanted.name)).config
    except nats.js.errors.NotFoundError:
        return False
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
    return True


async def _make(stream: JetStreamContext, wanted: StreamConfig) -> None:
    try:
        await stream.add_stream(wanted)
    except nats.js.errors.APIError as error:
        if error.err_code not in _INSUFFICIENT:
            raise
        raise StoreFull(
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
