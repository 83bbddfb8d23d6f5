"""A real server on loopback: whatever one client does, another session goes on being served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
import pytest
import structlog.testing

from crowetrade.bus.v1 import orders_pb2
from crowetrade.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from crowetrade_agents.order_entry.commands import Logon, NewOrder, SessionLost
from crowetrade_agents.order_entry.grpc_server import MESSAGE_BYTES, create_server
from crowetrade_agents.order_entry.limits import SessionLimits
from crowetrade_agents.order_entry.port import Request, Response
from crowetrade_agents.order_entry.responses import responses_of
from crowetrade_agents_tests.clock import settle
from crowetrade_agents_tests.order_entry import requests
from crowetrade_agents_tests.order_entry.engine_side import PATIENCE_SECONDS, EngineSide, running
from crowetrade_agents_tests.order_entry.http2 import (
    FROZEN_SECONDS,
    HEADER_BYTES,
    PING,
    PING_ANSWERED,
    PREFACE,
    SETTINGS,
    SETTINGS_TAKEN,
)
from crowetrade_operator_tests.servers import Wire

if TYPE_CHECKING:
    Call = grpc.aio.StreamStreamCall[Request, Response]

LIMITS = SessionLimits(commands_queued=8, responses_queued=64, waiting_streams=3)


class Client:
    """One connection with streams on it."""

    def __init__(self, port: int) -> None:
        # Channels with the same options would share one connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
        self.stub = GatewayServiceStub(self.channel)

    async def logged_on(self, strategy: str) -> Stream:
        """A stream whose session is up."""
        stream = Stream(self.stub.OrderSession(), strategy)
        await stream.call.write(Request(logon=requests.logon(strategy)))
        assert (await stream.next()).HasField("logon_accepted")
        return stream


class Stream:
    """One session, as seen by its client."""

    def __init__(self, call: Call, strategy: str) -> None:
        self.call = call
        self.strategy = strategy
        self.sent = 0
        self._received: deque[Response] = deque()

    async def next(self) -> Response:
        """The next response."""
        if not self._received:
            async with asyncio.timeout(PATIENCE_SECONDS):
                message = await self.call.read()
            assert isinstance(message, Response), await self.end()
            self._received.extend(responses_of(message))
        return self._received.popleft()

    async def is_served(self) -> bool:
        """Sends an order and waits for its report."""
        self.sent += 1
        request = requests.new_order(self.sent, self.strategy)
        await self.call.write(request)
        while (await self.next()).execution_report.cl_ord_id != request.new_order.cl_ord_id:
            continue
        return True

    async def end(self) -> tuple[grpc.StatusCode, str]:
        """Reads to the end; the status of the stream."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            with suppress(grpc.aio.AioRpcError):
                while isinstance(await self.call.read(), Response):
                    continue
            return await self.call.code(), await self.call.details()


class Gateway:
    """The server, its engine side, and a well-behaved session of beta."""

    def __init__(self, engine: EngineSide, server: grpc.aio.Server) -> None:
        self.engine = engine
        self.server = server
        self.port = server.add_insecure_port("127.0.0.1:0")
        self.clients: list[Client] = []
        self.beta: Stream

    def client(self, port: int = 0) -> Client:
        """A new connection, to the server itself or over a line to it."""
        self.clients.append(Client(port or self.port))
        return self.clients[-1]


@asynccontextmanager
async def serving(limits: SessionLimits = LIMITS) -> AsyncIterator[Gateway]:
    """Started and stopped."""
    async with running(EngineSide(limits)) as engine:
        server = create_server(engine.sessions)
        gateway = Gateway(engine, server)
        await server.start()
        gateway.beta = await gateway.client().logged_on("beta")
        yield gateway
        engine.not_busy.set()
        for client in gateway.clients:
            await client.channel.close()
        await server.stop(grace=0)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with serving() as started:
        yield started


async def test_an_order_goes_in_and_its_report_comes_out(gateway: Gateway) -> None:
    alpha = await gateway.client().logged_on("alpha")
    assert await alpha.is_served()
    assert gateway.engine.orders("alpha") == [requests.cl_ord_id(1)]


