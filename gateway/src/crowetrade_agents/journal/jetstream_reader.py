"""Reads streams, and a venue's journal and snapshots, from JetStream, in batches of bounded size.

Batches are read with direct get (server 2.11 and later): no consumer is made, so a reader needs no more than the right
to read and leaves nothing behind. A replica that answers may be behind; the end is therefore asked of the stream's
leader first, and reading goes on until it is reached.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js.api import DEFAULT_PREFIX
from nats.js.errors import NotFoundError

from crowetrade import subjects
from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.errors import JournalCorrupt, JournalUnavailable
from crowetrade_agents.journal.chain import last_sequence
from crowetrade_agents.journal.snapshots import SnapshotReader

READ_TIMEOUT_SECONDS = 10.0
BATCH_BYTES = 2 * 1024 * 1024
BATCH_MESSAGES = 2_000
BEHIND_SECONDS = 0.05

_END_OF_BATCH = "204"
_NOT_FOUND = "404"
_NO_RESPONDERS = "503"


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as it is stored: its sequence in the stream, its bytes and its subject."""

    place: int
    payload: bytes
    subject: str


@contextmanager
def unavailable(doing: str) -> Iterator[None]:
    """Turns every failure of the bus into JournalUnavailable."""
    try:
        yield
    except (NatsError, OSError, TimeoutError) as error:
        raise JournalUnavailable(f"{doing} failed ({error or type(error).__name__}); check the NATS pods") from error


class StreamReader:
    """Reads the subjects of one stream; `what` it holds is named in errors."""

    def __init__(self, client: Client, stream: str, what: str, api: str = DEFAULT_PREFIX) -> None:
        """`api` is the prefix of the JetStream API, another one for an administrator (subjects.ADMIN_API)."""
        self._client = client
        self._api = api
        self._jetstream = client.jetstream(prefix=api, timeout=READ_TIMEOUT_SECONDS)
        self._what = what
        self.stream = stream

    async def check_stream(self) -> None:
        """Raises JournalUnavailable when the stream does not exist yet or cannot be read directly."""
        with unavailable(f"reading {self._what}"):
            try:
                info = await self._jetstream.stream_info(self.stream)
            except NotFoundError:
                raise JournalUnavailable(
                    f"stream {self.stream} of {self._what} does not exist yet: waiting for the operator to make it"
                ) from None
        if not info.config.allow_direct:
            raise JournalUnavailable(
                f"stream {self.stream} of {self._what} does not allow direct reads: an administrator has "
                "to set allow_direct"
            )

    async def size(self) -> tuple[int, int]:
        """Bytes that the stream holds, and how many it may hold; -1 is no bound of its own."""
        with unavailable(f"reading the size of {self._what}"):
            info = await self._jetstream.stream_info(self.stream)
        return info.state.bytes, -1 if info.config.max_bytes is None else info.config.max_bytes

    async def last_of(self, subject: str) -> Stored | None:
        """The last message of a subject; None without any."""
        with unavailable(f"reading {self._what}"):
            try:
                found = await self._jetstream.get_msg(self.stream, subject=subject)
            except NotFoundError:
                return None
        return Stored(found.seq or 0, found.data or b"", found.subject or "")

    async def messages(self, subject: str, first_place: int, last_place: int) -> AsyncIterator[Stored]:
        """A subject's messages between two sequences of the stream, both included."""
        place, progress = first_place, time.monotonic()
        while place <= last_place:
            batch = await self._batch(subject, place)
            for message in batch:
                if message.place <= last_place:
                    yield message
            if batch:
                place, progress = batch[-1].place + 1, time.monotonic()
            elif time.monotonic() - progress > READ_TIMEOUT_SECONDS:
                raise JournalUnavailable(f"message {last_place} of stream {self.stream} cannot be read: is it purged?")
            else:
                await asyncio.sleep(BEHIND_SECONDS)

    async def _batch(self, subject: str, place: int) -> list[Stored]:
        """Up to BATCH_MESSAGES messages and about BATCH_BYTES from a place on; none where the replica is behind."""
        request = {"seq": place, "next_by_subj": subject, "batch": BATCH_MESSAGES, "max_bytes": BATCH_BYTES}
        inbox = self._client.new_inbox()
        with unavailable(f"reading {self._what}"):
            subscription = await self._client.subscribe(inbox)
            try:
                await self._client.publish(
                    f"{self._api}.DIRECT.GET.{self.stream}", json.dumps(request).encode(), reply=inbox
                )
                return await self._answers(subscription)
            finally:
                await subscription.unsubscribe()

    async def _answers(self, subscription: Subscription) -> list[Stored]:
        found: list[Stored] = []
        while True:
            message: Msg = await subscription.next_msg(timeout=READ_TIMEOUT_SECONDS)
            headers = message.headers or {}
            status = headers.get("Status")
            if status in (_END_OF_BATCH, _NOT_FOUND):
                return found
            if status is not None:
                why = "nothing answers" if status == _NO_RESPONDERS else headers.get("Description", status)
                raise JournalUnavailable(f"stream {self.stream} cannot be read directly: {why}")
            found.append(Stored(int(headers["Nats-Sequence"]), message.data, headers["Nats-Subject"]))


