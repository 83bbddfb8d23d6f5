"""Source CertManager against the controllers of cert-manager: what the chart and the operator ask for becomes files
that our processes take."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import CERTIFICATES, NAMESPACES, STRATEGIES, VENUES, ApiResource
from crowetrade_operator.cluster.secrets import SECRETS
from crowetrade_operator.errors import Conflict
from crowetrade_operator.settings import Issuer, Settings
from crowetrade_operator_tests.charts import SYSTEM_NAMESPACE, of_kind, rendered
from crowetrade_operator_tests.integration.desk import Desk, condition_of
from crowetrade_operator_tests.samples import strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import ApiServer, Process, program
from crowetrade_operator_tests.waiting import until
from crowetrade_process.identity.credentials import Credentials
from crowetrade_process.identity.files import FilesSource
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.name import IdentityName
from crowetrade_process_tests.identity.authority import TRUST_DOMAIN, Authority

pytestmark = pytest.mark.integration
Object = dict[str, Any]

CLUSTER_ISSUERS = ApiResource("cert-manager.io", "v1", "clusterissuers", "ClusterIssuer")
CERT_MANAGER, ISSUER = "cert-manager", "crowetrade"
FILES = ("tls.crt", "tls.key", "ca.crt")
AUTHORITY = Authority()


@pytest.fixture(scope="module")
def controllers(api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """cert-manager, with its CRDs."""
    try:
        binary = program("cert-manager")
    except RuntimeError as error:
        pytest.skip(f"a real cert-manager is needed: {error}")
    kubectl = [str(program("kubectl")), f"--kubeconfig={api_server.kubeconfig}"]
    crds = [f"--filename={path}" for path in sorted(binary.parent.glob("*.yaml"))]
    subprocess.run([*kubectl, "apply", "--server-side", "--force-conflicts", *crds], check=True, capture_output=True)
    subprocess.run([*kubectl, "wait", "--for=condition=Established", *crds], check=True, capture_output=True)
    process = Process(
        "cert-manager", [binary, f"--kubeconfig={api_server.kubeconfig}"], tmp_path_factory.mktemp("cert-manager")
    )
    yield process
    process.stop()


@pytest.fixture
async def issuer(controllers: Process, cluster: Cluster) -> Issuer:
    """A ClusterIssuer with an authority of ours, ready to sign for every namespace."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": ISSUER, "namespace": CERT_MANAGER},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": AUTHORITY.pem.decode(), "tls.key": AUTHORITY.key_pem.decode()},
    }
    cluster_issuer = {
        "apiVersion": CLUSTER_ISSUERS.api_version,
        "kind": CLUSTER_ISSUERS.kind,
        "metadata": {"name": ISSUER},
        "spec": {"ca": {"secretName": ISSUER}},
    }
    await create_namespace(cluster, CERT_MANAGER)
    await create(cluster, SECRETS, CERT_MANAGER, secret)
    await create(cluster, CLUSTER_ISSUERS, "", cluster_issuer)

    async def ready() -> bool:
        controllers.check()
        return is_ready(await cluster.get(CLUSTER_ISSUERS, "", ISSUER))

    await until("the ClusterIssuer to be ready", ready)
    return Issuer(ISSUER, CLUSTER_ISSUERS.kind, CLUSTER_ISSUERS.group)


async def create(cluster: Cluster, resource: ApiResource, namespace: str, body: Object) -> None:
    """Unless it is there."""
    try:
        await cluster.create(resource, namespace, body)
    except Conflict:
        return


