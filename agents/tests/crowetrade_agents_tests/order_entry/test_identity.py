"""Who logs on is the strategy that its certificate names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from crowetrade.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from crowetrade_agents.order_entry.grpc_client import GrpcSession
from crowetrade_agents.order_entry.grpc_server import create_server
from crowetrade_agents.order_entry.limits import SessionLimits
from crowetrade_agents.order_entry.port import Request, Response
from crowetrade_agents_tests.clock import SECOND_NS
from crowetrade_agents_tests.order_entry import requests
from crowetrade_agents_tests.order_entry.engine_side import PATIENCE_SECONDS, EngineSide, running
from crowetrade_agents_tests.order_entry.recording_listener import RecordingListener
from crowetrade_agents_tests.order_entry.requests import NAMESPACE, VENUE
from crowetrade_api.names import venue_object
from crowetrade_process.identity.grpc import add_port, open_channel
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.peer import Reason
from crowetrade_process_tests.identity.authority import Authority, identity_name
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
    async with running(EngineSide(SessionLimits())) as engine:
        server = create_server(engine.sessions, gateway.identity)
        port = add_port(server, "127.0.0.1:0", gateway.identity)
        await server.start()
        yield Desk(engine, gateway, port, folder)
        await server.stop(grace=0)


def session_at(desk: Desk, strategy: Files, listener: RecordingListener) -> GrpcSession:
    """A session of the strategy with this certificate, not running yet."""
    return GrpcSession(
        VENUE,
        desk.target,
        requests.logon(),
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
        run = asyncio.create_task(session.run())
        await listener.until(lambda listener: "down" in listener.names())
        assert "is revoked (UNAUTHENTICATED)" in str(listener.calls[0][1])
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


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