class JetStreamReader(StreamReader):
    """Reads one venue's journal, and the snapshots beside it."""

    def __init__(self, client: Client, namespace: str, venue: str, api: str = DEFAULT_PREFIX) -> None:
        super().__init__(client, subjects.journal_stream(namespace, venue), "the journal", api)
        self.journal = subjects.journal(namespace, venue)
        snapshots = subjects.snapshot_stream(namespace, venue)
        self._snapshots = StreamReader(client, snapshots, "the journal's snapshots", api)
        self._every_slot = subjects.journal_snapshots(namespace, venue)
        self._slots = [subjects.journal_snapshot(namespace, venue, slot) for slot in range(subjects.SNAPSHOT_SLOTS)]
        self._slot_of: dict[int, str] = {}

    @property
    def snapshot_stream(self) -> str:
        """The stream of the snapshots."""
        return self._snapshots.stream

    async def check_stream(self) -> None:
        """Raises JournalUnavailable when one of the streams does not exist yet or cannot be read directly."""
        await super().check_stream()
        await self._snapshots.check_stream()

    async def last(self) -> Stored | None:
        """The last record of the journal; None when it is empty."""
        return await self.last_of(self.journal)

    async def record_at(self, place: int) -> Stored | None:
        """The first record of the journal at or after a sequence of the stream; None when there is none."""
        with unavailable("reading the journal"):
            try:
                found = await self._jetstream.get_msg(self.stream, seq=place, subject=self.journal, next=True)
            except NotFoundError:
                return None
        return Stored(found.seq or 0, found.data or b"", found.subject or "")

    async def record_of(self, sequence: int, last: Stored) -> Stored:
        """The record that holds an event, or the first of the journal when that event was trimmed; the event is not
        after `last`. Asks for about as many records as the number of records has binary digits."""
        low, high, found = 1, last.place, last
        while low < high:
            middle = (low + high) // 2
            record = await self.record_at(middle)
            if record is None:
                raise JournalUnavailable("the journal was trimmed while it was read: start again")
            if last_sequence(_decode(record)) >= sequence:
                high, found = middle, record
            else:
                low = record.place + 1
        return found

    async def read_snapshots(self) -> SnapshotReader:
        """All snapshots that are stored."""
        reader = SnapshotReader()
        self._slot_of.clear()
        last = await self._snapshots.last_of(self._every_slot)
        if last is None:
            return reader
        async for part in self._snapshots.messages(self._every_slot, 1, last.place):
            self._slot_of[part.place] = part.subject
            reader.add(part.place, part.payload)
        return reader

    def slots_of(self, snapshots: SnapshotReader) -> list[str]:
        """Subjects on which snapshots are stored, in the order in which to replace them: first those without an intact
        one. `snapshots` are those that were read last."""
        kept = [self._slot_of[snapshot.place] for snapshot in reversed(snapshots.intact)]
        return [*(slot for slot in self._slots if slot not in kept), *kept]

    async def records(self, first_place: int, last_place: int) -> AsyncIterator[Stored]:
        """The journal's records between two sequences of the stream, both included."""
        async for record in self.messages(self.journal, first_place, last_place):
            yield record


def _decode(record: Stored) -> journal_pb2.JournalRecord:
    try:
        return journal_pb2.JournalRecord.FromString(record.payload)
    except DecodeError as error:
        raise JournalCorrupt(f"the record that is message {record.place} cannot be decoded: {error}") from error
