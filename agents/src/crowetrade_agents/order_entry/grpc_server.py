"""Order entry over gRPC: carries the sessions of the hub, one per stream. See gateway.proto.

A client that misbehaves hurts itself alone. Messages are small and read no faster than the hub takes them; a client
that does not read or is silent loses its session; streams without Logon are few and have a deadline, and the oldest of
them makes way for the next, so that they keep nobody out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import NoReturn

import grpc
from google.protobuf.message import DecodeError

from crowetrade.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from crowetrade_agents.order_entry.hub import Sessions
from crowetrade_agents.order_entry.limits import SECOND_NS
from crowetrade_agents.order_entry.port import Request, Response
from crowetrade_agents.order_entry.session import End, EndKind, Session
from crowetrade_agents.order_entry.silence import until_silent
from crowetrade_process.identity.grpc import end_of_certificate, peer_of
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.metrics import EXPIRED_SESSIONS
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.peer import Reason, Refusal
from crowetrade_process.identity.roles import Peer, PeerRole

_Context = grpc.aio.ServicerContext[Request, Response]

SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024),
    ("grpc.max_concurrent_streams", 16),
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),  # sets TCP_USER_TIMEOUT; the time for a ping's answer is the next one
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 4_000),
    ("grpc.max_connection_idle_ms", 5_000),
    ("grpc.server_handshake_timeout_ms", 5_000),
    ("grpc.so_reuseport", 0),
)
"""For the server that the servicer is added to: small messages, few streams per connection, no connection without one
for long, and pings by which a connection whose peer is gone or frozen is closed."""

RESPONSES_TOGETHER, MESSAGE_BYTES = 64, 64 * 1024
"""Bounds on the responses in one message; one that is larger goes alone."""
MAX_NAME = 64
"""Characters of a name in a sentence."""

_CODES = {
    EndKind.CLOSED: grpc.StatusCode.OK,
    EndKind.LEAVING: grpc.StatusCode.UNAVAILABLE,
    EndKind.TAKEN_OVER: grpc.StatusCode.ABORTED,
    EndKind.UNBOUND: grpc.StatusCode.UNAUTHENTICATED,
    EndKind.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    EndKind.SILENT: grpc.StatusCode.DEADLINE_EXCEEDED,
    EndKind.EXPIRED: grpc.StatusCode.UNAUTHENTICATED,
    EndKind.VIOLATION: grpc.StatusCode.INVALID_ARGUMENT,
    EndKind.BROKEN: grpc.StatusCode.INTERNAL,
}
_UNREADABLE = End(EndKind.VIOLATION, "the message cannot be decoded as OrderSessionRequest")
_RESET = End(EndKind.BROKEN, "the stream was reset")
_NO_LOGON = End(EndKind.VIOLATION, "the first message of a session is Logon")
_LOGON_TOO_LATE = End(EndKind.SILENT, "no Logon came in time")
_EXPIRED = End(EndKind.EXPIRED, "the certificate with which the session was opened has ended: log on with another one")
_TOO_MANY_WAIT = End(EndKind.EXHAUSTED, "too many streams wait for their Logon; the oldest makes way")


def create_server(sessions: Sessions, identity: Identity | None = None) -> grpc.aio.Server:
    """A server that serves the sessions; the caller adds a port, starts and stops it."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    gateway_pb2_grpc.add_GatewayServiceServicer_to_server(GrpcSessions(sessions, identity), server)
    return server


