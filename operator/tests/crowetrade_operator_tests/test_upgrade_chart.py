"""A chart of the next version restarts what its images change, and nothing else; uninstalling has its last step."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from crowetrade_operator_tests.charts import SYSTEM_NAMESPACE, of_kind, rendered
from crowetrade_operator_tests.servers import ROOT, program

pytestmark = pytest.mark.integration
Object = dict[str, Any]
VALUES = ("identity.source=Files", "nats.replicas=3")
SETTINGS = {
    "Files": (),
    "Vault": ("vault.address=https://vault:8200",),
    "CertManager": ("identity.certManager.issuerRef.name=ca",),
}
NEXT = ("tag=9.9.9", f"digest=sha256:{'0b' * 32}")


def templates(objects: list[Object]) -> dict[str, Object]:
    """Pod templates by workload."""
    return {
        f"{item['kind']}/{item['metadata']['name']}": item["spec"]["template"]
        for item in of_kind(objects, "Deployment", "StatefulSet")
    }


def test_the_version_of_the_chart_restarts_nothing(tmp_path: Path) -> None:
    """The bus above all: its restart stops every gateway for a moment."""
    chart = shutil.copytree(ROOT / "charts/crowetrade", tmp_path / "crowetrade")
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**about, "version": "9.9.9", "appVersion": "9.9.9"}))
    command = [str(program("helm")), "template", "crowetrade", str(chart), "-n", SYSTEM_NAMESPACE]
    command += [part for value in VALUES for part in ("--set", value)]
    done = subprocess.run([*command, "--kube-version", "1.30.0"], capture_output=True, text=True, check=True)
    following = templates([item for item in yaml.safe_load_all(done.stdout) if item])
    assert "9.9.9" in done.stdout
    assert following == templates(rendered(*VALUES))


@pytest.mark.parametrize("source", ["Files", "Vault", "CertManager"])
def test_images_of_the_next_version_do_not_restart_the_bus(source: str) -> None:
    """Also not where a container beside NATS, of the operator's image, keeps its certificate."""
    values = (f"identity.source={source}", *SETTINGS[source])
    images = [f"{name}.image.{part}" for name in ("operator", "agents", "gateway") for part in NEXT]
    before, after = (templates(rendered(*values, *extra)) for extra in ((), images))
    assert after["StatefulSet/nats"] == before["StatefulSet/nats"]
    assert {name for name in before if before[name] != after[name]} == set(before) - {"StatefulSet/nats"}
    (keeper,) = after["StatefulSet/nats"]["spec"]["initContainers"]
    assert keeper["image"] == "docker.io/crowetrade/operator:0.1.0"


def test_the_container_that_keeps_the_certificate_of_the_bus_comes_from_where_the_operator_comes_from() -> None:
    def image(*values: str) -> str:
        pod = templates(rendered("identity.source=Files", *values))["StatefulSet/nats"]["spec"]
        return str(pod["initContainers"][0]["image"])

    assert image("operator.image.repository=mirror/operator") == "mirror/operator:0.1.0"
    own = (
        "nats.certificateImage.repository=own/keeper",
        "nats.certificateImage.tag=v2",
        f"nats.certificateImage.{NEXT[1]}",
    )
    assert image("operator.image.repository=mirror/operator", *own) == f"own/keeper:v2@{NEXT[1].partition('=')[2]}"


def test_a_changed_configuration_restarts_the_bus() -> None:
    """The other side: the sum over nats.conf is there for something."""
    one, three = (templates(rendered(f"nats.replicas={number}"))["StatefulSet/nats"] for number in (1, 3))
    sums = {template["metadata"]["annotations"]["checksum/config"] for template in (one, three)}
    assert len(sums) == 2


