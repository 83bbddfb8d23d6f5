"""A desk of its own for each test, in times that suit tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from crowetrade_operator.cluster import status
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.integration.desk import Desk, quick_settings, running
from crowetrade_operator_tests.servers import ApiServer, nats_client


@pytest.fixture(autouse=True)
def _statuses_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status may be written more than once a second: tests that wait for five statuses would take five seconds."""
    monkeypatch.setattr(status, "PER_OBJECT_SECONDS", 0.02)


@pytest.fixture
def settings(api_server: ApiServer, namespace: str, nats_url: str) -> Settings:
    """An operator for this namespace alone."""
    return replace(quick_settings(api_server, namespace, nats_url), stop_deadline_seconds=60.0)


@pytest.fixture
async def desk(cluster: Cluster, namespace: str, nats_url: str, settings: Settings) -> AsyncIterator[Desk]:
    """A desk whose operator works."""
    async with running(settings) as operator, nats_client(nats_url) as bus:
        yield Desk(cluster, namespace, bus, operator)
