"""What happens to connections when authorizers, the API server or the server's certificate come and go."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from crowetrade import subjects
from crowetrade_operator.bus.facts import gather
from crowetrade_operator.bus.requirements import faults
from crowetrade_operator.bus.streams import ensure_journal
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import STRATEGIES
from crowetrade_operator.settings import StreamSettings
from crowetrade_operator_tests.authorizer.conftest import make_strategy
from crowetrade_operator_tests.secured_bus import (
    AUTHORIZER,
    NATS,
    OPERATOR,
    SecuredBus,
    identity_of_gateway,
    identity_of_strategy,
    secured_bus,
)
from crowetrade_operator_tests.servers import ApiServer, Wire, nats_client
from crowetrade_operator_tests.waiting import until
from crowetrade_process_tests.identity.authority import write_identity

pytestmark = pytest.mark.integration
GATEWAY = identity_of_gateway("desk", "sim")


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[SecuredBus]:
    """A server of the test's own, without an authorizer."""
    with secured_bus(tmp_path) as server:
        yield server


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


async def test_a_connection_outlives_its_certificate_and_not_its_revocation(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    """The server asks again whenever its own certificate is renewed."""
    authorizer = bus.directory(AUTHORIZER)
    write_identity(
        authorizer, bus.authority.issue_to(AUTHORIZER), bus.authority, revocations=bus.authority.revocations()
    )
    replica = bus.start_authorizer(api_server.kubeconfig)
    await asyncio.to_thread(replica.wait_ready)
    begins = datetime.now(UTC) - timedelta(minutes=1)
    issued = bus.authority.issue_to(GATEWAY, not_before=begins, lifetime=timedelta(seconds=66))
    write_identity(bus.directory(GATEWAY), issued, bus.authority)
    closed = asyncio.Event()

    async def when_closed() -> None:
        closed.set()

    async with bus.connected(OPERATOR) as operator, bus.connected(GATEWAY, closed_cb=when_closed) as gateway:
        await until("the certificate to end", lambda: datetime.now(UTC) > begins + timedelta(seconds=67))
        await renew_certificate_of_server(bus)
        assert await hears(operator, gateway, "status.desk.gateway.sim")
        (authorizer / "ca.crl").write_bytes(bus.authority.revocations(issued))

        async def refused() -> bool:
            await renew_certificate_of_server(bus)
            return closed.is_set()

        await until("the connection to be closed", refused)
        assert bus.judged("Revoked") == 1


async def test_what_an_open_bus_has_stored_is_there_when_identities_are_turned_on(
    tmp_path: Path, api_server: ApiServer, cluster: Cluster
) -> None:
    bus = SecuredBus(tmp_path)
    try:
        bus.start("access-open.conf")
        async with nats_client(f"nats://127.0.0.1:{bus.port}") as anybody:
            await ensure_journal(anybody.jetstream(), "desk", "sim", StreamSettings())
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


async def test_before_the_strategies_are_known_a_strategy_waits_and_a_gateway_does_not(
    bus: SecuredBus, api_server: ApiServer, wire: Wire, tmp_path: Path
) -> None:
    await wire.cut()
    replica = bus.start_authorizer(api_server.at(wire.port, tmp_path))
    await until("the authorizer to serve", lambda: "authorizer_serves" in replica.process.tail())
    async with bus.connected(GATEWAY):
        pass
    with pytest.raises(NatsError, match="Authorization Violation"):
        async with bus.connected(identity_of_strategy("desk", "trend")):
            pass
    assert bus.judged("StrategiesUnknown") == 1


async def test_a_changed_strategy_is_judged_by_what_it_says_now(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer, record_property: Callable[[str, object], None]
) -> None:
    """The time from the API server's answer to the first connection that is judged so: the propagation of a policy."""
    await asyncio.to_thread(bus.start_authorizer(api_server.kubeconfig).wait_ready)
    began = time.monotonic()
    await make_strategy(cluster, "changing", "trend", "sim")
    await until("the Strategy to be known", admits(bus, "changing", "trend"))
    record_property("propagation_milliseconds", round((time.monotonic() - began) * 1000))
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
