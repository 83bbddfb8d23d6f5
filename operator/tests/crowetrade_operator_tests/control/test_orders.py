"""Kill orders sent directly, to a real control service on a loopback port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import grpc
import pytest

from crowetrade.config.v1.kill_pb2 import KillAcknowledgement, KillOrder
from crowetrade.gateway.v1 import control_pb2, control_pb2_grpc
from crowetrade_operator.control import orders as orders_module
from crowetrade_operator.control.orders import DirectOrders
from crowetrade_operator_tests.servers import free_port
from crowetrade_operator_tests.waiting import until

SWITCH, GATEWAY = ("desk", "all"), ("desk", "sim-fx")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders_module, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(orders_module, "CALL_SECONDS", 0.5)


class Service(control_pb2_grpc.ControlServiceServicer):
    """Acknowledges at once, and holds the stream open as long as an order is open."""

    def __init__(self) -> None:
        self.orders: list[KillOrder] = []
        self.still_open = 1
        self.answer: Callable[[KillOrder], KillAcknowledgement] = self._answer

    def _answer(self, order: KillOrder) -> KillAcknowledgement:
        return KillAcknowledgement(namespace=order.namespace, name=order.name, still_open_count=self.still_open)

    async def Kill(self, request: control_pb2.KillRequest, context: object) -> AsyncIterator[control_pb2.KillResponse]:
        self.orders.append(request.order)
        while True:
            said = self.answer(request.order)
            yield control_pb2.KillResponse(acknowledgement=said)
            if not said.still_open_count:
                return
            await asyncio.sleep(0.02)

    async def ListKills(self, request: control_pb2.ListKillsRequest, context: object) -> control_pb2.ListKillsResponse:
        return control_pb2.ListKillsResponse()


@contextlib.asynccontextmanager
async def serving(port: int) -> AsyncIterator[Service]:
    """The service while it runs."""
    service, server = Service(), grpc.aio.server()
    control_pb2_grpc.add_ControlServiceServicer_to_server(service, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield service
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def sending(port: int) -> AsyncIterator[DirectOrders]:
    direct = DirectOrders(lambda namespace, venue: f"127.0.0.1:{port}")
    try:
        yield direct
    finally:
        await direct.close()


def order(generation: int = 1) -> KillOrder:
    return KillOrder(namespace="desk", name="all", generation=generation)


async def test_the_order_reaches_the_gateway_and_its_answers_are_known() -> None:
    port = free_port()
    async with serving(port) as service, sending(port) as direct:
        told: list[tuple[str, str]] = []
        direct.on_answer(lambda namespace, name: told.append((namespace, name)))
        direct.want(SWITCH, order(), [GATEWAY])
        await until("an answer", lambda: direct.answer(SWITCH, GATEWAY, 10.0) is not None)
        service.still_open = 0

        def halted() -> bool:
            found = direct.answer(SWITCH, GATEWAY, 10.0)
            return found is not None and found.still_open_count == 0

        await until("the word that nothing is open", halted)
        assert told == [SWITCH, SWITCH]
        assert service.orders[0].issued_unix_ns > 0


async def test_it_is_sent_again_until_the_gateway_is_there_and_then_kept_fresh() -> None:
    port = free_port()
    async with sending(port) as direct:
        direct.want(SWITCH, order(), [GATEWAY])
        assert direct.answer(SWITCH, GATEWAY, 10.0) is None
        async with serving(port) as service:
            service.still_open = 0
            await until("calls again", lambda: len(service.orders) >= 3)


async def test_what_is_no_longer_wanted_is_no_longer_sent() -> None:
    port = free_port()
    async with serving(port) as service, sending(port) as direct:
        service.still_open = 0
        direct.want(SWITCH, order(), [GATEWAY])
        await until("a call", lambda: bool(service.orders))
        direct.want(SWITCH, order(2), [GATEWAY])
        await until("the newer order", lambda: service.orders[-1].generation == 2)
        direct.want(("desk", "other"), order(3), [GATEWAY])
        await until("both to be sent", lambda: {item.generation for item in service.orders[-4:]} == {2, 3})
        direct.want(SWITCH, None, ())
        await until("only the other", lambda: {item.generation for item in service.orders[-4:]} == {3})


async def test_an_old_answer_is_none() -> None:
    port = free_port()
    now = [0.0]
    direct = DirectOrders(lambda namespace, venue: f"127.0.0.1:{port}", clock=lambda: now[0])
    async with serving(port) as service:
        service.still_open = 0
        direct.want(SWITCH, order(), [GATEWAY])
        await until("an answer", lambda: direct.answer(SWITCH, GATEWAY, 10.0) is not None)
        await direct.close()
        now[0] = 11.0
        assert direct.answer(SWITCH, GATEWAY, 10.0) is None
