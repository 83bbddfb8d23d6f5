"""Ledgers in a key-value bucket of JetStream.

Reads and exchanges go to the leader of the bucket's stream. What others publish to the bucket is heard as well: it may
have been refused, so it only says that it is worth reading. A request without an answer may still be in the client's
buffer and leave when the connection is back, which is why an exchange names the revision that it replaces.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import APIError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade_agents.allowances.ledger import Entry
from crowetrade_agents.errors import LedgerUnavailable

ANSWER_SECONDS = 1.0


class JetStreamLedgers:
    """Implements LedgerPort for one gateway process."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.heard = asyncio.Event()
        self._client = client
        self._jetstream = client.jetstream(timeout=ANSWER_SECONDS)
        self._namespace = namespace
        self._bucket: KeyValue | None = None
        self._dirty: set[str] = set()

    async def uids(self) -> Iterable[str]:
        """See LedgerPort. Also those that were deleted."""
        own = subjects.key_subject(subjects.ALLOWANCE_BUCKET, self._key("*"))
        with _unavailable():
            await self._opened()
            stream = subjects.bucket_stream(subjects.ALLOWANCE_BUCKET)
            info = await self._jetstream.stream_info(stream, subjects_filter=own)
        return [subject.rpartition(".")[2] for subject in info.state.subjects or {}]

    async def read(self, uids: Iterable[str]) -> Mapping[str, Entry]:
        """See LedgerPort."""
        with _unavailable():
            bucket = await self._opened()
            return {uid: await self._entry(bucket, uid) for uid in uids}

    async def exchange(self, uid: str, revision: int, payload: bytes) -> int | None:
        """See LedgerPort."""
        with _unavailable():
            try:
                return await (await self._opened()).update(self._key(uid), payload, last=revision)
            except KeyWrongLastSequenceError:
                return None

    def changed(self) -> frozenset[str]:
        """See LedgerPort."""
        dirty = frozenset(self._dirty)
        self._dirty.clear()
        return dirty

    async def _entry(self, bucket: KeyValue, uid: str) -> Entry:
        try:
            found = await bucket.get(self._key(uid))
        except KeyNotFoundError as error:
            # One that was deleted has a revision, too, on which the next one follows.
            return Entry(error.entry.revision or 0) if error.entry is not None else Entry()
        return Entry(found.revision or 0, found.value or b"")

    async def _opened(self) -> KeyValue:
        if self._bucket is None:
            bucket = await self._jetstream.key_value(subjects.ALLOWANCE_BUCKET)
            await self._client.subscribe(
                subjects.key_subject(subjects.ALLOWANCE_BUCKET, self._key("*")), cb=self._published
            )
            self._bucket = bucket
        return self._bucket

    async def _published(self, message: Msg) -> None:
        self._dirty.add(message.subject.rpartition(".")[2])
        self.heard.set()

    def _key(self, uid: str) -> str:
        return subjects.allowance_key(self._namespace, uid)


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except (NatsError, APIError, OSError, TimeoutError) as error:
        raise LedgerUnavailable(
            f"the bus does not answer about the shares of limits ({error or type(error).__name__}): check the NATS "
            f"pods, and that the operator has made the bucket {subjects.ALLOWANCE_BUCKET}"
        ) from error
