"""The strategy's end, over gRPC and in process: the listener cannot tell the two apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest

from crowetrade.gateway.v1 import gateway_pb2
from crowetrade.gateway.v1.gateway_pb2_grpc import GatewayServiceServicer, add_GatewayServiceServicer_to_server
from crowetrade_agents.errors import SessionTakenOver
from crowetrade_agents.order_entry import in_process
from crowetrade_agents.order_entry.commands import Logon, NewOrder, SessionLost
from crowetrade_agents.order_entry.grpc_client import GrpcSession, Timing
from crowetrade_agents.order_entry.grpc_server import create_server
from crowetrade_agents.order_entry.in_process import InProcessSession
from crowetrade_agents.order_entry.limits import SessionLimits
from crowetrade_agents.order_entry.port import OrderSession, Request, Response, SessionHub
from crowetrade_agents_tests.clock import SECOND_NS, settle
from crowetrade_agents_tests.order_entry import requests
from crowetrade_agents_tests.order_entry.engine_side import PATIENCE_SECONDS, EngineSide, running
from crowetrade_agents_tests.order_entry.http2 import FROZEN_SECONDS, SETTINGS, SETTINGS_TAKEN
from crowetrade_agents_tests.order_entry.recording_listener import RecordingListener
from crowetrade_agents_tests.order_entry.requests import NAMESPACE, VENUE, cl_ord_id
from crowetrade_api.names import venue_object
from crowetrade_process.identity.grpc import add_port
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.name import service_dns_name
from crowetrade_process_tests.identity.authority import Authority, identity_name
from crowetrade_process_tests.identity.identities import Files, identity_of

LIMITS = SessionLimits(commands_queued=4)


class Desk:
    """A gateway with sessions of strategies over one of the two ways."""

    def __init__(self, engine: EngineSide, port: int | None) -> None:
        self.engine = engine
        self.hub: SessionHub = engine.sessions
        self.port = port
        self.identity: Identity | None = None
        """Of strategy alpha; None: connections are plain TCP."""
        self.runs: list[asyncio.Task[None]] = []

    def session(self, listener: RecordingListener, strategy: str = "alpha") -> OrderSession:
        """Runs until the test is over."""
        logon, clock = requests.logon(strategy), self.engine.clock
        session: OrderSession
        if self.port is None:
            session = InProcessSession(VENUE, self.engine.sessions, logon, listener, clock)
        else:
            name = service_dns_name(NAMESPACE, venue_object(VENUE))
            address = f"127.0.0.1:{self.port}"
            session = GrpcSession(VENUE, address, logon, listener, clock, identity=self.identity, server_name=name)
        self.runs.append(asyncio.create_task(session.run()))
        return session


@pytest.fixture(params=["grpc", "grpc with tls", "in process"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    if request.param != "grpc with tls":
        async with desk_over(request.param) as made:
            yield made
        return
    authority, gateway = Authority(), identity_name(venue_object(VENUE), NAMESPACE)
    strategy = identity_name("strategy-alpha", NAMESPACE)
    server = await identity_of(tmp_path / "gateway", gateway, authority)
    # The clock of these tests is ahead of that of the system, and a session ends with its certificate.
    issued = authority.issue_to(strategy, lifetime=timedelta(days=3650))
    client = Files(tmp_path / "strategy", issued, authority)
    await client.identity.start()
    async with desk_over("grpc", server.identity) as made:
        made.identity = client.identity
        yield made


@asynccontextmanager
async def desk_over(way: str, identity: Identity | None = None) -> AsyncIterator[Desk]:
    """Started and stopped."""
    async with running(EngineSide(LIMITS)) as engine:
        server = create_server(engine.sessions, identity)
        desk = Desk(engine, add_port(server, "127.0.0.1:0", identity) if way == "grpc" else None)
        await server.start()
        yield desk
        for run in desk.runs:
            run.cancel()
        await asyncio.gather(*desk.runs, return_exceptions=True)
        await server.stop(grace=0)


async def logged_on(desk: Desk, first: list[Request] | None = None) -> tuple[OrderSession, RecordingListener]:
    """A session that is up."""
    listener = RecordingListener(first or [])
    session = desk.session(listener)
    await listener.until(lambda listener: "logon" in listener.names())
    return session, listener


async def test_the_snapshot_comes_first_then_what_happens_in_its_order(desk: Desk) -> None:
    session, listener = await logged_on(desk, [requests.new_order(1)])
    assert session.up
    assert session.venue == VENUE
    await listener.until(lambda listener: len(listener.calls) == 2)
    assert await session.send(requests.cancel(2, of=1))
    await listener.until(lambda listener: len(listener.calls) == 3)
    desk.hub.publish(101)
    await listener.until(lambda listener: len(listener.calls) == 4)
    assert listener.calls == [
        ("logon", desk.engine.published),
        ("report", cl_ord_id(1)),
        ("cancel reject", cl_ord_id(2)),
        ("published", 101),
    ]


async def test_nothing_is_sent_before_the_session_is_up(desk: Desk) -> None:
    desk.engine.not_busy.clear()
    session = desk.session(RecordingListener())
    await settle()
    assert not session.up
    assert not await session.send(requests.new_order(1))
    desk.engine.not_busy.set()


async def test_the_same_bounds_hold_however_a_message_comes(desk: Desk) -> None:
    session, listener = await logged_on(desk)
    bad = requests.new_order(1)
    bad.new_order.order_quantity = "1E-2000000"
    assert await session.send(bad)
    await listener.until(lambda listener: len(listener.calls) == 2)
    assert desk.engine.orders("alpha") == []
    assert await session.send(requests.new_order(2))
    await listener.until(lambda listener: ("report", cl_ord_id(2)) in listener.calls)


async def test_what_was_sent_before_close_arrives(desk: Desk) -> None:
    session, _ = await logged_on(desk)
    for number in range(1, 31):
        assert await session.send(requests.new_order(number))
    await session.close()
    assert not await session.send(requests.new_order(31))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await desk.runs[0]
    await desk.engine.until(SessionLost("alpha", 1))
    assert desk.engine.orders("alpha") == [cl_ord_id(number) for number in range(1, 31)]


async def test_close_before_the_session_is_up_ends_it(desk: Desk) -> None:
    desk.engine.not_busy.clear()
    session = desk.session(RecordingListener())
    while desk.engine.in_hand is None:
        await asyncio.sleep(0)
    await session.close()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await desk.runs[0]
    desk.engine.not_busy.set()
    await desk.engine.until(SessionLost("alpha", 1))


async def test_a_session_that_ends_is_opened_again(desk: Desk) -> None:
    session, listener = await logged_on(desk)
    desk.engine.bound.remove("alpha")
    assert await session.send(requests.progress(2**64 - 1))
    await listener.until(lambda listener: listener.names()[-1] == "down")
    assert "beyond the last published event" in str(listener.calls[-1][1])
    assert not session.up
    await retried(desk, listener, lambda listener: listener.names().count("down") > 1)
    assert "is not bound to this venue" in str(listener.calls[-1][1])
    desk.engine.bound.add("alpha")
    await retried(desk, listener, lambda listener: listener.names()[-1] == "logon")
    assert session.up
    assert await session.send(requests.new_order(1))
    await listener.until(lambda listener: ("report", cl_ord_id(1)) in listener.calls)


async def retried(desk: Desk, listener: RecordingListener, holds: Callable[[RecordingListener], bool]) -> None:
    """Lets the time pass that the session waits before its next try."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds(listener):
            await desk.engine.clock.advance(SECOND_NS // 20)


async def test_a_session_can_end_and_begin_any_number_of_times(desk: Desk) -> None:
    session, listener = await logged_on(desk)
    for logons in range(2, 2 * LIMITS.streams_per_strategy):
        assert await session.send(requests.progress(2**64 - 1))
        await listener.until(lambda listener: listener.names()[-1] == "down")
        await retried(desk, listener, lambda listener: listener.names()[-1] == "logon")
        assert listener.names().count("logon") == logons
    assert all("beyond" in str(why) for name, why in listener.calls if name == "down")


async def test_a_session_that_is_taken_over_stops_the_process(desk: Desk) -> None:
    _, older = await logged_on(desk)
    newer, _ = await logged_on(desk)
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(SessionTakenOver):
            await desk.runs[0]
    assert older.names() == ["logon"]
    assert newer.up
    assert desk.engine.lifecycle("alpha") == [Logon("alpha", 1), Logon("alpha", 2), SessionLost("alpha", 1)]


async def test_takeover_while_the_gateway_is_busy_does_not_log_the_older_on_again(desk: Desk) -> None:
    session, _ = await logged_on(desk)
    desk.engine.not_busy.clear()
    for number in range(1, 4):
        await session.send(requests.new_order(number))
    newer = RecordingListener()
    desk.session(newer)
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(SessionTakenOver):
            await desk.runs[0]
    desk.engine.not_busy.set()
    await newer.until(lambda listener: listener.names() == ["logon"])
    assert desk.hub.connected() == {"alpha"}


async def test_a_run_that_is_cancelled_ends_its_session(desk: Desk) -> None:
    await logged_on(desk)
    desk.runs[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await desk.runs[0]
    await desk.engine.until(SessionLost("alpha", 1))


async def test_the_gateways_leaving_is_a_reason_to_try_again(desk: Desk) -> None:
    _, listener = await logged_on(desk)
    desk.hub.leave()
    await listener.until(lambda listener: listener.names()[-1] == "down")
    assert "the gateway is leaving" in str(listener.calls[-1][1])


# In process.


async def test_in_process_only_so_much_waits_for_a_gateway_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_process, "MAX_WAITING", 10)
    async with desk_over("in process") as desk:
        session, _ = await logged_on(desk)
        desk.engine.not_busy.clear()
        sent = 0
        while await session.send(requests.new_order(sent + 1)):
            sent += 1
            assert sent < 100
            await settle()
        desk.engine.not_busy.set()
        await settle()
        assert len([c for c in desk.engine.handled if isinstance(c, NewOrder)]) == sent


# Over gRPC.


Handler = Callable[[object, "grpc.aio.ServicerContext[Request, Response]"], Awaitable[None]]


@asynccontextmanager
async def beside(
    handler: Handler | None, **options: Any
) -> AsyncIterator[tuple[GrpcSession, RecordingListener, EngineSide]]:
    """A session with a gateway that does what `handler` does, or that is not there; the session outlives it all."""
    engine, listener, server = EngineSide(LIMITS), RecordingListener(), grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    if handler is not None:
        servicer = type("Servicer", (GatewayServiceServicer,), {"OrderSession": staticmethod(handler)})()
        add_GatewayServiceServicer_to_server(servicer, server)
        await server.start()
    else:
        await server.stop(grace=0)
        port = 1
    session = GrpcSession(VENUE, f"127.0.0.1:{port}", requests.logon(), listener, engine.clock, **options)
    run = asyncio.create_task(session.run())
    yield session, listener, engine
    assert not run.done()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await server.stop(grace=0)


async def freeze(_: object, context: grpc.aio.ServicerContext[Request, Response]) -> None:
    """Says nothing."""
    await asyncio.Event().wait()


async def accept_and_freeze(_: object, context: grpc.aio.ServicerContext[Request, Response]) -> None:
    """Accepts the logon, with a deadline of three seconds, and neither reads nor writes from then on."""
    await context.read()
    await context.write(Response(logon_accepted=gateway_pb2.LogonAccepted(heartbeat_deadline_millis=3000)))
    await asyncio.Event().wait()


async def test_heartbeats_are_sent_three_times_per_deadline_and_what_follows_keeps_the_session_up() -> None:
    async def answer_heartbeats(_: object, context: grpc.aio.ServicerContext[Request, Response]) -> None:
        await context.read()
        await context.write(Response(logon_accepted=gateway_pb2.LogonAccepted(heartbeat_deadline_millis=3000)))
        for number in count(1):
            assert (await context.read()).HasField("heartbeat")
            await context.write(Response(heartbeat=gateway_pb2.Heartbeat()))
            await context.write(Response(published=gateway_pb2.Published(sequence=number)))

    async with beside(answer_heartbeats) as (session, listener, engine):
        await listener.until(lambda listener: "logon" in listener.names())
        for number in range(1, 31):
            await settle()
            await engine.clock.advance(SECOND_NS)
            await listener.until(lambda listener: len(listener.calls) > number)  # noqa: B023 - called at once
        assert session.up
        assert listener.calls[1:] == [("published", number) for number in range(1, 31)]


async def test_a_gateway_that_becomes_silent_is_given_up() -> None:
    async with beside(accept_and_freeze) as (_, listener, engine):
        await listener.until(lambda listener: "logon" in listener.names())
        await advance_until(engine, lambda: "down" in listener.names())
        assert "nothing came for 3000 ms" in str(listener.calls[1][1])


async def test_callers_that_wait_for_a_silent_gateway_are_bounded_and_go_on_when_it_is_given_up() -> None:
    async with beside(accept_and_freeze, max_waiting=5) as (session, listener, engine):
        await listener.until(lambda listener: "logon" in listener.names())
        big = requests.new_order(1)
        big.new_order.price = "1" * 60_000

        async def send_many() -> None:
            while await session.send(big):
                continue

        senders = [asyncio.create_task(send_many()) for _ in range(8)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while sum(sender.done() for sender in senders) < 3:  # five wait; the others heard that too many do
                await asyncio.sleep(0)
        await advance_until(engine, lambda: "down" in listener.names())
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*senders)


async def test_a_logon_that_is_not_answered_is_given_up() -> None:
    async with beside(freeze) as (_, listener, engine):
        await advance_until(engine, lambda: "down" in listener.names())
        assert "the logon was not answered in time" in str(listener.calls[0][1])


async def test_a_connection_that_never_stands_is_given_up() -> None:
    """Somebody accepts the connection and says nothing, so the logon is not even written."""
    connected = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await asyncio.Event().wait()

    engine, listener = EngineSide(LIMITS), RecordingListener()
    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    run = asyncio.create_task(GrpcSession(VENUE, address, requests.logon(), listener, engine.clock).run())
    await connected.wait()
    await advance_until(engine, lambda: "down" in listener.names())
    assert "the logon was not answered in time" in str(listener.calls[0][1])
    run.cancel()
    server.close()


async def test_a_connection_to_a_frozen_gateway_is_closed() -> None:
    """The next session would go over the same connection, as after the death of the gateway's node."""
    closed = asyncio.Event()

    async def take_part_and_freeze(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS + SETTINGS_TAKEN)
        while await reader.read(1024):
            continue
        closed.set()

    server = await asyncio.start_server(take_part_and_freeze, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    session = GrpcSession(VENUE, address, requests.logon(), RecordingListener(), EngineSide(LIMITS).clock)
    run = asyncio.create_task(session.run())
    async with asyncio.timeout(FROZEN_SECONDS):
        await closed.wait()
    run.cancel()
    server.close()


async def test_a_gateway_that_is_not_there_is_tried_again_after_a_while_that_grows() -> None:
    timing = Timing(minimum_wait_ns=SECOND_NS, maximum_wait_ns=4 * SECOND_NS, logon_deadline_ns=3600 * SECOND_NS)
    async with beside(None, timing=timing) as (_, listener, engine):
        for tries in range(1, 7):
            await listener.until(lambda listener: len(listener.calls) >= tries)  # noqa: B023 - called at once
            await settle()
            await engine.clock.advance(4 * SECOND_NS)
        assert set(listener.names()) == {"down"}
        assert "UNAVAILABLE" in str(listener.calls[0][1])
        waits = [asked / SECOND_NS for asked in engine.clock.asked_ns if asked < 3600 * SECOND_NS]
        assert 1 <= waits[0] <= 2
        assert all(2 <= wait <= 4 for wait in waits[1:6])


async def advance_until(engine: EngineSide, holds: Callable[[], bool]) -> None:
    """Lets time pass, a second at a time, until the condition holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await engine.clock.advance(SECOND_NS)
