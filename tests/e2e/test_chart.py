"""The chart refuses values that it would misread, and gives the operator no more rights than it was asked to."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from tools.demo.clusters import Cluster
from tools.demo.errors import CommandFailed
from tools.demo.install import CHART, NAMESPACE, RELEASE
from tools.demo.kubernetes import Object
from tools.demo.shell import run

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a misspelt value": ({"operator": {"replica": 2}}, "'replica'"),
    "a number of replicas in words": ({"operator": {"replicas": "two"}}, "operator/replicas"),
    "no replica": ({"operator": {"replicas": 0}}, "operator/replicas"),
    "an environment variable that is no string": ({"operator": {"env": {"WORKERS": 8}}}, "operator/env/WORKERS"),
    "an auditor that is switched on by a word": ({"riskAuditor": {"enabled": "yes"}}, "riskAuditor/enabled"),
    "an unknown log level": ({"operator": {"logLevel": "LOUD"}}, "operator/logLevel"),
}


def _render(cluster: Cluster, values: dict[str, Any]) -> list[Object]:
    command = [*cluster.helm(), "template", RELEASE, str(CHART), "-n", NAMESPACE, "--kube-version", "1.30.0", "-f", "-"]
    return [item for item in yaml.safe_load_all(run(command, stdin=json.dumps(values))) if item]


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_value_is_refused_with_its_name(cluster: Cluster, case: str) -> None:
    values, name = REFUSED[case]
    with pytest.raises(CommandFailed) as refused:
        _render(cluster, values)
    assert name in str(refused.value).replace(".", "/")


def _bindings(objects: list[Object], *, of_hooks: bool) -> set[tuple[str, str]]:
    """Kind and namespace of those that are there while the operator runs, or only while a hook does."""
    return {
        (item["kind"], item["metadata"].get("namespace", ""))
        for item in objects
        if item["kind"] in ("RoleBinding", "ClusterRoleBinding")
        and ("helm.sh/hook" in item["metadata"].get("annotations", {})) is of_hooks
    }


def test_an_operator_of_some_namespaces_has_no_right_in_others(cluster: Cluster) -> None:
    """While it runs: the hook of uninstalling may list and patch in all, because Helm would end at a namespace that is
    gone, and that of the webhook may change one webhook, and make one Secret where it runs."""
    everywhere = _bindings(_render(cluster, {}), of_hooks=False)
    assert everywhere == {("ClusterRoleBinding", ""), ("RoleBinding", NAMESPACE)}
    some = _render(cluster, {"operator": {"namespaces": ["desk-a", "desk-b"]}})
    assert _bindings(some, of_hooks=False) == {
        ("RoleBinding", NAMESPACE),
        ("RoleBinding", "desk-a"),
        ("RoleBinding", "desk-b"),
    }
    assert _bindings(some, of_hooks=True) == {("ClusterRoleBinding", ""), ("RoleBinding", NAMESPACE)}


def test_no_role_may_read_secrets_or_write_custom_resources(cluster: Cluster) -> None:
    roles = [item for item in _render(cluster, {}) if item["kind"] in ("Role", "ClusterRole")]
    rules = [rule for role in roles if "operator" in role["metadata"]["name"] for rule in role["rules"]]
    assert rules
    for rule in rules:
        assert "secrets" not in rule["resources"]
        assert "*" not in (*rule["resources"], *rule["verbs"], *rule["apiGroups"])
        if "trading.crowetrade.io" in rule["apiGroups"]:
            # It may create a KillSwitch, for an order that was given without one.
            allowed = {"create"} if rule["resources"] == ["killswitches"] else set()
            assert {"create", "delete"} & set(rule["verbs"]) <= allowed
            assert "killswitches" not in rule["resources"] or not {"patch", "update"} & set(rule["verbs"])


def test_custom_resource_definitions_can_be_left_to_somebody_else(cluster: Cluster) -> None:
    def kinds(values: dict[str, Any]) -> list[str]:
        return [item["kind"] for item in _render(cluster, values)]

    assert kinds({}).count("CustomResourceDefinition") == 4
    assert "CustomResourceDefinition" not in kinds({"crds": {"install": False}})
