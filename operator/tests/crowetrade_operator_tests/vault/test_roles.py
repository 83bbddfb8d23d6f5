"""What a venue's Vault role should be, how it differs, and which roles the operator keeps its hands off."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_api.v1alpha1.venueconnection import VaultCredentials, VenueConnection
from crowetrade_operator.vault import roles
from crowetrade_operator_tests.samples import change, venue, venue_manifest

PREFIX = "secret/data/venues/{namespace}/"
NAME = "crowetrade.desk.sim-fx"
PATH = "secret/data/venues/desk/sim-fx"


def keyed(role: str = NAME, path: str = PATH) -> tuple[VenueConnection, VaultCredentials]:
    found = venue(change(venue_manifest(), "spec.credentials", {"vault": {"path": path, "role": role}}))
    assert found.spec.credentials is not None
    assert found.spec.credentials.vault is not None
    return found, found.spec.credentials.vault


RIGHT = {
    "bound_service_account_names": ["venue-sim-fx"],
    "bound_service_account_namespaces": ["desk"],
    "audience": "vault",
    "token_policies": [NAME],
    "token_ttl": 600,
    "token_max_ttl": 0,
}


def test_a_role_is_for_one_service_account_and_reads_one_path() -> None:
    role = roles.wanted(*keyed())
    assert role.fields.items() <= RIGHT.items()
    assert role.policy == f'path "{PATH}" {{\n  capabilities = ["read"]\n}}\n'


UNMANAGEABLE = {
    "somebody else's role": (("admin", PATH), "the operator manages crowetrade.desk.sim-fx alone, write that"),
    "another venue's role": (("crowetrade.desk.other", PATH), "crowetrade.desk.sim-fx alone"),
    "another namespace's path": ((NAME, "secret/data/venues/rich/sim-fx"), "begin with secret/data/venues/desk/ alone"),
    "a namespace that begins alike": (
        (NAME, "secret/data/venues/desk2/a"),
        "begin with secret/data/venues/desk/ alone",
    ),
    "a way out": ((NAME, "secret/data/venues/desk/../rich/a"), "begin with secret/data/venues/desk/ alone"),
    "the prefix itself": ((NAME, "secret/data/venues/desk/"), "begin with secret/data/venues/desk/ alone"),
    "Vault's own paths": ((NAME, "sys/mounts"), "begin with secret/data/venues/desk/ alone"),
}


@pytest.mark.parametrize("case", UNMANAGEABLE)
def test_what_the_operator_does_not_manage(case: str) -> None:
    (role, path), words = UNMANAGEABLE[case]
    assert words in roles.unmanageable(*keyed(role, path), PREFIX)


def test_what_the_operator_manages() -> None:
    assert roles.unmanageable(*keyed(), PREFIX) == ""


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "another account too": (
        {"bound_service_account_names": ["venue-sim-fx", "other"]},
        "bound_service_account_names is venue-sim-fx, other and not venue-sim-fx",
    ),
    "every account": ({"bound_service_account_names": ["*"]}, "is * and not venue-sim-fx"),
    "another namespace": ({"bound_service_account_namespaces": ["rich"]}, "is rich and not desk"),
    "no audience": ({"audience": ""}, "audience is empty and not vault"),
    "no policy": ({"token_policies": []}, "policy"),
}


@pytest.mark.parametrize("managed", [True, False])
@pytest.mark.parametrize("case", DIFFERENT)
def test_how_a_role_differs(case: str, managed: bool) -> None:
    fields, words = DIFFERENT[case]
    (wrong,) = roles.differences(roles.wanted(*keyed()), RIGHT | fields, managed=managed)
    assert words in wrong or (case == "no policy" and "token_policies is empty" in wrong)


def test_a_role_that_is_not_there() -> None:
    assert roles.differences(roles.wanted(*keyed()), None, managed=False) == [f"there is no role {NAME}"]


def test_what_somebody_else_chose_is_theirs_unless_the_operator_manages() -> None:
    fields = {"token_policies": ["desk-secrets"], "token_ttl": 60}
    assert roles.differences(roles.wanted(*keyed()), RIGHT | fields, managed=False) == []
    assert len(roles.differences(roles.wanted(*keyed()), RIGHT | fields, managed=True)) == 2


def test_roles_of_venues_that_are_gone() -> None:
    there = [NAME, "crowetrade.desk.gone", "crowetrade.rich.gone", "crowetrade-identity", "crowetrade.a.b.c", "admin"]
    all_gone = ["crowetrade.desk.gone", "crowetrade.rich.gone"]
    assert roles.orphans(there, [("desk", "sim-fx")], lambda namespace: True) == all_gone
    assert roles.orphans(there, [("desk", "sim-fx")], lambda namespace: namespace == "desk") == all_gone[:1]
