"""The bus between the gateways and strategies of one process: as over NATS, nobody waits for a subscriber, and what a
handler raises is logged and counted.

Messages are handed over as they are and must not be changed by a handler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog
from google.protobuf.message import Message

from crowetrade_agents import metrics
from crowetrade_agents.bus.port import Handler, M
from crowetrade_process.stopping import cancelled

MOST_WAITING = 1_000
"""Messages that a subscription keeps. In lock step none waits behind another."""
CLOSE_SECONDS = 2.0
"""How long a connection that is closed goes on handling what has come."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Subscription:
    pattern: str
    kind: type[Message]
    handler: Callable[[Message], Awaitable[None]]
    waiting: asyncio.Queue[tuple[str, Message] | None] = field(default_factory=asyncio.Queue)
    lost: int = 0

    def put(self, subject: str, message: Message) -> None:
        """Queues the message; a subscriber that is too slow loses its oldest one, which the newest replaces."""
        if self.waiting.qsize() >= MOST_WAITING:
            self.waiting.get_nowait()
            schema = self.kind.DESCRIPTOR.full_name
            if not self.lost:
                _log.warning("bus_subscriber_too_slow", subject=subject, schema=schema)
            self.lost += 1
            metrics.BUS_DROPPED.labels(schema=schema).inc()
        self.waiting.put_nowait((subject, message))

    async def run(self) -> None:
        while (item := await self.waiting.get()) is not None:
            subject, message = item
            try:
                await self.handler(message)
            except Exception:  # noqa: BLE001 - the top of the loop: one bad message must not end it
                schema = self.kind.DESCRIPTOR.full_name
                metrics.BUS_HANDLER_FAILURES.labels(schema=schema).inc()
                _log.exception("bus_handler_failed", subject=subject, schema=schema)
            if not self.waiting.empty():
                # Neither the queue nor a handler need wait for anything: others, and who closes it, get their turn.
                await asyncio.sleep(0)


class LocalBus:
    """What connections share."""

    def __init__(self) -> None:
        self._connections: list[LocalConnection] = []

    def connect(self) -> LocalConnection:
        """A connection of one gateway, strategy or observer."""
        connection = LocalConnection(self)
        self._connections.append(connection)
        return connection

    def hand_over(self, subject: str, message: Message) -> None:
        """Queues the message with every subscription that it matches."""
        for connection in self._connections:
            connection.take(subject, message)

    def answers(self, subject: str) -> bool:
        """Whether somebody answers pings."""
        return any(connection.answers(subject) for connection in self._connections)

    def leave(self, connection: LocalConnection) -> None:
        """Hands nothing more over to the connection."""
        if connection in self._connections:
            self._connections.remove(connection)


class LocalConnection:
    """Implements Bus: each subscription has a queue and a task, so messages are handled one at a time and in order."""

    def __init__(self, bus: LocalBus) -> None:
        self._bus = bus
        self._subscriptions: dict[asyncio.Task[None], _Subscription] = {}
        self._answering: set[str] = set()

    async def publish(self, subject: str, message: Message) -> None:
        """Returns before it is handled."""
        self._bus.hand_over(subject, message)

    async def subscribe(self, subject: str, kind: type[M], handler: Handler[M]) -> None:
        """In force at once."""

        async def typed(message: Message) -> None:
            if isinstance(message, kind):
                await handler(message)

        subscription = _Subscription(subject, kind, typed)
        self._subscriptions[asyncio.create_task(subscription.run())] = subscription

    async def answer_pings(self, subject: str) -> None:
        """In force at once."""
        self._answering.add(subject)

    async def ping(self, subject: str, timeout_seconds: float) -> bool:
        """Answers at once."""
        return self._bus.answers(subject)

    async def flush(self) -> None:
        """Nothing is ever under way."""

    async def close(self) -> None:
        """Handles what has come, as long as it takes little time, and leaves."""
        self._bus.leave(self)
        self._answering.clear()
        subscriptions, self._subscriptions = self._subscriptions, {}
        for subscription in subscriptions.values():
            subscription.waiting.put_nowait(None)
        if subscriptions:
            _, late = await asyncio.wait(subscriptions, timeout=CLOSE_SECONDS)
            await cancelled(*late)

    def take(self, subject: str, message: Message) -> None:
        """Queues a message that somebody published."""
        for subscription in self._subscriptions.values():
            if isinstance(message, subscription.kind) and matches(subscription.pattern, subject):
                subscription.put(subject, message)

    def answers(self, subject: str) -> bool:
        """Whether it answers pings on the subject."""
        return subject in self._answering


def matches(pattern: str, subject: str) -> bool:
    """NATS subject matching: `*` stands for one token, a last `>` for one or more."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return len(given) >= len(wanted) and all(
            want in ("*", have) for want, have in zip(wanted[:-1], given, strict=False)
        )
    return len(wanted) == len(given) and all(want in ("*", have) for want, have in zip(wanted, given, strict=True))