async def test_what_was_sent_before_the_client_ended_its_side_arrives(gateway: Gateway) -> None:
    alpha = await gateway.client().logged_on("alpha")
    for number in range(1, 51):
        await alpha.call.write(requests.new_order(number))
    await alpha.call.done_writing()
    assert (await alpha.end())[0] is grpc.StatusCode.OK
    await gateway.engine.until(SessionLost("alpha", 2))
    assert len(gateway.engine.orders("alpha")) == 50


def wrong_order(**fields: object) -> Request:
    """With one thing wrong."""
    request = requests.new_order(1)
    for name, value in fields.items():
        setattr(request.new_order, name, value)
    return request


@pytest.mark.parametrize(
    "request_",
    [
        wrong_order(order_quantity="1E-2000000"),
        wrong_order(order_quantity="1_000"),
        wrong_order(side=7),
        wrong_order(time_in_force=99),
        wrong_order(cl_ord_id=requests.cl_ord_id(1, "beta")),
        wrong_order(valid_until_unix_ns=0),
    ],
    ids=["quantity 1E-2000000", "quantity 1_000", "side 7", "time in force 99", "beta's ClOrdID", "no deadline"],
)
async def test_a_malformed_order_is_refused_and_its_session_goes_on(gateway: Gateway, request_: Request) -> None:
    alpha = await gateway.client().logged_on("alpha")
    await alpha.call.write(request_)
    assert (await alpha.next()).execution_report.ord_status == orders_pb2.ORD_STATUS_REJECTED
    assert gateway.engine.orders("alpha") == []
    assert await alpha.is_served()
    assert await gateway.beta.is_served()


async def test_an_oversize_message_ends_its_stream(gateway: Gateway) -> None:
    alpha = await gateway.client().logged_on("alpha")
    with suppress(grpc.aio.AioRpcError):
        await alpha.call.write(wrong_order(cl_ord_id="x" * 600_000))
    assert (await alpha.end())[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    await gateway.engine.until(SessionLost("alpha", 2))
    assert await gateway.beta.is_served()


def raw(client: Client) -> grpc.aio.StreamStreamCall[bytes, Response]:
    """A stream of any bytes."""
    name = "/crowetrade.gateway.v1.GatewayService/OrderSession"
    make: grpc.aio.StreamStreamMultiCallable[bytes, Response] = client.channel.stream_stream(
        name, request_serializer=lambda data: data, response_deserializer=Response.FromString
    )
    return make()


@pytest.mark.parametrize("logged_on", [False, True], ids=["instead of Logon", "after Logon"])
async def test_bytes_that_are_no_message_end_their_stream(gateway: Gateway, logged_on: bool) -> None:
    call = raw(gateway.client())
    if logged_on:
        await call.write(Request(logon=requests.logon("alpha")).SerializeToString())
        await call.read()
    await call.write(b"\xff\xff\xff\xff")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await gateway.beta.is_served()
    await settle()
    assert gateway.engine.sessions.connected() == {"beta"}


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (requests.new_order(1), grpc.StatusCode.INVALID_ARGUMENT),
        (Request(), grpc.StatusCode.INVALID_ARGUMENT),
        (Request(logon=requests.logon("gamma")), grpc.StatusCode.UNAUTHENTICATED),
        (Request(logon=requests.logon("alpha", namespace="other")), grpc.StatusCode.UNAUTHENTICATED),
    ],
    ids=["an order", "nothing", "a strategy that is not bound", "another namespace"],
)
async def test_a_stream_that_does_not_begin_with_the_logon_of_a_bound_strategy_is_refused(
    gateway: Gateway, first: Request, code: grpc.StatusCode
) -> None:
    stream = Stream(gateway.client().stub.OrderSession(), "")
    await stream.call.write(first)
    assert (await stream.end())[0] is code
    assert await gateway.beta.is_served()
    assert not any(isinstance(c, Logon) and c.strategy != "beta" for c in gateway.engine.handled)


