"""The bus as the roles see it: typed protobuf messages by subject. A role does not know where its neighbour runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Message)
Handler = Callable[[M], Awaitable[None]]


class Bus(Protocol):
    """Publish and subscribe. Messages of one publisher arrive at one subscription in their order."""

    async def publish(self, subject: str, message: Message) -> None:
        """Sends a message to whoever is subscribed now; nobody else gets it later. Raises NotPublished."""
        ...

    async def subscribe(self, subject: str, kind: type[M], handler: Handler[M]) -> None:
        """Calls `handler` with each message, one at a time; `subject` may end in a wildcard token."""
        ...

    async def answer_pings(self, subject: str) -> None:
        """From now on answers every ping on `subject`: call it once all subscriptions are in force."""
        ...

    async def ping(self, subject: str, timeout_seconds: float) -> bool:
        """Whether somebody answers pings on `subject`."""
        ...

    async def flush(self) -> None:
        """Returns when subscriptions are in force and what was published has left. Raises NotPublished."""
        ...

    async def close(self) -> None:
        """Delivers what has arrived, flushes and leaves."""
        ...
