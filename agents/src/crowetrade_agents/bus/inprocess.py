"""The bus within one process: a message is handled by every subscriber before `publish` returns, so order is given.

Messages are handed over as they are and must not be changed by a handler. Subjects match exactly or by NATS wildcards.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from google.protobuf.message import Message

from crowetrade_agents.bus.port import Handler, M


class InProcessBus:
    """Implements Bus."""

    def __init__(self) -> None:
        self._handlers: list[tuple[str, type[Message], Callable[[Message], Awaitable[None]]]] = []
        self._answering: set[str] = set()

    async def publish(self, subject: str, message: Message) -> None:
        """Awaits every handler in the order of subscription; what a handler raises reaches the publisher."""
        for pattern, kind, handler in tuple(self._handlers):
            if isinstance(message, kind) and matches(pattern, subject):
                await handler(message)

    async def subscribe(self, subject: str, kind: type[M], handler: Handler[M]) -> None:
        """In force at once."""

        async def typed(message: Message) -> None:
            if isinstance(message, kind):
                await handler(message)

        self._handlers.append((subject, kind, typed))

    async def answer_pings(self, subject: str) -> None:
        """In force at once."""
        self._answering.add(subject)

    async def ping(self, subject: str, timeout_seconds: float) -> bool:
        """Answers at once."""
        return subject in self._answering

    async def flush(self) -> None:
        """Nothing is ever under way."""

    async def close(self) -> None:
        """Forgets all subscriptions."""
        self._handlers.clear()
        self._answering.clear()


def matches(pattern: str, subject: str) -> bool:
    """NATS subject matching: `*` stands for one token, a last `>` for one or more."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return len(given) >= len(wanted) and all(
            want in ("*", have) for want, have in zip(wanted[:-1], given, strict=False)
        )
    return len(wanted) == len(given) and all(want in ("*", have) for want, have in zip(wanted, given, strict=True))
