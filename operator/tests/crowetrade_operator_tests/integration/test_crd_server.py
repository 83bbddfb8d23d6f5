from __future__ import annotations

import pytest

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import RISK_LIMITS, STRATEGIES, VENUES
from crowetrade_operator_tests.samples import limit_manifest, strategy_manifest, venue_manifest

pytestmark = pytest.mark.integration


async def test_samples_are_accepted(cluster: Cluster, namespace: str) -> None:
    await cluster.create(VENUES, namespace, venue_manifest(namespace=namespace))
    await cluster.create(STRATEGIES, namespace, strategy_manifest(namespace=namespace))
    await cluster.create(RISK_LIMITS, namespace, limit_manifest(namespace=namespace))
