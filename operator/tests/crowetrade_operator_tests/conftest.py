"""Fixtures that several packages of tests share."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import settings

from crowetrade_api import crd
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.resources import CUSTOM, NAMESPACES, ApiResource
from crowetrade_operator.errors import NotFound
from crowetrade_operator_tests.servers import TOKEN, ApiServer, NatsServer, Wire, start_api_server
from crowetrade_operator_tests.waiting import until

CRDS = ApiResource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
_numbers = itertools.count(1)
_with_crds: set[str] = set()
"""API servers that have our CRDs already: to look is slower than most tests."""


# A busy machine is slow: an example that takes long has not failed.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")


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
    try:
        if api_server.url not in _with_crds:
            await install_crds(client)
            _with_crds.add(api_server.url)
        yield client
    finally:
        await client.close()


@pytest.fixture
async def namespace(cluster: Cluster) -> str:
    """A namespace of the test's own."""
    name = f"test-{next(_numbers)}"
    await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
async def wire(api_server: ApiServer) -> AsyncIterator[Wire]:
    """A line to the API server that the test may cut."""
    line = Wire(int(api_server.url.rpartition(":")[2]))
    await line.mend()
    yield line
    await line.cut()


@pytest.fixture
async def wired(api_server: ApiServer, cluster: Cluster, wire: Wire, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A client at the end of that line."""
    client = await connect(str(api_server.at(wire.port, tmp_path)))
    yield client
    await client.close()


@pytest.fixture
def account(api_server: ApiServer, tmp_path: Path) -> Path:
    """A directory as Kubernetes mounts it for a service account."""
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "token").write_text(TOKEN)
    (folder / "ca.crt").write_bytes((api_server.kubeconfig.parent / "certificates" / "apiserver.crt").read_bytes())
    return folder


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A NATS server of the test's own."""
    server = NatsServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def nats_url(nats_server: NatsServer) -> str:
    """Where it is."""
    return nats_server.url


async def install_crds(client: Cluster) -> None:
    """Applies the CRDs from the models and waits until the API server serves them."""
    for model in crd.KINDS:
        body = yaml.safe_load(crd.render(model))
        try:
            await client.get(CRDS, "", body["metadata"]["name"])
        except NotFound:
            await client.create(CRDS, "", body)
    for resource in CUSTOM:
        await served(client, resource)


async def served(client: Cluster, resource: ApiResource) -> None:
    """The kind is established, and a list of it is answered: the one comes a little before the other."""

    async def check() -> bool:
        found = await client.get(CRDS, "", f"{resource.plural}.{resource.group}")
        conditions = {item["type"]: item for item in (found.get("status") or {}).get("conditions") or []}
        if conditions.get("NonStructuralSchema", {}).get("status") == "True":
            raise AssertionError(conditions["NonStructuralSchema"]["message"])
        if conditions.get("Established", {}).get("status") != "True":
            return False
        await client.list(resource)
        return True

    await until(f"{resource.plural} to be served", check)
