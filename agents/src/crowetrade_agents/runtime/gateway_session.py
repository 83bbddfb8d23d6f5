"""The execution role's session with one gateway: a gRPC stream that is opened again whenever it ends.

Each attempt sends Logon first; the session is up from LogonAccepted on. The listener's callbacks are not coroutines and
run in the order of the stream, so that a snapshot and the reports after it are never mixed.

A session that a newer one of the same strategy takes over (ABORTED) is not opened again: SessionTakenOver ends the
process, for two processes that take over from each other for ever would trade for none.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
import structlog

from crowetrade.bus.v1 import orders_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from crowetrade_agents import metrics
from crowetrade_agents.errors import AgentError

_log = structlog.get_logger(__name__)

_Call = grpc.aio.StreamStreamCall[gateway_pb2.OrderSessionRequest, gateway_pb2.OrderSessionResponse]

# A dead peer is noticed by unanswered HTTP/2 pings.
_CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class SessionTakenOver(AgentError):
    """A newer session of the same strategy is logged on: this process must stop."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. Reconnects wait between the two bounds, doubling, with jitter."""

    heartbeat: float = 1.0
    least_wait: float = 0.2
    longest_wait: float = 5.0


class SessionListener(Protocol):
    """What the execution role does with a session."""

    def on_logon(self, venue: str, snapshot: gateway_pb2.LogonAccepted) -> Sequence[gateway_pb2.OrderSessionRequest]:
        """Takes the snapshot; returns what to send first."""
        ...

    def on_report(self, venue: str, report: orders_pb2.ExecutionReport) -> None:
        """Takes one report."""
        ...

    def on_published(self, venue: str, sequence: int) -> None:
        """In lock step: every report of what happened up to this event has been taken."""
        ...

    def on_cancel_reject(self, venue: str, reject: orders_pb2.CancelReject) -> None:
        """Takes the refusal of a cancel."""
        ...

    def on_down(self, venue: str, why: str) -> None:
        """The session is not up, for this reason; it is tried again."""
        ...


class GatewaySession:
    """One venue's session. `run` keeps it up until `close`."""

    def __init__(
        self,
        venue: str,
        address: str,
        logon: gateway_pb2.Logon,
        listener: SessionListener,
        timing: Timing | None = None,
    ) -> None:
        self.venue = venue
        self._address = address
        self._logon = logon
        self._listener = listener
        self._timing = timing or Timing()
        self._call: _Call | None = None
        self._writing = asyncio.Lock()
        self._closing = asyncio.Event()
        self._up = False

    @property
    def up(self) -> bool:
        """True between LogonAccepted and the end of the stream."""
        return self._up

    async def run(self) -> None:
        """Opens the session again and again; returns after `close`, raises SessionTakenOver."""
        wait = self._timing.least_wait
        async with grpc.aio.insecure_channel(self._address, options=_CHANNEL_OPTIONS) as channel:
            stub = GatewayServiceStub(channel)
            while not self._closing.is_set():
                was_up, why = await self._one_session(stub.OrderSession())
                if self._closing.is_set():
                    return
                self._listener.on_down(self.venue, why)
                wait = self._timing.least_wait if was_up else min(2 * wait, self._timing.longest_wait)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), wait * random.uniform(0.5, 1.0))

    async def send(self, request: gateway_pb2.OrderSessionRequest) -> bool:
        """False when the session is not up and nothing was sent.

        True says no more than that it was handed to the stream: should the stream break, the next logon tells what
        became of it.
        """
        call = self._call
        if call is None or not self._up:
            return False
        await self._write(call, request)
        return True

    async def close(self) -> None:
        """Ends the stream in order: what was sent before still arrives."""
        self._closing.set()
        call = self._call
        if call is not None:
            async with self._writing:
                with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await call.done_writing()

    async def _one_session(self, call: _Call) -> tuple[bool, str]:
        self._call = call
        heart = asyncio.create_task(self._beat(call))
        accepted = False
        code: grpc.StatusCode
        details: str | None
        try:
            await call.write(gateway_pb2.OrderSessionRequest(logon=self._logon))
            while isinstance(response := await call.read(), gateway_pb2.OrderSessionResponse):
                accepted = await self._take(call, response) or accepted
            code, details = await call.code(), await call.details()
        except grpc.aio.AioRpcError as error:
            code, details = error.code(), error.details()
        except asyncio.InvalidStateError:
            code, details = await call.code(), await call.details()
        finally:
            self._up = False
            self._call = None
            heart.cancel()
            call.cancel()
        if code is grpc.StatusCode.ABORTED:
            raise SessionTakenOver(f"a newer session of strategy {self._logon.strategy} took over at {self.venue}")
        why = f"gateway of {self.venue} at {self._address}: {details or 'ended the session'} ({code.name})"
        return accepted, why

    async def _take(self, call: _Call, response: gateway_pb2.OrderSessionResponse) -> bool:
        match response.WhichOneof("message"):
            case "logon_accepted":
                snapshot = response.logon_accepted
                first = self._listener.on_logon(self.venue, snapshot)
                self._up = True
                metrics.GATEWAY_LOGONS.labels(venue=self.venue).inc()
                _log.info("gateway_logged_on", venue=self.venue, md_sequence=snapshot.market_data_sequence)
                for request in first:
                    await self._write(call, request)
                return True
            case "execution_report":
                self._listener.on_report(self.venue, response.execution_report)
            case "published":
                self._listener.on_published(self.venue, response.published.sequence)
            case "cancel_reject":
                self._listener.on_cancel_reject(self.venue, response.cancel_reject)
            case _:
                pass
        return False

    async def _beat(self, call: _Call) -> None:
        beat = gateway_pb2.OrderSessionRequest(heartbeat=gateway_pb2.Heartbeat())
        while True:
            await asyncio.sleep(self._timing.heartbeat)
            if self._up:
                await self._write(call, beat)

    async def _write(self, call: _Call, request: gateway_pb2.OrderSessionRequest) -> None:
        async with self._writing:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(request)