async def create_namespace(cluster: Cluster, name: str) -> None:
    await create(cluster, NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def is_ready(item: Object) -> bool:
    return condition_of(item, "Ready").get("status") == "True"


@dataclass(frozen=True)
class Mount:
    """A Secret's files as a pod has them: the kubelet replaces all of them at once, by a symlink."""

    folder: Path

    def put(self, secret: Object) -> Path:
        """Mounts what the Secret holds now."""
        version = self.folder / f"..{secret['metadata']['resourceVersion']}"
        version.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (version / name).write_bytes(base64.b64decode(secret["data"][name]))
        link = self.folder / "..data_tmp"
        link.symlink_to(version.name)
        link.replace(self.folder / "..data")
        return self.folder


async def issued(cluster: Cluster, namespace: str, name: str, other_than: str = "") -> Object:
    """The Secret of a Certificate when it is ready; with another version where one is given."""
    found: list[Object] = []

    async def check() -> bool:
        certificate = await cluster.get(CERTIFICATES, namespace, name)
        secret = await cluster.get(SECRETS, namespace, certificate["spec"]["secretName"])
        found[:] = [secret]
        return is_ready(certificate) and "tls.crt" in secret["data"] and secret["data"]["tls.crt"] != other_than

    await until(f"the certificate {name} of {namespace}", check)
    return found[0]


async def identity_in(directory: Path) -> Identity:
    identity = Identity(FilesSource(directory, TRUST_DOMAIN, lambda: datetime.now(UTC)), TRUST_DOMAIN)
    assert await identity.refresh(), "a process of ours takes the files"
    return identity


def assert_for_both_ends(credentials: Credentials, name: IdentityName) -> None:
    """One certificate serves a process as client and as server, by the names that its peers check."""
    leaf = x509.load_pem_x509_certificate(credentials.chain_pem)
    usages = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert usages == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [name.uri]
    assert names.get_values_for_type(x509.DNSName) == [name.dns_name, f"{name.dns_name}.cluster.local"]


async def test_each_process_of_the_chart_gets_its_name(issuer: Issuer, cluster: Cluster, tmp_path: Path) -> None:
    asked = of_kind(
        rendered("identity.source=CertManager", f"identity.certManager.issuerRef.name={issuer.name}"), "Certificate"
    )
    await create_namespace(cluster, SYSTEM_NAMESPACE)
    for certificate in asked:
        await create(cluster, CERTIFICATES, SYSTEM_NAMESPACE, certificate)
    identities = []
    for certificate in asked:
        account = certificate["metadata"]["name"]
        secret = await issued(cluster, SYSTEM_NAMESPACE, account)
        identity = await identity_in(Mount(tmp_path / account).put(secret))
        assert identity.name == IdentityName(TRUST_DOMAIN, SYSTEM_NAMESPACE, account)
        assert_for_both_ends(identity.credentials, identity.name)
        identities.append(identity)
    assert len(identities) == 4
    assert len({identity.credentials.key_pem for identity in identities}) == 4
    first, second = identities[:2]
    assert first.judge(second.credentials.chain_pem) == second.name, "each lets the other in"


@pytest.fixture
def settings(settings: Settings, issuer: Issuer) -> Settings:
    """An operator whose pods have their identities from cert-manager."""
    return replace(settings, identity={"IDENTITY_SOURCE": "Files", "IDENTITY_LIFETIME": "1h"}, issuer=issuer)


async def test_a_gateway_and_a_strategy_get_theirs_and_are_left_alone(desk: Desk, tmp_path: Path) -> None:
    await desk.create(VENUES, venue_manifest())
    await desk.create(STRATEGIES, strategy_manifest())
    for account in ("venue-sim-fx", "strategy-ema"):
        secret = await issued(desk.cluster, desk.namespace, account)
        identity = await identity_in(Mount(tmp_path / account).put(secret))
        assert identity.name == IdentityName(TRUST_DOMAIN, desk.namespace, account)
        assert_for_both_ends(identity.credentials, identity.name)
        certificate = await desk.get(CERTIFICATES, account)
        lifetime = identity.credentials.not_after - identity.credentials.not_before
        assert lifetime == timedelta(hours=1)
        due = datetime.fromisoformat(certificate["status"]["renewalTime"]) - identity.credentials.not_before
        assert due == timedelta(minutes=40), "two thirds of the lifetime"
    await desk.idle()
    for account in ("venue-sim-fx", "strategy-ema"):
        certificate = await desk.get(CERTIFICATES, account)
        assert certificate["metadata"]["generation"] == 1, "cert-manager and the operator do not write over each other"
        assert is_ready(certificate)


async def test_a_process_goes_on_with_the_certificate_that_cert_manager_renews(
    issuer: Issuer, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """By itself after two thirds of the lifetime; the keeper of NATS' files reads it as the kubelet replaces it."""
    account = "venue-sim"
    certificate = {
        "apiVersion": CERTIFICATES.api_version,
        "kind": CERTIFICATES.kind,
        "metadata": {"name": account, "namespace": namespace},
        "spec": {
            "secretName": f"{account}-identity",
            "duration": "15s",  # the webhook of cert-manager admits an hour or more
            "privateKey": {"algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always"},
            "uris": [IdentityName(TRUST_DOMAIN, namespace, account).uri],
            "issuerRef": {"name": issuer.name, "kind": issuer.kind, "group": issuer.group},
        },
    }
    await cluster.create(CERTIFICATES, namespace, certificate)
    first = await issued(cluster, namespace, account)
    mount, written = Mount(tmp_path / "mounted"), tmp_path / "written"
    mount.put(first)
    keeper = Process(
        "keeper",
        [
            sys.executable,
            "-m",
            "crowetrade_process.nats_sidecar",
            f"--directory={written}",
            f"--reload-pid-file={tmp_path / 'none'}",
        ],
        tmp_path,
        {"IDENTITY_SOURCE": "Files", "IDENTITY_DIRECTORY": str(mount.folder), "IDENTITY_TRUST_DOMAIN": TRUST_DOMAIN},
    )
    try:
        await until("the first certificate", lambda: keeps(written, first))
        second = await issued(cluster, namespace, account, other_than=first["data"]["tls.crt"])
        before, after = (
            x509.load_pem_x509_certificate(base64.b64decode(item["data"]["tls.crt"])) for item in (first, second)
        )
        assert before.not_valid_before_utc + timedelta(seconds=10) <= after.not_valid_before_utc
        assert after.not_valid_before_utc < before.not_valid_after_utc, "there is one that holds at any time"
        assert first["data"]["tls.key"] != second["data"]["tls.key"]
        mount.put(second)
        await until("the second certificate", lambda: keeps(written, second))
        keeper.check()
    finally:
        keeper.stop()


def keeps(directory: Path, secret: Object) -> bool:
    path = directory / "tls.crt"
    return path.exists() and path.read_bytes() == base64.b64decode(secret["data"]["tls.crt"])
