"""Kill orders directly, by gRPC: see control.proto. Served from the start of the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

import grpc

from crowetrade.config.v1 import kill_pb2
from crowetrade.gateway.v1 import control_pb2, control_pb2_grpc
from crowetrade_agents.control.kills import Caller, Channel, Kill, Name, name_of
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.errors import ConfigurationError
from crowetrade_process.identity.grpc import add_port, fingerprint_of, peer_of
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.peer import Reason, Refusal
from crowetrade_process.identity.roles import PeerRole
from crowetrade_process.stopping import first_of

PROGRESS_NS = 200_000_000
"""While orders are still open, how many is said this often."""
MAX_NAME, MAX_TEXT = 253, 512
OPTIONS = (("grpc.max_receive_message_length", 64 * 1024), ("grpc.so_reuseport", 0))


class KillOrders(Protocol):
    """Whoever obeys kill orders."""

    @property
    def changed(self) -> asyncio.Event:
        """Is set at the next change of an acknowledgement; then there is another event."""
        ...

    def put(self, command: Kill) -> None:
        """Hands one over."""
        ...

    def find(self, name: Name) -> kill_pb2.KillAcknowledgement | None:
        """The acknowledgement of one, once it may be given."""
        ...

    def acknowledgements(self) -> Sequence[kill_pb2.KillAcknowledgement]:
        """Of all that are in force."""
        ...


class ControlServer:
    """The service on a port; 0 lets the system choose, and `port` says which one."""

    def __init__(self, kills: KillOrders, clock: Clock, port: int, identity: Identity | None = None) -> None:
        self.port = port
        self._identity = identity
        self._server = grpc.aio.server(options=OPTIONS)
        control_pb2_grpc.add_ControlServiceServicer_to_server(_Control(kills, clock, identity), self._server)

    async def start(self) -> None:
        """Listens; raises ConfigurationError when the port is taken."""
        try:
            self.port = add_port(self._server, f"0.0.0.0:{self.port}", self._identity)
        except RuntimeError as error:
            raise ConfigurationError(f"port {self.port} of the control service is taken: set CONTROL_PORT") from error
        await self._server.start()

    async def stop(self) -> None:
        """Ends what is being answered."""
        await self._server.stop(grace=None)


_IN_CONTROL = (PeerRole.OPERATOR, PeerRole.ADMINISTRATOR)


class _Control(control_pb2_grpc.ControlServiceServicer):
    def __init__(self, kills: KillOrders, clock: Clock, identity: Identity | None) -> None:
        self._kills = kills
        self._clock = clock
        self._identity = identity

    async def Kill(
        self,
        request: control_pb2.KillRequest,
        context: grpc.aio.ServicerContext[control_pb2.KillRequest, control_pb2.KillResponse],
    ) -> AsyncIterator[control_pb2.KillResponse]:
        """See control.proto."""
        caller = await self._admit(context)
        order = request.order
        for field, text in (("namespace", order.namespace), ("name", order.name)):
            if not 0 < len(text) <= MAX_NAME:
                await context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"order.{field}: 1 to {MAX_NAME} characters that name a KillSwitch",
                )
        order.reason, order.engaged_by = order.reason[:MAX_TEXT], order.engaged_by[:MAX_TEXT]
        self._kills.put(Kill(order, Channel.RPC, self._clock.now_ns(), caller))
        last: kill_pb2.KillAcknowledgement | None = None
        while True:
            changed = self._kills.changed
            found = self._kills.find(name_of(order))
            if found is not None and found != last:
                yield control_pb2.KillResponse(acknowledgement=found)
            if found is None and last is not None:
                return  # it was re-armed
            if found is not None and found.halted_unix_ns:
                return
            last = found
            await first_of(changed.wait(), self._clock.wait_until(self._clock.now_ns() + PROGRESS_NS))

    async def ListKills(
        self,
        request: control_pb2.ListKillsRequest,
        context: grpc.aio.ServicerContext[control_pb2.ListKillsRequest, control_pb2.ListKillsResponse],
    ) -> control_pb2.ListKillsResponse:
        """See control.proto."""
        await self._admit(context)
        return control_pb2.ListKillsResponse(kills=self._kills.acknowledgements())

    async def _admit(self, context: grpc.aio.ServicerContext[Any, Any]) -> Caller | None:
        """Aborts the call unless the operator or an administrator makes it, and returns who does; without an identity
        everybody may, and nobody is known."""
        if self._identity is None:
            return None
        caller = peer_of(context, self._identity)
        if isinstance(caller, Refusal):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, caller.text)
        if self._identity.peer(caller).role not in _IN_CONTROL:
            refusal = self._identity.refuse(
                Reason.NOT_PERMITTED, f"{caller} is neither the operator nor an administrator: it gives no kill orders"
            )
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, refusal.text)
        return Caller(caller.uri, fingerprint_of(context))
