"""NATS with mutual TLS, against a real server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from crowetrade_operator_tests.servers import NatsServer, Wire
from crowetrade_operator_tests.waiting import until
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.nats import BusClient, TlsClient, _Transport, connect_options
from crowetrade_process.identity.peer import Reason

from .authority import HOUR, Authority, Issued, identity_name, write_identity
from .identities import Files, identity_of, refused

pytestmark = pytest.mark.integration

SECONDS = 10
NATS, STRATEGY = identity_name("nats", "crowetrade"), identity_name("strategy-fx")
OURS, FOREIGN = Authority(), Authority()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server that takes mutual TLS alone, and whose files may be replaced."""
    files = write_identity(tmp_path / "server", OURS.issue_to(NATS), OURS)
    started = NatsServer(tmp_path, jetstream=False, tls=files)
    started.start()
    yield started
    started.stop()


@asynccontextmanager
async def connected(server: NatsServer, identity: Identity | None) -> AsyncIterator[Client]:
    if identity is not None:
        identity.nats_server_name = NATS.dns_name
    client = await nats.connect(
        server.url,
        connect_timeout=SECONDS,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.05,
        allow_reconnect=True,
        error_cb=_ignore,
        **connect_options(identity),
    )
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def wire(server: NatsServer) -> AsyncIterator[Wire]:
    """To the server, which may fall silent."""
    line = Wire(server.port)
    await line.mend()
    yield line
    await line.cut()


async def _ignore(error: Exception) -> None:
    return


async def answers(client: Client) -> bool:
    """A request that the client answers itself."""

    async def echo(message: Msg) -> None:
        await message.respond(message.data)

    subscription = await client.subscribe("echo", cb=echo)
    await client.flush()
    answer = await client.request("echo", b"!", timeout=SECONDS)
    await subscription.unsubscribe()
    return answer.data == b"!"


async def test_a_client_with_an_identity_is_connected_by_tls_1_3(server: NatsServer, tmp_path: Path) -> None:
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, OURS)
    async with connected(server, strategy.identity) as client:
        assert await answers(client)
        wrapped = client._transport._io_writer.get_extra_info("ssl_object")  # type: ignore[union-attr]
        assert wrapped.version() == "TLSv1.3"
        assert client.new_inbox().startswith("_INBOX.desk.strategy-fx.")


@pytest.mark.parametrize("what", ["foreign", "expired", "none"])
async def test_the_server_takes_no_other_client(what: str, server: NatsServer, tmp_path: Path) -> None:
    old = datetime.now(UTC) - 2 * HOUR
    issued = {"foreign": FOREIGN.issue_to(STRATEGY), "expired": OURS.issue_to(STRATEGY, not_before=old)}.get(what)
    context = ssl.create_default_context(cafile=str(write_identity(tmp_path / "ca", OURS.issue(), OURS) / "ca.crt"))
    if issued is not None:
        files = write_identity(tmp_path / "strategy", issued, OURS)
        context.load_cert_chain(files / "tls.crt", files / "tls.key")
    with pytest.raises((nats.errors.Error, OSError, TimeoutError)):
        await nats.connect(
            server.url,
            tls=context,
            tls_hostname=NATS.dns_name,
            tls_handshake_first=True,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            error_cb=_ignore,
        )


async def test_a_client_tells_nothing_to_a_server_in_clear(tmp_path: Path) -> None:
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, OURS)
    got: list[bytes] = []

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.15.1","max_payload":1048576,"headers":true}\r\n')
        got.append(await reader.read(65536))
        writer.close()

    listening = await asyncio.start_server(pretend, "127.0.0.1", 0)
    url = f"nats://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        with pytest.raises((nats.errors.Error, OSError)):
            await nats.connect(
                url,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                connect_timeout=1,
                error_cb=_ignore,
                **connect_options(strategy.identity),
            )
    assert got
    # Records of a TLS handshake (RFC 8446, section 5.1), and no CONNECT.
    assert all(said[:1] == b"\x16" and b"CONNECT" not in said for said in got)


async def test_a_client_ends_no_handshake_of_tls_1_2(tmp_path: Path) -> None:
    files = write_identity(tmp_path / "server", OURS.issue_to(NATS), OURS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files / "tls.crt", files / "tls.key")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, OURS)
    connections: list[object] = []
    listening = await asyncio.start_server(
        lambda *connection: connections.append(connection), "127.0.0.1", 0, ssl=context
    )
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(
                "127.0.0.1", port, ssl=strategy.identity.client_context(), server_hostname=NATS.dns_name
            )
    assert not connections


