"""One API server and one Vault for all tests; each test has paths, roles and accounts of its own."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from crowetrade_agents_tests.conftest import make_bus_resources, nats_server, nats_url
from crowetrade_agents_tests.gateway.harness import NAMESPACE, VENUE
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.samples import venue_manifest
from crowetrade_operator_tests.servers import ApiServer, start_api_server
from crowetrade_operator_tests.vault_server import Vault, skip_without_vault
from tests.vault.servers import VaultAgent, service_account_token

__all__ = ["nats_server", "nats_url"]

_numbers = itertools.count(1)
REFRESH_SECONDS = 5
MEMORY = Path("/dev/shm")
"""Where pods have their keys: a disk that is busy keeps Vault Agent's write for seconds, and a lease ends meanwhile."""


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server of no cluster."""
    skip_without_vault()
    server, processes = start_api_server(tmp_path_factory.mktemp("apiserver"))
    yield server
    for process in processes:
        process.stop()


@pytest.fixture(scope="session")
def vault(api: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """Vault over TLS with a private authority."""
    server = Vault(tmp_path_factory.mktemp("vault"), api)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Client]:
    """A bus with what a gateway needs."""
    client = await nats.connect(nats_url)
    await make_bus_resources(client, (NAMESPACE, VENUE))
    yield client
    await client.close()


@dataclass(frozen=True)
class Keyed:
    """A venue with a key in Vault: path below secret/, role (and policy of that name), and the venue's agent."""

    vault: Vault
    namespace: str
    path: str
    role: str
    settings: Settings
    token: str
    venue: VenueConnection
    agent: VaultAgent


@pytest.fixture
def keyed(vault: Vault, api: ApiServer) -> Iterator[Callable[..., Keyed]]:
    """Makes a venue with its role and policy; the agent is not started and Vault has no key yet. Fields are those of
    spec.credentials.vault; `settings` are the operator's."""
    made: list[Keyed] = []
    folders: list[Path] = []

    def make(settings: dict[str, Any] | None = None, **fields: Any) -> Keyed:
        number = next(_numbers)
        namespace, path, role = f"desk-{number}", f"venues/{number}", f"venue-{number}"
        credentials = {"path": f"secret/data/{path}", "role": role, "refreshSeconds": REFRESH_SECONDS} | fields
        manifest = venue_manifest()
        manifest["spec"]["credentials"] = {"vault": credentials}
        manifest["metadata"]["namespace"] = namespace
        venue = VenueConnection.model_validate(manifest)
        account = f"venue-{venue.name}"
        operator = Settings(
            **{
                "operator_namespace": "system",
                "vault_address": vault.address,
                "vault_ca": vault.authority,
                "vault_server_name": vault.server_name,
            }
            | (settings or {})
        )
        token = service_account_token(api, namespace, account)
        vault.allow(role, str(credentials["path"]))
        vault.bind(role, namespace, account)
        folder = Path(mkdtemp(prefix=f"{namespace}-", dir=MEMORY))
        folders.append(folder)
        found = Keyed(vault, namespace, path, role, operator, token, venue, VaultAgent(folder, venue, operator, token))
        made.append(found)
        return found

    yield make
    for item in made:
        item.agent.stop()
    for folder in folders:
        shutil.rmtree(folder)