class GrpcSessions(gateway_pb2_grpc.GatewayServiceServicer):
    """The service. With an identity, who logs on is the strategy that its certificate names."""

    def __init__(self, sessions: Sessions, identity: Identity | None = None) -> None:
        self._sessions = sessions
        self._identity = identity
        self._limits = sessions.limits
        self._clock = sessions.clock
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._open: dict[Session, _Context] = {}
        if identity is not None:
            identity.on_revocation(self._judge_again)

    async def OrderSession(  # type: ignore[override]  # the stub knows generators alone; grpc.aio takes coroutines too
        self, request_iterator: AsyncIterator[Request], context: _Context
    ) -> None:
        """See gateway.proto."""
        caller = None if self._identity is None else peer_of(context, self._identity)
        if isinstance(caller, Refusal):
            await _abort(context, End(EndKind.UNBOUND, caller.text))
        logon = await self._logon(context)
        if self._identity is not None and not isinstance(logon, End):
            # Judged again: a revocation that was read while the Logon was awaited has found no session to end.
            caller = peer_of(context, self._identity)
            logon = End(EndKind.UNBOUND, caller.text) if isinstance(caller, Refusal) else self._confirmed(logon, caller)
        opened = logon if isinstance(logon, End) else self._sessions.open(logon)
        if isinstance(opened, End):
            await _abort(context, opened)
        self._open[opened] = context
        try:
            await self._serve(opened, context, None if caller is None else end_of_certificate(context))
        finally:
            del self._open[opened]
            # A stream that was reset ends here, cancelled: the session has ended then without anybody's word.
            opened.end(_RESET)
            self._sessions.release(opened)

    def _confirmed(self, logon: gateway_pb2.Logon, caller: IdentityName) -> gateway_pb2.Logon | End:
        """The Logon, if it names the strategy that the certificate names."""
        assert self._identity is not None
        if self._identity.peer(caller) == Peer(PeerRole.STRATEGY, logon.namespace, logon.strategy):
            return logon
        refusal = self._identity.refuse(
            Reason.LOGON_DISAGREES,
            f"Logon names strategy {logon.strategy[:MAX_NAME]!r} of namespace {logon.namespace[:MAX_NAME]!r}, and the "
            f"certificate {caller}",
        )
        return End(EndKind.UNBOUND, refusal.text)

    def _judge_again(self) -> None:
        """Ends the sessions of those who are revoked now."""
        assert self._identity is not None
        for session, context in self._open.items():
            caller = peer_of(context, self._identity)
            if isinstance(caller, Refusal):
                session.end(End(EndKind.UNBOUND, caller.text))

    async def _serve(self, session: Session, context: _Context, certificate_ends: datetime | None) -> None:
        writer = asyncio.create_task(_write(session, context))
        tasks = [
            writer,
            asyncio.create_task(session.read(lambda: _receive(session, context))),
            asyncio.create_task(self._watch(session)),
        ]
        if certificate_ends is not None:
            tasks.append(asyncio.create_task(self._end_at(session, certificate_ends)))
        try:
            await session.over.wait()
            await self._finish(writer)
        finally:
            for task in tasks:
                task.cancel()
        end = session.end_reason
        if end is not None and end.kind is not EndKind.CLOSED:
            await _abort(context, end)

    async def _finish(self, writer: asyncio.Task[None]) -> None:
        """What is queued is written, unless the client does not read it."""
        linger = self._after(self._limits.linger_ns)
        await asyncio.wait((writer, linger), return_when=asyncio.FIRST_COMPLETED)
        linger.cancel()

    async def _watch(self, session: Session) -> None:
        await session.accepted.wait()
        deadline_ns = self._limits.heartbeat_deadline_ns
        await until_silent(self._clock, deadline_ns, session.last_heard_ns)
        session.end(End(EndKind.SILENT, f"nothing came for {deadline_ns // 1_000_000} ms"))

    async def _end_at(self, session: Session, certificate_ends: datetime) -> None:
        """Nobody goes on with a certificate that has ended; a client of ours has left before."""
        await self._clock.wait_until(int(certificate_ends.timestamp()) * SECOND_NS)
        EXPIRED_SESSIONS.inc()
        session.end(_EXPIRED)

    async def _logon(self, context: _Context) -> gateway_pb2.Logon | End:
        """The first message of a stream, if it is a Logon and comes in time."""
        if len(self._waiting) >= self._limits.waiting_streams:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.cancel()
        makes_way: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[makes_way] = None
        first = asyncio.create_task(_first(context))
        late = self._after(self._limits.logon_deadline_ns)
        try:
            await asyncio.wait((makes_way, first, late), return_when=asyncio.FIRST_COMPLETED)
            if first.done():
                return first.result()
            return _TOO_MANY_WAIT if makes_way.done() else _LOGON_TOO_LATE
        finally:
            self._waiting.pop(makes_way, None)
            first.cancel()
            late.cancel()

    def _after(self, nanoseconds: int) -> asyncio.Task[None]:
        return asyncio.create_task(self._clock.wait_until(self._clock.now_ns() + nanoseconds))


async def _first(context: _Context) -> gateway_pb2.Logon | End:
    try:
        request = await context.read()
    except DecodeError:
        return _UNREADABLE
    except grpc.aio.BaseError:
        return _RESET
    return request.logon if isinstance(request, Request) and request.HasField("logon") else _NO_LOGON


async def _receive(session: Session, context: _Context) -> Request | None:
    """The next request; None when the client has ended its side, or sent what cannot be read."""
    try:
        request = await context.read()
    except DecodeError:
        session.end(_UNREADABLE)
        return None
    except grpc.aio.BaseError:
        session.end(_RESET)
        return None
    return request if isinstance(request, Request) else None


async def _write(session: Session, context: _Context) -> None:
    with contextlib.suppress(grpc.aio.BaseError):  # the stream is gone, which ends the handler as well
        at_most = 1  # LogonAccepted goes alone
        while waiting := await session.next(at_most):
            for message in _messages(waiting):
                await context.write(message)
            at_most = RESPONSES_TOGETHER


def _messages(responses: Sequence[Response]) -> Iterator[Response]:
    """As few as the bound on their size admits: a message takes longer to send than a report to make."""
    together: list[Response] = []
    room = MESSAGE_BYTES
    for response in responses:
        size = response.ByteSize()
        if together and size > room:
            yield _one_message(together)
            together, room = [], MESSAGE_BYTES
        together.append(response)
        room -= size
    yield _one_message(together)


def _one_message(responses: Sequence[Response]) -> Response:
    return responses[0] if len(responses) == 1 else Response(several=gateway_pb2.Responses(responses=responses))


async def _abort(context: _Context, end: End) -> NoReturn:
    await context.abort(_CODES[end.kind], end.text)
