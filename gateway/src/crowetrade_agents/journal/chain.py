"""The hash chain of a journal's records, without any I/O.

Each record carries the SHA-256 of the bytes of the one before, as they were stored. A changed byte, a lost, repeated or
swapped record is found at the first record that does not follow; only a change of the very last record needs more than
the chain, a head that was kept elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.message import DecodeError

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.errors import JournalCorrupt
from crowetrade_agents.journal.port import JournalHead

MAX_RECORD_BYTES = 768 * 1024
"""Largest record. NATS takes messages of 1 MiB with their headers unless it is configured otherwise."""

_RECORD_FIELDS_BYTES = 128
_EVENT_FIELD_BYTES = 6


def digest(payload: bytes) -> bytes:
    """SHA-256 of a record as it is stored."""
    return hashlib.sha256(payload).digest()


def batches(events: Iterable[journal_pb2.JournalEvent]) -> Iterator[list[journal_pb2.JournalEvent]]:
    """The events in order, in groups that each fit into one record. An event too large for any record is a group of its
    own, which `seal` refuses."""
    group: list[journal_pb2.JournalEvent] = []
    room = MAX_RECORD_BYTES - _RECORD_FIELDS_BYTES
    for event in events:
        size = event.ByteSize() + _EVENT_FIELD_BYTES
        if group and size > room:
            yield group
            group, room = [], MAX_RECORD_BYTES - _RECORD_FIELDS_BYTES
        group.append(event)
        room -= size
    if group:
        yield group


def seal(
    head: JournalHead, events: Sequence[journal_pb2.JournalEvent], recorded_unix_ns: int, fencing_token: int
) -> tuple[bytes, JournalHead]:
    """The bytes of the record that follows `head`, and the head after it.

    Raises ValueError for no events, and for more than MAX_RECORD_BYTES.
    """
    if not events:
        raise ValueError("a record holds at least one event")
    record = journal_pb2.JournalRecord(
        first_sequence=head.sequence + 1,
        recorded_unix_ns=recorded_unix_ns,
        previous_hash=head.record_hash,
        fencing_token=fencing_token,
        events=events,
    )
    payload = record.SerializeToString(deterministic=True)
    if len(payload) > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {len(payload)} bytes is more than the {MAX_RECORD_BYTES} that fit")
    return payload, JournalHead(head.sequence + len(events), digest(payload))


def decode(payload: bytes, after: int) -> journal_pb2.JournalRecord:
    """The record that stands after event `after`; raises JournalCorrupt when nothing can be made of it."""
    try:
        record = journal_pb2.JournalRecord.FromString(payload)
    except DecodeError as error:
        raise JournalCorrupt(f"the record after event {after} cannot be decoded: {error}") from error
    if not record.events:
        raise JournalCorrupt(f"the record after event {after} holds no event")
    for number, event in enumerate(record.events, record.first_sequence):
        if event.WhichOneof("event") is None:
            raise JournalCorrupt(f"event {number} is of a kind that this version does not know")
    return record


def last_sequence(record: journal_pb2.JournalRecord) -> int:
    """Sequence of the record's last event."""
    return record.first_sequence + len(record.events) - 1


def head_of(payload: bytes | None) -> JournalHead:
    """The head of a journal whose last record this is; None or nothing where it is empty."""
    return JournalHead(last_sequence(decode(payload, 0)), digest(payload)) if payload else JournalHead()


class Chain:
    """Follows records one by one and keeps nothing but where it stands.

    It begins at the beginning, or after the record of a snapshot's head; that record itself may come first, and then it
    must be the one that the head names.
    """

    def __init__(self, head: JournalHead | None = None, fencing_token: int = 0) -> None:
        self.head = head or JournalHead()
        self._fencing_token = fencing_token
        self._at_start = True

    def follow(self, payload: bytes) -> Sequence[journal_pb2.JournalEvent]:
        """The events that this record adds. Raises JournalCorrupt when it does not follow the record before."""
        record = decode(payload, self.head.sequence)
        at_start, self._at_start = self._at_start, False
        if at_start and record.first_sequence <= self.head.sequence:
            self._check_base(record, payload)
            return ()
        self._check(record)
        self.head = JournalHead(last_sequence(record), digest(payload))
        self._fencing_token = record.fencing_token
        return record.events

    def check_end(self, head: JournalHead) -> None:
        """Raises JournalCorrupt unless it was followed to the head that the journal's last record gives."""
        if self.head != head:
            raise JournalCorrupt(
                f"the journal ends with event {self.head.sequence} and not, as its last record says, with event "
                f"{head.sequence}"
            )

    def _check_base(self, record: journal_pb2.JournalRecord, payload: bytes) -> None:
        if JournalHead(last_sequence(record), digest(payload)) != self.head:
            raise JournalCorrupt(
                f"the record with event {record.first_sequence} is not the one that the snapshot of event "
                f"{self.head.sequence} stands on"
            )

    def _check(self, record: journal_pb2.JournalRecord) -> None:
        after, first = self.head.sequence, record.first_sequence
        if first != after + 1:
            raise JournalCorrupt(f"the record after event {after} says that it begins with event {first}")
        if record.previous_hash != self.head.record_hash:
            raise JournalCorrupt(f"the record with event {first} does not follow event {after}: the hashes differ")
        if record.fencing_token < self._fencing_token:
            raise JournalCorrupt(
                f"the record with event {first} carries fencing token {record.fencing_token} after "
                f"{self._fencing_token}"
            )
