from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crowetrade_operator.errors import SettingsError
from crowetrade_operator.settings import Peer, from_environment

BASE = {"OPERATOR_NAMESPACE": "system"}
WRONG = {
    "no namespace": ({"OPERATOR_NAMESPACE": ""}, "OPERATOR_NAMESPACE is not set"),
    "workers that are no number": ({"WORKERS": "many"}, "WORKERS is 'many': write a number such as 16"),
    "no worker": ({"WORKERS": "0"}, "at least 1"),
    "a budget for less than one status a second": (
        {"STATUS_WRITES_PER_SECOND": "0.5"},
        "STATUS_WRITES_PER_SECOND is '0.5': write a number of at least 1",
    ),
    "a silence of two reports of an agent": ({"SILENT_AFTER_SECONDS": "6"}, "SILENT_AFTER_SECONDS is '6'"),
    "a shard that no Lease can have in its name": (
        {"SHARD": "FX/1", "NAMESPACES": "desk"},
        "SHARD is 'FX/1': write",
    ),
    "an endless deadline": ({"STOP_DEADLINE_SECONDS": "inf"}, "STOP_DEADLINE_SECONDS"),
    "labels without a value": ({"BUS_POD_LABELS": "nats"}, "key=value,key=value"),
    "a port that is none": ({"NATS_URL": "nats://a:b"}, "NATS_URL"),
    "addresses that are none": (
        {"API_SERVER_CIDRS": "the api server"},
        "API_SERVER_CIDRS is 'the api server': write n",
    ),
    "an address within a network": ({"DNS_CIDRS": "10.0.0.7/24"}, "DNS_CIDRS is '10.0.0.7/24': write networks"),
    "a bus with a scheme that has no port": ({"NATS_URL": "bus.example.com"}, "NATS_URL is 'bus.example.com': write a"),
    "a bus that is nowhere": ({"BUS_NAMESPACE_LABELS": "", "BUS_POD_LABELS": ""}, "BUS_CIDRS are empty: write where"),
    "a port beyond all": ({"API_SERVER_PORTS": "443,70000"}, "API_SERVER_PORTS is '443,70000': write ports"),
    "a port in words": ({"API_SERVER_PORTS": "https"}, "API_SERVER_PORTS is 'https': write ports separated by commas"),
    "an authority that is no file": ({"VAULT_CACERT": "/no/such/file"}, "VAULT_CACERT is '/no/such/file'"),
    "an issuer without files": (
        {"CERTIFICATE_ISSUER_NAME": "desk", "IDENTITY_SOURCE": "Vault"},
        "IDENTITY_SOURCE is not Files",
    ),
    "a way of delivery that is none": ({"VAULT_DELIVERY": "Pigeon"}, "'Pigeon': write one of Sidecar, Injector"),
    "a Vault over plain http": ({"VAULT_ADDR": "https://a:8200,http://b:8200"}, "'http://b:8200'.*write https://"),
    "a namespace's share of the store that holds no venue": (
        {"NAMESPACE_MAX_BYTES": str(600 * 2**20), "JOURNAL_MAX_BYTES": str(600 * 2**20)},
        "one venue alone reserves 696254464 .*or write 0 for no bound",
    ),
    "a lease that is renewed too late": ({"LEASE_RENEW_SECONDS": "20"}, "write for example 15, 10 and 2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_named(case: str) -> None:
    environment, words = WRONG[case]
    with pytest.raises(SettingsError, match=words):
        from_environment(BASE | environment)


def test_defaults_follow_the_namespace() -> None:
    settings = from_environment(BASE)
    assert settings.nats_url == "nats://nats.system.svc:4222"
    assert settings.bus.namespace_labels == {"kubernetes.io/metadata.name": "system"}
    assert settings.bus.pod_labels == {"app.kubernetes.io/name": "nats"}
    assert settings.dns.ports == (53,)
    assert not settings.monitoring
    assert settings.namespaces == ()
    assert settings.vault_address == ""
    assert settings.api_server == Peer(ports=(443, 6443), cidrs=("0.0.0.0/0", "::/0"))


def test_everything_can_be_set() -> None:
    settings = from_environment(
        BASE
        | {
            "NAMESPACES": "a, b,",
            "NATS_URL": "nats://bus:4333",
            "VAULT_ADDR": "https://vault.example.com:8300",
            "VAULT_POD_LABELS": "",
            "VAULT_NAMESPACE_LABELS": "team=security,kubernetes.io/metadata.name=v",
            "LOG_LEVEL": "debug",
            "VAULT_DELIVERY": "Injector",
            "VAULT_ROLES": "Verify",
            "HTTP_PORT": "0",
            "NAMESPACE_MAX_BYTES": "0",
            "API_SERVER_CIDRS": "10.0.0.1/32, fd00::1/128",
            "API_SERVER_PORTS": "6443, 7443",
        }
    )
    assert settings.namespaces == ("a", "b")
    assert settings.bus.ports == (4333,)
    assert settings.vault.ports == (8300,)
    assert settings.vault.pod_labels == {}
    assert settings.vault.namespace_labels == {"team": "security", "kubernetes.io/metadata.name": "v"}
    assert settings.log_level == "DEBUG"
    assert (settings.vault_delivery, settings.vault_roles) == ("Injector", "Verify")
    assert settings.http_port == 0
    assert settings.streams.namespace_max_bytes == 0
    assert settings.api_server == Peer(ports=(6443, 7443), cidrs=("10.0.0.1/32", "fd00::1/128"))


def test_pods_get_the_operators_own_settings_of_the_identity(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text("PEM")
    own = {"IDENTITY_SOURCE": "Vault", "VAULT_ADDR": "https://a:8200,https://b:8201", "VAULT_CACERT": str(authority)}
    settings = from_environment(BASE | own)
    assert settings.identity == own
    assert settings.vault_ca == "PEM"
    assert settings.vault.ports == (8200, 8201)
    assert from_environment(BASE | own | {"IDENTITY_SOURCE": "None"}).identity == {}
    assert from_environment(BASE).identity == {}


VAULT_PODS = Peer({"kubernetes.io/metadata.name": "vault"}, {"app.kubernetes.io/name": "vault"})


@pytest.mark.parametrize(
    ("environment", "vault"),
    [
        ({"VAULT_ADDR": "https://vault.vault.svc:8200"}, replace(VAULT_PODS, ports=(8200,))),
        ({"VAULT_ADDR": "https://vault.example.com"}, replace(VAULT_PODS, ports=(443,))),
        ({"VAULT_ADDR": "https://a:8200, https://b:8300,https://c:8200"}, replace(VAULT_PODS, ports=(8200, 8300))),
        # An address in the URL is a network of one, and nothing in the cluster is let through beside it.
        ({"VAULT_ADDR": "https://10.1.2.3:8200"}, Peer(ports=(8200,), cidrs=("10.1.2.3/32",))),
        ({"VAULT_ADDR": "https://[fd00::3]:8200"}, Peer(ports=(8200,), cidrs=("fd00::3/128",))),
        (
            {"VAULT_ADDR": "https://vault.example.com:8200", "VAULT_CIDRS": "10.1.2.0/24,fd00:1::/64"},
            Peer(ports=(8200,), cidrs=("10.1.2.0/24", "fd00:1::/64")),
        ),
        (
            {"VAULT_ADDR": "https://v:8200", "VAULT_CIDRS": "10.1.2.0/24", "VAULT_POD_LABELS": "app=proxy"},
            Peer({}, {"app": "proxy"}, (8200,), ("10.1.2.0/24",)),
        ),
    ],
)
def test_where_vault_is_follows_its_address(environment: dict[str, str], vault: Peer) -> None:
    assert from_environment(BASE | environment).vault == vault


def test_a_cache_of_names_is_let_through_beside_the_name_servers() -> None:
    dns = from_environment(BASE | {"DNS_CIDRS": "169.254.20.10/32"}).dns
    assert dns == Peer(
        {"kubernetes.io/metadata.name": "kube-system"}, {"k8s-app": "kube-dns"}, (53,), ("169.254.20.10/32",)
    )


def test_monitoring_is_let_through_where_it_is_named() -> None:
    named = {"MONITORING_NAMESPACE_LABELS": "kubernetes.io/metadata.name=monitoring", "MONITORING_CIDRS": "10.9.0.0/16"}
    monitoring = from_environment(BASE | named).monitoring
    assert monitoring == Peer({"kubernetes.io/metadata.name": "monitoring"}, {}, (8080,), ("10.9.0.0/16",))
