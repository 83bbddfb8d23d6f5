"""`nats.replicas: 3`: a server that is killed takes nothing with it that was acknowledged, and it catches up."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import StreamInfo

from crowetrade import subjects
from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.errors import JournalUnavailable, Overtaken
from crowetrade_agents.journal.jetstream import JetStreamJournal
from crowetrade_operator.bus.streams import ensure_bucket, ensure_journal
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.settings import StreamSettings
from crowetrade_operator_tests.authorizer.conftest import make_venue
from crowetrade_operator_tests.secured_bus import AUTHORIZER, OPERATOR, identity_of_gateway
from crowetrade_operator_tests.secured_cluster import SERVERS, SecuredCluster, secured_cluster
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_operator_tests.waiting import end, until
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.nats import BusClient
from crowetrade_process_tests.identity.authority import write_identity

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif("CROWETRADE_CHAOS" not in os.environ, reason="elections take long: make chaos"),
]
NAMESPACE, VENUE = "desk", "sim"
STREAM = subjects.journal_stream(NAMESPACE, VENUE)
SETTINGS = StreamSettings(replicas=SERVERS)
PATIENCE_SECONDS = 90.0
"""An election takes seconds, and a successor that reads meanwhile gives up after ten and tries again."""
STARTED = journal_pb2.SessionStarted()


@dataclass
class Writer:
    """The journal of a gateway: after an append that is not confirmed its successor reads it, as in a cluster."""

    client: Client
    acknowledged: list[int] = field(default_factory=list)
    """Times of the records that the bus has confirmed."""
    successors: int = 0
    task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Appends without a pause."""
        journal = await self._open()
        while True:
            now_ns = time.time_ns()
            try:
                await journal.append([journal_pb2.JournalEvent(at_unix_ns=now_ns, session_started=STARTED)], now_ns, 1)
                self.acknowledged.append(now_ns)
            except (JournalUnavailable, Overtaken):
                self.successors += 1
                journal = await self._open()

    async def _open(self) -> JetStreamJournal:
        journal = JetStreamJournal(self.client, NAMESPACE, VENUE)

        async def opened() -> bool:
            nonlocal journal
            journal = JetStreamJournal(self.client, NAMESPACE, VENUE)
            try:
                async for _ in (await journal.open()).events:
                    pass
            except JournalUnavailable:
                return False
            return True

        await until("the journal to be opened", opened, PATIENCE_SECONDS)
        return journal

    async def goes_on(self, records: int = 20) -> None:
        """Waits until so many more are confirmed."""
        wanted = len(self.acknowledged) + records

        def check() -> bool:
            if self.task is not None and self.task.done():
                self.task.result()
            return len(self.acknowledged) >= wanted

        await until("records to be acknowledged", check, PATIENCE_SECONDS)


@asynccontextmanager
async def reconnecting(cluster: SecuredCluster, name: IdentityName) -> AsyncIterator[BusClient]:
    """As our processes are connected: also after a server that has lost its authorizer has refused them."""
    client = await BusClient.open(cluster.url, name.service_account, await cluster.identity(name))
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def writing(cluster: SecuredCluster) -> AsyncIterator[Writer]:
    async with reconnecting(cluster, identity_of_gateway(NAMESPACE, VENUE)) as client:
        writer = Writer(client)
        writer.task = asyncio.create_task(writer.run())
        try:
            yield writer
        finally:
            await end({writer.task})


async def recorded(cluster: SecuredCluster) -> set[int]:
    """Times of all records; the chain is checked while they are read. As a gateway that is started again does, it
    connects and reads anew when the stream has no leader, or nobody is there to let it in, for a moment."""
    found: set[int] = set()

    async def read() -> bool:
        nonlocal found
        try:
            async with cluster.connected(identity_of_gateway(NAMESPACE, VENUE)) as client:
                recovered = await JetStreamJournal(client, NAMESPACE, VENUE).open()
                found = {event.at_unix_ns async for event in recovered.events}
        except (JournalUnavailable, NatsError, OSError):
            return False
        return True

    await until("the journal to be read", read, PATIENCE_SECONDS)
    return found


async def led(client: Client) -> StreamInfo:
    """What is said of the stream once it has a leader."""
    found: list[StreamInfo] = []

    async def check() -> bool:
        found[:] = [await client.jetstream().stream_info(STREAM)]
        return found[0].cluster is not None and bool(found[0].cluster.leader)

    await until("a leader of the stream", check, PATIENCE_SECONDS)
    return found[0]


