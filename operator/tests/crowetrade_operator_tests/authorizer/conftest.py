"""A secured bus with two authorizers that all tests of this folder share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig
from tools.bus_operations import NAMESPACE, STRATEGY, VENUE

from crowetrade import subjects
from crowetrade_operator.bus.streams import ensure_bucket, ensure_journal
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import NAMESPACES, STRATEGIES
from crowetrade_operator.errors import Conflict
from crowetrade_operator.settings import StreamSettings
from crowetrade_operator_tests.samples import strategy_manifest
from crowetrade_operator_tests.secured_bus import OPERATOR, SecuredBus, secured_bus
from crowetrade_operator_tests.servers import ApiServer

BUCKETS = (subjects.CONFIG_BUCKET, subjects.KILL_BUCKET, subjects.ALLOWANCE_BUCKET)


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory, api_server: ApiServer) -> Iterator[SecuredBus]:
    """The server, and two authorizers."""
    with secured_bus(tmp_path_factory.mktemp("bus")) as server:
        for number in (0, 1):
            server.start_authorizer(api_server.kubeconfig, number)
        yield server


@pytest.fixture
async def operator(bus: SecuredBus, cluster: Cluster) -> AsyncIterator[Client]:
    """The operator's connection, when the strategy of the table is known and what the operator makes is there."""
    await make_strategy(cluster, NAMESPACE, STRATEGY, VENUE)
    for replica in bus.replicas:
        replica.wait_ready()
    async with bus.connected(OPERATOR) as client:
        jetstream = client.jetstream()
        for venue in (VENUE, "other"):
            await ensure_journal(jetstream, NAMESPACE, venue, StreamSettings())
        for bucket in BUCKETS:
            await ensure_bucket(jetstream, bucket, StreamSettings())
        await jetstream.add_stream(StreamConfig.from_response(subjects.audit_stream_config(3600)))
        yield client


async def make_strategy(cluster: Cluster, namespace: str, name: str, *venues: str) -> None:
    """A Strategy that trades at these venues, unless it is there."""
    manifest = strategy_manifest()
    instrument = manifest["spec"]["instruments"][0]
    manifest["metadata"] = {"name": name, "namespace": namespace}
    manifest["spec"]["instruments"] = [
        {**instrument, "symbol": f"EUR-{venue.upper()[:3]}", "venueRef": {"name": venue}} for venue in venues
    ]
    for resource, place, body in (
        (NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        (STRATEGIES, namespace, manifest),
    ):
        try:
            await cluster.create(resource, place, body)
        except Conflict:
            continue