SERVERS: dict[str, tuple[Callable[[], Issued], Reason]] = {
    "another name": (lambda: OURS.issue_to(STRATEGY), Reason.OTHER_NAME),
    "a foreign authority": (lambda: FOREIGN.issue_to(NATS), Reason.FOREIGN_AUTHORITY),
    "expired": (lambda: OURS.issue_to(NATS, not_before=datetime.now(UTC) - 2 * HOUR), Reason.EXPIRED),
    "not yet valid": (lambda: OURS.issue_to(NATS, not_before=datetime.now(UTC) + HOUR), Reason.NOT_YET_VALID),
}


@pytest.mark.parametrize("what", SERVERS)
async def test_a_client_refuses_a_server_that_is_not_ours(what: str, tmp_path: Path) -> None:
    issue, reason = SERVERS[what]
    issued = issue()
    server = NatsServer(tmp_path, jetstream=False, tls=write_identity(tmp_path / "server", issued, OURS, FOREIGN))
    server.start()
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, OURS)
    strategy.identity.nats_server_name = NATS.dns_name
    client, before = TlsClient(strategy.identity), refused(reason)
    try:
        with pytest.raises((nats.errors.Error, OSError)):
            await client.connect(
                server.url,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                error_cb=_ignore,
                **connect_options(strategy.identity),
            )
        assert refused(reason) > before
    finally:
        await client.close()
        server.stop()


async def test_the_authority_is_replaced_while_connections_go_on(server: NatsServer, tmp_path: Path) -> None:
    old, new = OURS, Authority()
    strategy = await identity_of(tmp_path / "strategy", STRATEGY, old)
    async with connected(server, strategy.identity) as client:
        assert await answers(client)
        number = client.client_id
        # Both are trusted, then the certificates change, then the old authority goes.
        write_identity(tmp_path / "server", old.issue_to(NATS), old, new)
        server.reload()
        await strategy.renew(new.issue_to(STRATEGY), old, new)
        write_identity(tmp_path / "server", new.issue_to(NATS), old, new)
        server.reload()
        await strategy.renew(new.issue_to(STRATEGY), new)
        write_identity(tmp_path / "server", new.issue_to(NATS), new)
        server.reload()
        # No connection was dropped, and another one is made with the certificate of this moment.
        assert await answers(client)
        assert client.client_id == number
        assert client.stats["reconnects"] == 0
        server.stop()
        server.start()
        async with asyncio.timeout(SECONDS):
            while not client.stats["reconnects"] or not client.is_connected:
                await asyncio.sleep(0.05)
        assert await answers(client)


async def strategy_over(wire: Wire, folder: Path) -> tuple[BusClient, Files, list[bool]]:
    """A strategy's client, its identity, and what it has reported of its connection."""
    strategy = await identity_of(folder, STRATEGY, OURS)
    strategy.identity.nats_server_name = NATS.dns_name
    reported: list[bool] = []
    url = f"nats://127.0.0.1:{wire.port}"
    client = await BusClient.open(url, "fx", strategy.identity, lambda is_connected, why: reported.append(is_connected))
    return client, strategy, reported


async def test_a_connection_that_has_fallen_silent_is_replaced_at_once(wire: Wire, tmp_path: Path) -> None:
    client, _, _ = await strategy_over(wire, tmp_path)
    try:
        held = wire.hold(b"")
        await client.publish("fx", b"!")
        await held.arrived.wait()
        await client.force_reconnect()
        await until("another connection", lambda: client.stats["reconnects"] == 1 and client.is_connected, SECONDS)
        assert await answers(client)
    finally:
        await client.close()


async def test_a_client_ends_while_the_server_ends_no_handshake(wire: Wire, tmp_path: Path) -> None:
    client, strategy, reported = await strategy_over(wire, tmp_path)
    wire.fall_silent()
    await client.force_reconnect()
    await until("a handshake to take too long", lambda: reported.count(False) > 1, 2 * SECONDS)
    async with asyncio.timeout(SECONDS):
        await client.close()
    assert client.is_closed
    identity = strategy.identity
    assert not [*identity._listeners, *identity._revocation_listeners], "its identity keeps it no more"


