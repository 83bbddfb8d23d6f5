"""What the chart renders, for the values that people set, is taken by an API server with strict validation: no field
that it does not know, and nothing that its admission refuses. kubeconform, which needs no cluster, says the same of it
and of the samples by the schemas that this API server publishes. Kinds of the Prometheus Operator and of cert-manager,
which it does not serve, are shown to neither; promtool reads the rules in tests/repository/test_alert_rules.py."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from crowetrade_api import crd
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator_tests.charts import CHART, SYSTEM_NAMESPACE, rendered
from crowetrade_operator_tests.samples import strategy_manifest
from crowetrade_operator_tests.servers import ROOT, ApiServer, program
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]

OURS = "apis/trading.crowetrade.io/v1alpha1"
FROM_VAULT = ("identity.source=Vault", "vault.address=https://vault.vault.svc:8200")
EVERYWHERE = tuple(
    f"{component}.{setting}"
    for component in ("operator", "authorizer", "riskAuditor", "nats")
    for setting in (
        "priorityClassName=system-cluster-critical",
        "annotations.example\\.com/team=desk",
        "labels.team=desk",
        "env.EXTRA=x",
        "nodeSelector.disk=fast",
        "tolerations[0].operator=Exists",
        "topologySpreadConstraints[0].maxSkew=1",
        "topologySpreadConstraints[0].topologyKey=zone",
        "topologySpreadConstraints[0].whenUnsatisfiable=ScheduleAnyway",
        "resources.limits.ephemeral-storage=1Gi",
    )
)
COMBINATIONS = {
    "as it is": (),
    "some namespaces": ("operator.namespaces={desk-a,desk-b}", *FROM_VAULT, "vault.roles=Manage"),
    "files, three servers": ("identity.source=Files", "nats.replicas=3", "nats.persistence.enabled=false"),
    "everything outside": (
        *FROM_VAULT,
        "vault.cidrs={10.1.0.0/16}",
        "vault.delivery=Injector",
        "nats.enabled=false",
        "nats.url=nats://bus.example:4222",
        "nats.cidrs={2001:db8::/64}",
        "dns.cidrs={169.254.20.10/32}",
        "monitoring.namespaceLabels.team=sre",
    ),
    "where pods run": (*EVERYWHERE, "identity.source=Files", "imagePullSecrets={registry}"),
    "shards, watched by Prometheus": (
        "operator.shards={fx,rates}",
        "identity.source=Files",
        "monitoring.podMonitor.enabled=true",
        "monitoring.prometheusRule.enabled=true",
        "monitoring.podMonitor.labels.release=prom",
    ),
    "certificates of cert-manager": ("identity.source=CertManager", "identity.certManager.issuerRef.name=ca"),
    "as little as there is": (
        "crds.install=false",
        "riskAuditor.enabled=false",
        "operator.networkPolicy.enabled=false",
        "nats.networkPolicy.enabled=false",
        "operator.podDisruptionBudget=false",
        "uninstall.releaseFinalizers=false",
    ),
}
NOT_SERVED = {
    "shards, watched by Prometheus": {"PodMonitor", "PrometheusRule"},
    "certificates of cert-manager": {"Certificate"},
}
"""Kinds of others in these combinations."""


def _served(combination: str) -> list[Object]:
    """What the API server here can know of it: all, but for these kinds of others."""
    left_out = NOT_SERVED.get(combination, set())
    objects = rendered(*COMBINATIONS[combination])
    assert left_out <= {item["kind"] for item in objects}
    return [item for item in objects if item["kind"] not in left_out]


@pytest.fixture(scope="module", autouse=True)
def _namespaces(api_server: ApiServer) -> None:
    for name in (SYSTEM_NAMESPACE, "desk-a", "desk-b"):
        subprocess.run(
            [program("kubectl"), "--kubeconfig", api_server.kubeconfig, "create", "namespace", name],
            capture_output=True,
            check=False,
        )


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_an_api_server_takes_it(api_server: ApiServer, combination: str) -> None:
    objects = _served(combination)
    stream = "\n---\n".join(json.dumps(item) for item in objects)
    command = [str(program("kubectl")), "--kubeconfig", str(api_server.kubeconfig), "apply", "-f", "-"]
    command += ["--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts"]
    done = subprocess.run(command, input=stream, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(objects)


def linted(chart: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """What helm lint says of the chart with these values."""
    command = [str(program("helm")), "lint", "--strict", "--quiet", "--kube-version", "1.30.0", str(chart)]
    command += [part for setting in settings for part in ("--set", setting)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_helm_lint_finds_nothing(combination: str) -> None:
    done = linted(CHART, *COMBINATIONS[combination])
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_helm_lint_would_find_what_is_not_yaml(tmp_path: Path) -> None:
    chart = shutil.copytree(CHART, tmp_path / "crowetrade")
    (chart / "templates/odd.yaml").write_text("kind: ConfigMap\n metadata: {}\n")
    done = linted(chart)
    assert done.returncode != 0
    assert "odd.yaml" in done.stdout + done.stderr


def test_a_field_that_kubernetes_does_not_know_would_be_found(api_server: ApiServer) -> None:
    (item,) = [item for item in rendered() if (item["kind"], item["metadata"]["name"]) == ("Service", "nats")]
    item["spec"]["sessionAfinity"] = "None"
    command = [str(program("kubectl")), "--kubeconfig", str(api_server.kubeconfig), "apply", "-f", "-"]
    command += ["--server-side", "--dry-run=server", "--validate=strict"]
    done = subprocess.run(command, input=json.dumps(item), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "sessionAfinity" in done.stderr


def _schemas(api_server: ApiServer, kinds: Iterable[tuple[str, str]], folder: Path) -> None:
    """A file for each kind (apiVersion and kind), where kubeconform looks for it, as the API server publishes it."""
    documents: dict[str, Object] = {}
    for api_version, kind in kinds:
        group, _, version = api_version.rpartition("/")
        path = f"/openapi/v3/apis/{api_version}" if group else f"/openapi/v3/api/{version}"
        if path not in documents:
            documents[path] = json.loads(_kubectl(api_server, "get", "--raw", path))
            for schema in documents[path]["components"]["schemas"].values():
                _only_what_is_named(schema)
        schemas = documents[path]["components"]["schemas"]
        wanted = {"group": group, "kind": kind, "version": version}
        (name,) = (name for name, item in schemas.items() if wanted in item.get("x-kubernetes-group-version-kind", ()))
        schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        # The first part of an apiVersion is kubeconform's group, also where that is the version.
        (folder / f"{group or version}_{version}_{kind.lower()}.json").write_text(json.dumps(schema))


def _only_what_is_named(schema: Object) -> None:
    """An API server's strict validation refuses unknown fields, and its schemas do not say so."""
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    for part in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(part, dict):
            _only_what_is_named(part)


