"""Snapshots of the books: cut into parts, put together again, and checked against the journal. Without any I/O.

A snapshot's hash covers the place of the journal that it stands on as well as the books, so what is intact is also
evidence: an intact snapshot that names an event the journal does not have says that the journal lost it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.errors import JournalCorrupt
from crowetrade_agents.journal.chain import Chain, decode
from crowetrade_agents.journal.port import JournalHead

PART_BYTES = 512 * 1024
"""Books in one part; the message around them stays far below the 1 MiB that NATS takes."""
KEPT = 2
"""How many snapshots stay when another one is written: the one before is for when the newest is damaged."""


def content_hash(head: JournalHead, content: bytes) -> bytes:
    """SHA-256 over the sequence (8 bytes, big-endian), the record's hash and the serialized Books."""
    return hashlib.sha256(head.sequence.to_bytes(8, "big") + head.record_hash + content).digest()


def split(books: journal_pb2.Books, head: JournalHead) -> Iterator[bytes]:
    """The serialized parts of a snapshot of the books as of `head`, in order; there is at least one."""
    content = books.SerializeToString(deterministic=True)
    parts = max(1, -(-len(content) // PART_BYTES))
    whole = content_hash(head, content)
    for part in range(parts):
        yield journal_pb2.JournalSnapshot(
            sequence=head.sequence,
            record_hash=head.record_hash,
            content_hash=whole,
            part=part,
            parts=parts,
            content=content[part * PART_BYTES : (part + 1) * PART_BYTES],
        ).SerializeToString(deterministic=True)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot that is complete and intact. `place` is where its first part is stored."""

    head: JournalHead
    content: bytes = field(repr=False)
    place: int

    def books(self) -> journal_pb2.Books:
        """The books; raises JournalCorrupt when this version cannot read them."""
        try:
            return journal_pb2.Books.FromString(self.content)
        except DecodeError as error:
            raise JournalCorrupt(f"the snapshot of event {self.head.sequence} cannot be decoded: {error}") from error


_Key = tuple[int, bytes, bytes, int]


class SnapshotReader:
    """Puts parts together in the order in which they are stored; parts of several snapshots may be mixed."""

    def __init__(self) -> None:
        self._pending: dict[_Key, dict[int, bytes]] = {}
        self._places: dict[_Key, int] = {}
        self._intact: list[Snapshot] = []
        self.damaged: list[str] = []
        """A sentence for each part or snapshot that is not as it was written."""

    @property
    def intact(self) -> list[Snapshot]:
        """Complete snapshots, newest first."""
        return sorted(self._intact, key=lambda snapshot: (snapshot.head.sequence, snapshot.place), reverse=True)

    @property
    def unfinished(self) -> list[str]:
        """A sentence for each snapshot that lacks parts: it is being written, or its writer ended in the middle."""
        return [
            f"the snapshot of event {key[0]} has {len(parts)} of {key[3]} parts" for key, parts in self._pending.items()
        ]

    def add(self, place: int, payload: bytes) -> None:
        """Takes the next part, stored at `place`."""
        try:
            part = journal_pb2.JournalSnapshot.FromString(payload)
        except DecodeError as error:
            self.damaged.append(f"the part of a snapshot that is message {place} cannot be decoded: {error}")
            return
        key = (part.sequence, part.record_hash, part.content_hash, part.parts)
        parts = self._pending.setdefault(key, {})
        self._places.setdefault(key, place)
        parts[part.part] = part.content
        if len(parts) >= part.parts:
            self._complete(key)

    def _complete(self, key: _Key) -> None:
        sequence, record_hash, expected, count = key
        parts, place = self._pending.pop(key), self._places.pop(key)
        head = JournalHead(sequence, record_hash)
        content = b"".join(parts.get(number, b"") for number in range(count))
        if content_hash(head, content) == expected:
            self._intact.append(Snapshot(head, content, place))
        else:
            self.damaged.append(f"the snapshot of event {sequence} (message {place}) is damaged: its hash differs")


def starting_point(reader: SnapshotReader, first_sequence: int, last_sequence: int) -> Snapshot | None:
    """The snapshot to start from, None to start from the beginning; the journal holds events `first_sequence` to
    `last_sequence` (0 and 0 when it is empty).

    Raises JournalCorrupt when events are missing: at the end, where an intact snapshot stands, or at the beginning.
    """
    newest = next(iter(reader.intact), None)
    if newest is not None:
        check_reaches(newest, last_sequence)
        return newest
    if first_sequence > 1:
        faults = "; ".join([*reader.damaged, *reader.unfinished]) or "there is none"
        raise JournalCorrupt(
            f"the journal begins with event {first_sequence}, and no snapshot that covers what came before can be "
            f"used: {faults}"
        )
    return None


def start_of(snapshot: Snapshot | None) -> tuple[journal_pb2.Books | None, Chain]:
    """The books of a starting point and the chain that goes on from it; without one, none and the whole chain."""
    if snapshot is None:
        return None, Chain()
    books = snapshot.books()
    return books, Chain(snapshot.head, books.fencing_token)


def check_reaches(snapshot: Snapshot, last_sequence: int) -> None:
    """Raises JournalCorrupt when the journal ends before the event that the snapshot stands on."""
    if snapshot.head.sequence > last_sequence:
        raise JournalCorrupt(
            f"a snapshot stands on event {snapshot.head.sequence}, but the journal ends with event {last_sequence}: "
            "the bus lost what was in it"
        )


class Verification:
    """Verifies a whole journal as it is stored, streaming, against its chain and its snapshots.

    A journal that was trimmed does not begin with event 1. Its first record is then taken at its word until a snapshot
    is reached: its hash proves everything before it, because each record carries the hash of the one before.
    """

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._heads = {snapshot.head.sequence: snapshot.head for snapshot in snapshots}
        self._unreached = dict.fromkeys(self._heads)
        self._chain: Chain | None = None
        self.begins_with = 0
        """Sequence of the first event; 0 before there is one."""
        self.proven = False
        """Whether what the first record says about its past is true: it is the first of all, or a snapshot says so."""

    @property
    def head(self) -> JournalHead:
        """Where the journal ends, as far as it was followed."""
        return self._chain.head if self._chain is not None else JournalHead()

    def follow(self, payload: bytes) -> Sequence[journal_pb2.JournalEvent]:
        """The events of the next record. Raises JournalCorrupt when it does not follow, or when it is not the record
        that a snapshot stands on."""
        if self._chain is None:
            self._chain = self._begin(payload)
            self._compare(self._chain.head.sequence)
        before = self._chain.head.sequence
        events = self._chain.follow(payload)
        self._compare(before)
        return events

    def finish(self) -> None:
        """Raises JournalCorrupt when the journal ended before a snapshot, or its beginning is not proven."""
        beyond = [sequence for sequence in self._unreached if sequence > self.head.sequence]
        if beyond:
            raise JournalCorrupt(
                f"a snapshot stands on event {min(beyond)}, but the journal ends with event {self.head.sequence}"
            )
        if self.begins_with and not self.proven:
            raise JournalCorrupt(
                f"the journal begins with event {self.begins_with}, and no snapshot proves what came before"
            )

    def _begin(self, payload: bytes) -> Chain:
        first = decode(payload, 0)
        self.begins_with = first.first_sequence
        if first.first_sequence <= 1:
            self.proven = True
            return Chain()
        return Chain(JournalHead(first.first_sequence - 1, first.previous_hash))

    def _compare(self, before: int) -> None:
        head = self.head
        inside = [sequence for sequence in self._unreached if before < sequence < head.sequence]
        if inside:
            raise JournalCorrupt(f"a snapshot stands on event {inside[0]}, in the middle of a record")
        expected = self._heads.get(head.sequence)
        if expected is not None and expected != head:
            raise JournalCorrupt(
                f"the record that ends with event {head.sequence} is not the one that the snapshot of that event "
                "stands on"
            )
        if expected is not None:
            self.proven = True
        for sequence in [sequence for sequence in self._unreached if sequence <= head.sequence]:
            del self._unreached[sequence]
