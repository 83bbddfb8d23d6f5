"""What a process writes to the audit trail.

`record` never waits: events go into a queue bounded by number and size, and one task appends them over a connection of
its own. Beyond its share a namespace's events are summed up (see quota). What does not fit is counted, and the number
is recorded as soon as something can be written again. While the bus is away events wait, and while the certificate of
the process is not valid: nothing is written that it could not sign soon, see verification.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade_process.audit import metrics
from crowetrade_process.audit.chain import End, Head, bounded, digest, seal
from crowetrade_process.audit.checkpoints import checkpoint
from crowetrade_process.audit.errors import AuditBroken, AuditUnavailable
from crowetrade_process.audit.quota import BYTES_PER_DAY, Quota
from crowetrade_process.audit.stream import WriterStream
from crowetrade_process.identity.credentials import Credentials
from crowetrade_process.identity.errors import IdentityUnavailable
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.nats import BusClient
from crowetrade_process.stopping import cancelled

log = structlog.get_logger()

CAPACITY = 10_000
CAPACITY_BYTES = 16 * 1024 * 1024
CHECKPOINT_RECORDS = 256
CHECKPOINT_SECONDS = 60.0
RETRY_SECONDS = 1
FINISH_SECONDS = 2.0
TRIES_AT_ONCE = 10
"""So often another process of the same identity may append in between before this one waits."""

_RETRIED = (AuditUnavailable, IdentityUnavailable, NatsError, OSError, TimeoutError)

_NOTHING = audit_pb2.AuditEvent()

Connect = Callable[[], Awaitable[Client]]


def connecting(url: str, name: str, identity: Identity | None = None) -> Connect:
    """How a trail connects: for ever, and again when the connection is lost."""

    async def connect() -> Client:
        return await BusClient.open(
            url, name, identity, errors_at=logging.DEBUG, ping_interval=10, max_outstanding_pings=2
        )

    return connect


class Trail:
    """The audit trail of one process."""

    def __init__(
        self,
        namespace: str,
        service_account: str,
        instance: str,
        *,
        identity: Identity | None = None,
        capacity: int = CAPACITY,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        namespace_bytes_per_day: int = BYTES_PER_DAY,
        clock_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`instance` is the name of the pod; with an identity, which has these names, checkpoints are signed."""
        self.writer = f"{namespace}.{service_account}"
        self._subject = subjects.audit(namespace, service_account)
        self._instance = instance
        self._identity = identity
        self._capacity = capacity
        self._checkpoint_seconds = checkpoint_seconds
        self._clock_ns = clock_ns
        self._clock = clock
        self._quota = Quota(namespace_bytes_per_day)
        # With the sequence of the event of the journal that each tells, or 0.
        self._waiting: deque[tuple[audit_pb2.AuditEvent, int]] = deque()
        self._found: list[tuple[audit_pb2.AuditEvent, int]] = []
        self._journal_ends_with = 0
        # Up to which event of the journal the chain told when this process looked or wrote last.
        self._told_sequence: int | None = None
        self._waiting_bytes = 0
        self._lost = 0
        self._arrived = asyncio.Event()
        self._written = asyncio.Event()
        self._client: Client | None = None
        self._end: End | None = None
        # What was sent since the last confirmation, by its hash; None is a checkpoint.
        self._sent: dict[bytes, audit_pb2.AuditEvent | None] = {}
        self._unvouched = 0
        self._has_vouched = False
        # Hash of the checkpoint that this process wrote last.
        self._vouched_hash = b""
        self._problem = ""
        self._vouch_at = 0.0

    def record(self, event: audit_pb2.AuditEvent, *, by_itself: bool = False, told_sequence: int = 0) -> None:
        """Puts an event into the queue, or counts it when the share of its namespace is used up, unless it is to be
        recorded `by_itself`: for what nobody can repeat at will. `told_sequence`: of the event of the writer's journal
        that it tells. Never waits and never raises."""
        kept = audit_pb2.AuditEvent()
        kept.CopyFrom(event)
        kept.before, kept.after = bounded(event.before), bounded(event.after)
        kept.at_unix_ns = event.at_unix_ns or self._clock_ns()
        if by_itself or self._quota.admits(kept, self._clock()):
            self._put(kept, told_sequence)
        else:
            metrics.SUMMED.inc()
        self._arrived.set()

    def record_found(self, events: Iterable[tuple[audit_pb2.AuditEvent, int]], ends_with: int) -> None:
        """Of what the writer's journal holds when it is opened, oldest first, with its sequences there, that which the
        chain does not tell yet: a process may end after an event is stored and before it is told. Before what is
        recorded from now on. `ends_with` is the last sequence of the journal."""
        self._found, self._journal_ends_with = [*events], ends_with
        self._arrived.set()

    def _has_room(self, size: int) -> bool:
        return len(self._waiting) < self._capacity and self._waiting_bytes + size <= CAPACITY_BYTES

    def _put(self, kept: audit_pb2.AuditEvent, told_sequence: int = 0) -> None:
        size = kept.ByteSize()
        if not self._has_room(size):
            self._lost += 1
            metrics.LOST.inc()
        else:
            self._waiting.append((kept, told_sequence))
            self._waiting_bytes += size
            metrics.WAITING.set(len(self._waiting))

    @property
    def settled(self) -> bool:
        """Whether all that was recorded is on the bus, apart from what is being summed up."""
        return not self._waiting and not self._found and not self._lost

    @property
    def end(self) -> End | None:
        """Where the chain ended when something was written last; nothing while something is being written."""
        return self._end

    @property
    def summing(self) -> Collection[str]:
        """Namespaces of which something is being summed up that is not on the bus yet."""
        return self._quota.summing

    async def settle(self) -> None:
        """Returns when all that was recorded is on the bus, sums too."""
        self._put_sums(self._quota.take_all())
        self._arrived.set()
        while not self.settled:
            self._written.clear()
            await self._written.wait()

    async def room(self) -> None:
        """Returns when half of the queue is free: for those who record much at once and can wait."""
        while len(self._waiting) > self._capacity // 2 or self._waiting_bytes > CAPACITY_BYTES // 2:
            self._written.clear()
            await self._written.wait()

    def record_start(self, what: str) -> None:
        """This process begins."""
        self.record(
            audit_pb2.AuditEvent(
                action=audit_pb2.ACTION_STARTED, actor=self.writer, proof=audit_pb2.ACTOR_PROOF_SELF, reason=what
            )
        )

    @asynccontextmanager
    async def writing(self, connect: Connect) -> AsyncIterator[None]:
        """Writes meanwhile; at the end what waits is written and vouched for, within FINISH_SECONDS."""
        task = asyncio.create_task(self._run(connect))
        try:
            yield
        finally:
            await cancelled(task)
            await self._finish()

    async def _run(self, connect: Connect) -> None:
        while True:
            try:
                if self._client is None:
                    self._client = await connect()
                await self._wait_for_work()
                if self._has_room(0):
                    self._put_sums(self._quota.take(self._clock()))
                await self._write_all()
                if self._unvouched and time.monotonic() >= self._vouch_at:
                    await self._append(None)
            except _RETRIED as error:
                self._not_written(str(error) or type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
            except AuditBroken as error:
                log.error("audit_broken", error=str(error), hint="crowetrade audit verify")
                await asyncio.sleep(RETRY_SECONDS)

    def _put_sums(self, sums: Iterable[audit_pb2.AuditEvent]) -> None:
        for event in sums:
            event.actor = self.writer
            self._put(event)

    def _not_written(self, why: str) -> None:
        """Once for each reason, not each second."""
        if why != self._problem:
            log.warning("audit_not_written", error=why, waiting=len(self._waiting))
        self._problem = why

    async def _wait_for_work(self) -> None:
        """Returns when something waits to be written, or a sum or a checkpoint is due."""
        if self._waiting or self._found or self._lost:
            return
        self._arrived.clear()
        due = [self._vouch_at - time.monotonic()] if self._unvouched else []
        if (sum_at := self._quota.due_at) is not None:
            due.append(sum_at - self._clock())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(min(due), 0.0) if due else None):
                await self._arrived.wait()

    async def _write_all(self) -> None:
        while self._found or self._waiting:
            # What may have arrived without a confirmation stays the next one.
            if self._found and not (self._sent and self._waiting):
                await self._put_found()
                continue
            await self._append(*self._waiting[0])
            self._waiting_bytes -= self._waiting.popleft()[0].ByteSize()
            metrics.WAITING.set(len(self._waiting))
            self._written.set()
            if self._unvouched >= CHECKPOINT_RECORDS:
                await self._append(None)
        if self._lost:
            lost = self._lost
            await self._append(
                audit_pb2.AuditEvent(
                    action=audit_pb2.ACTION_RECORDS_LOST,
                    actor=self.writer,
                    proof=audit_pb2.ACTOR_PROOF_SELF,
                    reason="events came faster than the bus took them",
                    count=lost,
                    at_unix_ns=self._clock_ns(),
                )
            )
            self._lost -= lost
            self._written.set()

    async def _put_found(self) -> None:
        self._end = self._end or await WriterStream(self._connected, self._subject).end()
        head = self._end.head
        untold = [found for found in self._found if found[1] > head.told_sequence]
        if head.told_sequence > self._journal_ends_with:
            # The journal has begun again, or has lost its end, and nothing of it was told since.
            untold = [found for found in self._found if found[0].at_unix_ns > head.recorded_unix_ns]
        self._waiting.extendleft(reversed(untold))
        self._waiting_bytes += sum(event.ByteSize() for event, _ in untold)
        self._found = []
        self._written.set()

    @property
    def _connected(self) -> Client:
        assert self._client is not None
        return self._client

    async def _append(self, event: audit_pb2.AuditEvent | None, told_sequence: int = 0) -> None:
        """Appends an event, or a checkpoint of what is there; before an event also the checkpoint that is missing.
        Raises AuditUnavailable, AuditBroken, IdentityUnavailable."""
        stream = WriterStream(self._connected, self._subject)
        for _ in range(TRIES_AT_ONCE):
            after, self._end = self._end or await stream.end(), None
            if self._told_sequence is None:
                self._told_sequence = after.head.told_sequence
            if self._sent.get(after.head.record_hash, _NOTHING) is event:  # what was not confirmed has arrived
                return self._appended(after, event)
            if self._told_sequence < told_sequence <= after.head.told_sequence:  # a successor found it in the journal
                self._end = after
                self._sent.clear()
                return None
            now_ns = self._clock_ns()
            credentials = self._credentials(now_ns)
            is_late = event is not None and self._is_left_unsigned(after.head, now_ns)
            if event is None or is_late:
                made = checkpoint(after.head, self.writer, now_ns, credentials)
                payload, head = seal(after.head, self.writer, self._instance, now_ns, made)
            else:
                payload, head = seal(after.head, self.writer, self._instance, now_ns, event, told_sequence)
            self._sent[digest(payload)] = None if is_late else event
            place = await stream.append(payload, after)
            if place is not None:
                self._appended(End(head, place), None if is_late else event)
                if not is_late:
                    return None
        raise AuditUnavailable(f"other processes write as {self.writer} all the time")

    def _appended(self, end: End, event: audit_pb2.AuditEvent | None) -> None:
        self._end, self._problem = end, ""
        self._told_sequence = end.head.told_sequence
        self._sent.clear()
        metrics.RECORDS.inc()
        if event is None:
            metrics.SIGNED.set(self._identity is not None)
            self._unvouched, self._has_vouched, self._vouched_hash = 0, True, end.head.record_hash
            return
        if not self._unvouched:
            # The first at once: so that a chain which nobody has signed is never an honest one for long.
            self._vouch_at = time.monotonic() + (self._checkpoint_seconds if self._has_vouched else 0.0)
        self._unvouched += 1

    def _is_left_unsigned(self, head: Head, now_ns: int) -> bool:
        """Whether a checkpoint is missing after `head`: its process was killed, or the bus was away. Verification takes
        what follows an unsigned record that late for somebody else's."""
        if self._identity is None or not head.sequence or head.record_hash == self._vouched_hash:
            return False
        return now_ns - head.recorded_unix_ns > self._checkpoint_seconds * 1e9

    def _credentials(self, now_ns: int) -> Credentials | None:
        """What to sign with; raises IdentityUnavailable when nobody would believe a signature of this moment."""
        if self._identity is None:
            return None
        credentials = self._identity.credentials
        if not credentials.not_before <= datetime.fromtimestamp(now_ns / 1e9, UTC) <= credentials.not_after:
            raise IdentityUnavailable("the certificate is not valid at the time of the clock: records wait")
        return credentials

    async def _finish(self) -> None:
        client = self._client
        try:
            if client is not None:
                async with asyncio.timeout(FINISH_SECONDS):
                    self._put_sums(self._quota.take_all())
                    await self._write_all()
                    if self._unvouched:
                        await self._append(None)
        except (AuditBroken, *_RETRIED) as error:
            log.warning("audit_not_finished", error=str(error) or type(error).__name__)
        finally:
            self._put_sums(self._quota.take_all())
            if self._waiting:
                log.warning("audit_events_lost", count=len(self._waiting))
                metrics.LOST.inc(len(self._waiting))
            if client is not None:
                await client.close()