async def test_a_stream_without_logon_has_a_deadline(gateway: Gateway) -> None:
    stream = Stream(gateway.client().stub.OrderSession(), "")
    await stream.call.wait_for_connection()
    await until(lambda: gateway.engine.clock.waiting() == 2)  # beta's silence, and this
    await gateway.engine.clock.advance(LIMITS.logon_deadline_ns - 1)
    assert not stream.call.done()
    await gateway.engine.clock.advance(1)
    assert await stream.end() == (grpc.StatusCode.DEADLINE_EXCEEDED, "no Logon came in time")
    assert await gateway.beta.is_served()


async def test_streams_without_logon_keep_nobody_out(gateway: Gateway) -> None:
    idle = []
    for _ in range(LIMITS.waiting_streams):
        idle.append(Stream(gateway.client().stub.OrderSession(), ""))
        await idle[-1].call.wait_for_connection()
        await until(lambda: gateway.engine.clock.waiting() == 1 + len(idle))
    alpha = await gateway.client().logged_on("alpha")
    assert (await idle[0].end())[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not idle[1].call.done()
    assert await alpha.is_served()
    assert await gateway.beta.is_served()


async def test_one_connection_has_a_maximum_of_streams() -> None:
    async with serving(replace(LIMITS, waiting_streams=50)) as gateway:
        client = gateway.client()
        calls = [client.stub.OrderSession() for _ in range(20)]
        await until(lambda: gateway.engine.clock.waiting() >= 1 + 16)
        for _ in range(10):
            assert await gateway.beta.is_served()
        assert gateway.engine.clock.waiting() == 1 + 16
        assert await (await gateway.client().logged_on("alpha")).is_served()
        assert len(calls) == 20


async def test_a_flood_fills_its_own_share_only(gateway: Gateway) -> None:
    alpha = await gateway.client().logged_on("alpha")
    gateway.engine.not_busy.clear()

    async def flood() -> None:
        for number in range(1, 3001):
            await alpha.call.write(requests.new_order(number))

    flooding = asyncio.create_task(flood())
    beta_order = requests.new_order(1, "beta")
    await until(lambda: gateway.engine.queue.qsize() == LIMITS.commands_queued - 1)
    await gateway.beta.call.write(beta_order)
    await until(lambda: gateway.engine.queue.qsize() == LIMITS.commands_queued)
    gateway.engine.not_busy.set()
    assert (await gateway.beta.next()).execution_report.cl_ord_id == beta_order.new_order.cl_ord_id
    assert len(gateway.engine.orders("alpha")) < 200
    flooding.cancel()


async def test_a_client_that_does_not_read_is_ended_and_holds_no_memory(gateway: Gateway) -> None:
    alpha = await gateway.client().logged_on("alpha")
    report = Response(execution_report=orders_pb2.ExecutionReport(text="x" * 4000, strategy="alpha"))
    delivered = 0
    while "alpha" in gateway.engine.sessions.connected():
        gateway.engine.sessions.deliver("alpha", report)
        delivered += 1
        assert delivered < 20_000
        await asyncio.sleep(0)
    await gateway.engine.until(SessionLost("alpha", 2))
    assert await gateway.beta.is_served()
    # The handler stops waiting for the client, too.
    await gateway.engine.clock.advance(LIMITS.linger_ns)
    code, details = await alpha.end()
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "wait to be read" in details


async def test_a_silent_session_is_ended_as_lost(gateway: Gateway) -> None:
    alpha = await gateway.client().logged_on("alpha")
    clock = gateway.engine.clock
    for _ in range(3):
        await clock.advance(LIMITS.heartbeat_deadline_ns // 2)
        assert await gateway.beta.is_served()
    assert (await alpha.end())[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    assert gateway.engine.lifecycle("alpha") == [Logon("alpha", 2), SessionLost("alpha", 2)]
    assert await gateway.beta.is_served()


async def test_a_session_whose_line_lets_nothing_through_is_ended_as_lost_and_its_successor_is_served(
    gateway: Gateway,
) -> None:
    """What the strategy sends meanwhile is lost with the session, also when the line lets it through later."""
    wire = Wire(gateway.port)
    await wire.mend()
    alpha = await gateway.client(wire.port).logged_on("alpha")
    assert await alpha.is_served()
    wire.fall_silent()
    await alpha.call.write(requests.new_order(2))
    for _ in range(3):
        await gateway.engine.clock.advance(LIMITS.heartbeat_deadline_ns // 2)
        await alpha.call.write(requests.heartbeat())
        assert await gateway.beta.is_served()
    await gateway.engine.until(SessionLost("alpha", 2))
    await wire.mend()
    assert (await alpha.end())[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    successor = await gateway.client(wire.port).logged_on("alpha")
    successor.sent = 2
    assert await successor.is_served()
    assert gateway.engine.orders("alpha") == [requests.cl_ord_id(1), requests.cl_ord_id(3)]
    await wire.cut()


async def test_a_session_whose_line_breaks_is_lost_at_once(gateway: Gateway) -> None:
    wire = Wire(gateway.port)
    await wire.mend()
    await gateway.client(wire.port).logged_on("alpha")
    await wire.cut()
    await gateway.engine.until(SessionLost("alpha", 2))
    assert await gateway.beta.is_served()


async def test_heartbeats_keep_a_session_and_are_answered(gateway: Gateway) -> None:
    for _ in range(6):
        await gateway.engine.clock.advance(LIMITS.heartbeat_deadline_ns // 2)
        await gateway.beta.call.write(requests.heartbeat())
        assert (await gateway.beta.next()).HasField("heartbeat")
    assert await gateway.beta.is_served()


async def test_takeover_while_the_gateway_is_busy_aborts_the_older(gateway: Gateway) -> None:
    older = await gateway.client().logged_on("alpha")
    gateway.engine.not_busy.clear()
    for number in range(1, 40):
        await older.call.write(requests.new_order(number))
    newer = Stream(gateway.client().stub.OrderSession(), "alpha")
    await newer.call.write(Request(logon=requests.logon("alpha")))
    assert (await older.end())[0] is grpc.StatusCode.ABORTED
    gateway.engine.not_busy.set()
    assert (await newer.next()).HasField("logon_accepted")
    newer.sent = 100
    assert await newer.is_served()
    assert await gateway.beta.is_served()
    assert gateway.engine.sessions.connected() == {"alpha", "beta"}
    assert gateway.engine.lifecycle("alpha") == [Logon("alpha", 2), Logon("alpha", 3), SessionLost("alpha", 2)]


async def test_a_reset_in_the_middle_of_orders_loses_its_session_alone(gateway: Gateway) -> None:
    client = gateway.client()
    alpha = await client.logged_on("alpha")
    gateway.engine.not_busy.clear()
    for number in range(1, 40):
        await alpha.call.write(requests.new_order(number))
    await until(lambda: gateway.engine.queue.qsize() == LIMITS.commands_queued - 1)
    alpha.call.cancel()
    await gateway.engine.until_lost("alpha")
    gateway.engine.not_busy.set()
    await gateway.engine.until(SessionLost("alpha", 2))
    # What was in the queue is handled, in order, and nothing after the end.
    assert gateway.engine.orders("alpha") == [
        requests.cl_ord_id(number) for number in range(1, LIMITS.commands_queued + 1)
    ]
    end = gateway.engine.handled.index(SessionLost("alpha", 2))
    assert not any(isinstance(c, NewOrder) and c.terms.strategy == "alpha" for c in gateway.engine.handled[end:])
    assert await gateway.beta.is_served()
    assert await (await client.logged_on("alpha")).is_served()


async def test_a_reset_before_the_logon_is_accepted_leaves_nothing_behind(gateway: Gateway) -> None:
    gateway.engine.not_busy.clear()
    call = gateway.client().stub.OrderSession()
    await call.write(Request(logon=requests.logon("alpha")))
    await until(lambda: gateway.engine.in_hand == Logon("alpha", 2))
    call.cancel()
    await until(lambda: gateway.engine.queue.qsize() == 1)
    gateway.engine.not_busy.set()
    await gateway.engine.until(SessionLost("alpha", 2))
    assert gateway.engine.sessions.connected() == {"beta"}
    assert await gateway.beta.is_served()


async def test_a_server_that_stops_ends_its_sessions_without_an_error() -> None:
    with structlog.testing.capture_logs() as logs:
        async with serving() as gateway:
            alpha = await gateway.client().logged_on("alpha")
            await gateway.client().stub.OrderSession().wait_for_connection()
            alpha.call.cancel()
            await gateway.server.stop(grace=0)
            await settle()
    assert len([entry for entry in logs if entry["event"] == "session_ends"]) == 2
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


async def test_what_is_queued_when_a_session_is_ended_is_still_written(gateway: Gateway) -> None:
    for sequence in range(30):
        gateway.engine.sessions.publish(sequence)
    gateway.engine.sessions.leave()
    assert [(await gateway.beta.next()).published.sequence for _ in range(30)] == list(range(30))
    assert (await gateway.beta.end())[0] is grpc.StatusCode.UNAVAILABLE


async def test_a_client_that_does_not_read_is_not_waited_for_when_its_session_is_ended(gateway: Gateway) -> None:
    older = await gateway.client().logged_on("alpha")
    report = Response(execution_report=orders_pb2.ExecutionReport(text="x" * 1_000_000, strategy="alpha"))
    for _ in range(LIMITS.responses_queued - 1):
        gateway.engine.sessions.deliver("alpha", report)
    newer = await gateway.client().logged_on("alpha")
    await until(lambda: gateway.engine.clock.waiting() == 4)  # the silence of three, and the linger of the older
    await gateway.engine.clock.advance(LIMITS.linger_ns)
    assert await newer.is_served()
    received = 0
    with suppress(grpc.aio.AioRpcError):
        while isinstance(await older.call.read(), Response):
            received += 1
    assert received < LIMITS.responses_queued - 1
    assert await older.call.code() is grpc.StatusCode.ABORTED
    assert await gateway.beta.is_served()


async def test_responses_that_wait_together_come_in_their_order_and_in_few_messages(gateway: Gateway) -> None:
    alpha = await gateway.client().logged_on("alpha")
    texts = [*(str(number) for number in range(40)), "x" * MESSAGE_BYTES, *(str(number) for number in range(10))]
    for text in texts:
        report = orders_pb2.ExecutionReport(text=text, strategy="alpha")
        gateway.engine.sessions.deliver("alpha", Response(execution_report=report))
    messages: list[list[str]] = []
    while sum(map(len, messages)) < len(texts):
        message = await alpha.call.read()
        assert isinstance(message, Response)
        messages.append([response.execution_report.text for response in responses_of(message)])
    assert [text for message in messages for text in message] == texts
    assert [len(message) for message in messages] == [40, 1, 10]


async def test_leaving_ends_sessions_as_unavailable(gateway: Gateway) -> None:
    gateway.engine.sessions.leave()
    code, details = await gateway.beta.end()
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "leaving" in details


async def until(holds: Callable[[], bool]) -> None:
    """Lets the network and the server run until the condition holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0)


async def test_connections_without_a_stream_are_closed_and_nobody_elses(gateway: Gateway) -> None:
    """A strategy that opens many could use up the memory and file descriptors of the gateway; these answer pings."""

    async def stay() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(PREFACE + SETTINGS + SETTINGS_TAKEN)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                header = await reader.readexactly(HEADER_BYTES)
                payload = await reader.readexactly(int.from_bytes(header[:3], "big"))
                if header[3] == PING and not header[4]:
                    writer.write(PING_ANSWERED + payload)
        writer.close()

    async with asyncio.timeout(FROZEN_SECONDS):
        await asyncio.gather(*(stay() for _ in range(50)))
    assert await gateway.beta.is_served()


async def test_a_connection_whose_peer_is_frozen_is_closed_and_nobody_elses(gateway: Gateway) -> None:
    """Its system still takes the server's pings, and nobody answers them: keepalive alone can tell."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(PREFACE + SETTINGS + SETTINGS_TAKEN)
    async with asyncio.timeout(FROZEN_SECONDS):
        while await reader.read(1024):
            assert await gateway.beta.is_served()
    assert await gateway.beta.is_served()
    writer.close()
