"""The chart as helm renders it: who may do what with KillSwitches, and that the operator's settings come from it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crowetrade_api.names import CONTROL_PORT, SHARD_LABEL
from crowetrade_operator.errors import SettingsError
from crowetrade_operator.settings import Peer, from_environment
from crowetrade_operator_tests.charts import CHART, of_kind, operator_settings, rendered, settings_of

pytestmark = pytest.mark.integration
Object = dict[str, Any]
EVERYWHERE = rendered()
SOME = rendered("operator.namespaces={desk-a,desk-b}")


def named(objects: list[Object], kind: str, name: str) -> list[Object]:
    return [item for item in of_kind(objects, kind) if item["metadata"]["name"] == name]


def rights(role: Object) -> set[tuple[str, str]]:
    rules = role.get("rules", [])
    return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


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


def test_rules_that_the_cluster_aggregates_are_left_out() -> None:
    """Whoever compares the chart with the cluster, as Argo CD does, would see a difference for ever."""
    aggregated = [role for role in of_kind(EVERYWHERE, "ClusterRole") if "aggregationRule" in role]
    assert aggregated
    assert not [role["metadata"]["name"] for role in aggregated if "rules" in role]


def test_policies_deny_and_fail_closed() -> None:
    policies = of_kind(EVERYWHERE, "ValidatingAdmissionPolicy")
    bindings = {item["spec"]["policyName"]: item for item in of_kind(EVERYWHERE, "ValidatingAdmissionPolicyBinding")}
    assert {item["metadata"]["name"] for item in policies} == set(bindings)
    for policy in policies:
        assert policy["spec"]["failurePolicy"] == "Fail"
        assert bindings[policy["metadata"]["name"]]["spec"]["validationActions"] == ["Deny"]


def test_the_operator_reads_what_the_chart_sets() -> None:
    values = (
        "operator.networkPolicy.apiServer.cidrs={10.0.0.1/32,fd00::1/128}",
        "operator.networkPolicy.apiServer.ports={6443}",
        "gateway.restartsAtOnce=4",
        "agents.restartsAtOnce=7",
        "agents.imagePullSecrets={models,base}",
        "gateway.imagePullSecrets={adapters}",
    )
    settings = operator_settings(*values)
    assert settings.api_server == Peer(ports=(6443,), cidrs=("10.0.0.1/32", "fd00::1/128"))
    assert settings.gateway_restarts_at_once == 4
    assert settings.agent_restarts_at_once == 7
    assert settings.agent_pull_secrets == ("models", "base")
    assert settings.gateway_pull_secrets == ("adapters",)


@pytest.mark.parametrize("source", ["None", "Vault", "Files"])
@pytest.mark.parametrize("roles", ["None", "Verify", "Manage"])
def test_the_operator_has_a_token_for_vault_where_it_needs_one(source: str, roles: str) -> None:
    objects = rendered(
        "vault.address=https://vault.vault.svc:8200", f"vault.roles={roles}", f"identity.source={source}"
    )
    (deployment,) = named(objects, "Deployment", "crowetrade-operator")
    pod = deployment["spec"]["template"]["spec"]
    tokens = [volume for volume in pod["volumes"] if "serviceAccountToken" in str(volume)]
    names = [volume["name"] for volume in pod["volumes"]]
    assert len(names) == len(set(names))
    needs = source == "Vault" or roles != "None"
    assert len(tokens) == needs
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    settings = settings_of(deployment)
    assert settings.vault_roles == roles
    assert not needs or mounts[tokens[0]["name"]] == str(Path(settings.vault_token_file).parent)
    (policy,) = named(objects, "NetworkPolicy", "crowetrade-operator")
    ways = [rule for rule in policy["spec"]["egress"] if {"port": 8200, "protocol": "TCP"} in rule["ports"]]
    assert len(ways) == needs


def test_a_vault_over_plain_http_is_said_to_be_wanted() -> None:
    values = ("vault.address=http://vault.vault.svc:8200", "vault.delivery=Injector")
    with pytest.raises(SettingsError, match="IDENTITY_VAULT_ALLOW_HTTP to true for development"):
        operator_settings(*values)
    assert operator_settings(*values, "vault.allowHttp=true").vault_delivery == "Injector"


def test_the_operator_reaches_the_control_service_of_gateways() -> None:
    (policy,) = named(EVERYWHERE, "NetworkPolicy", "crowetrade-operator")
    ports = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
    assert CONTROL_PORT in ports


@pytest.mark.parametrize("replicas", [1, 3])
def test_an_upgrade_of_the_chart_alone_does_not_restart_the_bus(replicas: int, tmp_path: Path) -> None:
    before, after = (
        of_kind(rendered(f"nats.replicas={replicas}", chart=chart), "StatefulSet")
        for chart in (CHART, _of_another_version(tmp_path))
    )
    assert before[0]["metadata"]["labels"] != after[0]["metadata"]["labels"], "it is another version"
    assert before[0]["spec"] == after[0]["spec"]


@pytest.mark.parametrize(("replicas", "charged"), [(1, "8GB"), (3, "24GB")])
def test_copies_of_streams_on_other_servers_take_no_room_from_venues(replicas: int, charged: str) -> None:
    """NATS charges an account for every copy: with the store of one server three servers held three venues."""
    (stateful,) = of_kind(rendered(f"nats.replicas={replicas}"), "StatefulSet")
    env = {item["name"]: item.get("value") for item in stateful["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert (env["MAX_FILE_STORE"], env["MAX_ACCOUNT_STORE"]) == ("8GB", charged)


def test_another_file_of_settings_restarts_the_bus() -> None:
    alone, clustered = (
        of_kind(rendered(f"nats.replicas={replicas}"), "StatefulSet")[0]["spec"]["template"]["metadata"]["annotations"]
        for replicas in (1, 3)
    )
    assert alone != clustered


def _of_another_version(folder: Path) -> Path:
    chart = folder / "crowetrade"
    shutil.copytree(CHART, chart)
    text = (chart / "Chart.yaml").read_text()
    found = re.sub(r"(?m)^(version|appVersion): .*$", r'\1: "9.9.9"', text)
    assert found != text
    (chart / "Chart.yaml").write_text(found)
    return chart


def test_each_shard_has_an_operator_that_may_claim_namespaces() -> None:
    sharded = rendered("operator.shards={fx,rates}")
    found = {item["metadata"]["name"]: item for item in of_kind(sharded, "Deployment")}
    assert "crowetrade-operator" not in found
    for shard in ("fx", "rates"):
        spec = found[f"crowetrade-operator-{shard}"]["spec"]
        selector, labels = spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]
        assert selector[SHARD_LABEL] == shard
        assert selector.items() <= labels.items()
        environment = {item["name"]: item.get("value", "") for item in spec["template"]["spec"]["containers"][0]["env"]}
        settings = from_environment({**environment, "OPERATOR_NAMESPACE": "x", "CERTIFICATE_ISSUER_NAME": ""})
        assert (settings.shard_label, settings.namespaces) == (shard, ())
        assert settings.lease_name == f"crowetrade-operator-{shard}"
    (role,) = named(sharded, "Role", "crowetrade-operator-lease")
    assert {("leases", verb) for verb in ("create", "get", "list", "update", "watch")} <= rights(role)
    assert not any("resourceNames" in rule for rule in role["rules"] if "list" in rule["verbs"])
    (everywhere,) = named(sharded, "ClusterRole", "crowetrade-operator")
    assert ("namespaces", "list") in rights(everywhere)


def test_namespaces_are_chosen_by_label_or_by_name_and_not_by_both() -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        rendered("operator.shards={fx}", "operator.namespaces={desk}")
    assert "leave one of them empty" in refused.value.stderr
