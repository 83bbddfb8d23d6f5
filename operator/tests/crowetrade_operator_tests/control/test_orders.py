"""Kill orders sent directly, to a real control service on a loopback port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from crowetrade.config.v1.kill_pb2 import KillAcknowledgement, KillOrder
from crowetrade.gateway.v1 import control_pb2, control_pb2_grpc
from crowetrade_operator.control import orders as orders_module
from crowetrade_operator.control.orders import DirectOrders
from crowetrade_operator_tests.servers import free_port
from crowetrade_operator_tests.waiting import until
from crowetrade_process.identity.files import FilesSource
from crowetrade_process.identity.grpc import add_port
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.peer import Reason
from crowetrade_process_tests.identity.authority import TRUST_DOMAIN, Authority, identity_name, write_identity
from crowetrade_process_tests.identity.identities import Files, identity_of, now, refused

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
async def serving(port: int, identity: Identity | None = None) -> AsyncIterator[Service]:
    """The service while it runs."""
    service, server = Service(), grpc.aio.server()
    control_pb2_grpc.add_ControlServiceServicer_to_server(service, server)
    add_port(server, f"127.0.0.1:{port}", identity)
    await server.start()
    try:
        yield service
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def sending(port: int, identity: Identity | None = None) -> AsyncIterator[DirectOrders]:
    direct = DirectOrders(lambda namespace, venue: f"127.0.0.1:{port}", identity=identity)
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


OPERATOR, VENUE = identity_name("crowetrade-operator", "crowetrade"), identity_name("venue-sim-fx", "desk")


async def test_an_order_is_sent_from_when_the_operator_has_a_certificate(tmp_path: Path) -> None:
    port, ours = free_port(), Authority()
    gateway = await identity_of(tmp_path / "gateway", VENUE, ours)
    operator = Identity(FilesSource(tmp_path / "operator", TRUST_DOMAIN, now), TRUST_DOMAIN)
    async with serving(port, gateway.identity) as service, sending(port, operator) as direct:
        with capture_logs() as logs:
            direct.want(SWITCH, order(), [GATEWAY])
            await until("the word that it is not delivered", lambda: bool(logs))
        assert "has no certificate yet" in logs[0]["error"]
        write_identity(tmp_path / "operator", ours.issue_to(OPERATOR), ours)
        assert await operator.refresh()
        await until("the order", lambda: bool(service.orders))


async def test_an_order_goes_to_the_gateway_of_the_venue_alone(tmp_path: Path) -> None:
    port, ours = free_port(), Authority()
    other = await identity_of(tmp_path / "other", identity_name("venue-other", "desk"), ours)
    operator = await identity_of(tmp_path / "operator", OPERATOR, ours)
    async with serving(port, other.identity) as service, sending(port, operator.identity) as direct:
        with capture_logs() as logs:
            direct.want(SWITCH, order(), [GATEWAY])
            await until("the word that it is not delivered", lambda: "kill_order_not_delivered" in events(logs))
        assert "OtherName" in next(line["error"] for line in logs if line["event"] == "kill_order_not_delivered")
        assert not service.orders


def events(logs: list[Any]) -> list[str]:
    return [line["event"] for line in logs]


async def test_no_order_goes_to_a_gateway_whose_certificate_is_revoked(tmp_path: Path) -> None:
    port, ours = free_port(), Authority()
    issued, mine = ours.issue_to(VENUE), ours.issue_to(OPERATOR)
    gateway = Files(tmp_path / "gateway", issued, ours)
    operator = Files(tmp_path / "operator", mine, ours, revocations=ours.revocations())
    for files in (gateway, operator):
        await files.identity.start()
    async with serving(port, gateway.identity) as service, sending(port, operator.identity) as direct:
        direct.want(SWITCH, order(), [GATEWAY])
        await until("an order", lambda: bool(service.orders))
        with capture_logs() as logs:
            await operator.renew(mine, ours, revocations=ours.revocations(issued))
            await until("the word that it is not delivered", lambda: "kill_order_not_delivered" in events(logs))
        assert "is revoked" in next(line["error"] for line in logs if line["event"] == "kill_order_not_delivered")
        sent = len(service.orders)
        refusals = refused(Reason.REVOKED)
        await until("another try", lambda: refused(Reason.REVOKED) > refusals)
        assert len(service.orders) == sent
        # It has another one: orders go on by themselves.
        await gateway.renew(ours.issue_to(VENUE), ours)
        await until("orders again", lambda: len(service.orders) > sent)


async def test_orders_go_on_when_the_certificates_are_replaced(tmp_path: Path) -> None:
    port, ours = free_port(), Authority()
    gateway = await identity_of(tmp_path / "gateway", VENUE, ours)
    operator = await identity_of(tmp_path / "operator", OPERATOR, ours)
    async with serving(port, gateway.identity) as service, sending(port, operator.identity) as direct:
        service.still_open = 0
        direct.want(SWITCH, order(), [GATEWAY])
        await until("an order", lambda: bool(service.orders))
        newer = Authority()
        await operator.renew(ours.issue_to(OPERATOR), ours, newer)
        await gateway.renew(newer.issue_to(VENUE), ours, newer)
        await operator.renew(newer.issue_to(OPERATOR), newer)
        await gateway.renew(newer.issue_to(VENUE), newer)
        sent = len(service.orders)
        await until("orders with the new certificate", lambda: len(service.orders) > sent + 2)


async def test_orders_go_on_at_a_gateway_that_starts_again_with_another_certificate(tmp_path: Path) -> None:
    port, ours = free_port(), Authority()
    operator = await identity_of(tmp_path / "operator", OPERATOR, ours)
    async with sending(port, operator.identity) as direct:
        for number in range(2):
            gateway = await identity_of(tmp_path / str(number), VENUE, ours)
            async with serving(port, gateway.identity) as service:
                direct.want(SWITCH, order(), [GATEWAY])
                await until("an order", lambda: bool(service.orders))
