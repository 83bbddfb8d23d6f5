"""What happens to connections when authorizers, the API server or the server's certificate come and go."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from nats.aio.client import Client
from nats.errors import Error as NatsError

from crowetrade import subjects
from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.journal.jetstream import JetStreamJournal
from crowetrade_operator.bus.facts import gather
from crowetrade_operator.bus.nats import Bus
from crowetrade_operator.bus.requirements import faults
from crowetrade_operator.bus.status_board import StatusBoard
from crowetrade_operator.bus.streams import ensure_journal
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import STRATEGIES
from crowetrade_operator.settings import StreamSettings
from crowetrade_operator_tests.authorizer.conftest import make_strategy, make_venue
from crowetrade_operator_tests.secured_bus import (
    AUTHORIZER,
    NATS,
    OPERATOR,
    SecuredBus,
    identity_of_gateway,
    identity_of_strategy,
    secured_bus,
)
from crowetrade_operator_tests.servers import ApiServer, Process, Wire, nats_client
from crowetrade_operator_tests.waiting import end, until
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.nats import BusClient
from crowetrade_process_tests.identity.authority import Issued, write_identity

pytestmark = pytest.mark.integration
GATEWAY = identity_of_gateway("desk", "sim")


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[SecuredBus]:
    """A server of the test's own, without an authorizer."""
    with secured_bus(tmp_path) as server:
        yield server


@pytest.fixture(autouse=True)
async def venue(cluster: Cluster) -> None:
    """Of the gateway."""
    await make_venue(cluster, GATEWAY.namespace, "sim")


async def hears(reader: Client, writer: Client, subject: str) -> bool:
    """Whether what one says arrives at the other."""
    subscription = await reader.subscribe(subject)
    for _ in range(2):
        await reader.flush()
    await writer.publish(subject, b"said")
    try:
        return (await subscription.next_msg(timeout=5)).data == b"said"
    finally:
        await subscription.unsubscribe()