async def test_a_certificate_is_shown_after_a_server_that_ended_no_handshake(wire: Wire, tmp_path: Path) -> None:
    client, strategy, _ = await strategy_over(wire, tmp_path)
    try:
        wire.fall_silent()
        with capture_logs() as logs:
            await strategy.renew(OURS.issue_to(STRATEGY), OURS)
            await until(
                "a try to fail", lambda: bool(logs) and logs[-1]["event"] == "bus_connection_not_renewed", 2 * SECONDS
            )
        await wire.mend()
        await until("the other connection", lambda: client.stats["reconnects"] == 1, 2 * SECONDS)
        assert await answers(client)
    finally:
        await client.close()


LISTS = {"revoked": Reason.REVOKED, "of a list that has ended": Reason.REVOCATION_UNKNOWN}


@pytest.mark.parametrize("what", LISTS)
async def test_a_client_refuses_a_server_whose_certificate_is_revoked(what: str, tmp_path: Path) -> None:
    issued = OURS.issue_to(NATS)
    revocations = OURS.revocations(issued) if what == "revoked" else OURS.revocations(next_update=-HOUR)
    server = NatsServer(tmp_path, jetstream=False, tls=write_identity(tmp_path / "server", issued, OURS))
    server.start()
    strategy = Files(tmp_path / "strategy", OURS.issue_to(STRATEGY), OURS, revocations=revocations)
    await strategy.identity.start()
    strategy.identity.nats_server_name = NATS.dns_name
    client, before = TlsClient(strategy.identity), refused(LISTS[what])
    try:
        with pytest.raises(nats.errors.Error, match="the certificate of NATS: "):
            await client.connect(
                server.url,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                error_cb=_ignore,
                **connect_options(strategy.identity),
            )
        assert refused(LISTS[what]) > before
    finally:
        await client.close()
        server.stop()


async def _refused_until_it_has_another_certificate(
    client: BusClient, server: NatsServer, files: Path, reported: list[tuple[bool, str]]
) -> None:
    await until("it to be refused", lambda: any("is revoked" in why for _, why in reported), SECONDS)
    assert not client.is_connected
    write_identity(files, OURS.issue_to(NATS), OURS)
    server.reload()
    await until("another certificate to be taken", lambda: reported[-1] == (True, ""), SECONDS)
    assert await answers(client)


async def test_a_connection_to_a_server_ends_when_its_certificate_is_revoked(tmp_path: Path) -> None:
    stolen = OURS.issue_to(NATS)
    server = NatsServer(tmp_path, jetstream=False, tls=write_identity(tmp_path / "server", stolen, OURS))
    server.start()
    strategy = Files(tmp_path / "strategy", OURS.issue_to(STRATEGY), OURS, revocations=OURS.revocations())
    await strategy.identity.start()
    strategy.identity.nats_server_name = NATS.dns_name
    reported: list[tuple[bool, str]] = []
    client = await BusClient.open(server.url, "fx", strategy.identity, lambda *report: reported.append(report))
    try:
        write_identity(strategy.directory, OURS.issue_to(STRATEGY), OURS, revocations=OURS.revocations(stolen))
        assert await strategy.identity.refresh()
        await _refused_until_it_has_another_certificate(client, server, tmp_path / "server", reported)
    finally:
        await client.close()
        server.stop()


@pytest.mark.parametrize("when", ["at first", "again"])
async def test_a_connection_to_a_server_ends_whose_certificate_is_revoked_while_it_is_opened(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stolen, mine = OURS.issue_to(NATS), OURS.issue_to(STRATEGY)
    server = NatsServer(tmp_path, jetstream=False, tls=write_identity(tmp_path / "server", stolen, OURS))
    server.start()
    strategy = Files(tmp_path / "strategy", mine, OURS, revocations=OURS.revocations())
    await strategy.identity.start()
    strategy.identity.nats_server_name = NATS.dns_name
    revokes = asyncio.Event()

    class Slow(_Transport):
        """Of a server that says INFO late: the list grows before it."""

        async def connect_tls(self, *arguments: Any, **named: Any) -> None:
            await super().connect_tls(*arguments, **named)
            if revokes.is_set():
                await strategy.renew(mine, OURS, revocations=OURS.revocations(stolen))

    monkeypatch.setattr("crowetrade_process.identity.nats._Transport", Slow)
    reported: list[tuple[bool, str]] = []
    if when == "at first":
        revokes.set()
    client = await BusClient.open(server.url, "fx", strategy.identity, lambda *report: reported.append(report))
    try:
        if when == "again":
            revokes.set()
            await client.force_reconnect()
        await _refused_until_it_has_another_certificate(client, server, tmp_path / "server", reported)
    finally:
        await client.close()
        server.stop()
