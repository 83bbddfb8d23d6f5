"""What pods get to prove who they are, by source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crowetrade_operator.desired.configmap import strategy_config_map, venue_config_map
from crowetrade_operator.desired.deployment import strategy_deployments, venue_deployment
from crowetrade_operator.desired.identity import certificates
from crowetrade_operator.desired.networkpolicy import strategy_policy, venue_policy
from crowetrade_operator.settings import Issuer
from crowetrade_operator_tests.samples import SETTINGS, strategy, venue

Object = dict[str, Any]
AUTHORITY = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"
VAULT_CA = "/var/run/secrets/crowetrade/vault/vault-ca.crt"
FROM_VAULT = replace(
    SETTINGS,
    identity={"IDENTITY_SOURCE": "Vault", "VAULT_ADDR": "https://vault.vault.svc:8200", "VAULT_CACERT": VAULT_CA},
    vault_ca=AUTHORITY,
)
FROM_FILES = replace(SETTINGS, identity={"IDENTITY_SOURCE": "Files", "IDENTITY_TRUST_DOMAIN": "desk.example"})
FROM_CERT_MANAGER = replace(FROM_FILES, issuer=Issuer("desk", "ClusterIssuer", "cert-manager.io"))


def pods(settings: Any) -> dict[str, Object]:
    deployments = {
        "strategy-ema": strategy_deployments(strategy(), "h", settings)[0],
        "venue-sim-fx": venue_deployment(venue(), "h", settings),
    }
    return {name: deployment["spec"]["template"]["spec"] for name, deployment in deployments.items()}


def environment(pod: Object) -> dict[str, str]:
    return {item["name"]: item["value"] for item in pod["containers"][0]["env"] if "value" in item}


def volume(pod: Object) -> Object:
    (found,) = [item for item in pod["volumes"] if item["name"] == "identity"]
    return dict(found)


def mounted_at(pod: Object) -> str:
    (found,) = [item for item in pod["containers"][0]["volumeMounts"] if item["name"] == "identity"]
    assert found["readOnly"] is True
    return str(found["mountPath"])


def test_without_identities_a_pod_gets_nothing_of_them() -> None:
    for pod in pods(SETTINGS).values():
        assert not [name for name in environment(pod) if "IDENTITY" in name]
        assert "identity" not in {item["name"] for item in pod["volumes"]}


@pytest.mark.parametrize("name", ["strategy-ema", "venue-sim-fx"])
def test_from_vault_a_pod_gets_a_token_for_vault_alone_and_the_operators_settings(name: str) -> None:
    pod = pods(FROM_VAULT)[name]
    assert FROM_VAULT.identity.items() <= environment(pod).items()
    token, authority = volume(pod)["projected"]["sources"]
    assert token["serviceAccountToken"]["audience"] == "vault"
    assert f"{mounted_at(pod)}/{token['serviceAccountToken']['path']}" == "/var/run/secrets/crowetrade/vault/token"
    assert authority["configMap"]["name"] == name
    assert f"{mounted_at(pod)}/{authority['configMap']['items'][0]['path']}" == VAULT_CA


def test_the_authority_of_vault_is_in_the_config_map_that_the_pod_mounts() -> None:
    for item in (strategy_config_map(strategy(), {}, FROM_VAULT), venue_config_map(venue(), {}, FROM_VAULT)):
        assert item["data"]["vault-ca.crt"] == AUTHORITY
    trusted_by_the_image = replace(FROM_VAULT, vault_ca="")
    assert "vault-ca.crt" not in strategy_config_map(strategy(), {}, trusted_by_the_image)["data"]
    assert len(volume(pods(trusted_by_the_image)["strategy-ema"])["projected"]["sources"]) == 1


@pytest.mark.parametrize("name", ["strategy-ema", "venue-sim-fx"])
@pytest.mark.parametrize("settings", [FROM_FILES, FROM_CERT_MANAGER], ids=["files", "cert-manager"])
def test_files_come_from_a_secret_of_the_pods_own(settings: Any, name: str) -> None:
    pod = pods(settings)[name]
    assert volume(pod)["secret"]["secretName"] == f"{name}-identity"
    assert mounted_at(pod) == "/var/run/crowetrade/identity"
    assert environment(pod)["IDENTITY_SOURCE"] == "Files"


def test_cert_manager_is_asked_for_the_name_that_peers_check() -> None:
    (found,) = certificates(venue(), FROM_CERT_MANAGER)
    namespace, spec = found["metadata"]["namespace"], found["spec"]
    assert spec["uris"] == [f"spiffe://desk.example/ns/{namespace}/sa/venue-sim-fx"]
    assert f"venue-sim-fx.{namespace}.svc" in spec["dnsNames"]
    assert (spec["privateKey"]["algorithm"], spec["privateKey"]["size"]) == ("ECDSA", 256)
    assert spec["secretName"] == "venue-sim-fx-identity"
    assert spec["issuerRef"] == {"name": "desk", "kind": "ClusterIssuer", "group": "cert-manager.io"}
    assert certificates(venue(), FROM_FILES) == []


def test_pods_reach_vault_only_where_it_is_the_source() -> None:
    def ports(settings: Any) -> set[int]:
        policies = (strategy_policy(strategy(), [venue()], settings), venue_policy(venue(), [], settings))
        return {port["port"] for item in policies for rule in item["spec"]["egress"] for port in rule["ports"]}

    assert 8200 in ports(FROM_VAULT)
    assert 8200 not in ports(FROM_FILES) | ports(SETTINGS)
