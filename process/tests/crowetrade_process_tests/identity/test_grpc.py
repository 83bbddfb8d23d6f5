"""gRPC with mutual TLS: real handshakes, good ones and bad ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from crowetrade_process.identity.grpc import add_port, open_channel, peer_of, server_name
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.peer import Reason, Refusal

from .authority import HOUR, Authority, Issued, identity_name
from .identities import Files, identity_of, refused

SECONDS = 10.0
GATEWAY, STRATEGY = identity_name("venue-sim"), identity_name("strategy-fx")
SERVER = GATEWAY.dns_name
OURS, FOREIGN = Authority(), Authority()


class Echo(grpc.GenericRpcHandler):
    """Answers each message with the name of the caller, or refuses the call."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        async def answer(requests: Any, context: Any) -> AsyncIterator[bytes]:
            caller = peer_of(context, self._identity)
            if isinstance(caller, Refusal):
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, caller.text)
            async for _ in requests:
                yield str(caller).encode()

        return grpc.stream_stream_rpc_method_handler(answer)


@asynccontextmanager
async def serving(identity: Identity) -> AsyncIterator[str]:
    """HOST:PORT of an echo."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(identity),))
    port = add_port(server, "127.0.0.1:0", identity)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


class Stream:
    """One stream to an echo."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._call: Any = channel.stream_stream("/echo/Echo")()

    async def ask(self) -> str:
        """Who the other side says we are."""
        async with asyncio.timeout(SECONDS):
            await self._call.write(b"?")
            said = await self._call.read()
        if said is grpc.aio.EOF:
            raise grpc.aio.AioRpcError(
                await self._call.code(), grpc.aio.Metadata(), grpc.aio.Metadata(), await self._call.details()
            )
        return str(said.decode())


async def ask(target: str, credentials: grpc.ChannelCredentials, server: str = SERVER) -> str:
    """Who the server says we are."""
    options = [("grpc.ssl_target_name_override", server)]
    async with grpc.aio.secure_channel(target, credentials, options=options) as channel:
        return await Stream(channel).ask()


def shown(issued: Issued) -> grpc.ChannelCredentials:
    """Credentials of a client that trusts us."""
    return grpc.ssl_channel_credentials(OURS.pem, issued.key_pem, issued.pem)


async def test_the_server_knows_who_calls_and_the_client_whom_it_calls(tmp_path: Path) -> None:
    gateway = await identity_of(tmp_path / "gateway", GATEWAY, OURS)
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, OURS)
    async with serving(gateway.identity) as target, open_channel(target, strategy.identity, SERVER) as channel:
        assert await Stream(channel).ask() == STRATEGY.uri


