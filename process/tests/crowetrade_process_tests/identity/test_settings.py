"""What the environment asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowetrade_process.identity.errors import IdentitySettingsError, IdentityUnavailable
from crowetrade_process.identity.roles import Peer, PeerRole
from crowetrade_process.identity.settings import identity_from_environment
from crowetrade_process.identity.variables import IdentityVariable

from .authority import Authority, identity_name, write_identity

VAULT = {"IDENTITY_SOURCE": "Vault", "VAULT_ADDR": "https://vault.vault.svc:8200"}


@pytest.mark.parametrize("environment", [{}, {"IDENTITY_SOURCE": ""}, {"IDENTITY_SOURCE": "None"}])
def test_without_a_source_there_is_no_identity(environment: dict[str, str]) -> None:
    assert identity_from_environment(environment) is None


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"VAULT_ADDR": "https://vault-0:8200, https://vault-1:8200"},
        {"VAULT_ADDR": "https://[fd00::1]:8200/"},
        {"VAULT_ADDR": "http://127.0.0.1:8200", "IDENTITY_VAULT_ALLOW_HTTP": "true"},
        {"IDENTITY_LIFETIME": "30m", "IDENTITY_VAULT_PKI_PATH": "team/pki/"},
    ],
)
def test_vault_is_a_source(more: dict[str, str]) -> None:
    assert identity_from_environment(VAULT | more) is not None


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"IDENTITY_SOURCE": "vault"}, "IDENTITY_SOURCE is 'vault': write None, Vault or Files"),
        ({"VAULT_ADDR": ""}, "VAULT_ADDR is not set: write the address of Vault"),
        ({"VAULT_ADDR": " , "}, "VAULT_ADDR is not set"),
        ({"VAULT_ADDR": "vault:8200"}, "VAULT_ADDR is 'vault:8200': write https://HOST:PORT"),
        ({"VAULT_ADDR": "https://"}, "VAULT_ADDR is 'https://': write https://HOST:PORT"),
        ({"VAULT_ADDR": "https://vault:port"}, "write https://HOST:PORT"),
        ({"VAULT_ADDR": "https://root:secret@vault:8200"}, "write https://HOST:PORT"),
        ({"VAULT_ADDR": "https://vault:8200/v1"}, "write https://HOST:PORT"),
        ({"VAULT_ADDR": "https://vault:8200,http://vault-1:8200"}, "set IDENTITY_VAULT_ALLOW_HTTP to true for develop"),
        ({"VAULT_ADDR": "http://vault:8200", "IDENTITY_VAULT_ALLOW_HTTP": "yes"}, "write https://, or set "),
        ({"IDENTITY_LIFETIME": "an hour"}, "IDENTITY_LIFETIME is 'an hour': write a duration such as 1h, 30m or 90s"),
        (
            {"IDENTITY_VAULT_PKI_PATH": "../sys"},
            "IDENTITY_VAULT_PKI_PATH is '../sys': write a path such as crowetrade-pki",
        ),
        ({"IDENTITY_VAULT_ROLE": "a?b"}, "IDENTITY_VAULT_ROLE is 'a\\?b': write a path such as crowetrade"),
        (
            {"IDENTITY_TRUST_DOMAIN": "Crowe Trade"},
            "IDENTITY_TRUST_DOMAIN is 'Crowe Trade': write a name in lower case",
        ),
        ({"IDENTITY_ADMINISTRATORS": "alice"}, "IDENTITY_ADMINISTRATORS: 'alice' names no identity"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(more: dict[str, str], sentence: str) -> None:
    with pytest.raises(IdentitySettingsError, match=sentence):
        identity_from_environment(VAULT | more)


async def test_files_are_a_source(tmp_path: Path) -> None:
    authority, name = Authority(), identity_name("crowetrade-operator", "crowetrade")
    write_identity(tmp_path, authority.issue_to(name), authority)
    alice = identity_name("alice", "people")
    identity = identity_from_environment(
        {
            IdentityVariable.SOURCE: "Files",
            IdentityVariable.DIRECTORY: str(tmp_path),
            IdentityVariable.OPERATOR_NAMESPACE: "crowetrade",
            IdentityVariable.ADMINISTRATORS: f"{alice.uri}, ",
        }
    )
    assert identity is not None
    await identity.start()
    assert identity.name == name
    assert identity.peer(name) == Peer(PeerRole.OPERATOR)
    assert identity.peer(alice) == Peer(PeerRole.ADMINISTRATOR)


@pytest.mark.parametrize("pod_names", [False, True])
async def test_a_certificate_without_the_names_of_its_pods_is_no_identity_where_they_are_needed(
    pod_names: bool, tmp_path: Path
) -> None:
    """Servers of NATS take each other by them: with such a certificate each would stay alone."""
    authority, name = Authority(), identity_name("nats", "crowetrade")
    named = authority.issue(name.uri, dns_names=(name.dns_name, f"nats-0.{name.dns_name}"))
    write_identity(tmp_path, named, authority)
    environment = {"IDENTITY_SOURCE": "Files", "IDENTITY_DIRECTORY": str(tmp_path)}
    if pod_names:
        environment["IDENTITY_POD_NAMES"] = "true"
    identity = identity_from_environment(environment)
    assert identity is not None
    assert await identity.refresh() is not pod_names
    if pod_names:
        with pytest.raises(IdentityUnavailable):
            _ = identity.credentials
        write_identity(tmp_path, authority.issue(name.uri, dns_names=("*.NATS.crowetrade.svc",)), authority)
        assert await identity.refresh()
