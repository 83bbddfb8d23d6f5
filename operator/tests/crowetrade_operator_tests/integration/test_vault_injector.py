"""What the Vault Agent Injector itself makes of a gateway's pod, at admission by a real API server."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import ssl
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from crowetrade_api.files import CREDENTIALS_DIRECTORY, CREDENTIALS_FILE, VAULT_CA_FILE, CredentialsFile
from crowetrade_api.names import venue_object
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import NAMESPACES, PODS, SERVICE_ACCOUNTS
from crowetrade_operator.desired.deployment import venue_deployment
from crowetrade_operator.desired.vault import INJECTOR_TOKEN_DIRECTORY, template
from crowetrade_operator.errors import Conflict
from crowetrade_operator.settings import Settings, VaultDelivery
from crowetrade_operator_tests.integration.webhook import registered
from crowetrade_operator_tests.samples import SETTINGS, change, venue, venue_manifest
from crowetrade_operator_tests.servers import TOKEN, ApiServer, Process, free_port, program, wait_for
from crowetrade_operator_tests.vault_server import Vault, service_account_token, skip_without_vault
from crowetrade_operator_tests.waiting import until
from crowetrade_process_tests.identity.authority import Authority

pytestmark = pytest.mark.integration
Object = dict[str, Any]
NAMESPACE = "injected"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
KEYS = {"apiKey": "api-key", "secret": "api-secret"}
VAULT = {"path": "secret/data/venues/sim", "role": "venue-sim", "keys": KEYS, "refreshSeconds": 30}
VENUE = venue(change(venue_manifest(namespace=NAMESPACE), "spec.credentials", {"vault": VAULT}))
INJECTED = replace(
    SETTINGS,
    vault_address="https://vault.vault.svc:8200",
    vault_delivery=VaultDelivery.INJECTOR,
    vault_ca="PEM",
    vault_namespace="desk",
    vault_server_name="vault.internal",
)
ACCOUNT = venue_object(VENUE.name)
IN_CLUSTER = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Injector:
    """Its process, and the authority of its certificate."""

    url: str
    authority: Authority


def _in_a_pod(files: Path) -> list[str | Path]:
    """Runs a command with the files of a service account where a pod has them, which nobody else sees."""
    unprivileged = [] if os.geteuid() == 0 else ["--map-root-user"]
    steps = f'mount -t tmpfs none /var/run && mkdir -p {IN_CLUSTER} && cp "{files}"/* {IN_CLUSTER} && exec "$0" "$@"'
    return ["unshare", "--mount", *unprivileged, "sh", "-c", steps]


@pytest.fixture(scope="module")
def injector(tmp_path_factory: pytest.TempPathFactory, api_server: ApiServer) -> Iterator[Injector]:
    """As its pod runs it. It reads webhook configurations."""
    folder, authority, port = tmp_path_factory.mktemp("injector"), Authority(), free_port()
    issued, account = authority.issue(dns_names=("localhost",)), folder / "account"
    account.mkdir()
    (folder / "tls.crt").write_bytes(issued.pem)
    (folder / "tls.key").write_bytes(issued.key_pem)
    (account / "token").write_text(TOKEN)
    (account / "ca.crt").write_bytes((api_server.kubeconfig.parent / "certificates/apiserver.crt").read_bytes())
    host, _, api_port = api_server.url.removeprefix("https://").partition(":")
    process = Process(
        "vault-k8s",
        [
            *_in_a_pod(account),
            *(program("vault-k8s"), "agent-inject"),
            f"-listen=127.0.0.1:{port}",
            f"-tls-cert-file={folder}/tls.crt",
            f"-tls-key-file={folder}/tls.key",
            "-vault-address=https://vault.example.com:8200",
            "-telemetry-path=/metrics",
        ],
        folder,
        {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": api_port},
    )
    context = ssl.create_default_context(cadata=authority.pem.decode())
    try:
        wait_for(process, f"https://localhost:{port}/metrics", context)
        yield Injector(f"https://localhost:{port}/mutate", authority)
    finally:
        process.stop()


@contextlib.asynccontextmanager
async def admitted(injector: Injector, cluster: Cluster, settings: Settings) -> AsyncIterator[Object]:
    """A gateway's pod as the API server has admitted it, in a namespace with Pod Security `restricted`."""
    place = {"metadata": {"name": NAMESPACE, "labels": RESTRICTED}, "apiVersion": "v1", "kind": "Namespace"}
    with contextlib.suppress(Conflict):
        await cluster.create(NAMESPACES, "", place)
    made = venue_deployment(VENUE, "sha256:1", settings)["spec"]["template"]
    manifest = {**made, "apiVersion": "v1", "kind": "Pod", "metadata": {**made["metadata"], "name": "venue-sim"}}
    async with registered(cluster, NAMESPACE, "", "pods", injector.url, injector.authority):
        yield await cluster.create(PODS, NAMESPACE, manifest)
    await cluster.delete(PODS, NAMESPACE, "venue-sim")


@pytest.fixture
async def pod(injector: Injector, cluster: Cluster) -> AsyncIterator[Object]:
    """With every setting."""
    async with admitted(injector, cluster, INJECTED) as found:
        yield found


