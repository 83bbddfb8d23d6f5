"""The operator looks after the venues' roles in a real Vault, with its own login and no more rights than it needs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from crowetrade_api.conditions import Condition
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_operator.reconcile.vault_roles import VaultRoleKeeper
from crowetrade_operator.settings import Settings, VaultRoles
from crowetrade_operator.vault.roles import managed_name
from crowetrade_operator_tests.samples import venue_manifest
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_operator_tests.vault_server import Vault
from tests.vault.servers import service_account_token

pytestmark = pytest.mark.integration
_numbers = itertools.count(1)
POLICY = """
path "auth/kubernetes/role" { capabilities = ["list"] }
path "auth/kubernetes/role/*" { capabilities = ["read"] }
path "auth/kubernetes/role/crowetrade.*" { capabilities = ["create", "read", "update", "delete"] }
path "sys/policies/acl/crowetrade.*" { capabilities = ["create", "read", "update", "delete"] }
"""
"""As docs/vault.md has it."""
Make = Callable[..., VaultRoleKeeper]


def test_the_policy_is_the_one_of_the_page() -> None:
    assert POLICY.strip() in (Path(__file__).parents[2] / "docs" / "vault.md").read_text()


@pytest.fixture
def keeper(vault: Vault, api: ApiServer, tmp_path: Path) -> Make:
    """A keeper of roles with the operator's own role in Vault."""
    vault.run("policy", "write", "crowetrade-operator", "-", stdin=POLICY)
    vault.bind("crowetrade-operator", "system", "crowetrade-operator")
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text(service_account_token(api, "system", "crowetrade-operator"))
    authority.write_text(vault.authority)

    def make(
        mode: VaultRoles, venues: Sequence[VenueConnection], unreadable: Sequence[str] = (), **settings: Any
    ) -> VaultRoleKeeper:
        values = {
            "vault_address": vault.address,
            "vault_ca_file": str(authority),
            "vault_server_name": vault.server_name,
            "vault_token_file": str(token),
            "namespaces": tuple({item.namespace for item in venues}),
        }
        return VaultRoleKeeper(
            Settings(operator_namespace="system", vault_roles=mode, **(values | settings)),
            lambda: venues,
            lambda namespace: namespace not in unreadable,
        )

    return make


def venue(namespace: str, name: str = "sim-fx", **vault: str) -> VenueConnection:
    manifest = venue_manifest()
    manifest["metadata"] |= {"namespace": namespace, "name": name}
    values = {"path": f"secret/data/venues/{namespace}/{name}", "role": managed_name(namespace, name)}
    manifest["spec"]["credentials"] = {"vault": values | vault}
    return VenueConnection.model_validate(manifest)


@pytest.fixture
def namespace() -> str:
    return f"roles-{next(_numbers)}"


def looked(keeper: VaultRoleKeeper, venue: VenueConnection) -> Condition:
    keeper._take(keeper._look(keeper.venues()))
    found = keeper.condition(venue.namespace, venue.name)
    assert found is not None
    return found


def test_a_managed_role_lets_its_gateway_read_its_key_and_no_other(
    vault: Vault, api: ApiServer, keeper: Make, namespace: str
) -> None:
    mine, other = venue(namespace), venue(namespace, "other")
    keeping = keeper(VaultRoles.MANAGE, [mine, other])
    assert looked(keeping, mine).status == "True"
    for item in ("sim-fx", "other"):
        vault.put(f"venues/{namespace}/{item}", **{"api-key": "key"})
    token = vault.login(managed_name(namespace, "sim-fx"), service_account_token(api, namespace, "venue-sim-fx"))
    assert vault.answer(token, f"secret/data/venues/{namespace}/sim-fx") == 200
    assert vault.answer(token, f"secret/data/venues/{namespace}/other") == 403
    assert vault.answer(token, "auth/kubernetes/role/crowetrade-operator") == 403
    with pytest.raises(AssertionError, match="not authorized"):
        vault.login(managed_name(namespace, "other"), service_account_token(api, namespace, "venue-sim-fx"))


