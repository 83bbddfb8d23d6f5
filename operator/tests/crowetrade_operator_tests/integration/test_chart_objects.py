"""What the chart renders, for the values that people set, is taken by an API server with strict validation: no field
that it does not know, and nothing that its admission refuses."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from crowetrade_operator_tests.charts import SYSTEM_NAMESPACE, rendered
from crowetrade_operator_tests.servers import ApiServer, program

pytestmark = pytest.mark.integration
Object = dict[str, Any]

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
    "as little as there is": (
        "crds.install=false",
        "riskAuditor.enabled=false",
        "operator.networkPolicy.enabled=false",
        "nats.networkPolicy.enabled=false",
        "operator.podDisruptionBudget=false",
        "uninstall.releaseFinalizers=false",
    ),
}


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
    objects = rendered(*COMBINATIONS[combination])
    stream = "\n---\n".join(json.dumps(item) for item in objects)
    command = [str(program("kubectl")), "--kubeconfig", str(api_server.kubeconfig), "apply", "-f", "-"]
    command += ["--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts"]
    done = subprocess.run(command, input=stream, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(objects)


def test_a_field_that_kubernetes_does_not_know_would_be_found(api_server: ApiServer) -> None:
    (item,) = [item for item in rendered() if (item["kind"], item["metadata"]["name"]) == ("Service", "nats")]
    item["spec"]["sessionAfinity"] = "None"
    command = [str(program("kubectl")), "--kubeconfig", str(api_server.kubeconfig), "apply", "-f", "-"]
    command += ["--server-side", "--dry-run=server", "--validate=strict"]
    done = subprocess.run(command, input=json.dumps(item), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "sessionAfinity" in done.stderr
