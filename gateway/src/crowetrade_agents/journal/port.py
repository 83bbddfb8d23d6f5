"""A journal as the gateway uses it. It appends records; whoever holds it has fenced everybody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from crowetrade.bus.v1 import journal_pb2


@dataclass(frozen=True, slots=True)
class JournalHead:
    """Where a journal ends: sequence of its last event and hash of its last record (0 and empty when it is empty)."""

    sequence: int = 0
    record_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a start reads: the books of the newest snapshot that verifies (None without one), the events after it, and
    the head after the last of them.

    The events are read and verified while they are taken, so that a start needs little memory whatever the history:
    taking them may raise JournalCorrupt and JournalUnavailable. Nothing can be appended before all are taken.
    """

    books: journal_pb2.Books | None
    events: AsyncIterator[journal_pb2.JournalEvent]
    head: JournalHead


class JournalPort(Protocol):
    """One venue's journal."""

    async def open(self) -> Recovered:
        """Reads from the newest snapshot on and verifies the chain.

        Raises JournalCorrupt naming the first record that does not follow, or what is missing; JournalUnavailable when
        the journal cannot be read, also where its stream does not exist yet.
        """
        ...

    async def append(
        self, events: Sequence[journal_pb2.JournalEvent], recorded_unix_ns: int, fencing_token: int
    ) -> JournalHead:
        """Writes all events as one durable, fenced record; `chain.batches` cuts what does not fit into one.

        Raises Overtaken when somebody else has written since, JournalUnavailable when the write was not confirmed: the
        record may be stored or not, so nothing more may be appended by this process.
        """
        ...

    async def confirm(self) -> None:
        """Proves that nobody else has written since. Raises Overtaken, and JournalUnavailable where that is unknown."""
        ...

    async def write_snapshot(self, books: journal_pb2.Books, head: JournalHead) -> None:
        """Keeps the books as of `head`, which is confirmed, for the next start. Records are not touched.

        Raises JournalUnavailable.
        """
        ...
