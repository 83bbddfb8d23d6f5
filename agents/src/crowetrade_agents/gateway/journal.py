"""The gateway's journal in JetStream: fenced, hash-chained, and written before anything is sent.

Every append names the sequence it follows on the journal's subject, so of two gateways for one account only one can
append; the other gets Overtaken and must stop. Every event carries the SHA-256 of the bytes of the one before, so that
a change, a gap or a swap anywhere is found by `verify`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError, NotFoundError

from crowetrade import subjects
from crowetrade.bus.v1 import orders_pb2
from crowetrade_agents.errors import JournalCorrupt, JournalUnavailable, Overtaken

WRONG_LAST_SEQUENCE = 10071
READ_TIMEOUT_SECONDS = 10.0


def digest(payload: bytes) -> bytes:
    """SHA-256 of an event as it was serialized."""
    return hashlib.sha256(payload).digest()


def verify(payloads: Iterable[bytes]) -> list[orders_pb2.JournalEvent]:
    """The events of a whole journal; raises JournalCorrupt naming the first that does not follow the one before."""
    events: list[orders_pb2.JournalEvent] = []
    previous = b""
    for number, payload in enumerate(payloads, start=1):
        try:
            event = orders_pb2.JournalEvent.FromString(payload)
        except Exception as error:
            raise JournalCorrupt(f"event {number} cannot be decoded: {error}") from error
        if event.sequence != number:
            raise JournalCorrupt(f"event {number} says that it is event {event.sequence}")
        if event.previous_hash != previous:
            raise JournalCorrupt(f"event {number} does not follow event {number - 1}: the hashes differ")
        previous = digest(payload)
        events.append(event)
    return events


async def read(jetstream: JetStreamContext, namespace: str, venue: str) -> tuple[list[bytes], int]:
    """All payloads of a journal and the stream sequence of the last (0 when there is none)."""
    subject = subjects.journal(namespace, venue)
    try:
        last = (await jetstream.get_last_msg(subjects.ORDER_STREAM, subject)).seq or 0
    except NotFoundError:
        return [], 0
    payloads: list[bytes] = []
    subscription = await jetstream.subscribe(
        subject,
        stream=subjects.ORDER_STREAM,
        ordered_consumer=True,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL),
    )
    try:
        while True:
            message = await subscription.next_msg(timeout=READ_TIMEOUT_SECONDS)
            payloads.append(message.data)
            if message.metadata.sequence.stream >= last:
                return payloads, message.metadata.sequence.stream
    finally:
        await subscription.unsubscribe()


class Journal:
    """Appends for one gateway process. Open it with `open_journal`."""

    def __init__(
        self, jetstream: JetStreamContext, namespace: str, venue: str, payloads: list[bytes], last: int
    ) -> None:
        self._jetstream = jetstream
        self._subject = subjects.journal(namespace, venue)
        self._last = last
        self._sequence = len(payloads)
        self._previous = digest(payloads[-1]) if payloads else b""

    async def append(self, event: orders_pb2.JournalEvent, now_ns: int) -> None:
        """Writes one event durably.

        Raises Overtaken when another gateway has written since, JournalUnavailable when the bus did not confirm: the
        event may be stored or not, so nothing more may be appended by this process.
        """
        event.sequence = self._sequence + 1
        event.recorded_unix_ns = now_ns
        event.previous_hash = self._previous
        payload = event.SerializeToString(deterministic=True)
        headers = {
            "Nats-Expected-Last-Subject-Sequence": str(self._last),
            subjects.SCHEMA_HEADER: event.DESCRIPTOR.full_name,
        }
        try:
            acknowledgement = await self._jetstream.publish(self._subject, payload, headers=headers)
        except (NatsError, OSError) as error:
            if isinstance(error, APIError) and error.err_code == WRONG_LAST_SEQUENCE:
                raise Overtaken(
                    "the journal does not end where this gateway left it (another gateway wrote to it, or the bus lost "
                    "it): this one stops, and its successor reads what is there"
                ) from error
            raise JournalUnavailable(
                f"the bus did not confirm a line of the journal ({error or type(error).__name__}): this gateway stops, "
                "and its successor reads what was stored; check the NATS pods"
            ) from error
        self._last = acknowledgement.seq
        self._sequence += 1
        self._previous = digest(payload)


async def open_journal(
    jetstream: JetStreamContext, namespace: str, venue: str
) -> tuple[Journal, list[orders_pb2.JournalEvent]]:
    """Reads and verifies a journal; raises JournalCorrupt."""
    payloads, last = await read(jetstream, namespace, venue)
    return Journal(jetstream, namespace, venue, payloads, last), verify(payloads)
