"""The chart's part in identities: who gets what, by identity.source."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crowetrade_operator.admission.install import EARLIER_SECRET, NAME
from crowetrade_operator.settings import Issuer, from_environment
from crowetrade_operator_tests.charts import SYSTEM_NAMESPACE, of_kind, rendered
from crowetrade_process.identity.settings import identity_from_environment

pytestmark = pytest.mark.integration
Object = dict[str, Any]
ADMINISTRATOR = "spiffe://desk.example/ns/people/sa/alice"
COMMON = ("identity.trustDomain=desk.example", f"identity.administrators={{{ADMINISTRATOR}}}")
VAULT = (
    *COMMON,
    "identity.source=Vault",
    "vault.address=https://vault.vault.svc:8200",
    "vault.caCertificate=-----BEGIN CERTIFICATE-----MII",
)
NONE = rendered()
FROM_VAULT = rendered(*VAULT)
FROM_CERT_MANAGER = rendered(*COMMON, "identity.source=CertManager", "identity.certManager.issuerRef.name=desk")
PODS = {
    "crowetrade-operator": ("Deployment", "operator"),
    "crowetrade-authorizer": ("Deployment", "authorizer"),
    "crowetrade-risk-auditor": ("Deployment", "risk-auditor"),
    "nats": ("StatefulSet", "identity"),
}


def pod(objects: list[Object], name: str) -> Object:
    (found,) = [item for item in of_kind(objects, PODS[name][0]) if item["metadata"]["name"] == name]
    spec: Object = found["spec"]["template"]["spec"]
    return spec


def container(objects: list[Object], name: str) -> Object:
    spec = pod(objects, name)
    (found,) = [
        item for item in [*spec["containers"], *spec.get("initContainers", [])] if item["name"] == PODS[name][1]
    ]
    return dict(found)


def environment(objects: list[Object], name: str) -> dict[str, str]:
    return {item["name"]: item["value"] for item in container(objects, name)["env"] if "value" in item}


def names(objects: list[Object], *kinds: str) -> set[str]:
    return {item["metadata"]["name"] for item in of_kind(objects, *kinds)}


def test_without_identities_there_is_no_authorizer_and_no_tls() -> None:
    assert "crowetrade-authorizer" not in names(NONE, "Deployment", "ServiceAccount", "ClusterRole", "NetworkPolicy")
    assert names(NONE, "Job") == {"crowetrade-admission", "crowetrade-uninstall"}
    (config,) = [item for item in of_kind(NONE, "ConfigMap") if item["metadata"]["name"] == "nats"]
    assert "tls {" not in config["data"]["access.conf"]
    assert environment(NONE, "crowetrade-operator")["IDENTITY_SOURCE"] == "None"


@pytest.mark.parametrize("name", PODS)
def test_every_pod_is_told_where_its_identity_is(name: str) -> None:
    for objects in (FROM_VAULT, FROM_CERT_MANAGER):
        identity = identity_from_environment(environment(objects, name))
        assert identity is not None
        assert pod(objects, name)["serviceAccountName"] == name


@pytest.mark.parametrize("name", PODS)
def test_from_vault_each_pod_has_a_token_for_vault_alone(name: str) -> None:
    (volume,) = [item for item in pod(FROM_VAULT, name)["volumes"] if item["name"] == "vault"]
    token, authority = volume["projected"]["sources"]
    assert token["serviceAccountToken"]["audience"] == "vault"
    (mount,) = [item for item in container(FROM_VAULT, name)["volumeMounts"] if item["name"] == "vault"]
    path = authority["configMap"]["items"][0]["path"]
    assert environment(FROM_VAULT, name)["VAULT_CACERT"] == f"{mount['mountPath']}/{path}"
    assert authority["configMap"]["name"] in names(FROM_VAULT, "ConfigMap")


def test_cert_manager_is_asked_for_a_certificate_of_each_pod() -> None:
    certificates = {item["metadata"]["name"]: item["spec"] for item in of_kind(FROM_CERT_MANAGER, "Certificate")}
    assert set(certificates) == set(PODS)
    for name, spec in certificates.items():
        assert spec["uris"] == [f"spiffe://desk.example/ns/{SYSTEM_NAMESPACE}/sa/{name}"]
        assert f"{name}.{SYSTEM_NAMESPACE}.svc" in spec["dnsNames"]
        volumes = [item for item in pod(FROM_CERT_MANAGER, name)["volumes"] if item["name"] == "identity"]
        assert [item["secret"]["secretName"] for item in volumes] == [spec["secretName"]]


def test_cert_manager_is_asked_for_the_names_of_the_pods_of_several_servers_of_nats() -> None:
    source = ("identity.source=CertManager", "identity.certManager.issuerRef.name=desk", "nats.replicas=3")
    wanted = f"*.nats.{SYSTEM_NAMESPACE}.svc"
    certificates = {item["metadata"]["name"]: item["spec"] for item in of_kind(rendered(*source), "Certificate")}
    assert [name for name, spec in certificates.items() if wanted in spec["dnsNames"]] == ["nats"]
    assert not any(wanted in item["spec"]["dnsNames"] for item in of_kind(FROM_CERT_MANAGER, "Certificate"))


def test_beside_nats_is_told_where_to_record_whom_its_server_refuses() -> None:
    """At the server of its own pod, whose policy lets it reach no other one."""
    for objects in (FROM_VAULT, FROM_CERT_MANAGER):
        told = environment(objects, "nats")
        assert told["NATS_URL"] == "nats://127.0.0.1:4222"
        assert told["NATS_TLS_SERVER_NAME"] == f"nats.{SYSTEM_NAMESPACE}.svc"
        assert told["IDENTITY_OPERATOR_NAMESPACE"] == SYSTEM_NAMESPACE
        (log,) = [text for text in container(objects, "nats")["args"] if text.startswith("--log-file=")]
        (server,) = [item for item in pod(objects, "nats")["containers"] if item["name"] == "nats"]
        assert log.replace("--log-file", "--log") in server["args"]


def test_the_operator_hands_on_what_the_chart_says() -> None:
    env = environment(FROM_CERT_MANAGER, "crowetrade-operator") | {"OPERATOR_NAMESPACE": SYSTEM_NAMESPACE}
    settings = from_environment(env)
    assert settings.issuer == Issuer("desk", "ClusterIssuer", "cert-manager.io")
    assert settings.identity["IDENTITY_SOURCE"] == "Files"
    assert settings.identity["IDENTITY_ADMINISTRATORS"] == ADMINISTRATOR
    roles = [item for item in of_kind(FROM_CERT_MANAGER, "ClusterRole") if "operator" in item["metadata"]["name"]]
    assert "certificates" in str(roles)
    assert "cert-manager" not in str(of_kind(FROM_VAULT, "ClusterRole"))


def test_the_authorizer_reads_strategies_and_venues_and_nothing_else() -> None:
    (role,) = [
        item for item in of_kind(FROM_VAULT, "ClusterRole") if item["metadata"]["name"] == "crowetrade-authorizer"
    ]
    assert role["rules"] == [
        {
            "apiGroups": ["trading.crowetrade.io"],
            "resources": ["strategies", "venueconnections"],
            "verbs": ["get", "list", "watch"],
        }
    ]
    some = rendered(*VAULT, "operator.namespaces={desk-a,desk-b}")
    bound = [
        item for item in of_kind(some, "RoleBinding", "ClusterRoleBinding") if "authorizer" in str(item["roleRef"])
    ]
    namespaces = {item["metadata"].get("namespace") for item in bound if "keys" not in item["metadata"]["name"]}
    assert namespaces == {"desk-a", "desk-b"}


def test_two_authorizers_that_a_drain_takes_one_by_one() -> None:
    (deployment,) = [
        item for item in of_kind(FROM_VAULT, "Deployment") if item["metadata"]["name"] == "crowetrade-authorizer"
    ]
    assert deployment["spec"]["replicas"] == 2
    assert "crowetrade-authorizer" in names(FROM_VAULT, "PodDisruptionBudget")
    assert "podAntiAffinity" in deployment["spec"]["template"]["spec"]["affinity"]


def test_secrets_may_be_touched_by_hooks_alone_by_each_its_own() -> None:
    roles = [item for item in of_kind(FROM_VAULT, "Role", "ClusterRole") if "secrets" in str(item.get("rules"))]
    own = {"crowetrade-authorizer-keys": "crowetrade-authorizer", "crowetrade-admission": "crowetrade-admission"}
    assert {item["metadata"]["name"] for item in roles} == own.keys()
    for role in roles:
        assert "helm.sh/hook" in role["metadata"]["annotations"]
        allowed: dict[tuple[str, ...], list[str] | None] = {
            ("create",): None,
            ("get",): [own[role["metadata"]["name"]]],
        }
        if role["metadata"]["name"] == NAME:
            allowed["delete",] = [EARLIER_SECRET]
        assert {tuple(rule["verbs"]): rule.get("resourceNames") for rule in role["rules"]} == allowed


def test_a_webhook_may_be_changed_by_its_hook_alone() -> None:
    """Whoever may change one can have every object of the cluster shown to them, Secrets too."""
    roles = [item for item in of_kind(FROM_VAULT, "Role", "ClusterRole") if "webhookconfig" in str(item.get("rules"))]
    (role,) = roles
    assert role["metadata"]["name"] == "crowetrade-admission"
    assert "helm.sh/hook" in role["metadata"]["annotations"]
    (rule,) = role["rules"]
    assert rule["resourceNames"] == ["crowetrade-admission"]
    assert rule["verbs"] == ["get", "update"]


def test_three_servers_of_nats_prove_to_each_other_who_they_are() -> None:
    three = rendered(*VAULT, "nats.replicas=3")
    (config,) = [item for item in of_kind(three, "ConfigMap") if item["metadata"]["name"] == "nats"]
    assert "verify_cert_and_check_known_urls: true" in config["data"]["cluster.conf"]
    (stateful,) = of_kind(three, "StatefulSet")
    env = {item["name"]: item.get("value") for item in stateful["spec"]["template"]["spec"]["containers"][0]["env"]}
    # A route to each pod, by a name in the certificate of service account `nats`.
    assert json.loads(env["CLUSTER_ROUTES"]) == [
        f"nats-route://{stateful['metadata']['name']}-{n}.{stateful['spec']['serviceName']}.{SYSTEM_NAMESPACE}.svc:6222"
        for n in range(3)
    ]
    assert environment(three, "nats")["IDENTITY_POD_NAMES"] == "true"
    assert "IDENTITY_POD_NAMES" not in environment(FROM_VAULT, "nats")
    assert environment(three, "crowetrade-operator")["BUS_REPLICAS"] == "3"
    assert "nats" in names(three, "PodDisruptionBudget")
    (policy,) = [item for item in of_kind(three, "NetworkPolicy") if item["metadata"]["name"] == "nats"]
    assert 6222 in {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ((), "preferred"),
        (("nats.replicas=3",), "required"),
        (("nats.replicas=3", "nats.antiAffinity=Preferred"), "preferred"),
    ],
)
def test_no_two_of_three_servers_of_nats_are_lost_with_one_node(values: tuple[str, ...], rule: str) -> None:
    (stateful,) = of_kind(rendered(*values), "StatefulSet")
    template = stateful["spec"]["template"]
    ((found, (term,)),) = template["spec"]["affinity"]["podAntiAffinity"].items()
    assert found == f"{rule}DuringSchedulingIgnoredDuringExecution"
    term = term if rule == "required" else term["podAffinityTerm"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_the_log_of_nats_is_read_by_the_process_whose_metrics_are_scraped() -> None:
    template = of_kind(FROM_VAULT, "StatefulSet")[0]["spec"]["template"]
    (server,) = template["spec"]["containers"]
    reader = container(FROM_VAULT, "nats")
    (path,) = [item.removeprefix("--log=") for item in server["args"] if item.startswith("--log=")]
    assert f"--log-file={path}" in reader["args"]
    for one in (server, reader):
        assert any(path.startswith(f"{mount['mountPath']}/") for mount in one["volumeMounts"] if mount["name"] == "run")
    (port,) = reader["ports"]
    assert port["name"] == "http"
    assert f"--http-port={port['containerPort']}" in reader["args"]
    assert template["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == reader["name"]
    (without,) = pod(NONE, "nats")["containers"]
    assert not any("log" in item for item in without["args"])
