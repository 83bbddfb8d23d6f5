"""One identity does not use up the connections of the bus, and is never kept out by those that it had."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade_operator.authorizer.connection_bound import CONNECTIONS, REASON, REFUSED_FROM
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator_tests.authorizer.conftest import make_strategy
from crowetrade_operator_tests.authorizer.test_audit_trail import read
from crowetrade_operator_tests.secured_bus import (
    AUTHORIZER,
    OPERATOR,
    SecuredBus,
    identity_of_gateway,
    identity_of_strategy,
    secured_bus,
)
from crowetrade_operator_tests.servers import ApiServer, Wire
from crowetrade_operator_tests.waiting import until
from crowetrade_process.audit.chain import decode
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.nats import connect_options

pytestmark = pytest.mark.integration
GATEWAY, STRATEGY = identity_of_gateway("bounded", "sim"), identity_of_strategy("bounded", "trend")
MAX_CONNECTIONS = 5 * CONNECTIONS
ASKING = ', "$SYS.REQ.SERVER.*.CONNZ", "$SYS.REQ.SERVER.*.KICK"'
IMPORT = '      { service: { account: SYS, subject: "$SYS.REQ.SERVER.*.CONNZ" } }\n'
"""What the authorizer may ask of servers, as access-identity.conf says it."""


@pytest.fixture
async def bus(tmp_path: Path, cluster: Cluster) -> AsyncIterator[SecuredBus]:
    """A server of the test's own, without an authorizer."""
    await make_strategy(cluster, STRATEGY.namespace, "trend", "sim")
    with secured_bus(tmp_path, MAX_CONNECTIONS) as server:
        yield server


class Opened(contextlib.AsyncExitStack):
    """Connections of one identity that are never closed by themselves."""

    def __init__(self, bus: SecuredBus, name: IdentityName, port: int = 0) -> None:
        super().__init__()
        self._bus, self._name, self._port = bus, name, port or bus.port
        self.clients: list[Client] = []

    async def open(self, connections: int = 1) -> int:
        """Opens so many at once; returns how many were let in."""
        options = connect_options(await self._bus.identity(self._name))
        where = f"tls://127.0.0.1:{self._port}"

        async def one() -> bool:
            client = Client()
            try:
                await client.connect(where, allow_reconnect=False, connect_timeout=8, error_cb=_silent, **options)
                # One that was ended within its handshake would wait for its end without end.
                self.push_async_callback(_close, client)
                await client.flush(timeout=8)
            except (NatsError, OSError, TimeoutError):
                return False
            self.clients.append(client)
            return True

        return sum(await asyncio.gather(*(one() for _ in range(connections))))

    @property
    def alive(self) -> int:
        """How many the server has not closed."""
        return sum(client.is_connected for client in self.clients)


async def _silent(error: Exception) -> None:
    return


async def _close(client: Client) -> None:
    with contextlib.suppress(TimeoutError, NatsError, OSError):
        async with asyncio.timeout(5):
            await client.close()


