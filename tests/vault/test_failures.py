"""Whatever Vault does, the gateway says which of it keeps keys away, and goes on with those that it has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crowetrade_agents.venues.port import VenueUnavailable
from tests.vault.conftest import Keyed
from tests.vault.keeping import keeping, log_on, says
from tests.vault.servers import until

pytestmark = pytest.mark.integration


DENIED: dict[str, tuple[Callable[[Keyed], object], Callable[[Keyed], object], str, tuple[str, ...]]] = {
    "the policy lets another path be read": (
        lambda it: it.vault.allow(it.role, "secret/data/other"),
        lambda it: it.vault.allow(it.role, f"secret/data/{it.path}"),
        "VaultAccessDenied",
        ("permission denied", "policy with capability read on secret/data/venues/"),
    ),
    "the secret is deleted": (
        lambda it: it.vault.run("kv", "delete", f"secret/{it.path}"),
        lambda it: it.vault.put(it.path, **{"api-key": "again"}),
        "VaultSecretMissing",
        ("its last version is deleted: write it",),
    ),
    "a new version has no such field": (
        lambda it: it.vault.put(it.path, apikey="mistyped"),
        lambda it: it.vault.put(it.path, **{"api-key": "again"}),
        "CredentialsIncomplete",
        ("version 2 of the secret has no field api-key",),
    ),
    "it is sealed": (
        lambda it: it.vault.seal(),
        lambda it: it.vault.unseal(),
        "VaultSealed",
        ("is sealed: unseal it",),
    ),
}


@pytest.mark.parametrize("case", DENIED)
async def test_keys_that_are_in_use_stay_so_whatever_vault_does(keyed: Callable[..., Keyed], case: str) -> None:
    breaks, mends, reason, words = DENIED[case]
    it = keyed()
    it.vault.put(it.path, **{"api-key": "first"})
    async with keeping(it) as keeper:
        await log_on(keeper)
        assert (keeper.status().in_use, keeper.status().version, keeper.status().reason) == (True, "1", "")
        breaks(it)
        try:
            await says(keeper, reason, *words)
            assert keeper.status().in_use
            assert keeper.status().version == "1"
        finally:
            mends(it)
        await says(keeper, "")


MISSING: dict[str, tuple[Callable[[Keyed], object], str, tuple[str, ...]]] = {
    "there is no role": (
        lambda it: it.vault.run("delete", f"auth/kubernetes/role/{it.role}"),
        "VaultLoginRefused",
        ("invalid role name", "bind the role to the gateway's service account, with audience vault"),
    ),
    "the role is bound to another account": (
        lambda it: it.vault.bind(it.role, it.namespace, "somebody"),
        "VaultLoginRefused",
        ("service account name not authorized",),
    ),
    "the role is bound to another namespace": (
        lambda it: it.vault.bind(it.role, "elsewhere", "venue-sim-fx"),
        "VaultLoginRefused",
        ("namespace not authorized",),
    ),
    "there is no secret": (lambda it: None, "VaultSecretMissing", ("Vault has no secret at secret/data/venues/",)),
}


@pytest.mark.parametrize("case", MISSING)
async def test_why_the_first_keys_do_not_come(keyed: Callable[..., Keyed], case: str) -> None:
    breaks, reason, words = MISSING[case]
    it = keyed()
    breaks(it)
    async with keeping(it) as keeper:
        await says(keeper, reason, *words)
        assert not keeper.status().in_use
        with pytest.raises(VenueUnavailable, match="the venue's keys are not there"):
            keeper.read()


async def test_a_vault_that_is_not_there(keyed: Callable[..., Keyed]) -> None:
    it = keyed({"vault_address": "https://127.0.0.1:1"})
    async with keeping(it) as keeper:
        await says(keeper, "VaultUnreachable", "Vault at https://127.0.0.1:1 cannot be reached")


async def test_a_vault_that_is_not_trusted(keyed: Callable[..., Keyed]) -> None:
    it = keyed({"vault_ca": ""})
    async with keeping(it) as keeper:
        await says(keeper, "VaultCertificateRefused", "does not trust the certificate")


async def test_a_vault_of_another_name(keyed: Callable[..., Keyed]) -> None:
    it = keyed({"vault_server_name": "vault.example.com"})
    async with keeping(it) as keeper:
        await says(keeper, "VaultCertificateRefused")


async def test_a_login_that_is_revoked_is_made_again(keyed: Callable[..., Keyed]) -> None:
    it = keyed()
    it.vault.put(it.path, **{"api-key": "first"})
    async with keeping(it) as keeper:
        await log_on(keeper)
        it.vault.run("token", "revoke", "-mode=path", "auth/kubernetes/login")
        it.vault.put(it.path, **{"api-key": "second"})
        await until(lambda: keeper.status().version == "2", keeper.status)
        await says(keeper, "")


async def test_the_path_of_another_venue_is_refused_with_this_ones_token(keyed: Callable[..., Keyed]) -> None:
    mine, other = keyed(), keyed()
    for it in (mine, other):
        it.vault.put(it.path, **{"api-key": "key"})
    token = mine.vault.login(mine.role, mine.token)
    assert mine.vault.answer(token, f"secret/data/{mine.path}") == 200
    assert mine.vault.answer(token, f"secret/data/{other.path}") == 403
    with pytest.raises(AssertionError, match="not authorized"):
        mine.vault.login(other.role, mine.token)