@pytest.mark.parametrize("namespaces", ["", "desk-a,desk-b"])
def test_the_last_step_has_the_rights_that_it_needs_and_no_more(namespaces: str) -> None:
    objects = rendered(*([f"operator.namespaces={{{namespaces}}}"] if namespaces else []))
    own = [item for item in objects if item["metadata"]["name"] == "crowetrade-uninstall"]
    assert all(item["metadata"]["annotations"]["helm.sh/hook"] == "post-delete" for item in own)
    (role,) = of_kind(own, "ClusterRole")
    assert [(rule["apiGroups"], sorted(rule["verbs"])) for rule in role["rules"]] == [
        (["trading.crowetrade.io"], ["list", "patch"])
    ]
    (bound,) = of_kind(own, "ClusterRoleBinding")
    assert bound["roleRef"]["name"] == role["metadata"]["name"]
    assert bound["subjects"] == [
        {"kind": "ServiceAccount", "name": "crowetrade-uninstall", "namespace": SYSTEM_NAMESPACE}
    ]
    policies = {item["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for item in own}
    assert policies == {"before-hook-creation,hook-succeeded"}, "nobody keeps these rights"
    places = {item["metadata"].get("namespace", SYSTEM_NAMESPACE) for item in own}
    assert places == {SYSTEM_NAMESPACE}, "in any other namespace it fails when that is gone"
    (job,) = of_kind(own, "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][-1] == "crowetrade_operator.uninstall"
    assert container["env"] == [{"name": "NAMESPACES", "value": namespaces}]


def test_alerts_and_pods_for_the_prometheus_operator() -> None:
    assert not of_kind(rendered(), "PodMonitor", "PrometheusRule")
    labels = "monitoring.prometheusRule.labels.release=prom"
    objects = rendered("monitoring.podMonitor.enabled=true", "monitoring.prometheusRule.enabled=true", labels)
    files = sorted(path.stem for path in (ROOT / "monitoring/alerts").glob("*.yaml"))
    rules = of_kind(objects, "PrometheusRule")
    assert sorted(item["metadata"]["name"] for item in rules) == [f"crowetrade-{name}" for name in files]
    for item in rules:
        source = yaml.safe_load((ROOT / f"monitoring/alerts/{item['metadata']['name'][11:]}.yaml").read_text())
        assert item["spec"] == _for_lease(source, "crowetrade-operator")
        assert item["metadata"]["labels"]["release"] == "prom"
    selectors = [item["spec"]["selector"]["matchLabels"] for item in of_kind(objects, "PodMonitor")]
    assert selectors == [
        {"app.kubernetes.io/part-of": "crowetrade"},
        {"app.kubernetes.io/managed-by": "crowetrade-operator"},
    ]


def test_the_operator_tells_of_other_namespaces_and_a_strategy_of_its_own_alone() -> None:
    """Labels of a target win where they are not honored, so a strategy cannot write another namespace in its own."""
    monitors = of_kind(rendered("monitoring.podMonitor.enabled=true"), "PodMonitor")
    assert {item["metadata"]["name"]: _honors_labels(item) for item in monitors} == {
        "crowetrade": True,
        "crowetrade-agents": False,
    }
    (selector,) = (
        item["spec"]["selector"]["matchLabels"] for item in monitors if item["metadata"]["name"] == "crowetrade"
    )
    selected = {
        item["metadata"]["name"]
        for item in of_kind(rendered(), "Deployment", "StatefulSet")
        if selector.items() <= item["spec"]["template"]["metadata"]["labels"].items()
    }
    assert {"crowetrade-operator", "crowetrade-risk-auditor"} <= selected


def _honors_labels(monitor: Object) -> bool:
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    return bool(endpoint["honorLabels"])


def _for_lease(rules: Object, *leases: str) -> Object:
    """The chart asks for each of its Leases, where a file of rules can only ask for any."""
    metric = "crowetrade_operator_leader"
    asked = [f'absent({metric}{{namespace="{SYSTEM_NAMESPACE}",lease="{lease}"}})' for lease in leases]
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["expr"] = rule["expr"].replace(f"absent({metric})", " or ".join(asked))
    return rules


def test_each_shard_is_missed_by_itself() -> None:
    values = ("monitoring.prometheusRule.enabled=true", "operator.shards={fx,rates}")
    (item,) = (item for item in of_kind(rendered(*values), "PrometheusRule") if "operator" in item["metadata"]["name"])
    source = yaml.safe_load((ROOT / "monitoring/alerts/operator.yaml").read_text())
    assert item["spec"] == _for_lease(source, "crowetrade-operator-fx", "crowetrade-operator-rates")


def test_a_risk_auditor_that_is_switched_off_is_not_missed() -> None:
    """The file that is left out is about it alone."""
    values = ("monitoring.prometheusRule.enabled=true", "riskAuditor.enabled=false")
    whole, without = (_rules(*values[:count]) for count in (1, 2))
    assert whole.keys() - without.keys() == {"crowetrade-risk"}
    metrics = re.findall(r"crowetrade_[a-z_]+", " ".join(rule["expr"] for rule in whole["crowetrade-risk"]))
    assert metrics
    assert all(name.startswith("crowetrade_risk_auditor_") for name in metrics)
    assert not re.search(r"crowetrade_risk_auditor_", str(without))


def _rules(*values: str) -> dict[str, list[Object]]:
    """Rules by their PrometheusRule."""
    return {
        item["metadata"]["name"]: [rule for group in item["spec"]["groups"] for rule in group["rules"]]
        for item in of_kind(rendered(*values), "PrometheusRule")
    }