def monitored(bus: SecuredBus, page: str) -> dict[str, int]:
    """What the server says of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{bus.monitor_port}/{page}", timeout=5) as answer:
        found: dict[str, int] = json.load(answer)
    return found


def open_at_the_server(bus: SecuredBus) -> int:
    """How many connections count against its bound."""
    return monitored(bus, "connz?acc=DATA")["total"]


async def start_authorizers(bus: SecuredBus, api_server: ApiServer, replicas: int) -> None:
    """Returns when they are ready."""
    for number in range(replicas):
        await asyncio.to_thread(bus.start_authorizer(api_server.kubeconfig, number).wait_ready)


async def read_configuration_again(bus: SecuredBus) -> None:
    """With which the server asks about every connection; returns when it is through."""
    assert bus.server is not None
    before = bus.server_log().count("Reloaded server configuration")
    bus.server.send(signal.SIGHUP)
    await until("the server to be through", lambda: bus.server_log().count("Reloaded server configuration") > before)


async def test_a_strategy_that_opens_all_connections_that_it_can_keeps_nobody_out(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    await start_authorizers(bus, api_server, 2)
    async with Opened(bus, STRATEGY) as greedy, bus.connected(OPERATOR) as operator:
        await operator.jetstream().add_stream(StreamConfig.from_response(subjects.audit_stream_config(3600)))
        others = open_at_the_server(bus)
        for _ in range(2):
            await greedy.open(MAX_CONNECTIONS * 2 // 3)
            assert open_at_the_server(bus) <= others + 2 * REFUSED_FROM
            async with bus.connected(GATEWAY) as gateway:
                await gateway.flush(timeout=5)
        await until("the surplus to be closed", lambda: greedy.alive <= 2 * CONNECTIONS)
        assert bus.counted("connections_closed") > 0

        async def is_recorded() -> bool:
            own = subjects.audit(AUTHORIZER.namespace, AUTHORIZER.service_account)
            events = [decode(record.payload, "").event for record in await read(bus) if record.subject == own]
            refused = [event for event in events if event.action == audit_pb2.ACTION_IDENTITY_REFUSED]
            return any(event.actor == STRATEGY.uri and event.reason.startswith(REASON) for event in refused)

        await until("it to be recorded", is_recorded)


async def test_who_connects_and_never_says_who_they_are_is_bounded_and_ends_nobodys_connection(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    await start_authorizers(bus, api_server, 1)
    async with Opened(bus, GATEWAY) as own:
        assert await own.open() == 1
        silent = [await asyncio.open_connection("127.0.0.1", bus.port) for _ in range(4 * MAX_CONNECTIONS)]
        assert monitored(bus, "varz")["connections"] <= 3 * MAX_CONNECTIONS
        assert own.alive == 1

        async def opens() -> bool:
            return await own.open() == 1

        await until("the server to close the others as well", opens)
        for _, writer in silent:
            writer.transport.abort()


async def test_the_newest_connections_stay_and_who_comes_back_is_not_kept_out_by_its_dead_ones(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    """Those are open for the server until it has pinged them in vain, for minutes."""
    await start_authorizers(bus, api_server, 1)
    wire = Wire(bus.port)
    await wire.mend()
    async with Opened(bus, GATEWAY, wire.port) as lost, Opened(bus, GATEWAY) as back:
        assert await lost.open(CONNECTIONS) == CONNECTIONS
        wire.fall_silent()
        for number in range(1, 5):
            assert await back.open() == 1
            await until("the oldest to be closed", lambda: bus.counted("connections_closed") == number)  # noqa: B023
        assert back.alive == 4
        await wire.cut()


async def test_connections_that_are_closed_do_not_count(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    await start_authorizers(bus, api_server, 1)
    async with Opened(bus, STRATEGY) as kept:
        assert await kept.open() == 1
        for _ in range(REFUSED_FROM // 4 + 1):
            async with Opened(bus, STRATEGY) as others:
                assert await others.open(4) == 4
        assert kept.alive == 1
        assert bus.counted("connections_closed") == 0
        assert bus.judged(REASON) == 0


async def test_a_server_that_asks_again_is_told_the_same_of_as_many_as_there_may_be(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    await start_authorizers(bus, api_server, 2)
    async with Opened(bus, STRATEGY) as own:
        assert await own.open(CONNECTIONS) == CONNECTIONS
        for _ in range(4):
            await read_configuration_again(bus)
        assert own.alive == CONNECTIONS
        assert bus.counted("connections_closed") == 0


async def test_connections_to_a_server_that_is_no_more_do_not_count(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer
) -> None:
    await start_authorizers(bus, api_server, 1)
    async with Opened(bus, STRATEGY) as before:
        assert await before.open(CONNECTIONS) == CONNECTIONS
        bus.stop()
    bus.start()
    async with Opened(bus, STRATEGY) as after:

        async def opens() -> bool:
            return await after.open() == 1

        await until("the authorizer to answer again", opens)
        assert await after.open(CONNECTIONS - 1) == CONNECTIONS - 1
        assert after.alive == CONNECTIONS
    assert bus.counted("connections_closed") == 0


@pytest.mark.parametrize("lacks", [ASKING, IMPORT], ids=["the permission", "the import"])
async def test_where_no_connection_can_be_closed_an_identity_gets_no_more_and_others_do(
    bus: SecuredBus, cluster: Cluster, api_server: ApiServer, lacks: str
) -> None:
    access = bus.folder / "nats/access.conf"
    usable = access.read_text()
    assert lacks in usable
    access.write_text(usable.replace(lacks, ""))
    await read_configuration_again(bus)
    await start_authorizers(bus, api_server, 1)
    async with Opened(bus, STRATEGY) as greedy:
        assert await greedy.open(REFUSED_FROM + 8) == REFUSED_FROM
        assert bus.judged(REASON) == 8
        async with bus.connected(GATEWAY) as gateway:
            await gateway.flush(timeout=5)
        access.write_text(usable)
        await read_configuration_again(bus)
        await until("the surplus to be closed", lambda: greedy.alive == CONNECTIONS)
        assert await greedy.open() == 1
