"""A desk of its own for each test, in times that suit tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from crowetrade_operator.cluster import status
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.settings import LeaseTimes, Settings
from crowetrade_operator_tests.integration.desk import Desk, running
from crowetrade_operator_tests.servers import ApiServer, nats_client


@pytest.fixture(autouse=True)
def _statuses_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status may be written more than once a second: tests that wait for five statuses would take five seconds."""
    monkeypatch.setattr(status, "PER_OBJECT_SECONDS", 0.02)


@pytest.fixture
def settings(api_server: ApiServer, namespace: str, nats_url: str) -> Settings:
    """An operator for this namespace alone. The Lease is long: it is given back at the end of each test."""
    return Settings(
        operator_namespace=namespace,
        pod_name="operator-0",
        namespaces=(namespace,),
        nats_url=nats_url,
        kubeconfig=str(api_server.kubeconfig),
        http_port=0,
        lease=LeaseTimes(duration=15.0, renew=10.0, retry=0.2),
        stop_deadline_seconds=60.0,
        silent_after_seconds=2.0,
        status_writes_per_second=1000.0,
    )


@pytest.fixture
async def desk(cluster: Cluster, namespace: str, nats_url: str, settings: Settings) -> AsyncIterator[Desk]:
    """A desk whose operator works."""
    async with running(settings) as operator, nats_client(nats_url) as bus:
        yield Desk(cluster, namespace, bus, operator)
