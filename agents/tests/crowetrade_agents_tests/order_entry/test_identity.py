"""Who logs on is the strategy that its certificate names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from crowetrade.gateway.v1.gateway_pb2 import Logon
from crowetrade.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from crowetrade_agents.order_entry.grpc_client import GrpcSession
from crowetrade_agents.order_entry.grpc_server import create_server
from crowetrade_agents.order_entry.limits import SessionLimits
from crowetrade_agents.order_entry.port import Request, Response
from crowetrade_agents_tests.clock import SECOND_NS, ManualClock
from crowetrade_agents_tests.order_entry import requests
from crowetrade_agents_tests.order_entry.engine_side import PATIENCE_SECONDS, EngineSide, running
from crowetrade_agents_tests.order_entry.recording_listener import RecordingListener
from crowetrade_agents_tests.order_entry.requests import NAMESPACE, VENUE
from crowetrade_api.names import venue_object
from crowetrade_process.identity.grpc import add_port, open_channel
from crowetrade_process.identity.metrics import EXPIRED_SESSIONS
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.peer import Reason, Refusal
from crowetrade_process.identity.server_certificate import look_at_server
from crowetrade_process_tests.identity.authority import Authority, Issued, identity_name
from crowetrade_process_tests.identity.identities import ADMINISTRATOR, OPERATOR_NAMESPACE, Files, identity_of, refused

OURS = Authority()
GATEWAY = identity_name(venue_object(VENUE), NAMESPACE)
ALPHA = identity_name("strategy-alpha", NAMESPACE)


class Desk:
    """A gateway with an identity."""

    def __init__(self, engine: EngineSide, gateway: Files, port: int, folder: Path) -> None:
        self.engine = engine
        self.gateway = gateway
        self.target = f"127.0.0.1:{port}"
        self._folder = folder

    async def identity(self, name: IdentityName) -> Files:
        """Of a client."""
        return await identity_of(self._folder / name.service_account, name, OURS)

    async def log_on(self, name: IdentityName, strategy: str = "alpha", namespace: str = NAMESPACE) -> str:
        """Whether the gateway accepts, or why not."""
        client = await self.identity(name)
        async with open_channel(self.target, client.identity, GATEWAY.dns_name) as channel:
            call: grpc.aio.StreamStreamCall[Request, Response] = GatewayServiceStub(channel).OrderSession()
            async with asyncio.timeout(PATIENCE_SECONDS):
                try:
                    await call.write(Request(logon=requests.logon(strategy, namespace)))
                    said = await call.read()
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    said = None
                if isinstance(said, Response):
                    return "accepted" if said.HasField("logon_accepted") else "another message"
                return f"{(await call.code()).name}: {await call.details()}"


@asynccontextmanager
async def desk_of(folder: Path, gateway: Files) -> AsyncIterator[Desk]:
    """Its clock stands at the time of the system, by which certificates hold."""
    async with running(EngineSide(SessionLimits(), clock=ManualClock(time.time_ns()))) as engine:
        server = create_server(engine.sessions, gateway.identity)
        port = add_port(server, "127.0.0.1:0", gateway.identity)
        await server.start()
        yield Desk(engine, gateway, port, folder)
        await server.stop(grace=0)


def session_at(desk: Desk, strategy: Files, listener: RecordingListener, logon: Logon | None = None) -> GrpcSession:
    """A session of the strategy with this certificate, not running yet."""
    return GrpcSession(
        VENUE,
        desk.target,
        logon or requests.logon(),
        listener,
        desk.engine.clock,
        identity=strategy.identity,
        server_name=GATEWAY.dns_name,
    )


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk_of(tmp_path, await identity_of(tmp_path / "gateway", GATEWAY, OURS)) as made:
        yield made


async def test_a_strategy_logs_on_as_itself(desk: Desk) -> None:
    assert await desk.log_on(ALPHA) == "accepted"


@pytest.mark.parametrize(
    ("name", "strategy", "namespace"),
    [
        (ALPHA, "beta", NAMESPACE),
        (ALPHA, "alpha", "other"),
        (ALPHA, "", NAMESPACE),
        (identity_name("strategy-alpha", "other"), "alpha", NAMESPACE),
        (identity_name("alpha", NAMESPACE), "alpha", NAMESPACE),
        (GATEWAY, VENUE, NAMESPACE),
        (identity_name("crowetrade-operator", OPERATOR_NAMESPACE), "alpha", NAMESPACE),
        (ADMINISTRATOR, "alpha", NAMESPACE),
    ],
)
async def test_a_logon_that_disagrees_with_the_certificate_is_refused(
    desk: Desk, name: IdentityName, strategy: str, namespace: str
) -> None:
    before = refused(Reason.LOGON_DISAGREES)
    said = await desk.log_on(name, strategy, namespace)
    sentence = f"Logon names strategy {strategy!r} of namespace {namespace!r}, and the certificate {name}"
    assert said == f"UNAUTHENTICATED: {sentence}"
    assert refused(Reason.LOGON_DISAGREES) == before + 1
    assert desk.engine.sessions.connected() == frozenset()


async def test_who_is_revoked_does_not_log_on(tmp_path: Path) -> None:
    issued = OURS.issue_to(GATEWAY)
    gateway = Files(tmp_path / "gateway", issued, OURS, revocations=OURS.revocations())
    await gateway.identity.start()
    async with desk_of(tmp_path, gateway) as desk:
        alpha = Files(tmp_path / "alpha", OURS.issue_to(ALPHA), OURS)
        await alpha.identity.start()
        session = session_at(desk, alpha, listener := RecordingListener())
        shown = x509.load_pem_x509_certificate(alpha.identity.credentials.chain_pem)
        await gateway.renew(issued, OURS, revocations=OURS.revocations(shown))
        before = refused(Reason.REVOKED)
        run = asyncio.create_task(session.run())
        await listener.until(lambda listener: "down" in listener.names())
        assert "is revoked (UNAUTHENTICATED)" in str(listener.calls[0][1])
        assert refused(Reason.REVOKED) > before
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


async def test_who_is_revoked_before_the_logon_comes_does_not_log_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = OURS.issue_to(GATEWAY)
    gateway = Files(tmp_path / "gateway", issued, OURS, revocations=OURS.revocations())
    await gateway.identity.start()
    judge, judged = gateway.identity.judge, asyncio.Event()

    def noted(certificate_pem: bytes) -> IdentityName | Refusal:
        judged.set()
        return judge(certificate_pem)

    monkeypatch.setattr(gateway.identity, "judge", noted)
    async with desk_of(tmp_path, gateway) as desk:
        alpha = await desk.identity(ALPHA)
        shown = x509.load_pem_x509_certificate(alpha.identity.credentials.chain_pem)
        async with (
            open_channel(desk.target, alpha.identity, GATEWAY.dns_name) as channel,
            asyncio.timeout(PATIENCE_SECONDS),
        ):
            call: grpc.aio.StreamStreamCall[Request, Response] = GatewayServiceStub(channel).OrderSession()
            await judged.wait()
            before = refused(Reason.REVOKED)
            await gateway.renew(issued, OURS, revocations=OURS.revocations(shown))
            await call.write(Request(logon=requests.logon()))
            assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
            assert "is revoked" in str(await call.details())
            assert refused(Reason.REVOKED) > before
        assert desk.engine.sessions.connected() == frozenset()


async def test_a_session_that_is_open_ends_when_its_certificate_is_revoked_and_others_stay(tmp_path: Path) -> None:
    issued = OURS.issue_to(GATEWAY)
    gateway = Files(tmp_path / "gateway", issued, OURS, revocations=OURS.revocations())
    await gateway.identity.start()
    async with desk_of(tmp_path, gateway) as desk:
        alpha, beta = await desk.identity(ALPHA), await desk.identity(identity_name("strategy-beta", NAMESPACE))
        heard = RecordingListener(), RecordingListener()
        sessions = (
            session_at(desk, alpha, heard[0]),
            session_at(desk, beta, heard[1], requests.logon("beta")),
        )
        runs = [asyncio.create_task(session.run()) for session in sessions]
        for listener in heard:
            await listener.until(lambda listener: "logon" in listener.names())
        before = refused(Reason.REVOKED)
        shown = x509.load_pem_x509_certificate(alpha.identity.credentials.chain_pem)
        await gateway.renew(issued, OURS, revocations=OURS.revocations(shown))
        await heard[0].until(lambda listener: "down" in listener.names())
        assert "is revoked (UNAUTHENTICATED)" in str(heard[0].calls[-1][1])
        assert refused(Reason.REVOKED) > before
        assert desk.engine.sessions.connected() == {"beta"}
        assert heard[1].names() == ["logon"]
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)


async def until_it_logs_on(desk: Desk, listener: RecordingListener) -> None:
    """The waits between tries pass by the clock of the desk."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while listener.names()[-1:] != ["logon"]:
            await pass_time(desk, SECOND_NS // 20)


async def test_a_strategy_talks_to_no_gateway_whose_certificate_is_revoked_until_it_has_another_one(
    tmp_path: Path,
) -> None:
    issued, mine = OURS.issue_to(GATEWAY), OURS.issue_to(ALPHA)
    gateway = Files(tmp_path / "gateway", issued, OURS)
    alpha = Files(tmp_path / "alpha", mine, OURS, revocations=OURS.revocations(issued))
    for files in (gateway, alpha):
        await files.identity.start()
    async with desk_of(tmp_path, gateway) as desk:
        session = session_at(desk, alpha, listener := RecordingListener())
        before = refused(Reason.REVOKED)
        run = asyncio.create_task(session.run())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while listener.names().count("down") < 3:
                await pass_time(desk, SECOND_NS // 20)
        assert set(listener.names()) == {"down"}
        assert "is revoked (Revoked)" in str(listener.calls[-1][1])
        assert refused(Reason.REVOKED) >= before + 3
        assert desk.engine.sessions.connected() == frozenset()
        await gateway.renew(OURS.issue_to(GATEWAY), OURS)
        await until_it_logs_on(desk, listener)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


async def test_a_session_that_is_open_ends_when_the_gateways_certificate_is_revoked(tmp_path: Path) -> None:
    issued, mine = OURS.issue_to(GATEWAY), OURS.issue_to(ALPHA)
    gateway = Files(tmp_path / "gateway", issued, OURS)
    alpha = Files(tmp_path / "alpha", mine, OURS, revocations=OURS.revocations())
    for files in (gateway, alpha):
        await files.identity.start()
    async with desk_of(tmp_path, gateway) as desk:
        session = session_at(desk, alpha, listener := RecordingListener())
        run = asyncio.create_task(session.run())
        await listener.until(lambda listener: "logon" in listener.names())
        await alpha.renew(mine, OURS, revocations=OURS.revocations(issued))
        await listener.until(lambda listener: "down" in listener.names())
        assert "is revoked (Revoked)" in str(listener.calls[-1][1])
        assert not session.up
        assert not await session.send(requests.new_order(1))
        await gateway.renew(OURS.issue_to(GATEWAY), OURS)
        await until_it_logs_on(desk, listener)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


async def test_a_session_that_is_closed_while_it_looks_at_the_gateway_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await identity_of(tmp_path / "gateway", GATEWAY, OURS)
    alpha = await identity_of(tmp_path / "alpha", ALPHA, OURS)
    async with desk_of(tmp_path, gateway) as desk:
        session = session_at(desk, alpha, listener := RecordingListener())

        async def closed_meanwhile(*arguments: Any) -> bytes:
            shown = await look_at_server(*arguments)
            await session.close()
            return shown

        monkeypatch.setattr("crowetrade_process.identity.grpc.look_at_server", closed_meanwhile)
        await asyncio.wait_for(session.run(), PATIENCE_SECONDS)
        assert listener.names() == []
        assert desk.engine.sessions.connected() == frozenset()


async def test_a_session_goes_on_while_certificates_and_their_authority_are_replaced(tmp_path: Path) -> None:
    old, new = Authority(), Authority()
    gateway = await identity_of(tmp_path / "gateway", GATEWAY, old)
    alpha = await identity_of(tmp_path / "alpha", ALPHA, old)
    async with desk_of(tmp_path, gateway) as desk:
        session = session_at(desk, alpha, listener := RecordingListener())
        run = asyncio.create_task(session.run())
        await listener.until(lambda listener: "logon" in listener.names())
        number = 0

        async def is_served() -> None:
            nonlocal number
            number += 1
            assert await session.send(requests.new_order(number))
            await listener.until(lambda listener: ("report", requests.cl_ord_id(number)) in listener.calls)

        for files, name in ((gateway, GATEWAY), (alpha, ALPHA)):
            await files.renew(old.issue_to(name), old, new)
            await is_served()
        for files, name in ((gateway, GATEWAY), (alpha, ALPHA)):
            await files.renew(new.issue_to(name), old, new)
            await is_served()
        for files, name in ((gateway, GATEWAY), (alpha, ALPHA)):
            await files.renew(new.issue_to(name), new)
            await is_served()
        assert "down" not in listener.names()
        # The session is lost for another reason: it comes back with the certificate of this moment.
        assert await session.send(requests.progress(2**64 - 1))
        await listener.until(lambda listener: listener.names()[-1] == "down")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while listener.names()[-1] != "logon":
                await desk.engine.clock.advance(SECOND_NS // 20)
        await is_served()
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


HEARTBEAT_NS = 3 * SECOND_NS
ENDED = "the certificate with which the session was opened has ended"


async def pass_time(desk: Desk, nanoseconds: int) -> None:
    """A little, and leaves the heartbeats the time for real round trips."""
    await desk.engine.clock.advance(nanoseconds)
    await asyncio.sleep(0.05)


def short_lived() -> Issued:
    """For another half minute."""
    return OURS.issue_to(ALPHA, lifetime=timedelta(seconds=90))


async def test_a_session_ends_with_its_certificate_and_goes_on_with_the_next_and_no_order_is_lost(
    tmp_path: Path,
) -> None:
    gateway = await identity_of(tmp_path / "gateway", GATEWAY, OURS)
    alpha = Files(tmp_path / "alpha", short_lived(), OURS)
    await alpha.identity.start()
    async with desk_of(tmp_path, gateway) as desk:
        session = session_at(desk, alpha, listener := RecordingListener())
        run = asyncio.create_task(session.run())
        await listener.until(lambda listener: "logon" in listener.names())
        await alpha.renew(OURS.issue_to(ALPHA), OURS)
        sent: list[int] = []

        async def send() -> None:
            for number in count(1):
                if await session.send(requests.new_order(number)):
                    sent.append(number)
                await asyncio.sleep(0.002)

        sending = asyncio.create_task(send())
        expired = float(EXPIRED_SESSIONS._value.get())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while listener.names().count("logon") < 2:
                await pass_time(desk, HEARTBEAT_NS)
        before = listener.names().count("report")
        await listener.until(lambda listener: listener.names().count("report") >= before + 10)
        sending.cancel()
        await listener.until(
            lambda listener: {("report", requests.cl_ord_id(number)) for number in sent} <= set(listener.calls)
        )
        downs = [why for name, why in listener.calls if name == "down"]
        assert len(downs) == 1
        assert "the certificate of the session ends: logging on with another one" in str(downs[0])
        assert float(EXPIRED_SESSIONS._value.get()) == expired, "the client has left by itself"
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


async def test_the_gateway_ends_the_session_of_a_client_that_has_no_other_certificate(tmp_path: Path) -> None:
    gateway = await identity_of(tmp_path / "gateway", GATEWAY, OURS)
    alpha = Files(tmp_path / "alpha", short_lived(), OURS)
    await alpha.identity.start()
    async with desk_of(tmp_path, gateway) as desk:
        session = session_at(desk, alpha, listener := RecordingListener())
        run = asyncio.create_task(session.run())
        await listener.until(lambda listener: "logon" in listener.names())
        expired = float(EXPIRED_SESSIONS._value.get())
        # The TLS library goes by the time of the system and lets it in again: each session ends so. Where gRPC has lost
        # the status, because a heartbeat was being written, the next one has it.
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not any(ENDED in str(argument) for name, argument in listener.calls if name == "down"):
                await pass_time(desk, HEARTBEAT_NS)
        why = next(str(argument) for name, argument in listener.calls if name == "down" and ENDED in str(argument))
        assert "UNAUTHENTICATED" in why
        assert float(EXPIRED_SESSIONS._value.get()) > expired
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