def _kubectl(api_server: ApiServer, *arguments: str) -> str:
    command = [str(program("kubectl")), "--kubeconfig", str(api_server.kubeconfig), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def conforms(api_server: ApiServer, folder: Path, objects: list[Object]) -> list[str]:
    """What kubeconform has against each object, empty where it has nothing."""
    _schemas(api_server, {(item["apiVersion"], item["kind"]) for item in objects}, folder)
    where = f"{folder}/{{{{.Group}}}}_{{{{.ResourceAPIVersion}}}}_{{{{.ResourceKind}}}}.json"
    command = [str(program("kubeconform")), "-strict", "-verbose", "-n", "1", "-output", "json"]
    command += ["-schema-location", where]
    stream = "\n---\n".join(json.dumps(item) for item in objects)
    done = subprocess.run(command, input=stream, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["resources"]
    assert len(found) == len(objects), done.stderr
    return ["" if one["status"] == "statusValid" else f"{one['kind']} {one['name']}: {one['msg']}" for one in found]


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_kubeconform_takes_it(api_server: ApiServer, combination: str, tmp_path: Path) -> None:
    assert set(conforms(api_server, tmp_path, _served(combination))) == {""}


@pytest.fixture
async def _our_schemas(api_server: ApiServer, cluster: Cluster) -> None:
    """The API server publishes the schemas of a CRD some time after it serves its resources."""
    kinds = {model.__name__ for model in crd.KINDS}

    def published() -> bool:
        paths = json.loads(_kubectl(api_server, "get", "--raw", "/openapi/v3"))["paths"]
        if OURS not in paths:
            return False
        schemas = json.loads(_kubectl(api_server, "get", "--raw", f"/openapi/v3/{OURS}"))["components"]["schemas"]
        return kinds <= {name.rpartition(".")[2] for name in schemas}

    await until("the schemas of our kinds", published)


@pytest.mark.usefixtures("_our_schemas")
def test_kubeconform_takes_the_samples(api_server: ApiServer, tmp_path: Path) -> None:
    files = sorted((ROOT / "samples").glob("*.yaml"))
    samples = [item for file in files for item in yaml.safe_load_all(file.read_text()) if item and "kind" in item]
    assert len(samples) > 5
    assert set(conforms(api_server, tmp_path, samples)) == {""}


@pytest.mark.usefixtures("_our_schemas")
def test_kubeconform_refuses_an_unknown_field_and_a_wrong_type(api_server: ApiServer, tmp_path: Path) -> None:
    right, unknown, wrong = (strategy_manifest(name) for name in ("right", "unknown", "wrong"))
    unknown["spec"]["capitol"] = {"amount": "1000"}
    wrong["spec"]["suspend"] = "yes"
    first, second, third = conforms(api_server, tmp_path, [right, unknown, wrong])
    assert first == ""
    assert "capitol" in second
    assert "suspend" in third
