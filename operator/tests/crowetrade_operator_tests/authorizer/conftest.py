"""A secured bus with two authorizers that all tests of this folder share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig
from tools.bus_operations import NAMESPACE, STRATEGY, VENUE

from crowetrade import subjects
from crowetrade_operator.bus.streams import ensure_bucket, ensure_journal
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.resources import NAMESPACES, STRATEGIES, VENUES, ApiResource
from crowetrade_operator.errors import Conflict
from crowetrade_operator.settings import StreamSettings
from crowetrade_operator_tests.samples import strategy_manifest, venue_manifest
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
            await ensure_journal(client, NAMESPACE, venue, StreamSettings())
        for bucket in BUCKETS:
            await ensure_bucket(jetstream, bucket, StreamSettings())
        await jetstream.add_stream(StreamConfig.from_response(subjects.audit_stream_config(3600)))
        yield client


async def make_strategy(cluster: Cluster, namespace: str, name: str, *venues: str) -> None:
    """A Strategy and the venues that it trades at, unless they are there."""
    for venue in venues:
        await make_venue(cluster, namespace, venue)
    manifest = strategy_manifest()
    instrument = manifest["spec"]["instruments"][0]
    manifest["metadata"] = {"name": name, "namespace": namespace}
    manifest["spec"]["instruments"] = [
        {**instrument, "symbol": f"EUR-{venue.upper()[:3]}", "venueRef": {"name": venue}} for venue in venues
    ]
    await _make(cluster, STRATEGIES, namespace, manifest)


async def make_venue(cluster: Cluster, namespace: str, name: str) -> None:
    """A VenueConnection and its namespace, unless they are there."""
    await _make(cluster, NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    await _make(cluster, VENUES, namespace, venue_manifest(name, namespace=namespace))


async def _make(cluster: Cluster, resource: ApiResource, place: str, body: Object) -> None:
    with contextlib.suppress(Conflict):
        await cluster.create(resource, place, body)