async def test_one_of_two_authorizers_may_die_and_without_any_only_new_connections_are_refused(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    first, second = (bus.start_authorizer(api_server.kubeconfig, number) for number in (0, 1))
    for replica in (first, second):
        await asyncio.to_thread(replica.wait_ready)
    async with bus.connected(OPERATOR) as operator, bus.connected(GATEWAY) as gateway:
        first.process.kill()
        for _ in range(4):
            async with bus.connected(GATEWAY) as again:
                assert await hears(operator, again, "status.desk.gateway.sim")
        second.process.kill()
        with pytest.raises((NatsError, TimeoutError, OSError)):
            async with bus.connected(GATEWAY) as refused:
                # nats-py may take the end of the connection for a welcome: nothing comes back.
                await refused.flush(timeout=5)
        assert await hears(operator, gateway, "status.desk.gateway.sim")
        third = bus.start_authorizer(api_server.kubeconfig, 2)
        await asyncio.to_thread(third.wait_ready)
        async with bus.connected(GATEWAY) as again:
            assert await hears(operator, again, "status.desk.gateway.sim")


async def test_a_renewed_certificate_of_the_server_closes_no_connection(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    await asyncio.to_thread(bus.start_authorizer(api_server.kubeconfig).wait_ready)
    lost: list[str] = []

    async def disconnected() -> None:
        lost.append("a connection is lost")

    async with (
        bus.connected(OPERATOR, disconnected_cb=disconnected) as operator,
        bus.connected(GATEWAY, disconnected_cb=disconnected) as gateway,
    ):
        subscription = await operator.subscribe("status.desk.gateway.sim")
        await operator.flush()
        before = bus.judged("Allowed")
        bus.directory(NATS, renewed=True)
        assert bus.server is not None
        bus.server.send(signal.SIGHUP)
        await until("the server to ask again", lambda: bus.judged("Allowed") >= before + 2)
        await until("the server to be through", lambda: "Reloaded server configuration" in bus.server_log())
        await gateway.publish("status.desk.gateway.sim", b"after")
        assert (await subscription.next_msg(timeout=5)).data == b"after"
        assert lost == []


async def renew_certificate_of_server(bus: SecuredBus) -> None:
    """With which it asks again about every connection; returns when it is through."""
    bus.directory(NATS, renewed=True)
    assert bus.server is not None
    before = bus.server_log().count("Reloaded server configuration")
    bus.server.send(signal.SIGHUP)
    await until("the server to be through", lambda: bus.server_log().count("Reloaded server configuration") > before)


async def test_a_connection_ends_with_its_certificate(bus: SecuredBus, cluster: Cluster, api_server: ApiServer) -> None:
    await asyncio.to_thread(bus.start_authorizer(api_server.kubeconfig).wait_ready)
    issued = certificate_for_seconds(bus, GATEWAY, 10)
    closed = asyncio.Event()

    async def when_closed() -> None:
        closed.set()

    async with bus.connected(OPERATOR) as operator, bus.connected(GATEWAY, closed_cb=when_closed) as gateway:
        assert await hears(operator, gateway, "status.desk.gateway.sim")
        # What the server thinks of its own certificate changes nothing in that.
        await renew_certificate_of_server(bus)
        assert not closed.is_set()
        await until("the connection to be closed", closed.is_set)
        assert abs((datetime.now(UTC) - issued.not_valid_after_utc).total_seconds()) < 3


@contextlib.contextmanager
def kept_certificate(bus: SecuredBus, source: Path) -> Iterator[Process]:
    """The process beside the server, as in its pod: it brings the server what these files hold."""
    assert bus.server is not None
    pid_file = bus.folder / "nats.pid"
    pid_file.write_text(str(bus.server.pid))
    command: list[str | Path] = [
        *(sys.executable, "-m", "crowetrade_process.nats_sidecar"),
        f"--directory={bus.directory(NATS)}",
        f"--reload-pid-file={pid_file}",
        f"--monitor-url=http://127.0.0.1:{bus.monitor_port}",
    ]
    keeper = Process("keeper", command, bus.folder, {**bus.environment(NATS), "IDENTITY_DIRECTORY": str(source)})
    try:
        yield keeper
    finally:
        keeper.stop()


async def test_a_certificate_of_the_server_that_is_renewed_without_an_authorizer_waits_and_closes_no_connection(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer, wire: Wire, tmp_path: Path
) -> None:
    """One that does not know yet which Strategies and VenueConnections there are is none: it would refuse them."""
    replica = bus.start_authorizer(api_server.kubeconfig)
    await asyncio.to_thread(replica.wait_ready)
    source = write_identity(bus.folder / "source", bus.authority.issue_to(NATS), bus.authority)
    lost: list[str] = []

    async def disconnected() -> None:
        lost.append("a connection is lost")

    def reloads() -> int:
        return bus.server_log().count("Reloaded server configuration")

    with kept_certificate(bus, source) as keeper:
        await until("the first certificate to be read", lambda: reloads() == 1)
        async with (
            bus.connected(OPERATOR, disconnected_cb=disconnected) as operator,
            bus.connected(GATEWAY, disconnected_cb=disconnected) as gateway,
        ):
            replica.process.kill()
            second = bus.authority.issue_to(NATS)
            write_identity(source, second, bus.authority)
            await until("it to wait", lambda: "reload_waits_for_authorizer" in keeper.tail())
            assert (bus.directory(NATS) / "tls.crt").read_bytes() == second.pem
            assert await hears(operator, gateway, "status.desk.gateway.sim")
            await wire.cut()
            again = bus.start_authorizer(api_server.at(wire.port, tmp_path), 1)
            await until("the other authorizer to serve", lambda: "authorizer_serves" in again.process.tail())
            asked = looks_for_an_authorizer(bus)
            await until("it to be looked for", lambda: looks_for_an_authorizer(bus) >= asked + 2)
            assert reloads() == 1
            await wire.mend()
            await until("the second certificate to be read", lambda: reloads() == 2)
            assert await hears(operator, gateway, "status.desk.gateway.sim")
            assert lost == []


def looks_for_an_authorizer(bus: SecuredBus) -> int:
    """How often the server was asked by its monitoring who is subscribed."""
    with urllib.request.urlopen(f"http://127.0.0.1:{bus.monitor_port}/varz", timeout=5) as answer:
        return int(json.load(answer)["http_req_stats"]["/subsz"])


def _to_be_revoked(bus: SecuredBus) -> tuple[Path, Issued]:
    """The files of the authorizer, whose list revokes nobody yet, and a certificate of the gateway."""
    files, unrevoked = bus.directory(AUTHORIZER), bus.authority.revocations()
    write_identity(files, bus.authority.issue_to(AUTHORIZER), bus.authority, revocations=unrevoked)
    return files, bus.authority.issue_to(GATEWAY)


async def test_a_connection_ends_when_its_certificate_is_revoked_and_that_of_the_server_renewed(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    """The server asks again whenever its own certificate is renewed."""
    authorizer, issued = _to_be_revoked(bus)
    write_identity(bus.directory(GATEWAY), issued, bus.authority)
    await asyncio.to_thread(bus.start_authorizer(api_server.kubeconfig).wait_ready)
    closed = asyncio.Event()

    async def when_closed() -> None:
        closed.set()

    async with bus.connected(OPERATOR) as operator, bus.connected(GATEWAY, closed_cb=when_closed) as gateway:
        assert await hears(operator, gateway, "status.desk.gateway.sim")
        (authorizer / "ca.crl").write_bytes(bus.authority.revocations(issued))

        async def refused() -> bool:
            await renew_certificate_of_server(bus)
            return closed.is_set()

        await until("the connection to be closed", refused)
        assert bus.judged("Revoked") == 1
        with pytest.raises(NatsError, match="Authorization Violation"):
            async with bus.connected(GATEWAY):
                pass
        assert bus.judged("Revoked") == 2


async def test_connections_end_when_their_certificate_is_revoked_and_others_stay(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer, record_property: Callable[[str, object], None]
) -> None:
    """The authorizer learns of it within the ten seconds between two looks at its files, and has the server ask."""
    authorizer, revoked = _to_be_revoked(bus)
    for number in (0, 1):
        await asyncio.to_thread(bus.start_authorizer(api_server.kubeconfig, number).wait_ready)
    ended: list[str] = []

    def ends(who: str) -> dict[str, Callable[[], Awaitable[None]]]:
        async def note() -> None:
            ended.append(who)

        return {"closed_cb": note, "disconnected_cb": note}

    async with contextlib.AsyncExitStack() as stack:
        operator = await stack.enter_async_context(bus.connected(OPERATOR, **ends("operator")))
        others = [
            await stack.enter_async_context(bus.connected(name, **ends("another")))
            for name in [GATEWAY] * 5 + [OPERATOR] * 30 + [GATEWAY] * 5
        ]
        write_identity(bus.directory(GATEWAY), revoked, bus.authority)
        await stack.enter_async_context(bus.connected(GATEWAY, **ends("revoked")))
        assert await hears(operator, others[0], "status.desk.gateway.sim")
        (authorizer / "ca.crl").write_bytes(bus.authority.revocations(revoked))
        began = time.monotonic()
        await until("the connection to be ended", lambda: "revoked" in ended)
        record_property("seconds_to_the_end", round(time.monotonic() - began, 1))
        # Each of the two replicas has the server ask.
        await until("both to have asked", lambda: bus.counted("revocations_applied", result="Done") == 2)
        assert await hears(operator, others[-1], "status.desk.gateway.sim")
        assert set(ended) == {"revoked"}
    assert bus.judged("Revoked") == 1


async def test_what_was_revoked_while_no_authorizer_worked_ends_when_one_starts(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    authorizer, revoked = _to_be_revoked(bus)
    replica = bus.start_authorizer(api_server.kubeconfig)
    await asyncio.to_thread(replica.wait_ready)
    ended: list[str] = []

    def ends(who: str) -> dict[str, Callable[[], Awaitable[None]]]:
        async def note() -> None:
            ended.append(who)

        return {"closed_cb": note}

    async with bus.connected(GATEWAY, **ends("another of the gateway")) as other:
        write_identity(bus.directory(GATEWAY), revoked, bus.authority)
        async with bus.connected(GATEWAY, **ends("revoked")):
            replica.process.stop()
            (authorizer / "ca.crl").write_bytes(bus.authority.revocations(revoked))
            bus.start_authorizer(api_server.kubeconfig, 1)
            await until("the connection to be ended", lambda: "revoked" in ended)
            await until("it to have asked", lambda: bus.counted("revocations_applied", result="Done") == 1)
        assert ended == ["revoked"]
        await other.flush()


async def test_a_server_that_cannot_ask_now_is_told_to_again(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    authorizer, revoked = _to_be_revoked(bus)
    write_identity(bus.directory(GATEWAY), revoked, bus.authority)
    await asyncio.to_thread(bus.start_authorizer(api_server.kubeconfig).wait_ready)
    closed = asyncio.Event()

    async def when_closed() -> None:
        closed.set()

    access = bus.folder / "nats/access.conf"
    usable = access.read_text()
    async with bus.connected(GATEWAY, closed_cb=when_closed):
        access.write_text("unreadable {")
        (authorizer / "ca.crl").write_bytes(bus.authority.revocations(revoked))
        await until("it to fail", lambda: bus.counted("revocations_applied", result="Failed") >= 1)
        assert not closed.is_set()
        access.write_text(usable)
        await until("the connection to be closed", closed.is_set)


async def test_a_client_comes_back_with_its_subscriptions_when_an_authorizer_answers_again(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    """Without one, a server whose certificate is renewed closes every connection, and says that it is refused. nats-py
    by itself takes that for the last word."""
    replica = bus.start_authorizer(api_server.kubeconfig)
    await asyncio.to_thread(replica.wait_ready)
    told: list[bool] = []
    identity = await bus.identity(OPERATOR)
    operator = await BusClient.open(bus.url, "operator", identity, lambda connected, why: told.append(connected))
    try:
        heard = await operator.subscribe("status.desk.gateway.sim")
        await operator.flush()
        replica.process.kill()
        await renew_certificate_of_server(bus)
        # Refused at least twice while it reconnects.
        await until("the connection to be refused", lambda: told.count(False) >= 3)
        again = bus.start_authorizer(api_server.kubeconfig, 1)
        await asyncio.to_thread(again.wait_ready)
        await until("the operator to be connected", lambda: told[-1:] == [True])
        async with bus.connected(GATEWAY) as gateway:
            await gateway.publish("status.desk.gateway.sim", b"said")
            assert (await heard.next_msg(timeout=5)).data == b"said"
    finally:
        await operator.close()


async def test_a_renewed_certificate_renews_the_connection_and_no_append_is_lost(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway's journal: an append whose answer is lost ends the gateway."""
    replica = bus.start_authorizer(api_server.kubeconfig)
    await asyncio.to_thread(replica.wait_ready)
    async with bus.connected(OPERATOR) as operator:
        await ensure_journal(operator, "desk", "sim", StreamSettings())
    identity, told = await bus.identity(GATEWAY), list[bool]()
    gateway = await BusClient.open(bus.url, "gateway", identity, lambda connected, why: told.append(connected))
    why_no_other, refused, appended = gateway._why_no_other, list[str](), 0

    async def noted() -> str:
        refused.append(await why_no_other())
        return refused[-1]

    monkeypatch.setattr(gateway, "_why_no_other", noted)

    async def append() -> None:
        nonlocal appended
        journal = JetStreamJournal(gateway, "desk", "sim")
        async for _ in (await journal.open()).events:
            pass
        while True:
            now_ns = time.time_ns()
            event = journal_pb2.JournalEvent(at_unix_ns=now_ns, session_started=journal_pb2.SessionStarted())
            await journal.append([event], now_ns, 1)
            appended += 1

    async def goes_on() -> None:
        wanted = appended + 50
        await until("records to be appended", lambda: appending.done() or appended >= wanted)
        assert not appending.done(), appending.exception()

    appending = asyncio.create_task(append())
    try:
        await goes_on()
        for renewals in (1, 2, 3):
            await renew(bus, identity)
            await until("the connection to be another", partial(was_replaced, gateway, renewals))
            await goes_on()
        assert told == [True] * 3
        # Without an authorizer there is no other connection, and the present one is kept.
        replica.process.kill()
        await renew(bus, identity)
        await until("it to be refused", lambda: any(refused))
        await goes_on()
        assert (gateway.stats["reconnects"], told) == (3, [True] * 3)
    finally:
        await end({appending})
        await gateway.close()


async def test_the_operators_connection_is_replaced_when_its_certificate_is_renewed(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    await asyncio.to_thread(bus.start_authorizer(api_server.kubeconfig).wait_ready)
    identity, told = await bus.identity(OPERATOR), list[bool]()
    board = Bus(bus.url, StatusBoard(), identity)
    board.on_connection(lambda: told.append(board.connected))
    running = asyncio.create_task(board.run())
    try:
        await until("the operator to be connected", lambda: board.connected)
        before = board._client
        await renew(bus, identity)
        await until("another connection", lambda: board._client is not before)
        await board.ensure_journal("desk", "sim")
        assert told == [True]
    finally:
        await end({running})


def was_replaced(client: Client, times: int) -> bool:
    return client.stats["reconnects"] == times


async def renew(bus: SecuredBus, identity: Identity) -> None:
    """Another certificate, in its last third as far as the holder of the identity knows."""
    bus.directory(identity.name, renewed=True)
    assert await identity.refresh()


def certificate_for_seconds(bus: SecuredBus, name: IdentityName, seconds: int) -> x509.Certificate:
    """Puts a certificate into the files of an identity that ends so soon."""
    begins = datetime.now(UTC) - timedelta(minutes=1)
    issued = bus.authority.issue_to(name, not_before=begins, lifetime=timedelta(seconds=60 + seconds))
    write_identity(bus.directory(name), issued, bus.authority)
    return issued.certificate


async def test_what_an_open_bus_has_stored_is_there_when_identities_are_turned_on(
    tmp_path: Path, api_server: ApiServer, cluster: Cluster
) -> None:
    bus = SecuredBus(tmp_path)
    try:
        bus.start("access-open.conf")
        async with nats_client(f"nats://127.0.0.1:{bus.port}") as anybody:
            await ensure_journal(anybody, "desk", "sim", StreamSettings())
            await anybody.jetstream().publish("journal.desk.sim", b"a record")
            assert {fault.reason for fault in faults(await gather(anybody, identified=False))} == set()
        bus.stop()
        bus.start()
        await asyncio.to_thread(bus.start_authorizer(api_server.kubeconfig).wait_ready)
        async with bus.connected(OPERATOR) as operator:
            info = await operator.jetstream().stream_info(subjects.journal_stream("desk", "sim"))
            assert info.state.messages == 1
            assert faults(await gather(operator, identified=True)) == ()
    finally:
        for replica in bus.replicas:
            replica.process.stop()
        bus.stop()


async def test_what_was_known_stays_while_the_api_server_is_away(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer, wire: Wire, tmp_path: Path
) -> None:
    await make_strategy(cluster, "away", "trend", "sim")
    replica = bus.start_authorizer(api_server.at(wire.port, tmp_path))
    await asyncio.to_thread(replica.wait_ready)
    await wire.cut()
    async with bus.connected(identity_of_strategy("away", "trend")):
        pass
    with pytest.raises(NatsError, match="Authorization Violation"):
        async with bus.connected(identity_of_strategy("away", "later")):
            pass
    await make_strategy(cluster, "away", "later", "sim")
    await wire.mend()
    await until("the new Strategy to be known", admits(bus, "away", "later"))


async def test_before_strategies_and_venues_are_known_these_wait_and_the_operator_does_not(
    bus: SecuredBus, api_server: ApiServer, wire: Wire, tmp_path: Path
) -> None:
    await wire.cut()
    replica = bus.start_authorizer(api_server.at(wire.port, tmp_path))
    await until("the authorizer to serve", lambda: "authorizer_serves" in replica.process.tail())
    async with bus.connected(OPERATOR):
        pass
    for name, reason in (
        (identity_of_strategy("desk", "trend"), "StrategiesUnknown"),
        (GATEWAY, "VenueConnectionsUnknown"),
    ):
        with pytest.raises(NatsError, match="Authorization Violation"):
            async with bus.connected(name):
                pass
        assert bus.judged(reason) == 1
    await wire.mend()
    await asyncio.to_thread(replica.wait_ready)
    async with bus.connected(GATEWAY):
        pass


async def test_outside_of_the_operators_namespaces_nobody_is_a_gateway_or_a_strategy(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    """Whoever may make a service account and a pod there names it as they like, and admission does not look."""
    await make_strategy(cluster, "beyond", "trend", "sim")
    replica = bus.start_authorizer(api_server.kubeconfig, NAMESPACES=GATEWAY.namespace)
    await asyncio.to_thread(replica.wait_ready)
    for name, reason in (
        (identity_of_strategy("beyond", "trend"), "StrategyNotFound"),
        (identity_of_gateway("beyond", "sim"), "VenueConnectionNotFound"),
    ):
        with pytest.raises(NatsError, match="Authorization Violation"):
            async with bus.connected(name):
                pass
        assert bus.judged(reason) == 1
    async with bus.connected(GATEWAY):
        pass


async def test_a_changed_strategy_is_judged_by_what_it_says_now(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    await asyncio.to_thread(bus.start_authorizer(api_server.kubeconfig).wait_ready)
    await make_strategy(cluster, "changing", "trend", "sim")
    await until("the Strategy to be known", admits(bus, "changing", "trend"))
    async with bus.connected(identity_of_strategy("changing", "trend")) as strategy:
        refused = await refused_of(strategy, "md.changing.sim.EUR-USD", "md.changing.other.EUR-USD")
    assert refused == ["md.changing.other.EUR-USD"]
    await cluster.delete(STRATEGIES, "changing", "trend")

    async def unknown() -> bool:
        return not await admits(bus, "changing", "trend")()

    await until("the Strategy to be unknown", unknown)


def admits(bus: SecuredBus, namespace: str, strategy: str) -> Callable[[], asyncio.Future[bool]]:
    """A check whether that strategy may connect."""

    def check() -> asyncio.Future[bool]:
        return asyncio.ensure_future(_admits(bus, namespace, strategy))

    return check


async def _admits(bus: SecuredBus, namespace: str, strategy: str) -> bool:
    try:
        async with bus.connected(identity_of_strategy(namespace, strategy)):
            return True
    except NatsError:
        return False


async def refused_of(client: Client, *subjects: str) -> list[str]:
    """Those of the subjects that may not be subscribed to."""
    refused = []
    for subject in subjects:
        before = client.last_error
        await client.subscribe(subject)
        for _ in range(2):
            await client.flush()
        if client.last_error is not before:
            refused.append(subject)
    return refused