REFUSED: dict[str, tuple[Callable[[], Issued], Reason, str]] = {
    "no URI": (lambda: OURS.issue(dns_names=["strategy-fx.desk.svc"]), Reason.NO_IDENTITY, "has no URI name"),
    "two URIs": (
        lambda: OURS.issue(STRATEGY.uri, identity_name("strategy-b").uri),
        Reason.SEVERAL_IDENTITIES,
        "has 2 URI names",
    ),
    "another trust domain": (
        lambda: OURS.issue_to(identity_name("strategy-fx", trust_domain="other.local")),
        Reason.FOREIGN_TRUST_DOMAIN,
        "another trust domain than crowetrade.local",
    ),
    "an RSA key": (
        lambda: OURS.issue_to(STRATEGY, key=rsa.generate_private_key(65537, 2048)),
        Reason.WRONG_KEY,
        "no EC key on P-256",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_whose_certificate_is_no_identity_is_refused_with_the_reason(what: str, tmp_path: Path) -> None:
    issue, reason, sentence = REFUSED[what]
    gateway = await identity_of(tmp_path, GATEWAY, OURS)
    before = refused(reason)
    async with serving(gateway.identity) as target:
        with pytest.raises(grpc.aio.AioRpcError, match=sentence) as refusal:
            await ask(target, shown(issue()))
    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert refused(reason) == before + 1


async def test_who_is_revoked_is_refused_from_the_next_call_on(tmp_path: Path) -> None:
    issued, mine = OURS.issue_to(STRATEGY), OURS.issue_to(GATEWAY)
    gateway = Files(tmp_path, mine, OURS, revocations=OURS.revocations())
    await gateway.identity.start()
    before = refused(Reason.REVOKED)
    async with serving(gateway.identity) as target:
        assert await ask(target, shown(issued)) == STRATEGY.uri
        await gateway.renew(mine, OURS, revocations=OURS.revocations(issued))
        with pytest.raises(grpc.aio.AioRpcError, match="is revoked"):
            await ask(target, shown(issued))
        assert await ask(target, shown(OURS.issue_to(STRATEGY))) == STRATEGY.uri
    assert refused(Reason.REVOKED) == before + 1


HANDSHAKES: dict[str, Callable[[], grpc.ChannelCredentials]] = {
    "expired": lambda: shown(OURS.issue_to(STRATEGY, not_before=datetime.now(UTC) - 2 * HOUR)),
    "not yet valid": lambda: shown(OURS.issue_to(STRATEGY, not_before=datetime.now(UTC) + HOUR)),
    "of a foreign authority": lambda: shown(FOREIGN.issue_to(STRATEGY)),
    "of a foreign authority with the same name": lambda: shown(Authority(OURS.common_name).issue_to(STRATEGY)),
    "none": lambda: grpc.ssl_channel_credentials(OURS.pem),
}


@pytest.mark.parametrize("what", HANDSHAKES)
async def test_no_handshake_ends_where_the_certificate_is(what: str, tmp_path: Path) -> None:
    gateway = await identity_of(tmp_path, GATEWAY, OURS)
    async with serving(gateway.identity) as target:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await ask(target, HANDSHAKES[what]())
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_plain_tcp_gets_no_answer(tmp_path: Path) -> None:
    gateway = await identity_of(tmp_path, GATEWAY, OURS)
    async with serving(gateway.identity) as target, grpc.aio.insecure_channel(target) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await Stream(channel).ask()


@pytest.mark.parametrize("what", ["another name", "a foreign authority", "expired"])
async def test_a_client_refuses_a_server_that_is_not_the_one_it_wants(what: str, tmp_path: Path) -> None:
    issued = {
        "another name": lambda: OURS.issue_to(identity_name("venue-other")),
        "a foreign authority": lambda: FOREIGN.issue_to(GATEWAY),
        "expired": lambda: OURS.issue_to(GATEWAY),
    }[what]()
    authority = FOREIGN if what == "a foreign authority" else OURS
    gateway = Files(tmp_path / "gateway", issued, authority, OURS)
    await gateway.identity.start()
    if what == "expired":
        # The server goes on with it; its own source would refuse it.
        old = OURS.issue_to(GATEWAY, not_before=datetime.now(UTC) - 2 * HOUR)
        object.__setattr__(gateway.identity.credentials, "chain_pem", old.pem)
        object.__setattr__(gateway.identity.credentials, "key_pem", old.key_pem)
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, OURS)
    async with serving(gateway.identity) as target, open_channel(target, strategy.identity, SERVER) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await Stream(channel).ask()
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_authority_is_replaced_while_streams_go_on(tmp_path: Path) -> None:
    """Old and new are trusted by all, then the certificates change one by one, then the old one goes."""
    old, new = Authority(), Authority()
    gateway = await identity_of(tmp_path / "gateway", GATEWAY, old)
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, old)
    answers, asking = 0, True

    async def load(stream: Stream) -> None:
        nonlocal answers
        while asking:
            assert await stream.ask() == STRATEGY.uri
            answers += 1

    async def again(target: str) -> None:
        async with open_channel(target, strategy.identity, SERVER) as channel:
            assert await Stream(channel).ask() == STRATEGY.uri

    async with serving(gateway.identity) as target, open_channel(target, strategy.identity, SERVER) as channel:
        loading = asyncio.create_task(load(Stream(channel)))
        await again(target)
        await gateway.renew(old.issue_to(GATEWAY), old, new)
        await again(target)
        await strategy.renew(old.issue_to(STRATEGY), old, new)
        await again(target)
        await strategy.renew(new.issue_to(STRATEGY), old, new)
        await again(target)
        await gateway.renew(new.issue_to(GATEWAY), old, new)
        await again(target)
        await gateway.renew(new.issue_to(GATEWAY), new)
        await strategy.renew(new.issue_to(STRATEGY), new)
        await again(target)
        seen = answers
        while answers < seen + 10 and not loading.done():
            await asyncio.sleep(0)
        asking = False
        # The stream of the beginning has answered to the end.
        await loading
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(target, grpc.ssl_channel_credentials(new.pem, *_pair(old.issue_to(STRATEGY))))


def _pair(issued: Issued) -> tuple[bytes, bytes]:
    return issued.key_pem, issued.pem


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("venue-sim.desk.svc:50051", "venue-sim.desk.svc"),
        ("venue-sim.desk.svc.cluster.local:50051", "venue-sim.desk.svc"),
        ("gateway.example:50051", "gateway.example"),
        ("127.0.0.1:50051", "127.0.0.1"),
    ],
)
def test_the_name_of_a_server_is_that_of_its_service(target: str, name: str) -> None:
    assert server_name(target) == name
