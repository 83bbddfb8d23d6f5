"""A journal as the gateway uses it. It appends records; whoever holds it has fenced everybody else."""

from __future__ import annotations

from collections.abc import Sequence
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
    the head."""

    books: journal_pb2.Books | None
    events: Sequence[journal_pb2.JournalEvent]
    head: JournalHead


class JournalPort(Protocol):
    """One venue's journal."""

    async def open(self) -> Recovered:
        """Reads from the newest snapshot on and verifies the chain.

        Raises JournalCorrupt naming the first record that does not follow, JournalUnavailable when it cannot be read.
        """
        ...

    async def append(
        self, events: Sequence[journal_pb2.JournalEvent], recorded_unix_ns: int, fencing_token: int
    ) -> JournalHead:
        """Writes all events as one durable, fenced record.

        Raises Overtaken when somebody else has written since, JournalUnavailable when the write was not confirmed: the
        record may be stored or not, so nothing more may be appended by this process.
        """
        ...

    async def confirm(self) -> None:
        """Proves that nobody else has written since. Raises Overtaken, and JournalUnavailable when it cannot tell."""
        ...

    async def write_snapshot(self, books: journal_pb2.Books, head: JournalHead) -> None:
        """Keeps the books as of `head` for the next start. Raises JournalUnavailable; the journal itself is not
        touched."""
        ...
