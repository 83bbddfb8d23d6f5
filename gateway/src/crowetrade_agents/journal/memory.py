"""A journal in memory, with the chain, the fencing and the snapshots of the real one, for simulations and tests.

MemoryLog is what the bus stores and outlives a gateway process; MemoryWriter is the journal of one process, without
asyncio; MemoryJournal makes it a JournalPort. A script names the outcome of each append.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.errors import JournalUnavailable, Overtaken
from crowetrade_agents.journal.chain import decode, last_sequence, seal
from crowetrade_agents.journal.port import JournalHead, Recovered
from crowetrade_agents.journal.snapshots import KEPT, SnapshotReader, split, start_of, starting_point


class Outcome(Enum):
    """What becomes of an append."""

    CONFIRMED = "stored and confirmed"
    TWICE = "delivered twice, of which the second does not follow; confirmed"
    UNCONFIRMED = "stored, but the confirmation is lost"
    DELAYED = "not confirmed in time; arrives when the log is asked to deliver it, and is stored if it still follows"
    LOST = "never arrives"


@dataclass
class MemoryLog:
    """What is stored: records and the parts of snapshots, oldest first."""

    records: list[bytes] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    delayed: list[tuple[int, bytes]] = field(default_factory=list)
    """Appends that are still on their way, with the number of records that they follow."""

    def store(self, follows: int, payload: bytes) -> None:
        """Stores a record after `follows` others; raises Overtaken when there are more."""
        if len(self.records) != follows:
            raise Overtaken("the journal does not end where this gateway left it")
        self.records.append(payload)

    def deliver(self) -> int:
        """Lets everything arrive that is on its way; returns how many records were stored."""
        before = len(self.records)
        for follows, payload in self.delayed:
            if follows == len(self.records):
                self.records.append(payload)
        self.delayed.clear()
        return len(self.records) - before


class MemoryWriter:
    """The journal of one gateway process, synchronous."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._head = JournalHead()
        self._follows = 0
        self._closed = "it has not been read"

    def recover(self) -> tuple[journal_pb2.Books | None, list[journal_pb2.JournalEvent], JournalHead]:
        """Books, events after them, and head, as JournalPort.open finds them. Raises JournalCorrupt."""
        reader = SnapshotReader()
        for place, part in enumerate(self._log.parts):
            reader.add(place, part)
        records = list(self._log.records)
        first = decode(records[0], 0).first_sequence if records else 0
        snapshot = starting_point(reader, first, last_sequence(decode(records[-1], 0)) if records else 0)
        books, chain = start_of(snapshot)
        events = [event for record in _tail(records, chain.head.sequence) for event in chain.follow(record)]
        self._head, self._follows, self._closed = chain.head, len(records), ""
        return books, events, chain.head

    def append(
        self,
        events: Sequence[journal_pb2.JournalEvent],
        recorded_unix_ns: int,
        fencing_token: int,
        outcome: Outcome = Outcome.CONFIRMED,
    ) -> JournalHead:
        """As JournalPort.append, with the outcome that is asked for; Overtaken comes of itself where it is due."""
        if self._closed:
            raise JournalUnavailable(f"nothing can be appended to the journal: {self._closed}")
        payload, head = seal(self._head, events, recorded_unix_ns, fencing_token)
        self._closed = "an append was not confirmed"
        if outcome is Outcome.DELAYED:
            self._log.delayed.append((self._follows, payload))
        elif outcome is not Outcome.LOST:
            self._log.store(self._follows, payload)
        if outcome is Outcome.TWICE:
            self._deliver_again(payload)
        if outcome not in (Outcome.CONFIRMED, Outcome.TWICE):
            raise JournalUnavailable("the bus did not confirm a record of the journal")
        self._head, self._follows, self._closed = head, self._follows + 1, ""
        return head

    def confirm(self) -> None:
        """As JournalPort.confirm."""
        if len(self._log.records) != self._follows:
            raise Overtaken("the journal does not end where this gateway left it")

    def _deliver_again(self, payload: bytes) -> None:
        try:
            self._log.store(self._follows, payload)
        except Overtaken:
            return
        raise AssertionError("a record was stored twice")

    def write_snapshot(self, books: journal_pb2.Books, head: JournalHead, parts: int | None = None) -> None:
        """As JournalPort.write_snapshot; with `parts`, the process ends after so many of them."""
        written = list(split(books, head))
        self._log.parts.extend(written[:parts])
        if parts is not None and parts < len(written):
            raise JournalUnavailable("writing a snapshot failed")
        reader = SnapshotReader()
        for place, part in enumerate(self._log.parts):
            reader.add(place, part)
        kept = [snapshot.place for snapshot in reader.intact[:KEPT]]
        if len(kept) == KEPT:
            del self._log.parts[: min(kept)]


def _tail(records: list[bytes], covered: int) -> list[bytes]:
    """The record that holds event `covered`, and those after it."""
    begin = len(records)
    while begin > 0 and last_sequence(decode(records[begin - 1], 0)) >= covered:
        begin -= 1
    return records[begin:]


async def _at_once() -> None:
    return


class MemoryJournal:
    """Implements JournalPort. `outcomes` are those of the next appends (CONFIRMED when there are no more), and
    `confirmation` is awaited before each append returns, so that a test decides when it does."""

    def __init__(
        self,
        log: MemoryLog,
        outcomes: Iterable[Outcome] = (),
        confirmation: Callable[[], Awaitable[None]] = _at_once,
    ) -> None:
        self._writer = MemoryWriter(log)
        self._outcomes = iter(outcomes)
        self._confirmation = confirmation

    async def open(self) -> Recovered:
        """As JournalPort.open."""
        books, events, head = self._writer.recover()
        return Recovered(books, _iterate(events), head)

    async def append(
        self, events: Sequence[journal_pb2.JournalEvent], recorded_unix_ns: int, fencing_token: int
    ) -> JournalHead:
        """As JournalPort.append."""
        outcome = next(self._outcomes, Outcome.CONFIRMED)
        try:
            return self._writer.append(events, recorded_unix_ns, fencing_token, outcome)
        finally:
            await self._confirmation()

    async def confirm(self) -> None:
        """As JournalPort.confirm."""
        self._writer.confirm()

    async def write_snapshot(self, books: journal_pb2.Books, head: JournalHead) -> None:
        """As JournalPort.write_snapshot."""
        self._writer.write_snapshot(books, head)


async def _iterate(events: list[journal_pb2.JournalEvent]) -> AsyncIterator[journal_pb2.JournalEvent]:
    for event in events:
        yield event