def test_a_managed_role_that_somebody_changed_is_mended(vault: Vault, keeper: Make, namespace: str) -> None:
    mine, role = venue(namespace), managed_name(namespace, "sim-fx")
    keeping = keeper(VaultRoles.MANAGE, [mine])
    looked(keeping, mine)
    vault.run("write", f"auth/kubernetes/role/{role}", "bound_service_account_names=*")
    vault.run("policy", "write", role, "-", stdin='path "*" { capabilities = ["read"] }')
    assert looked(keeping, mine).status == "True"
    found = json.loads(vault.run("read", "-format=json", f"auth/kubernetes/role/{role}"))["data"]
    assert found["bound_service_account_names"] == ["venue-sim-fx"]
    assert '"*"' not in vault.run("policy", "read", role)


def test_the_role_of_a_venue_that_is_gone_is_deleted(vault: Vault, keeper: Make, namespace: str) -> None:
    mine, gone = venue(namespace), venue(namespace, "gone")
    looked(keeper(VaultRoles.MANAGE, [mine, gone]), gone)
    looked(keeper(VaultRoles.MANAGE, [mine]), mine)
    names = json.loads(vault.run("list", "-format=json", "auth/kubernetes/role"))
    assert managed_name(namespace, "sim-fx") in names
    assert managed_name(namespace, "gone") not in names
    assert managed_name(namespace, "gone") not in vault.run("policy", "list")


def test_roles_of_a_namespace_that_cannot_be_read_stay(vault: Vault, keeper: Make, namespace: str) -> None:
    mine, unseen = venue(namespace), venue(f"{namespace}-b")
    looked(keeper(VaultRoles.MANAGE, [mine, unseen]), unseen)
    both = (namespace, f"{namespace}-b")
    looked(keeper(VaultRoles.MANAGE, [mine], unreadable=both[1:], namespaces=both), mine)
    assert managed_name(both[1], "sim-fx") in json.loads(vault.run("list", "-format=json", "auth/kubernetes/role"))
    looked(keeper(VaultRoles.MANAGE, [mine], namespaces=both), mine)
    assert managed_name(both[1], "sim-fx") not in json.loads(vault.run("list", "-format=json", "auth/kubernetes/role"))


def test_a_role_of_another_name_is_not_touched(vault: Vault, keeper: Make, namespace: str) -> None:
    thief = venue(namespace, role="crowetrade-operator")
    before = vault.run("read", "auth/kubernetes/role/crowetrade-operator")
    told = looked(keeper(VaultRoles.MANAGE, [thief]), thief)
    assert (told.status, told.reason) == ("False", "VaultRoleNotManaged")
    assert vault.run("read", "auth/kubernetes/role/crowetrade-operator") == before


def test_verify_writes_nothing_and_says_what_is_wrong(vault: Vault, keeper: Make, namespace: str) -> None:
    mine = venue(namespace, role=f"{namespace}-fx")
    keeping = keeper(VaultRoles.VERIFY, [mine])
    told = looked(keeping, mine)
    assert (told.status, told.reason) == ("False", "VaultRoleDiffers")
    assert f"there is no role {namespace}-fx" in told.message
    vault.bind(f"{namespace}-fx", namespace, "*")
    told = looked(keeping, mine)
    assert "bound_service_account_names is * and not venue-sim-fx" in told.message
    vault.bind(f"{namespace}-fx", namespace, "venue-sim-fx")
    assert looked(keeping, mine).status == "True"


def test_the_operators_token_is_revoked_after_each_look(vault: Vault, keeper: Make, namespace: str) -> None:
    def accessors() -> int:
        return len(json.loads(vault.run("list", "-format=json", "auth/token/accessors")))

    mine = venue(namespace)
    looked(keeper(VaultRoles.MANAGE, [mine]), mine)
    before = accessors()
    looked(keeper(VaultRoles.MANAGE, [mine]), mine)
    assert accessors() == before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"vault_address": "https://127.0.0.1:1"}, "cannot be reached"),
        ({"vault_role": "nobody"}, "refuses the operator's login with role nobody"),
        ({"vault_token_file": "/nowhere"}, "the token for Vault in /nowhere cannot be read"),
        ({"vault_server_name": "vault.example.com"}, "certificate"),
    ],
)
def test_what_cannot_be_seen_is_not_known(keeper: Make, namespace: str, settings: dict[str, str], words: str) -> None:
    mine = venue(namespace)
    told = looked(keeper(VaultRoles.VERIFY, [mine], **settings), mine)
    assert (told.status, told.reason) == ("Unknown", "VaultUnreachable")
    assert words in told.message
