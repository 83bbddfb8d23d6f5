"""The strategy's session with one gateway: a gRPC stream that is opened again whenever it ends.

Each attempt sends Logon first; the session is up from LogonAccepted on. The listener's callbacks are not coroutines and
run in the order of the stream, so that a snapshot and the reports after it are never mixed. Either end notices by
itself when the other becomes silent: heartbeats are sent three times per deadline of the gateway, and answered.

With an identity, a session ends with the certificate with which it was opened: the gateway sees to that. The client
leaves a little earlier and logs on with the certificate of then, after the gateway has taken all that was sent.

A session that a newer one of the same strategy takes over (ABORTED) is not opened again: SessionTakenOver ends the
process.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Coroutine
from dataclasses import dataclass

import grpc
import structlog

from crowetrade.gateway.v1 import gateway_pb2
from crowetrade.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from crowetrade_agents import metrics
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.errors import SessionTakenOver
from crowetrade_agents.order_entry.port import Request, Response, SessionListener, progress_request
from crowetrade_agents.order_entry.responses import hand_over
from crowetrade_agents.order_entry.silence import until_silent
from crowetrade_process.identity.credentials import Credentials
from crowetrade_process.identity.errors import NoServer
from crowetrade_process.identity.grpc import open_channel
from crowetrade_process.identity.holder import Identity

_log = structlog.get_logger(__name__)

_Call = grpc.aio.StreamStreamCall[Request, Response]

CHANNEL_OPTIONS = (
    # A snapshot holds every open order of the strategy.
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    # A dead peer is noticed by unanswered HTTP/2 pings, also before the session is up.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),  # sets TCP_USER_TIMEOUT; the time for a ping's answer is the next one
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
_MILLI_NS = 1_000_000
LEAVE_BEFORE_NS = 5_000 * _MILLI_NS
"""Before the certificate of the session ends."""
_HEARTBEAT = Request(heartbeat=gateway_pb2.Heartbeat())


@dataclass(frozen=True, slots=True)
class Timing:
    """Nanoseconds. Tries wait between the two bounds, doubling, with jitter; one that is not accepted within
    `logon_deadline_ns` is given up."""

    minimum_wait_ns: int = 200 * _MILLI_NS
    maximum_wait_ns: int = 5_000 * _MILLI_NS
    logon_deadline_ns: int = 30_000 * _MILLI_NS


class GrpcSession:
    """Implements OrderSession. `max_waiting` bounds the requests that wait while the gateway reads slowly."""

    def __init__(
        self,
        venue: str,
        address: str,
        logon: gateway_pb2.Logon,
        listener: SessionListener,
        clock: Clock,
        *,
        timing: Timing | None = None,
        max_waiting: int = 1024,
        identity: Identity | None = None,
        server_name: str = "",
    ) -> None:
        """`server_name` is the name in the gateway's certificate, where it is not its Service in `address`."""
        self._venue = venue
        self._address = address
        self._logon = logon
        self._listener = listener
        self._clock = clock
        self._timing = timing or Timing()
        self._max_waiting = max_waiting
        self._identity = identity
        self._server_name = server_name
        self._waiting = 0
        self._call: _Call | None = None
        self._writing = asyncio.Lock()
        self._closing = asyncio.Event()
        self._up = False
        self._heard_ns = 0
        self._given_up = ""
        self._left = False
        self._accepted = False
        self._conversation: asyncio.Task[tuple[grpc.StatusCode, str]] | None = None

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
        wait_ns = self._timing.minimum_wait_ns
        while not self._closing.is_set():
            # Another channel each time: it shows the certificate of this moment.
            shown = None if self._identity is None else self._identity.credentials
            try:
                async with open_channel(self._address, self._identity, self._server_name, CHANNEL_OPTIONS) as channel:
                    if self._closing.is_set():
                        return
                    was_up, why = await self._one_session(GatewayServiceStub(channel).OrderSession(), shown)
            except NoServer as error:
                was_up, why, self._left = False, f"gateway of {self._venue} at {self._address}: {error}", False
            if self._closing.is_set():
                return
            self._listener.on_down(self._venue, why)
            if self._left:
                continue
            wait_ns = self._timing.minimum_wait_ns if was_up else min(2 * wait_ns, self._timing.maximum_wait_ns)
            await self._pause(int(wait_ns * random.uniform(0.5, 1.0)))

    async def send(self, request: Request) -> bool:
        """See OrderSession. Waits while the gateway reads slowly."""
        call = self._call
        if call is None or not self._up or self._waiting >= self._max_waiting:
            return False
        self._waiting += 1
        try:
            await self._write(call, request)
        finally:
            self._waiting -= 1
        return True

    async def progress(self, sequence: int) -> bool:
        """See OrderSession."""
        return await self.send(progress_request(sequence))

    async def close(self) -> None:
        """See OrderSession."""
        self._closing.set()
        call = self._call
        if call is None:
            return
        if not self._up:
            self._give_up("closed")
            return
        self._up = False
        async with self._writing:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.done_writing()

    async def _one_session(self, call: _Call, shown: Credentials | None) -> tuple[bool, str]:
        """Whether the session was up, and why it is not any more; raises SessionTakenOver.

        The conversation is a task of its own, because cancelling the call does not wake up whoever waits for it to be
        connected.
        """
        self._call = call
        self._given_up = ""
        self._left = False
        self._accepted = False
        self._conversation = asyncio.create_task(self._converse(call, shown))
        try:
            await asyncio.wait((self._conversation,))
        finally:
            self._up = False
            self._call = None
            self._conversation.cancel()
            call.cancel()
        cancelled = self._conversation.cancelled()
        code, details = (grpc.StatusCode.CANCELLED, "") if cancelled else self._conversation.result()
        if code is grpc.StatusCode.ABORTED:
            raise SessionTakenOver(f"a newer session of strategy {self._logon.strategy} took over at {self._venue}")
        reason = self._given_up or f"{details or 'ended the session'} ({code.name})"
        if self._left:
            reason = "the certificate of the session ends: logging on with another one"
        return self._accepted, f"gateway of {self._venue} at {self._address}: {reason}"

    async def _converse(self, call: _Call, shown: Credentials | None) -> tuple[grpc.StatusCode, str]:
        """From Logon to the status that ends the stream."""
        helpers = [asyncio.create_task(self._give_up_late_logon())]
        try:
            await call.write(Request(logon=self._logon))
            while isinstance(response := await call.read(), Response):
                self._heard_ns = self._clock.now_ns()
                if response.HasField("logon_accepted") and not self._accepted:
                    self._accepted = True
                    helpers.pop().cancel()
                    helpers = [asyncio.create_task(helper) for helper in self._alive(call, response.logon_accepted)]
                    if shown is not None:
                        helpers.append(asyncio.create_task(self._leave_in_time(call, shown)))
                    await self._log_on(call, response.logon_accepted)
                else:
                    hand_over(response, self._venue, self._listener)
            return await call.code(), await call.details()
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        except asyncio.InvalidStateError:
            return await call.code(), await call.details()
        finally:
            for helper in helpers:
                helper.cancel()

    async def _log_on(self, call: _Call, snapshot: gateway_pb2.LogonAccepted) -> None:
        first = self._listener.on_logon(self._venue, snapshot)
        self._up = not self._closing.is_set()
        metrics.GATEWAY_LOGONS.labels(venue=self._venue).inc()
        _log.info("gateway_logged_on", venue=self._venue, md_sequence=snapshot.market_data_sequence)
        for request in first:
            await self._write(call, request)

    def _alive(self, call: _Call, snapshot: gateway_pb2.LogonAccepted) -> list[Coroutine[None, None, None]]:
        """Sends heartbeats and waits for their answers, where the gateway has a deadline for them."""
        deadline_ns = snapshot.heartbeat_deadline_millis * _MILLI_NS
        return [self._beat(call, deadline_ns // 3), self._give_up_silent(deadline_ns)] if deadline_ns else []

    async def _beat(self, call: _Call, period_ns: int) -> None:
        while True:
            await self._clock.wait_until(self._clock.now_ns() + period_ns)
            await self._write(call, _HEARTBEAT)

    async def _give_up_silent(self, deadline_ns: int) -> None:
        await until_silent(self._clock, deadline_ns, lambda: self._heard_ns)
        self._give_up(f"nothing came for {deadline_ns // _MILLI_NS} ms")

    async def _leave_in_time(self, call: _Call, shown: Credentials) -> None:
        """Ends our side of the stream, unless there is no other certificate: the gateway then reads all that was sent
        and ends its side."""
        await self._clock.wait_until(int(shown.not_after.timestamp()) * 1_000 * _MILLI_NS - LEAVE_BEFORE_NS)
        if self._identity is None or self._identity.credentials.not_after <= shown.not_after:
            return
        self._left, self._up = True, False
        async with self._writing:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.done_writing()

    async def _give_up_late_logon(self) -> None:
        await self._clock.wait_until(self._clock.now_ns() + self._timing.logon_deadline_ns)
        self._give_up("the logon was not answered in time")

    def _give_up(self, why: str) -> None:
        self._given_up = why
        if self._conversation is not None:
            self._conversation.cancel()

    async def _write(self, call: _Call, request: Request) -> None:
        async with self._writing:
            try:
                await call.write(request)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                pass  # the stream has ended, which its reader finds out as well
            except asyncio.CancelledError:
                if _is_cancelled():
                    raise

    async def _pause(self, nanoseconds: int) -> None:
        waits = {
            asyncio.create_task(self._clock.wait_until(self._clock.now_ns() + nanoseconds)),
            asyncio.create_task(self._closing.wait()),
        }
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


def _is_cancelled() -> bool:
    """Distinguishes a CancelledError of this task from the one that grpc raises for a call that was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
