"""Reads the journals of all gateways from their beginning, merges them by time, and follows them.

Each round asks every journal where it ends and takes what is older than HOLD_NS, so that events of different journals
come in the order of their times and market data has arrived. Of a journal one batch is in memory at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple

from nats.aio.client import Client

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade_agents.auditor.findings import Finding
from crowetrade_agents.auditor.fleet import CLOCK_TOLERANCE_NS, Fleet, Name
from crowetrade_agents.auditor.ledger import Ledger
from crowetrade_agents.errors import JournalCorrupt, JournalUnavailable
from crowetrade_agents.journal.chain import Chain, decode
from crowetrade_agents.journal.jetstream_reader import JetStreamReader, Stored
from crowetrade_agents.journal.snapshots import Snapshot, start_of

HOLD_NS = CLOCK_TOLERANCE_NS + 500_000_000
PAUSE_EVERY = 200
"""Events after which others of the process get their turn."""


class Batch(NamedTuple):
    """A record that was read and verified."""

    at_ns: int
    first_sequence: int
    events: Sequence[pb.JournalEvent]


class Follower:
    """One journal, read once from its first record to its last, and on."""

    def __init__(self, client: Client, namespace: str, venue: str) -> None:
        self.name: Name = (namespace, venue)
        self.problem = "it has not been read yet"
        """Why it is not audited up to the present; empty when it is."""
        self.broken = False
        """Whether it can never be read on."""
        self.audited_ns = 0
        """Everything up to this time was judged."""
        self.head: Batch | None = None
        self.snapshots: dict[int, Snapshot] = {}
        self._reader = JetStreamReader(client, namespace, venue)
        self._chain: Chain | None = None
        self._place = 1
        self._records: AsyncIterator[Stored] | None = None

    async def begin(self) -> Ledger:
        """Finds where to begin: with the first event, or with the oldest snapshot where records were trimmed.

        Raises JournalUnavailable and JournalCorrupt.
        """
        await self._reader.check_stream()
        snapshots = await self._reader.read_snapshots()
        last = await self._reader.last()
        first = await self._reader.record_at(1) if last is not None else None
        begins_with = decode(first.payload, 0).first_sequence if first is not None else 1
        self.snapshots = {snapshot.head.sequence: snapshot for snapshot in snapshots.intact}
        if begins_with <= 1 or last is None:
            self._chain = Chain()
            return Ledger(*self.name)
        oldest = min((at for at in self.snapshots if at >= begins_with - 1), default=None)
        if oldest is None:
            raise JournalCorrupt(f"it begins with event {begins_with}, and no snapshot says what came before")
        snapshot = self.snapshots.pop(oldest)
        books, self._chain = start_of(snapshot)
        self._place = (await self._reader.record_of(oldest, last)).place
        assert books is not None
        return Ledger.from_snapshot(*self.name, oldest, books)

    async def look(self) -> None:
        """Begins a round: what is stored now will be read. Raises JournalUnavailable, and JournalCorrupt when records
        that were read are gone."""
        last = await self._reader.last()
        end = last.place if last is not None else 0
        if end < self._place - 1:
            raise JournalCorrupt(
                f"records that were read are gone: it ended at message {self._place - 1}, now at {end}"
            )
        self._records = self._reader.records(self._place, end)
        if self.head is None:
            await self.advance()

    async def advance(self) -> None:
        """Reads the next record into `head`, None at the end of the round. Raises JournalUnavailable and
        JournalCorrupt."""
        assert self._records is not None
        assert self._chain is not None
        self.head = None
        async for stored in self._records:
            first = self._chain.head.sequence + 1
            events = self._chain.follow(stored.payload)
            self._place = stored.place + 1
            if events:
                self.head = Batch(events[0].at_unix_ns, first, events)
                return


class Auditor:
    """All followers and the fleet that they feed."""

    def __init__(self, client: Client, fleet: Fleet, progress: Callable[[], None] = lambda: None) -> None:
        self.followers: dict[Name, Follower] = {}
        self.fleet = fleet
        self._client = client
        self._progress = progress

    def found(self, names: Sequence[Name]) -> list[Name]:
        """Takes the journals that there are; returns those that are new."""
        new = [name for name in names if name not in self.followers]
        for name in new:
            self.followers[name] = Follower(self._client, *name)
        for name in [name for name in self.followers if name not in names]:
            del self.followers[name]
            self.fleet.forget(name)
        return new

    async def round(self, now_ns: int) -> None:
        """Judges everything older than HOLD_NS; what goes wrong with one journal stands in its follower."""
        until_ns = now_ns - HOLD_NS
        for follower in list(self.followers.values()):
            await self._try(follower, self._look)
        self.fleet.lagging = {name for name, follower in self.followers.items() if follower.problem}
        taken = 0
        while True:
            ready = [item for item in self.followers.values() if not item.problem and item.head is not None]
            first = min(ready, key=lambda item: item.head.at_ns if item.head else 0, default=None)
            if first is None or first.head is None or first.head.at_ns > until_ns:
                break
            taken += len(first.head.events)
            await self._try(first, self._take)
            if taken >= PAUSE_EVERY:
                taken = 0
                self._progress()
                await asyncio.sleep(0)
        self.fleet.settle(until_ns - CLOCK_TOLERANCE_NS)
        for follower in self.followers.values():
            if not follower.problem:
                follower.audited_ns = until_ns

    async def _try(self, follower: Follower, do: Callable[[Follower], Awaitable[None]]) -> None:
        if follower.broken:
            return
        try:
            await do(follower)
        except JournalUnavailable as error:
            follower.problem = str(error)
        except JournalCorrupt as error:
            follower.problem, follower.broken = str(error), True
            self._tell(follower, "journal", str(error))

    async def _look(self, follower: Follower) -> None:
        if follower.name not in self.fleet.ledgers:
            self.fleet.follow(await follower.begin())
        await follower.look()
        follower.problem = ""

    async def _take(self, follower: Follower) -> None:
        batch = follower.head
        assert batch is not None
        for sequence, event in enumerate(batch.events, batch.first_sequence):
            self.fleet.take(follower.name, sequence, event)
            self._compare(follower, sequence)
        await follower.advance()

    def _compare(self, follower: Follower, sequence: int) -> None:
        """The gateway's own books at this event, where it kept them, say the same."""
        snapshot = follower.snapshots.pop(sequence, None)
        if snapshot is not None:
            for difference in self.fleet.ledgers[follower.name].differences(snapshot.books()):
                self._tell(follower, "books", difference)

    def _tell(self, follower: Follower, limit: str, text: str) -> None:
        ledger = self.fleet.ledgers.get(follower.name) or Ledger(*follower.name)
        finding = Finding(*follower.name, ledger.sequence, ledger.at_ns, "", "", "", limit, "", "", "", text)
        self.fleet.findings.append(finding)
