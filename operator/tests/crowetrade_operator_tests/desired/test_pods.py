"""Deployments: Pod Security restricted, what they mount, and what rolls them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from crowetrade_api.files import ListedInstrument
from crowetrade_api.names import CONFIG_HASH_ANNOTATION
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_operator.desired.configmap import config_hash, strategy_content, venue_config_map, venue_content
from crowetrade_operator.desired.deployment import roles_of, strategy_deployments, venue_deployment
from crowetrade_operator.desired.metadata import selector
from crowetrade_operator.desired.pod import STORAGE
from crowetrade_operator.desired.poddisruptionbudget import pod_disruption_budget
from crowetrade_operator.desired.service import service
from crowetrade_operator.desired.serviceaccount import service_account
from crowetrade_operator.settings import VaultDelivery
from crowetrade_operator_tests.samples import SETTINGS, change, strategy, strategy_manifest, venue, venue_manifest

Object = dict[str, Any]
WITH_VAULT = replace(SETTINGS, vault_address="https://vault.vault.svc:8200")
KEYS = {"apiKey": "api-key", "secret": "api-secret"}
VAULT = {"vault": {"path": "secret/data/venues/sim", "role": "venue-sim", "keys": KEYS, "refreshSeconds": 30}}
INJECTED = replace(
    WITH_VAULT,
    vault_delivery=VaultDelivery.INJECTOR,
    vault_ca="PEM",
    vault_namespace="desk",
    vault_server_name="vault.internal",
)


def vault_venue() -> VenueConnection:
    return venue(change(venue_manifest(), "spec.credentials", VAULT))


def secret_venue() -> VenueConnection:
    return venue(change(venue_manifest(), "spec.credentials", {"secretRef": {"name": "sim-key", "keys": KEYS}}))


def split() -> Strategy:
    return strategy(change(strategy_manifest(), "spec.agents", {"topology": "Split"}))


DEPLOYMENTS: dict[str, Object] = {
    "a strategy": strategy_deployments(strategy(), "sha256:1", SETTINGS)[0],
    "a role of a split strategy": strategy_deployments(split(), "sha256:1", SETTINGS)[2],
    "a gateway": venue_deployment(venue(), "sha256:1", SETTINGS),
    "a gateway with Vault": venue_deployment(vault_venue(), "sha256:1", WITH_VAULT),
    "a gateway with an injected Vault Agent": venue_deployment(vault_venue(), "sha256:1", INJECTED),
    "a gateway with a Secret": venue_deployment(secret_venue(), "sha256:1", SETTINGS),
}


def _pod(deployment: Object) -> Object:
    pod: Object = deployment["spec"]["template"]["spec"]
    return pod


def _containers(deployment: Object) -> list[Object]:
    return [*_pod(deployment)["containers"], *_pod(deployment).get("initContainers", [])]


@pytest.mark.parametrize("case", DEPLOYMENTS)
def test_pods_pass_pod_security_restricted(case: str) -> None:
    pod = _pod(DEPLOYMENTS[case])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in _containers(DEPLOYMENTS[case]):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
    kinds = {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]}
    assert kinds <= {"configMap", "emptyDir", "projected", "secret", "persistentVolumeClaim"}


@pytest.mark.parametrize("case", DEPLOYMENTS)
def test_every_container_is_bounded_and_probed(case: str) -> None:
    for container in _containers(DEPLOYMENTS[case]):
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert "memory" in container["resources"]["limits"]
        assert "startupProbe" in container or container["name"] == "vault-agent", "it holds up nobody's start"
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert "/tmp" in mounts
        volumes = {volume["name"] for volume in _pod(DEPLOYMENTS[case])["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


@pytest.mark.parametrize("case", DEPLOYMENTS)
def test_the_selector_selects_the_pods_and_only_one_runs(case: str) -> None:
    spec = DEPLOYMENTS[case]["spec"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["template"]["metadata"]["annotations"]["trading.crowetrade.io/config-hash"] == "sha256:1"


@pytest.mark.parametrize("case", DEPLOYMENTS)
def test_nothing_secret_is_in_the_environment(case: str) -> None:
    for container in _containers(DEPLOYMENTS[case]):
        names = {item["name"] for item in container["env"]}
        kills = {"CROWETRADE_KILL_DIRECTORY", "CROWETRADE_KILL_NAMESPACES"}
        assert names <= {"POD_NAME", "NATS_URL", "CONFIG_HASH", "HOME", *kills}
        assert all("secretKeyRef" not in item.get("valueFrom", {}) for item in container["env"])


def test_combined_runs_all_roles_and_split_one_each() -> None:
    combined = strategy_deployments(strategy(), "h", SETTINGS)
    assert [item["metadata"]["name"] for item in combined] == ["strategy-ema"]
    assert _pod(combined[0])["containers"][0]["args"][-1] == "feature,signal,portfolio,execution"
    parts = strategy_deployments(split(), "h", SETTINGS)
    assert roles_of(split()) == ["feature", "signal", "portfolio", "execution"]
    assert [_pod(item)["containers"][0]["args"][-1] for item in parts] == roles_of(split())
    assert len({item["metadata"]["name"] for item in parts}) == 4


def test_the_image_of_the_manifest_wins() -> None:
    own = strategy(change(strategy_manifest(), "spec.agents", {"image": "mine:1"}))
    assert _pod(strategy_deployments(own, "h", SETTINGS)[0])["containers"][0]["image"] == "mine:1"
    assert _pod(DEPLOYMENTS["a strategy"])["containers"][0]["image"] == SETTINGS.agents_image


def test_a_gateway_has_an_image_of_its_own() -> None:
    assert SETTINGS.gateway_image != SETTINGS.agents_image
    for case in ("a gateway", "a gateway with Vault"):
        assert _pod(DEPLOYMENTS[case])["containers"][0]["image"] == SETTINGS.gateway_image


def test_vault_agent_hands_over_by_a_memory_volume_and_holds_up_no_start() -> None:
    pod = _pod(DEPLOYMENTS["a gateway with Vault"])
    agent = pod["initContainers"][0]
    assert agent["restartPolicy"] == "Always"
    assert agent["image"] == "hashicorp/vault:1.19.0"
    assert "startupProbe" not in agent, "a gateway without keys still obeys orders to stop"
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["credentials"]["emptyDir"]["medium"] == "Memory"
    token = volumes["vault-token"]["projected"]["sources"][0]["serviceAccountToken"]
    assert token["audience"] == "vault"
    gateway = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert gateway["credentials"]["readOnly"] is True
    assert "vault-token" not in gateway
    assert pod["securityContext"]["fsGroup"] == 65532


def test_only_the_gateways_container_has_a_token_of_the_api_server() -> None:
    pod = _pod(DEPLOYMENTS["a gateway with Vault"])
    gateway = pod["containers"][0]
    mounts = {mount["name"]: mount for mount in gateway["volumeMounts"]}
    assert mounts["api-server"]["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert mounts["api-server"]["readOnly"]
    volume = next(item for item in pod["volumes"] if item["name"] == "api-server")
    token, authority = volume["projected"]["sources"]
    assert "audience" not in token["serviceAccountToken"], "the API server's own"
    assert authority["configMap"]["name"] == "kube-root-ca.crt"
    (agent,) = pod["initContainers"]
    assert "api-server" not in {mount["name"] for mount in agent["volumeMounts"]}
    for case in ("a strategy", "a role of a split strategy"):
        assert "serviceAccountToken" not in str(_pod(DEPLOYMENTS[case]))


@pytest.mark.parametrize(("namespaces", "watched"), [((), "*"), (("a", "b"), "a,b")])
def test_a_gateway_keeps_kill_orders_in_the_pod_and_watches_where_the_operator_works(
    namespaces: tuple[str, ...], watched: str
) -> None:
    pod = _pod(venue_deployment(venue(), "hash", replace(SETTINGS, namespaces=namespaces)))
    environment = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
    assert environment["CROWETRADE_KILL_NAMESPACES"] == watched
    directory = environment["CROWETRADE_KILL_DIRECTORY"]
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    volume = next(item for item in pod["volumes"] if item["name"] == mounts[str(directory)]["name"])
    assert set(volume) == {"name", "emptyDir"}
    assert not mounts[str(directory)].get("readOnly")


def test_vault_agents_configuration() -> None:
    data = venue_config_map(vault_venue(), venue_content(vault_venue()), WITH_VAULT)["data"]
    config = json.loads(data["vault-agent.json"])
    assert config["vault"] == {"address": "https://vault.vault.svc:8200"}
    assert config["auto_auth"]["method"][0]["mount_path"] == "auth/kubernetes"
    assert config["auto_auth"]["method"][0]["config"]["role"] == "venue-sim"
    template = config["template"][0]
    assert template["perms"] == "0440"
    assert template["destination"] == "/var/run/crowetrade/credentials/credentials.json"
    assert template["contents"] == (
        '{{ with secret "secret/data/venues/sim" }}{"version":"{{ .Data.metadata.version }}","keys":'
        '{"apiKey":{{ index .Data.data "api-key" | toJSON }},"secret":{{ index .Data.data "api-secret" | toJSON }}}}'
        "{{ end }}"
    )
    assert config["template_config"]["static_secret_render_interval"] == "30s"


def test_credentials_with_a_lease_have_no_version() -> None:
    leased = venue(change(venue_manifest(), "spec.credentials", {"vault": {**VAULT["vault"], "engine": "Dynamic"}}))
    config = json.loads(venue_config_map(leased, venue_content(leased), WITH_VAULT)["data"]["vault-agent.json"])
    assert config["template"][0]["contents"].startswith(
        '{{ with secret "secret/data/venues/sim" }}{"version":"","keys":{"apiKey":{{ index .Data "api-key" | toJSON }},'
    )


def test_vault_agent_knows_the_authority_name_and_namespace_of_vault() -> None:
    settings = replace(INJECTED, vault_delivery=VaultDelivery.SIDECAR)
    data = venue_config_map(vault_venue(), venue_content(vault_venue()), settings)["data"]
    assert json.loads(data["vault-agent.json"])["vault"] == {
        "address": "https://vault.vault.svc:8200",
        "ca_cert": "/etc/vault-agent/vault-ca.crt",
        "tls_server_name": "vault.internal",
        "namespace": "desk",
    }
    assert data["vault-ca.crt"] == "PEM"


def test_of_several_vaults_the_agent_is_started_for_one_that_answers() -> None:
    settings = replace(WITH_VAULT, vault_address="https://a:8200, https://b:8200", vault_ca="PEM")
    agent = _pod(venue_deployment(vault_venue(), "h", settings))["initContainers"][0]
    assert agent["command"][:2] == ["sh", "-c"]
    values = {item["name"]: item["value"] for item in agent["env"]}
    assert values["VAULT_ADDRESSES"] == "https://a:8200 https://b:8200"
    assert values["VAULT_CACERT"] == "/etc/vault-agent/vault-ca.crt"


DOCUMENTED = {
    "vault.hashicorp.com/agent-inject": "true",
    "vault.hashicorp.com/agent-pre-populate": "false",
    "vault.hashicorp.com/agent-inject-containers": "gateway",
    "vault.hashicorp.com/agent-inject-secret-credentials.json": "secret/data/venues/sim",
    "vault.hashicorp.com/agent-inject-perms-credentials.json": "0440",
    "vault.hashicorp.com/secret-volume-path": "/var/run/crowetrade/credentials",
    "vault.hashicorp.com/template-static-secret-render-interval": "30s",
    "vault.hashicorp.com/template-config-exit-on-retry-failure": "false",
    "vault.hashicorp.com/role": "venue-sim",
    "vault.hashicorp.com/auth-path": "auth/kubernetes",
    "vault.hashicorp.com/agent-service-account-token-volume-name": "vault-token",
    "vault.hashicorp.com/agent-image": "hashicorp/vault:1.19.0",
    "vault.hashicorp.com/agent-run-as-user": "65532",
    "vault.hashicorp.com/agent-run-as-group": "65532",
    "vault.hashicorp.com/service": "https://vault.vault.svc:8200",
    "vault.hashicorp.com/ca-cert": "/var/run/secrets/vault.hashicorp.com/serviceaccount/vault-ca.crt",
    "vault.hashicorp.com/tls-server-name": "vault.internal",
    "vault.hashicorp.com/namespace": "desk",
}
"""Of the Vault Agent Injector, as its documentation names them."""


def test_the_injectors_annotations_are_those_that_it_documents() -> None:
    deployment = DEPLOYMENTS["a gateway with an injected Vault Agent"]
    found = dict(deployment["spec"]["template"]["metadata"]["annotations"])
    del found[CONFIG_HASH_ANNOTATION]
    data = venue_config_map(vault_venue(), venue_content(vault_venue()), WITH_VAULT)["data"]
    rendered = json.loads(data["vault-agent.json"])["template"][0]["contents"]
    assert "vault-agent.json" not in venue_config_map(vault_venue(), venue_content(vault_venue()), INJECTED)["data"]
    assert found.pop("vault.hashicorp.com/agent-inject-template-credentials.json") == rendered
    patch = json.loads(found.pop("vault.hashicorp.com/agent-json-patch"))
    assert patch == [{"op": "add", "path": "/securityContext/seccompProfile", "value": {"type": "RuntimeDefault"}}]
    assert found == DOCUMENTED


def test_the_injector_finds_the_token_and_nothing_of_the_sidecar() -> None:
    pod = _pod(DEPLOYMENTS["a gateway with an injected Vault Agent"])
    assert "initContainers" not in pod
    assert not {"credentials", "vault-agent"} & {volume["name"] for volume in pod["volumes"]}
    token, authority = next(item for item in pod["volumes"] if item["name"] == "vault-token")["projected"]["sources"]
    assert token["serviceAccountToken"]["audience"] == "vault"
    assert authority["configMap"]["items"] == [{"key": "vault-ca.crt", "path": "vault-ca.crt"}]


def test_a_secret_is_mounted_read_only_and_may_come_later() -> None:
    pod = _pod(DEPLOYMENTS["a gateway with a Secret"])
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["credentials"]["secret"]["secretName"] == "sim-key"
    assert volumes["credentials"]["secret"]["items"] == [
        {"key": "api-key", "path": "apiKey"},
        {"key": "api-secret", "path": "secret"},
    ]
    assert volumes["credentials"]["secret"]["optional"] is True
    assert "initContainers" not in pod
    (mount,) = (item for item in pod["containers"][0]["volumeMounts"] if item["name"] == "credentials")
    assert mount["readOnly"] is True


@pytest.mark.parametrize(
    ("data", "volume"),
    [
        ({"symbol": "EUR-USD", "sample": "eurusd-1h"}, None),
        ({"persistentVolumeClaim": {"claimName": "c", "path": "a.csv"}}, "persistentVolumeClaim"),
        ({"configMap": {"name": "c", "key": "a.csv"}}, "configMap"),
    ],
)
def test_data_of_the_user_is_mounted(data: Object, volume: str | None) -> None:
    pod = _pod(venue_deployment(venue(change(venue_manifest(), "spec.simulated.data", [data])), "h", SETTINGS))
    found = next((item for item in pod["volumes"] if item["name"] == "data-0"), None)
    assert (found is None) if volume is None else (found is not None and volume in found)
    mounts = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]
    assert ("/data/0" in mounts) is (volume is not None)


def test_several_recordings_are_mounted_side_by_side_each_volume_once() -> None:
    data: list[Object] = [
        {"symbol": "A", "persistentVolumeClaim": {"claimName": "ticks", "path": "a.csv"}},
        {"symbol": "B", "configMap": {"name": "small", "key": "b.csv"}},
        {"symbol": "C", "persistentVolumeClaim": {"claimName": "ticks", "path": "c.csv"}},
        {"symbol": "D", "configMap": {"name": "small", "key": "d.csv"}},
        {"symbol": "E", "sample": "eurusd-1h"},
    ]
    instrument = venue_manifest()["spec"]["instruments"][0]
    manifest = change(venue_manifest(), "spec.simulated.data", data)
    manifest = change(manifest, "spec.instruments", [{**instrument, "symbol": item["symbol"]} for item in data])
    pod = _pod(venue_deployment(venue(manifest), "h", SETTINGS))
    volumes = {item["name"]: item for item in pod["volumes"] if item["name"].startswith("data-")}
    assert volumes["data-0"]["persistentVolumeClaim"] == {"claimName": "ticks", "readOnly": True}
    assert volumes["data-1"]["configMap"]["items"] == [
        {"key": "b.csv", "path": "b.csv"},
        {"key": "d.csv", "path": "d.csv"},
    ]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert {name: mounts[name] for name in volumes} == {"data-0": "/data/0", "data-1": "/data/1"}
    assert [item["path"] for item in venue_content(venue(manifest))["recordings"]] == [
        "0/a.csv",
        "1/b.csv",
        "0/c.csv",
        "1/d.csv",
        "eurusd-1h.csv",
    ]


def test_a_gateway_has_time_to_close_positions_and_the_resources_of_its_manifest() -> None:
    resources = {"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    pod = _pod(venue_deployment(venue(change(venue_manifest(), "spec.resources", resources)), "h", SETTINGS))
    assert pod["terminationGracePeriodSeconds"] == 45
    storage = {"requests": {"ephemeral-storage": "64Mi"}, "limits": {"ephemeral-storage": "512Mi"}}
    assert pod["containers"][0]["resources"] == {part: {**storage[part], **resources[part]} for part in resources}
    assert _pod(DEPLOYMENTS["a gateway with Vault"])["containers"][0]["resources"] == {
        "requests": {"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "64Mi"},
        "limits": {"memory": "512Mi", "ephemeral-storage": "512Mi"},
    }


def test_tmp_may_take_what_a_manifest_says_of_storage() -> None:
    limits = {"limits": {"ephemeral-storage": "2Gi"}}
    agent = _pod(
        strategy_deployments(strategy(change(strategy_manifest(), "spec.agents.resources", limits)), "h", SETTINGS)[0]
    )
    gateway = _pod(venue_deployment(venue(change(venue_manifest(), "spec.resources", limits)), "h", SETTINGS))
    for pod in (agent, gateway):
        assert pod["containers"][0]["resources"]["limits"]["ephemeral-storage"] == "2Gi"
        assert _size_of_tmp(pod) == "2Gi"
    assert _size_of_tmp(_pod(DEPLOYMENTS["a gateway with Vault"])) == "64Mi"


@pytest.mark.parametrize(
    ("resources", "requested", "limit"),
    [
        ({}, "64Mi", "512Mi"),
        ({"requests": {STORAGE: "100Mi"}}, "100Mi", "512Mi"),
        ({"requests": {STORAGE: "2Gi"}}, "2Gi", "2Gi"),
        ({"requests": {STORAGE: "0.6G"}}, "0.6G", "0.6G"),
        ({"limits": {STORAGE: "32Mi"}}, "32Mi", "32Mi"),
        ({"limits": {STORAGE: "70M"}}, "64Mi", "70M"),
        ({"limits": {STORAGE: "1Ti"}}, "64Mi", "1Ti"),
        ({"requests": {STORAGE: "1Gi"}, "limits": {STORAGE: "2Gi"}}, "1Gi", "2Gi"),
    ],
)
def test_what_is_left_out_of_storage_is_no_request_above_its_limit(
    resources: Object, requested: str, limit: str
) -> None:
    """The API server refuses such a pod."""
    manifest = change(strategy_manifest(), "spec.agents.resources", resources)
    [deployment] = strategy_deployments(strategy(manifest), "h", SETTINGS)
    found = _pod(deployment)["containers"][0]["resources"]
    assert (found["requests"][STORAGE], found["limits"][STORAGE]) == (requested, limit)


def _size_of_tmp(pod: Object) -> Any:
    return next(item["emptyDir"]["sizeLimit"] for item in pod["volumes"] if item["name"] == "tmp")


def test_what_rolls_a_strategy_and_what_does_not() -> None:
    instruments = {("sim-fx", "EUR-USD"): ListedInstrument.of(venue(), venue().spec.instruments[0])}

    def hash_of(manifest: Object, **metadata: Any) -> str:
        return config_hash(strategy_content(strategy(manifest, **metadata), instruments, SETTINGS))

    base = hash_of(strategy_manifest())
    assert hash_of(change(strategy_manifest(), "spec.suspend", True), generation=2) == base
    assert hash_of(change(strategy_manifest(), "spec.model.parameters.fast", 13)) != base


def test_strategy_file_has_all_that_agents_need() -> None:
    instruments = {("sim-fx", "EUR-USD"): ListedInstrument.of(venue(), venue().spec.instruments[0])}
    content = strategy_content(strategy(), instruments, SETTINGS)
    assert content["gateways"] == {"sim-fx": "venue-sim-fx.desk.svc:50051"}
    assert content["instruments"] == [
        {
            "symbol": "EUR-USD",
            "venue": "sim-fx",
            "currency": "USD",
            "multiplier": "1",
            "tickSize": "0.00001",
            "lotSize": "1000",
            "minQuantity": "1000",
        }
    ]
    assert content["spec"]["policy"]["sizing"]["maxLeverage"] == "2"
    assert "suspend" not in content["spec"]


def test_venue_file_does_not_hold_suspend() -> None:
    assert "suspend" not in venue_content(venue())["spec"]
    assert venue_content(venue())["spec"]["simulated"]["replay"] == {"speed": "60", "loop": True}


def test_small_children() -> None:
    assert service_account(venue(), ())["automountServiceAccountToken"] is False
    assert service(strategy())["spec"]["clusterIP"] == "None"
    ports = {item["name"]: item["port"] for item in service(venue())["spec"]["ports"]}
    assert ports == {"grpc": 50051, "control": 50052, "http": 8080}
    budget = pod_disruption_budget(strategy())["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": selector(strategy())}}
    owner = service_account(strategy(), ())["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Strategy", "uid-ema", True)
