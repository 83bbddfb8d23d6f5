"""Kill orders sent to gateways directly, by their control service: for gateways that are not heard on the bus.

One task per order and gateway asks again and again as long as the order is wanted there. The service answers at once
and at each change, and giving it the same order twice changes nothing: so an answer is as fresh as the last call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import grpc
import structlog

from crowetrade.config.v1.kill_pb2 import KillAcknowledgement, KillOrder
from crowetrade.gateway.v1.control_pb2 import KillRequest
from crowetrade.gateway.v1.control_pb2_grpc import ControlServiceStub
from crowetrade_api.names import control_address, venue_object
from crowetrade_process.identity.credentials import Credentials
from crowetrade_process.identity.errors import IdentityUnavailable, NoServer
from crowetrade_process.identity.grpc import open_channel
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.name import service_dns_name

log = structlog.get_logger()

CALL_SECONDS = 5.0
"""How long one call lasts at most: a connection that is dead is noticed by then."""
RETRY_SECONDS = 1.0
Address = Callable[[str, str], str]
"""Host and port of the control service of a gateway, by namespace and venue."""
Place = tuple[str, str]
"""Namespace and name of a KillSwitch, or of a VenueConnection."""
Listener = Callable[[str, str], None]
"""Namespace and name of the KillSwitch that a gateway has answered about."""


@dataclass(frozen=True, slots=True)
class _Sending:
    order: KillOrder
    task: asyncio.Task[None]


class DirectOrders:
    """Which orders are sent where, and what was answered."""

    def __init__(
        self,
        address: Address = control_address,
        clock: Callable[[], float] = time.monotonic,
        identity: Identity | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._address = address
        self._identity = identity
        self._clock = clock
        self._wall_clock = wall_clock
        self._sending: dict[tuple[Place, Place], _Sending] = {}
        self._answers: dict[tuple[Place, Place], tuple[KillAcknowledgement, float]] = {}
        self._listeners: list[Listener] = []

    def on_answer(self, listener: Listener) -> None:
        """Calls back when a gateway answers something new."""
        self._listeners.append(listener)

    def want(self, switch: Place, order: KillOrder | None, gateways: Iterable[Place]) -> None:
        """From now on this order of the KillSwitch is sent to these gateways and to no others."""
        wanted = set(gateways) if order is not None else set()
        for (of, gateway), sending in list(self._sending.items()):
            if of == switch and (gateway not in wanted or sending.order != order):
                sending.task.cancel()
                del self._sending[of, gateway]
        for gateway in wanted:
            if order is not None and (switch, gateway) not in self._sending:
                task = asyncio.create_task(self._deliver(switch, gateway, order))
                self._sending[switch, gateway] = _Sending(order, task)

    def answer(self, switch: Place, gateway: Place, within: float) -> KillAcknowledgement | None:
        """What the gateway answered last, if that was within so many seconds."""
        found = self._answers.get((switch, gateway))
        return found[0] if found is not None and self._clock() - found[1] <= within else None

    async def close(self) -> None:
        """Ends all calls."""
        tasks = [sending.task for sending in self._sending.values()]
        self._sending.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, switch: Place, gateway: Place, order: KillOrder) -> None:
        address, told, request = self._address(*gateway), False, KillRequest(order=order)
        request.order.issued_unix_ns = int(self._wall_clock() * 1e9)
        server = service_dns_name(gateway[0], venue_object(gateway[1]))
        while True:
            try:
                shown = self._shown()
                async with open_channel(address, self._identity, server) as channel:
                    # A channel shows one certificate for as long as it is open, and takes one.
                    failed = False
                    while self._shown() is shown and not failed:
                        try:
                            async for response in ControlServiceStub(channel).Kill(request, timeout=CALL_SECONDS):
                                self._answered(switch, gateway, response.acknowledgement)
                        except grpc.aio.AioRpcError as error:
                            failed = error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
                            if failed and not told:
                                told = True
                                _not_delivered(address, switch, error.details())
                        await asyncio.sleep(RETRY_SECONDS)
            except (IdentityUnavailable, NoServer) as error:
                if not told:
                    told = True
                    _not_delivered(address, switch, str(error))
                await asyncio.sleep(RETRY_SECONDS)

    def _shown(self) -> Credentials | None:
        return self._identity.credentials if self._identity is not None else None

    def _answered(self, switch: Place, gateway: Place, said: KillAcknowledgement) -> None:
        before = self._answers.get((switch, gateway))
        self._answers[switch, gateway] = (said, self._clock())
        if before is None or before[0] != said:
            for listener in self._listeners:
                listener(*switch)


def _not_delivered(address: str, switch: Place, why: str | None) -> None:
    log.warning("kill_order_not_delivered", address=address, kill_switch=switch, error=why)
