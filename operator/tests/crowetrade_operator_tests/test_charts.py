"""The chart as helm renders it: who may do what with KillSwitches, and that the operator's settings come from it."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_api.names import CONTROL_PORT
from crowetrade_operator.settings import Addresses, from_environment
from crowetrade_operator_tests.charts import SYSTEM_NAMESPACE, of_kind, rendered

pytestmark = pytest.mark.integration
Object = dict[str, Any]
EVERYWHERE = rendered()
SOME = rendered("operator.namespaces={desk-a,desk-b}")


def named(objects: list[Object], kind: str, name: str) -> list[Object]:
    return [item for item in of_kind(objects, kind) if item["metadata"]["name"] == name]


def rights(role: Object) -> set[tuple[str, str]]:
    return {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}


def test_gateways_may_read_kill_switches_and_nothing_else() -> None:
    (role,) = named(EVERYWHERE, "ClusterRole", "crowetrade-gateway")
    assert rights(role) == {("killswitches", verb) for verb in ("get", "list", "watch")}
    (binding,) = named(EVERYWHERE, "ClusterRoleBinding", "crowetrade-gateway")
    assert [item["name"] for item in binding["subjects"]] == ["system:serviceaccounts"]


def test_gateways_of_some_namespaces_read_in_those_alone() -> None:
    assert not named(SOME, "ClusterRoleBinding", "crowetrade-gateway")
    bindings = named(SOME, "RoleBinding", "crowetrade-gateway")
    assert [item["metadata"]["namespace"] for item in bindings] == ["desk-a", "desk-b"]
    for binding in bindings:
        names = [item["name"] for item in binding["subjects"]]
        assert names == ["system:serviceaccounts:desk-a", "system:serviceaccounts:desk-b"]


@pytest.mark.parametrize("objects", [EVERYWHERE, SOME], ids=["everywhere", "some"])
def test_the_operator_may_make_kill_switches_and_never_change_one(objects: list[Object]) -> None:
    roles = of_kind(objects, "ClusterRole", "Role")
    operator = [item for item in roles if item["metadata"]["name"] == "crowetrade-operator"]
    assert operator
    for role in operator:
        verbs = {verb for resource, verb in rights(role) if resource == "killswitches"}
        assert verbs == {"list", "watch", "create"}


def test_the_right_to_rearm_goes_to_risk_officers_alone() -> None:
    holders = [role for role in of_kind(EVERYWHERE, "ClusterRole") if ("killswitches", "rearm") in rights(role)]
    assert [role["metadata"]["name"] for role in holders] == ["crowetrade-killswitches-rearmer"]
    labels = {key for key in holders[0]["metadata"]["labels"] if "aggregate" in key}
    assert labels == {"trading.crowetrade.io/aggregate-to-risk-officer"}
    (engager,) = named(EVERYWHERE, "ClusterRole", "crowetrade-killswitches-engager")
    assert not {"rearm", "delete", "deletecollection", "*"} & {verb for _, verb in rights(engager)}


def test_policies_deny_and_fail_closed() -> None:
    policies = of_kind(EVERYWHERE, "ValidatingAdmissionPolicy")
    bindings = {item["spec"]["policyName"]: item for item in of_kind(EVERYWHERE, "ValidatingAdmissionPolicyBinding")}
    assert {item["metadata"]["name"] for item in policies} == set(bindings)
    for policy in policies:
        assert policy["spec"]["failurePolicy"] == "Fail"
        assert bindings[policy["metadata"]["name"]]["spec"]["validationActions"] == ["Deny"]


def test_the_operator_reads_what_the_chart_sets() -> None:
    values = ("operator.networkPolicy.apiServer.cidr=10.0.0.1/32", "operator.networkPolicy.apiServer.ports={6443}")
    (deployment,) = [
        item for item in of_kind(rendered(*values), "Deployment") if item["metadata"]["name"] == "crowetrade-operator"
    ]
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    settings = from_environment(
        {item["name"]: item["value"] for item in env if "value" in item} | {"OPERATOR_NAMESPACE": SYSTEM_NAMESPACE}
    )
    assert settings.api_server == Addresses("10.0.0.1/32", (6443,))


def test_the_operator_reaches_the_control_service_of_gateways() -> None:
    (policy,) = named(EVERYWHERE, "NetworkPolicy", "crowetrade-operator")
    ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
    assert CONTROL_PORT in ports
