"""After `helm uninstall` nothing is stuck: the hook's process against a real API server, with no operator."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import pytest

from crowetrade_api.names import FINALIZER
from crowetrade_api_tests.samples import limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import RISK_LIMITS, STRATEGIES, VENUES, ApiResource
from crowetrade_operator.errors import NotFound
from crowetrade_operator_tests.servers import ApiServer

pytestmark = pytest.mark.integration
OTHERS = "example.com/keep"


async def uninstall(api_server: ApiServer, *namespaces: str) -> int:
    environment = {
        **os.environ,
        "KUBECONFIG": str(api_server.kubeconfig),
        "NAMESPACES": ",".join(namespaces),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crowetrade_operator.uninstall", env=environment
    )
    async with asyncio.timeout(60):
        return await process.wait()


async def create(cluster: Cluster, resource: ApiResource, manifest: dict[str, Any], *finalizers: str) -> None:
    manifest["metadata"]["finalizers"] = list(finalizers)
    await cluster.create(resource, manifest["metadata"]["namespace"], manifest)


async def finalizers_of(cluster: Cluster, resource: ApiResource, namespace: str, name: str) -> list[str]:
    found: list[str] = (await cluster.get(resource, namespace, name))["metadata"].get("finalizers") or []
    return found


async def test_everything_is_released_and_nothing_is_deleted(
    cluster: Cluster, namespace: str, api_server: ApiServer
) -> None:
    await create(cluster, STRATEGIES, strategy_manifest("going", namespace), FINALIZER)
    await create(cluster, STRATEGIES, strategy_manifest("ema", namespace), FINALIZER, OTHERS)
    await create(cluster, VENUES, venue_manifest("sim-fx", namespace), FINALIZER)
    await create(cluster, RISK_LIMITS, limit_manifest("desk", namespace))
    await cluster.delete(STRATEGIES, namespace, "going")
    assert FINALIZER in await finalizers_of(cluster, STRATEGIES, namespace, "going"), "it waits for an operator"

    assert await uninstall(api_server, namespace) == 0

    with pytest.raises(NotFound):
        await cluster.get(STRATEGIES, namespace, "going")
    assert await finalizers_of(cluster, STRATEGIES, namespace, "ema") == [OTHERS]
    assert await finalizers_of(cluster, VENUES, namespace, "sim-fx") == []
    assert await finalizers_of(cluster, RISK_LIMITS, namespace, "desk") == []
    assert await uninstall(api_server, namespace) == 0, "again it has nothing to do"


async def test_an_installation_of_some_namespaces_leaves_the_others(
    cluster: Cluster, namespace: str, api_server: ApiServer
) -> None:
    await create(cluster, VENUES, venue_manifest("sim-fx", namespace), FINALIZER)
    assert await uninstall(api_server, "default") == 0
    assert await finalizers_of(cluster, VENUES, namespace, "sim-fx") == [FINALIZER]


async def test_a_refusal_is_a_failure(namespace: str, api_server: ApiServer) -> None:
    """So that the Job tries again, and helm says so."""
    environment = {**os.environ, "KUBECONFIG": str(api_server.powerless), "NAMESPACES": namespace}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crowetrade_operator.uninstall", env=environment, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 1
    assert b"finalizers_not_released" in out
    assert b"cannot list resource" in out