def _config(pod: Object) -> str:
    """Of the injected agent, as its command reads it."""
    agent = _named(pod["spec"]["containers"], "vault-agent")
    return base64.b64decode(_named(agent["env"], "VAULT_CONFIG")["value"]).decode()


def _named(items: list[Object], name: str) -> Object:
    (found,) = [item for item in items if item["name"] == name]
    return found


async def test_a_gateways_pod_gets_the_agent_that_it_expects(pod: Object) -> None:
    spec = pod["spec"]
    assert [item["name"] for item in spec["containers"]] == ["gateway", "vault-agent"]
    assert "initContainers" not in spec, "the gateway does not wait for its keys"
    gateway, agent = spec["containers"]
    (mount,) = [item for item in gateway["volumeMounts"] if item["mountPath"] == CREDENTIALS_DIRECTORY]
    assert _named(spec["volumes"], mount["name"])["emptyDir"] == {"medium": "Memory"}
    assert _named(agent["volumeMounts"], mount["name"])["mountPath"] == CREDENTIALS_DIRECTORY
    token = _named(agent["volumeMounts"], "vault-token")
    assert (token["mountPath"], token["readOnly"]) == (INJECTOR_TOKEN_DIRECTORY, True)
    assert "vault-token" not in {item["name"] for item in gateway["volumeMounts"]}
    assert agent["image"] == INJECTED.vault_image
    assert agent["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    # The file is readable for its owner and group alone.
    user = spec["securityContext"]["runAsUser"]
    assert agent["securityContext"]["runAsUser"] == user


async def test_the_agent_is_configured_as_the_annotations_say(pod: Object) -> None:
    config = json.loads(_config(pod))
    assert VENUE.spec.credentials is not None
    assert VENUE.spec.credentials.vault is not None
    (rendered,) = config["template"]
    assert rendered["destination"] == f"{CREDENTIALS_DIRECTORY}/{CREDENTIALS_FILE}"
    assert rendered["contents"] == template(VENUE.spec.credentials.vault)
    assert rendered["perms"] == "0440"
    assert config["template_config"] == {"exit_on_retry_failure": False, "static_secret_render_interval": "30s"}
    assert config["vault"] == {
        "address": "https://vault.vault.svc:8200",
        "ca_cert": f"{INJECTOR_TOKEN_DIRECTORY}/{VAULT_CA_FILE}",
        "tls_server_name": "vault.internal",
    }
    method = config["auto_auth"]["method"]
    assert method["mount_path"] == "auth/kubernetes"
    assert method["config"] == {"role": "venue-sim", "token_path": f"{INJECTOR_TOKEN_DIRECTORY}/token"}
    assert method["namespace"] == "desk"
    assert config["exit_after_auth"] is False


@pytest.fixture
def vault(api_server: ApiServer, tmp_path: Path) -> Iterator[Vault]:
    """With the venue's key, which its gateway alone may read."""
    skip_without_vault()
    server = Vault(tmp_path, api_server)
    server.start()
    server.put("venues/sim", **{"api-key": "the key", "api-secret": "the secret"})
    server.allow("venue-sim", "secret/data/venues/sim")
    server.bind("venue-sim", NAMESPACE, ACCOUNT)
    yield server
    server.stop()


async def test_a_real_agent_so_configured_writes_the_file_that_the_gateway_reads(
    vault: Vault, injector: Injector, cluster: Cluster, api_server: ApiServer, tmp_path: Path
) -> None:
    settings = replace(
        INJECTED,
        vault_address=vault.address,
        vault_ca=vault.authority,
        vault_namespace="",
        vault_server_name=vault.server_name,
    )
    async with admitted(injector, cluster, settings) as pod:
        assert pod["spec"]["serviceAccountName"] == ACCOUNT
        config = _config(pod)
        with contextlib.suppress(Conflict):
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}}
            await cluster.create(SERVICE_ACCOUNTS, NAMESPACE, account)
        token = service_account_token(api_server, NAMESPACE, ACCOUNT)
    # As the volumes of the pod: the token with Vault's authority, and memory for the keys.
    mounted, keys = tmp_path / "mounted", tmp_path / "keys"
    mounted.mkdir()
    keys.mkdir()
    (mounted / "token").write_text(token)
    (mounted / VAULT_CA_FILE).write_text(vault.authority)
    here = config.replace(INJECTOR_TOKEN_DIRECTORY, str(mounted)).replace(CREDENTIALS_DIRECTORY, str(keys))
    (tmp_path / "agent.json").write_text(here.replace("/home/vault", str(tmp_path)))
    agent = Process(
        "vault-agent", [program("vault"), "agent", f"-config={tmp_path}/agent.json"], tmp_path, {"HOME": str(tmp_path)}
    )
    written = keys / CREDENTIALS_FILE
    try:
        await until("the keys to be written", written.exists)
        found = CredentialsFile.model_validate_json(written.read_bytes())
        assert found.keys == {"apiKey": "the key", "secret": "the secret"}
        assert found.version == "1"
        assert stat.S_IMODE(written.stat().st_mode) == 0o440
    finally:
        agent.stop()
