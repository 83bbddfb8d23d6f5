"""Order entry within one process: the same hub, decoding and listener as over gRPC, without a wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.errors import SessionTakenOver
from crowetrade_agents.order_entry.hub import Sessions
from crowetrade_agents.order_entry.port import Request, SessionListener, progress_request
from crowetrade_agents.order_entry.responses import hand_over
from crowetrade_agents.order_entry.session import End, EndKind, Session

RETRY_NS = 200_000_000
"""Wait between a session that ended or was refused and the next try."""
MAX_WAITING = 1024
"""Requests that may wait for the gateway to take them; `send` takes no more."""
_CLOSED = End(EndKind.CLOSED, "")
_NOT_SERVING = End(EndKind.LEAVING, "it does not serve yet")


class InProcessEntry:
    """Where the sessions of one venue are opened, whichever gateway serves it now."""

    def __init__(self) -> None:
        self._serving: Sessions | None = None
        self._opened_by: dict[Session, Sessions] = {}

    @asynccontextmanager
    async def serve(self, sessions: Sessions) -> AsyncIterator[None]:
        """The gateway serves as long as the context lives."""
        self._serving = sessions
        try:
            yield
        finally:
            self._serving = None

    def open(self, logon: gateway_pb2.Logon) -> Session | End:
        """As Sessions.open."""
        if self._serving is None:
            return _NOT_SERVING
        opened = self._serving.open(logon)
        if isinstance(opened, Session):
            self._opened_by[opened] = self._serving
        return opened

    def release(self, session: Session) -> None:
        """As Sessions.release."""
        self._opened_by.pop(session).release(session)


class InProcessSession:
    """Implements OrderSession on the gateway's hub."""

    def __init__(
        self,
        venue: str,
        sessions: Sessions | InProcessEntry,
        logon: gateway_pb2.Logon,
        listener: SessionListener,
        clock: Clock,
    ) -> None:
        self._venue = venue
        self._sessions = sessions
        self._logon = logon
        self._listener = listener
        self._clock = clock
        self._session: Session | None = None
        self._requests: asyncio.Queue[Request | None] = asyncio.Queue()
        self._up = False
        self._closing = asyncio.Event()

    @property
    def venue(self) -> str:
        """See OrderSession."""
        return self._venue

    @property
    def up(self) -> bool:
        """See OrderSession."""
        return self._up

    async def run(self) -> None:
        """See OrderSession."""
        while not self._closing.is_set():
            opened = self._sessions.open(self._logon)
            end = opened if isinstance(opened, End) else await self._serve(opened)
            if end.kind is EndKind.TAKEN_OVER:
                raise SessionTakenOver(f"{end.text} at {self._venue}")
            if not self._closing.is_set():
                self._listener.on_down(self._venue, f"gateway of {self._venue}: {end.text or 'ended the session'}")
                await self._pause()

    async def send(self, request: Request) -> bool:
        """See OrderSession."""
        if not self._up or self._requests.qsize() >= MAX_WAITING:
            return False
        self._requests.put_nowait(request)
        return True

    async def progress(self, sequence: int) -> bool:
        """See OrderSession."""
        return await self.send(progress_request(sequence))

    async def close(self) -> None:
        """See OrderSession."""
        self._closing.set()
        self._up = False
        self._requests.put_nowait(None)
        if self._session is not None and not self._session.accepted.is_set():
            self._session.end(_CLOSED)

    async def _serve(self, session: Session) -> End:
        self._session = session
        self._requests = asyncio.Queue()
        reader = asyncio.create_task(session.read(self._requests.get))
        try:
            while waiting := await session.next(at_most=1):
                (response,) = waiting
                if response.HasField("logon_accepted"):
                    self._log_on(response.logon_accepted)
                else:
                    hand_over(response, self._venue, self._listener)
        finally:
            self._up = False
            self._session = None
            session.end(_CLOSED)
            reader.cancel()
            self._sessions.release(session)
        return session.end_reason or _CLOSED

    def _log_on(self, snapshot: gateway_pb2.LogonAccepted) -> None:
        for request in self._listener.on_logon(self._venue, snapshot):
            self._requests.put_nowait(request)
        self._up = not self._closing.is_set()

    async def _pause(self) -> None:
        waits = {
            asyncio.create_task(self._clock.wait_until(self._clock.now_ns() + RETRY_NS)),
            asyncio.create_task(self._closing.wait()),
        }
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
