"""Fixtures that several packages of tests share."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml

from crowetrade_operator.api import crd
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.resources import ApiResource
from crowetrade_operator.errors import ClusterError
from crowetrade_operator_tests.servers import ApiServer, start_api_server, start_nats

CRDS = ApiResource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
NAMESPACES = ApiResource("", "v1", "namespaces", "Namespace")
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One API server for all tests, of no cluster that anybody else uses."""
    server, processes = start_api_server(tmp_path_factory.mktemp("apiserver"))
    yield server
    for process in processes:
        process.stop()


@pytest.fixture
async def cluster(api_server: ApiServer) -> AsyncIterator[Cluster]:
    """A client of an API server that has our CRDs."""
    client = await connect(str(api_server.kubeconfig))
    await install_crds(client)
    yield client
    await client.close()


@pytest.fixture
async def namespace(cluster: Cluster) -> str:
    """A namespace of the test's own."""
    name = f"test-{next(_numbers)}"
    await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
def nats_url(tmp_path: Path) -> Iterator[str]:
    """A NATS server of the test's own."""
    url, process = start_nats(tmp_path)
    yield url
    process.stop()


async def install_crds(client: Cluster) -> None:
    """Applies the CRDs from the models and waits until the API server serves them."""
    for model in crd.KINDS:
        body = yaml.safe_load(crd.render(model))
        try:
            await client.get(CRDS, "", body["metadata"]["name"])
        except ClusterError:
            await client.create(CRDS, "", body)
    for model in crd.KINDS:
        await _served(client, f"{model.PLURAL}.trading.crowetrade.io")


async def _served(client: Cluster, name: str) -> None:
    for _ in range(600):
        found = await client.get(CRDS, "", name)
        conditions = {item["type"]: item for item in found.get("status", {}).get("conditions", [])}
        if conditions.get("NonStructuralSchema", {}).get("status") == "True":
            raise AssertionError(conditions["NonStructuralSchema"]["message"])
        if conditions.get("Established", {}).get("status") == "True":
            return
    raise AssertionError(f"{name} was not established")
