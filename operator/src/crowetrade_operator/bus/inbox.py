"""The newest message of each gateway and agent that is not read yet.

Keeping a message costs a tenth of reading it, and never waits for that. NATS ends the connection of a client that is
slower than what is sent to it, and an answer to the operator comes behind all status messages that were sent before it:
where ten thousand agents reported each second and each message was read as it came, requests at the bus timed out. So a
message that is not read in time is replaced by the next one of its sender, and what there is to read never becomes more
than one message of each.
"""

from __future__ import annotations

import asyncio
import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from nats.aio.msg import Msg

from crowetrade import subjects
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.nats import TlsClient

NO_SCHEMA = "none"
Keep = Callable[[str, str, bytes], None]
"""Called with subject, schema and content of each message."""


class Unread(NamedTuple):
    """A message as it came, and when (seconds of the clock of the StatusBoard)."""

    subject: str
    schema: str
    data: bytes
    at: float


class Inbox:
    """Messages by subject, in the order in which their senders have waited."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, Unread] = OrderedDict()
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, subject: str, schema: str, data: bytes) -> bool:
        """Keeps a message in the place of the one before; returns whether that was not read yet."""
        replaced = subject in self._kept
        self._kept[subject] = Unread(subject, schema, data, self._clock())
        self._arrived.set()
        return replaced

    def next(self) -> Unread | None:
        """Takes out whose sender has waited longest."""
        return self._kept.popitem(last=False)[1] if self._kept else None

    async def wait(self) -> None:
        """Until there is something to read."""
        while not self._kept:
            self._arrived.clear()
            await self._arrived.wait()

    def forget(self, before: float) -> None:
        """Keeps nothing that came before that time."""
        for unread in [unread for unread in self._kept.values() if unread.at < before]:
            del self._kept[unread.subject]


class StatusClient(TlsClient):
    """A client that hands status messages over as they are parsed. That takes a third of what a callback takes, for
    which nats-py makes a message, puts it into a queue and wakes a task."""

    def __init__(self, keep: Keep, identity: Identity | None = None) -> None:
        super().__init__(identity)
        self._keep = keep
        self._direct: set[int] = set()

    async def receive(self, subject: str) -> None:
        """Hands over whatever comes to the subject, from now on."""
        subscription = await self.subscribe(subject, cb=self._called_back)
        self._direct.add(subscription._id)

    async def _called_back(self, message: Msg) -> None:
        """What comes before the subscription is known here."""
        self._keep(message.subject, (message.headers or {}).get(subjects.SCHEMA_HEADER, NO_SCHEMA), message.data)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if sid in self._direct:
            self._keep(subject.decode(), schema_of(headers or b""), data)
        else:
            await super()._process_msg(sid, subject, reply, data, headers)


@functools.lru_cache(64)
def schema_of(headers: bytes) -> str:
    """What the headers of a message, as they came, say about its schema."""
    for line in headers.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == _SCHEMA_HEADER:
            return value.strip().decode(errors="replace")
    return NO_SCHEMA


_SCHEMA_HEADER = subjects.SCHEMA_HEADER.encode()