def leader(info: StreamInfo) -> int:
    """Number of the server that leads the stream."""
    assert info.cluster is not None
    assert info.cluster.leader is not None
    return int(info.cluster.leader.rpartition("-")[2])


@pytest.mark.parametrize("killed", ["a follower", "the leader"])
async def test_one_server_is_killed_and_nothing_that_was_acknowledged_is_lost(
    killed: str, cluster_of_nats: SecuredCluster
) -> None:
    async with reconnecting(cluster_of_nats, OPERATOR) as operator:
        info = await led(operator)
        assert info.config.num_replicas == SERVERS
        assert info.cluster is not None
        assert len(info.cluster.replicas or ()) == SERVERS - 1
        victim = leader(info) if killed == "the leader" else (leader(info) + 1) % SERVERS
        # The harder case: the gateway's own connection ends with the server.
        cluster_of_nats.entry = victim
        async with writing(cluster_of_nats) as writer:
            await writer.goes_on()
            cluster_of_nats.kill(victim)
            await writer.goes_on()
            before_its_return = len(writer.acknowledged)
            cluster_of_nats.start_server(victim)
            cluster_of_nats.wait_ready(victim)
            returned = partial(has, cluster_of_nats, victim, before_its_return)
            await until("the server to catch up", returned, PATIENCE_SECONDS)
            await writer.goes_on()
        cluster_of_nats.entry = 0
        found = await recorded(cluster_of_nats)
        assert set(writer.acknowledged) <= found
        for number in range(SERVERS):
            complete = partial(has, cluster_of_nats, number, len(found))
            await until(f"server {number} to have all", complete, PATIENCE_SECONDS)


async def test_connections_to_whichever_server_end_when_their_certificate_is_revoked(
    cluster_of_nats: SecuredCluster,
) -> None:
    name, authority, ended = identity_of_gateway(NAMESPACE, "revoked"), cluster_of_nats.authority, set[str]()

    def ends(who: str) -> Callable[[], Awaitable[None]]:
        async def note() -> None:
            ended.add(who)

        return note

    revoked = authority.issue_to(name)
    write_identity(cluster_of_nats.directory(name), revoked, authority)
    async with AsyncExitStack() as stack:
        for number in range(SERVERS):
            cluster_of_nats.entry = number
            await stack.enter_async_context(cluster_of_nats.connected(name, closed_cb=ends(f"revoked {number}")))
            await stack.enter_async_context(cluster_of_nats.connected(OPERATOR, closed_cb=ends(f"operator {number}")))
        cluster_of_nats.entry = 0
        (cluster_of_nats.directory(AUTHORIZER) / "ca.crl").write_bytes(authority.revocations(revoked))
        await until("all of them to end", lambda: len(ended) >= SERVERS)
        # Each of the two authorizers has every server ask.
        await until("both to have asked", lambda: cluster_of_nats.counted("revocations_applied", result="Done") == 2)
        assert ended == {f"revoked {number}" for number in range(SERVERS)}


def has(cluster: SecuredCluster, number: int, records: int) -> bool:
    return cluster.stored(number, STREAM) >= records


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, api_server: ApiServer) -> object:
    """With two authorizers, as the chart has them."""
    with secured_cluster(tmp_path_factory.mktemp("nats")) as cluster:
        for number in (0, 1):
            cluster.start_authorizer(api_server.kubeconfig, number, NATS_URL=cluster.url_of(number))
        yield cluster


@pytest.fixture
async def cluster_of_nats(servers: SecuredCluster, cluster: Cluster) -> SecuredCluster:
    """With an empty journal that the operator has made; `cluster` brings the CRDs that authorizers watch."""
    for venue in (VENUE, "revoked"):
        await make_venue(cluster, NAMESPACE, venue)
    for replica in servers.replicas:
        replica.wait_ready()
    async with servers.connected(OPERATOR) as client:

        async def made() -> bool:
            """The operator tries again, too, as long as the servers have no leader among them."""
            await ensure_journal(client, NAMESPACE, VENUE, SETTINGS)
            await ensure_bucket(client.jetstream(), subjects.CONFIG_BUCKET, SETTINGS)
            return True

        await until("three servers to take streams", made, PATIENCE_SECONDS)
    return servers
