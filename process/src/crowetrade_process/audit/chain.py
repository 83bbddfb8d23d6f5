"""The hash chain of one writer's records, without any I/O.

Each record carries the SHA-256 of the bytes of the one before, as they were stored, and the time of the one before. So
a changed, deleted, repeated or swapped record is found at the first record that does not follow, and a beginning that
is missing has either expired, which its times show, or was cut off. That the end is missing shows by a head that was
kept elsewhere alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from crowetrade.audit.v1 import audit_pb2
from crowetrade_process.audit.errors import AuditBroken

MAX_TEXT_BYTES = 128 * 1024
"""Largest `before` and `after` of an event; what is longer is replaced by its hash, see `bounded`."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: sequence, hash and time of its last record, and up to which event of the writer's journal it
    tells; zeros and empty where there is none."""

    sequence: int = 0
    record_hash: bytes = b""
    recorded_unix_ns: int = 0
    told_sequence: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """Where a chain ends in the stream: its head, and the sequence of that record in the stream."""

    head: Head
    place: int


def digest(payload: bytes) -> bytes:
    """SHA-256 of a record as it is stored."""
    return hashlib.sha256(payload).digest()


def bounded(text: str) -> str:
    """The text, or what can be said of one that is too long for a record."""
    encoded = text.encode()
    if len(encoded) <= MAX_TEXT_BYTES:
        return text
    return f'{{"bytes": {len(encoded)}, "sha256": "{hashlib.sha256(encoded).hexdigest()}"}}'


def seal(
    head: Head,
    writer: str,
    instance: str,
    now_ns: int,
    content: audit_pb2.AuditEvent | audit_pb2.Checkpoint,
    told_sequence: int = 0,
) -> tuple[bytes, Head]:
    """The bytes of the record that follows `head`, and the head after it. Its time may be before that of `head`, which
    a clock that was ahead has written. `told_sequence`: of the event of the writer's journal that it tells; 0 for what
    is in no journal."""
    record = audit_pb2.AuditRecord(
        writer=writer,
        instance=instance,
        sequence=head.sequence + 1,
        recorded_unix_ns=now_ns,
        previous_hash=head.record_hash,
        previous_unix_ns=head.recorded_unix_ns,
        told_sequence=told_sequence or head.told_sequence,
    )
    if isinstance(content, audit_pb2.Checkpoint):
        record.checkpoint.CopyFrom(content)
    else:
        record.event.CopyFrom(content)
    payload = record.SerializeToString(deterministic=True)
    return payload, _head(record, payload)


def decode(payload: bytes, where: str) -> audit_pb2.AuditRecord:
    """A record as it is stored; raises AuditBroken when nothing can be made of it."""
    try:
        record = audit_pb2.AuditRecord.FromString(payload)
    except DecodeError as error:
        raise AuditBroken(f"the record {where} cannot be decoded: {error}") from error
    if record.WhichOneof("content") is None:
        raise AuditBroken(f"the record {where} holds nothing that this version knows")
    return record


def head_of(payload: bytes) -> Head:
    """The head of a chain whose last record this is."""
    return _head(decode(payload, "that is the last"), payload)


def _head(record: audit_pb2.AuditRecord, payload: bytes) -> Head:
    return Head(record.sequence, digest(payload), record.recorded_unix_ns, record.told_sequence)


class Chain:
    """Follows the records of one writer, oldest first, and keeps nothing but where it stands."""

    def __init__(self, writer: str) -> None:
        self.writer = writer
        self.head = Head()
        self.before = Head()
        """The head before the last record that was followed."""
        self.begins_with = 0
        """Sequence of the first record; 0 before there is one."""
        self.expired_unix_ns = 0
        """Time of the newest record that is missing before the first one; 0 where none is."""

    def follow(self, payload: bytes) -> audit_pb2.AuditRecord:
        """The next record. Raises AuditBroken when it does not follow the one before."""
        record = decode(payload, f"of {self.writer} after record {self.head.sequence}")
        if record.writer != self.writer:
            raise AuditBroken(f"record {record.sequence} under {self.writer} says that {record.writer} wrote it")
        if not self.begins_with:
            self._begin(record)
        self._check(record)
        self.before = self.head
        self.head = _head(record, payload)
        return record

    def _begin(self, record: audit_pb2.AuditRecord) -> None:
        self.begins_with = record.sequence
        self.head = Head(record.sequence - 1, record.previous_hash, record.previous_unix_ns)
        self.expired_unix_ns = record.previous_unix_ns
        if (record.sequence == 1) != (not record.previous_hash and not record.previous_unix_ns):
            raise AuditBroken(f"record {record.sequence} of {self.writer} contradicts itself about what came before it")

    def _check(self, record: audit_pb2.AuditRecord) -> None:
        after, found = self.head.sequence, record.sequence
        if found != after + 1:
            raise AuditBroken(
                f"record {found} of {self.writer} stands after record {after}: records are missing or swapped"
            )
        if record.previous_hash != self.head.record_hash:
            raise AuditBroken(f"record {found} of {self.writer} does not follow record {after}: the hashes differ")
        if record.previous_unix_ns != self.head.recorded_unix_ns:
            raise AuditBroken(f"record {found} of {self.writer} does not follow record {after}: the times differ")
