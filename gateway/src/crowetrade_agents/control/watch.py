"""Keys of a bucket of JetStream: what is there now, then every change.

The consumer is one of our own because the request for it must name its keys in its subject, so that a permission can
be for these keys alone; that of nats-py's `KeyValue.watch` is for the whole bucket.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from crowetrade import subjects

HEARTBEAT_SECONDS = 1.0
"""How often the server sends something when nothing changes."""
SILENT_SECONDS = 5.0
"""Without a word for so long, changes may be missed."""
KEPT_SECONDS = 60.0
"""How long the server keeps a consumer that nobody reads."""
_DELETED = ("DEL", "PURGE")


@dataclass(frozen=True, slots=True)
class Change:
    """A key and its value; None when it was deleted."""

    key: str
    value: bytes | None


async def watch(client: Client, bucket: str, keys: str) -> AsyncIterator[Change | None]:
    """The keys of a pattern, those that are there first, then None, then each that is put or deleted.

    Ends when changes may have been missed: what is there then is to be read again. Raises NotFoundError when there is
    no such bucket, and errors of NATS.
    """
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    try:
        config = ConsumerConfig(
            name=uuid.uuid4().hex,
            filter_subject=subjects.key_subject(bucket, keys),
            deliver_subject=inbox,
            deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
            ack_policy=AckPolicy.NONE,
            max_deliver=1,
            idle_heartbeat=HEARTBEAT_SECONDS,
            inactive_threshold=KEPT_SECONDS,
            mem_storage=True,
            num_replicas=1,
        )
        made = await client.jetstream().add_consumer(subjects.bucket_stream(bucket), config)
        coming = made.num_pending or 0
        if not coming:
            yield None
        async for message in _unbroken(subscription):
            yield _change(message, subjects.key_subject(bucket, ""))
            if coming and message.metadata.num_pending == 0:
                coming = 0
                yield None
    finally:
        await subscription.unsubscribe()


async def _unbroken(subscription: Subscription) -> AsyncIterator[Msg]:
    """Messages of a consumer as long as none is missing. Raises TimeoutError of NATS when the server is silent."""
    delivered = 0
    while True:
        message = await subscription.next_msg(timeout=SILENT_SECONDS)
        headers = message.headers or {}
        if headers.get("Status") is not None:
            if int(headers.get("Nats-Last-Consumer", delivered)) != delivered:
                return
            continue
        delivered += 1
        if message.metadata.sequence.consumer != delivered:
            return
        yield message


def _change(message: Msg, prefix: str) -> Change:
    deleted = (message.headers or {}).get("KV-Operation") in _DELETED
    return Change(message.subject.removeprefix(prefix), None if deleted else message.data)
