"""The gateway's journal in JetStream: one stream per venue, fenced, hash-chained; and a stream of its snapshots.

An append is one publish that names the sequence it follows on the journal's subject, so of two gateways for one account
only one appends. It carries no message id: it is sent once, and were it delivered twice, the second would not follow
the first. An append that is not confirmed may still arrive later (the client sends what it kept when the connection is
back); this process appends nothing more, and a successor that has not written yet is refused and starts again.

Nothing is purged here. A snapshot replaces an older one: its first part carries `Nats-Rollup: sub`, with which the
stream drops what is on that subject.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import APIError

from crowetrade import subjects
from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.errors import JournalUnavailable, Overtaken
from crowetrade_agents.journal.chain import MAX_RECORD_BYTES, Chain, decode, head_of, seal
from crowetrade_agents.journal.jetstream_reader import JetStreamReader, Stored, unavailable
from crowetrade_agents.journal.port import JournalHead, Recovered
from crowetrade_agents.journal.snapshots import Snapshot, split, start_of, starting_point

APPEND_TIMEOUT_SECONDS = 5.0
SNAPSHOT_TIMEOUT_SECONDS = 10.0
HEADERS_BYTES = 1024
"""Room for the headers of a message; they count against the server's max_payload."""

_WRONG_LAST_SEQUENCE = 10071
_STORE_FAILED = 10077
_FULL = "maximum bytes exceeded"
_RECORD_SCHEMA = journal_pb2.JournalRecord.DESCRIPTOR.full_name
_SNAPSHOT_SCHEMA = journal_pb2.JournalSnapshot.DESCRIPTOR.full_name

_NOT_WHERE_IT_WAS = (
    "the journal does not end where this gateway left it (another gateway wrote to it, or the bus lost it): this one "
    "stops, and its successor reads what is there"
)

_log = structlog.get_logger(__name__)


class JetStreamJournal:
    """Implements JournalPort for one gateway process."""

    def __init__(
        self, client: Client, namespace: str, venue: str, append_timeout_seconds: float = APPEND_TIMEOUT_SECONDS
    ) -> None:
        self._client = client
        self._jetstream = client.jetstream(timeout=SNAPSHOT_TIMEOUT_SECONDS)
        self._reader = JetStreamReader(client, namespace, venue)
        self._append_timeout_seconds = append_timeout_seconds
        self._head = JournalHead()
        self._last_place = 0
        self._slots: list[str] = []
        """Subjects of snapshots, first the one that the next snapshot replaces."""
        self._closed = "it has not been read to its end"

    async def open(self) -> Recovered:
        """As JournalPort.open."""
        self._check_payload()
        await self._reader.check_stream()
        # Snapshots first: what they stand on is then among the records that are read.
        snapshots = await self._reader.read_snapshots()
        last = await self._reader.last()
        first = await self._reader.record_at(1) if last is not None else None
        head = head_of(last.payload if last is not None else None)
        snapshot = starting_point(snapshots, decode(first.payload, 0).first_sequence if first else 0, head.sequence)
        for fault in [*snapshots.damaged, *snapshots.unfinished]:
            _log.warning("journal_snapshot_unusable", fault=fault)
        self._slots = self._reader.slots_of(snapshots)
        self._head, self._last_place = head, last.place if last is not None else 0
        books, chain = start_of(snapshot)
        return Recovered(books, self._events(chain, snapshot, last), head)

    def _check_payload(self) -> None:
        if self._client.max_payload < MAX_RECORD_BYTES + HEADERS_BYTES:
            raise JournalUnavailable(
                f"NATS takes messages of at most {self._client.max_payload} bytes; the journal needs "
                f"{MAX_RECORD_BYTES + HEADERS_BYTES}: set max_payload to 1MB"
            )

    async def _events(
        self, chain: Chain, snapshot: Snapshot | None, last: Stored | None
    ) -> AsyncIterator[journal_pb2.JournalEvent]:
        if last is not None:
            start = 1 if snapshot is None else (await self._reader.record_of(snapshot.head.sequence, last)).place
            async for record in self._reader.records(start, last.place):
                for event in chain.follow(record.payload):
                    yield event
        chain.check_end(self._head)
        self._closed = ""

    async def append(
        self, events: Sequence[journal_pb2.JournalEvent], recorded_unix_ns: int, fencing_token: int
    ) -> JournalHead:
        """As JournalPort.append."""
        if self._closed:
            raise JournalUnavailable(f"nothing can be appended to the journal: {self._closed}")
        payload, head = seal(self._head, events, recorded_unix_ns, fencing_token)
        # Also where the task is cancelled: what is under way may be stored.
        self._closed = "an append was not confirmed"
        self._last_place = await self._publish_record(payload)
        self._head, self._closed = head, ""
        return head

    async def _publish_record(self, payload: bytes) -> int:
        headers = {
            "Nats-Expected-Last-Subject-Sequence": str(self._last_place),
            subjects.SCHEMA_HEADER: _RECORD_SCHEMA,
        }
        try:
            acknowledgement = await self._jetstream.publish(
                self._reader.journal,
                payload,
                timeout=self._append_timeout_seconds,
                stream=self._reader.stream,
                headers=headers,
            )
        except (NatsError, OSError, TimeoutError) as error:
            if isinstance(error, APIError) and error.err_code == _WRONG_LAST_SEQUENCE:
                raise Overtaken(_NOT_WHERE_IT_WAS) from error
            if isinstance(error, APIError) and error.err_code == _STORE_FAILED and error.description == _FULL:
                raise JournalUnavailable(
                    f"stream {self._reader.stream} of the journal is full: nothing trades before an administrator of "
                    "the bus exports it and removes what is exported (crowetrade journal export FILE --trim --yes) or "
                    "gives it more room (nats stream edit --max-bytes)"
                ) from error
            raise JournalUnavailable(
                f"the bus did not confirm a record of the journal ({error or type(error).__name__}): this gateway "
                "stops, and its successor reads what was stored; check the NATS pods"
            ) from error
        return acknowledgement.seq

    async def confirm(self) -> None:
        """As JournalPort.confirm: asks the stream's leader where the journal ends."""
        last = await self._reader.last()
        if (last.place if last is not None else 0) != self._last_place:
            raise Overtaken(_NOT_WHERE_IT_WAS)

    async def write_snapshot(self, books: journal_pb2.Books, head: JournalHead) -> None:
        """As JournalPort.write_snapshot. The newest two stay as they are until it is complete."""
        subject = self._slots[0]
        for number, part in enumerate(split(books, head)):
            await self._publish_part(subject, part, replaces=number == 0)
        self._slots = [*self._slots[1:], subject]

    async def _publish_part(self, subject: str, payload: bytes, replaces: bool) -> None:
        headers = {subjects.SCHEMA_HEADER: _SNAPSHOT_SCHEMA, **({"Nats-Rollup": "sub"} if replaces else {})}
        with unavailable("writing a snapshot"):
            await self._jetstream.publish(subject, payload, stream=self._reader.snapshot_stream, headers=headers)
