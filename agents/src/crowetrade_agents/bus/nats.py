"""The bus over NATS.

Each message carries the full name of its protobuf type, with its version, in the header `Crowetrade-Schema`. What names
another type or can't be decoded goes to `dlq.<subject>` as it came, with the reason in a header, and is counted.

The client reconnects without end. What is published by others while it is away is lost: lock step is set going again
by the execution role (roles/execution.py), and in a paced replay or live the next quote replaces the lost one.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import structlog
from google.protobuf.message import DecodeError, Message
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError, NoRespondersError, OutboundBufferLimitError
from nats.errors import TimeoutError as NatsTimeoutError

from crowetrade import subjects
from crowetrade_agents import metrics
from crowetrade_agents.bus.port import Handler, M
from crowetrade_agents.errors import NotPublished
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.nats import BusClient, OnConnection

REASON_HEADER = "Crowetrade-Dead-Letter-Reason"
STALLED_SECONDS = 20.0
"""Many times what one attempt takes. The kubelet asks six times before it starts a process again: a minute more."""
_REASONS: dict[type[Exception], str] = {MaxPayloadError: "TooLarge", OutboundBufferLimitError: "BufferFull"}

_log = structlog.get_logger(__name__)


class Attempts:
    """Whether the client goes on trying to connect: each try that fails is heard of, about once a second. nats-py was
    seen to stop trying without a word when its server was killed on a busy node; the process must then start again."""

    def __init__(self, report: OnConnection, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._monotonic = monotonic
        self._waiting_since: float | None = None

    def __call__(self, connected: bool, why: str) -> None:
        """As `on_connection` of NatsBus.connect."""
        self._waiting_since = None if connected else self._monotonic()
        self._report(connected, why)

    def stalled(self) -> str:
        """A sentence when nothing was tried for STALLED_SECONDS; empty otherwise."""
        silent = 0.0 if self._waiting_since is None else self._monotonic() - self._waiting_since
        return f"no attempt to reach NATS for {silent:.0f} s" if silent > STALLED_SECONDS else ""


class NatsBus:
    """Implements Bus over one connection."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @classmethod
    async def connect(
        cls,
        url: str,
        name: str,
        on_connection: OnConnection = lambda connected, why: None,
        identity: Identity | None = None,
    ) -> NatsBus:
        """Connects, trying without end; `on_connection(connected, why not)` is called at every change, and at every
        attempt that fails."""
        client = await BusClient.open(url, name, identity, on_connection)
        on_connection(True, "")
        return cls(client)

    @property
    def client(self) -> Client:
        """The connection, for JetStream."""
        return self._client

    async def publish(self, subject: str, message: Message) -> None:
        """Hands the message to the client's buffer, which also bridges a short loss of the connection."""
        headers = {subjects.SCHEMA_HEADER: message.DESCRIPTOR.full_name}
        try:
            await self._client.publish(subject, message.SerializeToString(), headers=headers)
        except (NatsError, OSError) as error:
            raise _not_published(error) from error

    async def subscribe(self, subject: str, kind: type[M], handler: Handler[M]) -> None:
        """One at a time and in order for this subscription; a handler that raises is logged and counted."""
        await self._client.subscribe(subject, cb=self._receiver(kind, handler))

    async def answer_pings(self, subject: str) -> None:
        """Answers with an empty message."""

        async def answer(request: Msg) -> None:
            await request.respond(b"")

        await self._client.subscribe(subject, cb=answer)
        await self.flush()

    async def ping(self, subject: str, timeout_seconds: float) -> bool:
        """The server answers at once when nobody listens."""
        try:
            await self._client.request(subject, b"", timeout=timeout_seconds)
        except (NoRespondersError, NatsTimeoutError):
            return False
        return True

    async def flush(self) -> None:
        """Two round trips to the server.

        nats-py writes the PING of a flush past the commands that are still in its buffer, so after the first one a
        subscription may not have left yet. While the first answer was awaited the buffer was written.
        """
        try:
            await self._client.flush()
            await self._client.flush()
        except (NatsError, OSError) as error:
            raise _not_published(error) from error

    async def close(self) -> None:
        """Drains: no new messages, those that came are handled, what was published leaves."""
        try:
            await self._client.drain()
        except (NatsError, OSError) as error:
            _log.warning("nats_drain_failed", error=str(error))
            await self._client.close()

    def _receiver(self, kind: type[M], handler: Handler[M]) -> Callable[[Msg], Awaitable[None]]:
        expected = kind.DESCRIPTOR.full_name

        async def receive(msg: Msg) -> None:
            schema = (msg.headers or {}).get(subjects.SCHEMA_HEADER)
            try:
                if schema != expected:
                    raise DecodeError(f"the message is a {schema or 'message without a schema'}, not a {expected}")
                message = kind.FromString(msg.data)
            except DecodeError as error:
                await self._dead_letter(msg, expected, str(error))
                return
            try:
                await handler(message)
            except Exception:  # noqa: BLE001 - the top of the loop: one bad message must not end it
                metrics.BUS_HANDLER_FAILURES.labels(schema=expected).inc()
                _log.exception("bus_handler_failed", subject=msg.subject, schema=expected)

        return receive

    async def _dead_letter(self, msg: Msg, expected: str, reason: str) -> None:
        metrics.BUS_UNDECODABLE.labels(schema=expected).inc()
        _log.error("bus_undecodable", subject=msg.subject, schema=expected, reason=reason)
        headers = {**(msg.headers or {}), REASON_HEADER: reason}
        await self._client.publish(subjects.dead_letter(msg.subject), msg.data, headers=headers)


def _not_published(error: Exception) -> NotPublished:
    return NotPublished(_REASONS.get(type(error), type(error).__name__.removesuffix("Error")), str(error))
