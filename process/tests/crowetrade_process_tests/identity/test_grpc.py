"""gRPC with mutual TLS: real handshakes, good ones and bad ones."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from crowetrade_operator_tests.waiting import until
from crowetrade_process.identity import server_certificate
from crowetrade_process.identity.errors import NoServer, ServerRefused
from crowetrade_process.identity.grpc import add_port, open_channel, peer_of, server_name
from crowetrade_process.identity.handshakes import counted_handshakes
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.peer import Reason, Refusal
from crowetrade_process.identity.server_certificate import look_at_server

from .authority import HOUR, Authority, Issued, identity_name, write_identity
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


def begins_at(hours: int) -> datetime:
    return datetime.now(UTC) + hours * HOUR


SERVERS: dict[str, tuple[Callable[[], Issued], Reason, str]] = {
    "another name": (lambda: OURS.issue_to(identity_name("venue-other")), Reason.OTHER_NAME, "Hostname mismatch"),
    "a foreign authority": (lambda: FOREIGN.issue_to(GATEWAY), Reason.FOREIGN_AUTHORITY, "issuer certificate"),
    "a foreign authority with the same name": (
        lambda: Authority(OURS.common_name).issue_to(GATEWAY),
        Reason.FOREIGN_AUTHORITY,
        "issuer certificate",
    ),
    "expired": (lambda: OURS.issue_to(GATEWAY, not_before=begins_at(-2)), Reason.EXPIRED, "has expired"),
    "not yet valid": (lambda: OURS.issue_to(GATEWAY, not_before=begins_at(1)), Reason.NOT_YET_VALID, "not yet valid"),
}
"""What the certificate of a server is, the reason, and what the client says."""


def show(server: Files, issued: Issued) -> None:
    """The server shows this certificate, whatever it is; its own source would refuse it."""
    object.__setattr__(server.identity.credentials, "chain_pem", issued.pem)
    object.__setattr__(server.identity.credentials, "key_pem", issued.key_pem)


async def assert_refused(target: str, client: Identity, reason: Reason, sentence: str) -> None:
    """Nothing is said to the server; the refusal is counted with its reason, and told."""
    before, told = refused(reason), list[Refusal]()
    end = client.on_refusal(told.append)
    with pytest.raises(ServerRefused, match=sentence) as refusal:
        async with open_channel(target, client, SERVER):
            raise AssertionError("there is no channel")
    end()
    assert refusal.value.reason is reason
    assert str(refusal.value).endswith(f"({reason.value})")
    assert refused(reason) == before + 1
    assert [one.reason for one in told] == [reason]


@pytest.mark.parametrize("what", SERVERS)
async def test_a_client_refuses_a_server_that_is_not_the_one_it_wants(what: str, tmp_path: Path) -> None:
    issue, reason, sentence = SERVERS[what]
    gateway = await identity_of(tmp_path / "gateway", GATEWAY, OURS)
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, OURS)
    async with serving(gateway.identity) as target:
        good = Issued(*_shown_by(gateway))
        show(gateway, issue())
        await assert_refused(target, strategy.identity, reason, sentence)
        # As soon as it shows another one it is let in.
        show(gateway, good)
        async with open_channel(target, strategy.identity, SERVER) as channel:
            assert await Stream(channel).ask() == STRATEGY.uri


def _shown_by(server: Files) -> tuple[x509.Certificate, bytes]:
    credentials = server.identity.credentials
    return x509.load_pem_x509_certificate(credentials.chain_pem), credentials.key_pem


LISTS: dict[str, tuple[Callable[[Issued], bytes], Reason, str]] = {
    "revoked": (OURS.revocations, Reason.REVOKED, "is revoked"),
    "of a list that has ended": (
        lambda issued: OURS.revocations(next_update=-HOUR),
        Reason.REVOCATION_UNKNOWN,
        "no revocation list",
    ),
}


@pytest.mark.parametrize("what", LISTS)
async def test_a_client_refuses_a_server_whose_certificate_is_revoked(what: str, tmp_path: Path) -> None:
    listed, reason, sentence = LISTS[what]
    issued, mine = OURS.issue_to(GATEWAY), OURS.issue_to(STRATEGY)
    gateway = Files(tmp_path / "gateway", issued, OURS)
    await gateway.identity.start()
    strategy = Files(tmp_path / "strategy", mine, OURS, revocations=listed(issued))
    await strategy.identity.start()
    async with serving(gateway.identity) as target:
        await assert_refused(target, strategy.identity, reason, sentence)
        # It has another certificate, and there is a list that is up to date.
        await gateway.renew(OURS.issue_to(GATEWAY), OURS)
        await strategy.renew(mine, OURS, revocations=OURS.revocations(issued))
        async with open_channel(target, strategy.identity, SERVER) as channel:
            assert await Stream(channel).ask() == STRATEGY.uri


async def test_what_is_done_at_a_server_ends_when_its_certificate_is_revoked_and_elsewhere_goes_on(
    tmp_path: Path,
) -> None:
    mine = OURS.issue_to(STRATEGY)
    one, other = OURS.issue_to(GATEWAY), OURS.issue_to(GATEWAY)
    gateways = [Files(tmp_path / str(number), issued, OURS) for number, issued in enumerate((one, other))]
    for gateway in gateways:
        await gateway.identity.start()
    strategy = Files(tmp_path / "strategy", mine, OURS, revocations=OURS.revocations())
    await strategy.identity.start()
    at_work = asyncio.Event()

    async def work(target: str) -> None:
        async with open_channel(target, strategy.identity, SERVER) as channel:
            stream = Stream(channel)
            while True:
                assert await stream.ask() == STRATEGY.uri
                at_work.set()

    async with serving(gateways[0].identity) as first, serving(gateways[1].identity) as second:
        working = asyncio.create_task(work(first))
        await at_work.wait()
        async with open_channel(second, strategy.identity, SERVER) as channel:
            stream = Stream(channel)
            assert await stream.ask() == STRATEGY.uri
            before = refused(Reason.REVOKED)
            await strategy.renew(mine, OURS, revocations=OURS.revocations(one))
            with pytest.raises(ServerRefused, match="is revoked"):
                await asyncio.wait_for(working, SECONDS)
            assert refused(Reason.REVOKED) == before + 1
            assert await stream.ask() == STRATEGY.uri


async def test_a_server_that_is_revoked_while_it_is_looked_at_is_refused_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued, mine = OURS.issue_to(GATEWAY), OURS.issue_to(STRATEGY)
    gateway = Files(tmp_path / "gateway", issued, OURS)
    await gateway.identity.start()
    strategy = Files(tmp_path / "strategy", mine, OURS, revocations=OURS.revocations())
    await strategy.identity.start()

    async def revoked_meanwhile(*arguments: Any) -> bytes:
        found = await look_at_server(*arguments)
        await strategy.renew(mine, OURS, revocations=OURS.revocations(issued))
        return found

    monkeypatch.setattr("crowetrade_process.identity.grpc.look_at_server", revoked_meanwhile)
    async with serving(gateway.identity) as target:
        await assert_refused(target, strategy.identity, Reason.REVOKED, "is revoked")
    assert not strategy.identity._revocation_listeners, "its identity keeps it no more"


async def test_the_server_that_was_looked_at_and_the_one_that_is_talked_to_are_one(tmp_path: Path) -> None:
    """Between the look and the first call somebody with another certificate, revoked or not, takes its place."""
    gateway = await identity_of(tmp_path / "gateway", GATEWAY, OURS)
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, OURS)
    async with serving(gateway.identity) as target:
        async with open_channel(target, strategy.identity, SERVER) as channel:
            await gateway.renew(OURS.issue_to(GATEWAY), OURS)
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await Stream(channel).ask()
        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        async with open_channel(target, strategy.identity, SERVER) as channel:
            assert await Stream(channel).ask() == STRATEGY.uri


async def test_a_client_refuses_a_server_of_an_older_protocol(tmp_path: Path) -> None:
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, OURS)
    files = write_identity(tmp_path / "old", OURS.issue_to(GATEWAY), OURS)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files / "tls.crt", files / "tls.key")
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    def answer(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
            context.wrap_socket(connection, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = asyncio.create_task(asyncio.to_thread(answer, listening))
        target = f"127.0.0.1:{listening.getsockname()[1]}"
        await assert_refused(target, strategy.identity, Reason.OLD_PROTOCOL, "takes no TLS 1.3")
        await answering


async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ready\r\n")
    await reader.read(1)
    writer.close()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    ("answer", "sentence"), [(plain, "TLS handshake failed"), (hang_up, "."), (None, "Connect call failed")]
)
async def test_who_ends_no_handshake_is_no_server_and_nobody_is_refused(
    answer: Any, sentence: str, tmp_path: Path
) -> None:
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, OURS)
    told: list[Refusal] = []
    strategy.identity.on_refusal(told.append)
    server = await asyncio.start_server(answer or hang_up, "127.0.0.1", 0)
    target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        if answer is None:
            server.close()
        with pytest.raises(NoServer, match=sentence) as found:
            async with open_channel(target, strategy.identity, SERVER):
                raise AssertionError("there is no channel")
    assert not isinstance(found.value, ServerRefused)
    assert told == []


async def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_certificate, "SECONDS", 0.2)
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, OURS)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(NoServer, match="TimeoutError"):
        async with open_channel(f"127.0.0.1:{silent.getsockname()[1]}", strategy.identity, SERVER):
            raise AssertionError("there is no channel")


async def test_a_server_that_refuses_us_refuses_once_for_each_try(tmp_path: Path) -> None:
    """It counts whom it refuses: a look and a channel are one try."""
    gateway = await identity_of(tmp_path / "gateway", GATEWAY, OURS)
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, FOREIGN, FOREIGN, OURS)
    before = refused(Reason.FOREIGN_AUTHORITY)
    async with serving(gateway.identity) as target:
        with counted_handshakes(gateway.identity):
            with pytest.raises(NoServer, match="does it refuse our certificate"):
                async with open_channel(target, strategy.identity, SERVER):
                    raise AssertionError("there is no channel")
            await until("the refusal to be counted", lambda: refused(Reason.FOREIGN_AUTHORITY) > before)
    assert refused(Reason.FOREIGN_AUTHORITY) == before + 1


@pytest.mark.parametrize("target", ["gateway.example", ":50051", "gateway.example:http"])
async def test_what_is_no_address_is_told(target: str, tmp_path: Path) -> None:
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, OURS)
    with pytest.raises(NoServer, match="write HOST:PORT"):
        async with open_channel(target, strategy.identity, SERVER):
            raise AssertionError("there is no channel")


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
