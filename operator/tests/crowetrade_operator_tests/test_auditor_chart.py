"""The risk-auditor in the chart: no right in the cluster, a way to the bus and no other, and a switch."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_operator_tests.charts import rendered

pytestmark = pytest.mark.integration
NAME = "crowetrade-risk-auditor"


def auditor(*values: str) -> dict[str, dict[str, Any]]:
    """Its objects by kind."""
    return {item["kind"]: item for item in rendered(*values) if item["metadata"]["name"] == NAME}


def test_it_has_no_right_in_the_cluster() -> None:
    made = auditor()
    assert made.keys() == {"Deployment", "NetworkPolicy", "ServiceAccount"}
    pod = made["Deployment"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == NAME
    bindings = [item for item in rendered() if "Binding" in item["kind"]]
    assert not [item for item in bindings if NAME in str(item.get("subjects"))]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["args"] == ["risk-auditor"]
    assert pod["containers"][0]["image"].split(":")[0].endswith("/gateway")


def test_it_reaches_the_bus_and_names_and_nothing_else() -> None:
    policy = auditor()["NetworkPolicy"]["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {4222, 53}
    assert all(rule["to"] for rule in policy["egress"])


def test_the_bus_lets_it_in() -> None:
    (policy,) = [item for item in rendered() if item["kind"] == "NetworkPolicy" and item["metadata"]["name"] == "nats"]
    labels = auditor()["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [source["podSelector"].get("matchLabels") for source in policy["spec"]["ingress"][0]["from"]]
    assert any(selector and selector.items() <= labels.items() for selector in selectors)


def test_it_can_be_switched_off() -> None:
    assert auditor("riskAuditor.enabled=false") == {}
    assert auditor("riskAuditor.networkPolicy.enabled=false").keys() == {"Deployment", "ServiceAccount"}
