"""Calls to what stands where Vault should; Vault itself is called in the operator's integration tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from crowetrade_process.identity.errors import IdentityUnavailable
from crowetrade_process.identity.peer import Reason, Refusal, Revocations, judge
from crowetrade_process.identity.vault import VaultSettings, VaultSource
from crowetrade_process.identity.vault_api import MAX_BYTES, VaultRefused, call

from .authority import TRUST_DOMAIN, Authority, identity_name
from .identities import now
from .in_place_of_vault import Said, listening


@pytest.fixture
def said() -> Iterator[Said]:
    with listening() as server:
        yield server


def test_the_namespace_and_the_token_are_said(said: Said) -> None:
    assert call(said.vault, "POST", "auth/kubernetes/login", {"role": "a"}, token="t") == {}
    _, found = said.asked[0]
    assert (found["X-Vault-Namespace"], found["X-Vault-Token"]) == ("team/a", "t")


@pytest.mark.parametrize(
    ("status", "body", "error", "sentence"),
    [
        (200, b"<html>", IdentityUnavailable, "is not Vault"),
        (200, b"[]", IdentityUnavailable, "is not Vault"),
        (200, b"x" * (MAX_BYTES + 1), IdentityUnavailable, "with more than 16777216 bytes"),
        (302, b"", VaultRefused, "answers 302 to sys: no reason"),
        (403, b'{"errors":["permission denied\\n"]}', VaultRefused, "answers 403 to sys: permission denied"),
        (404, b"<html>", VaultRefused, "answers 404 to sys: <html>"),
        (503, b'{"errors":["Vault is sealed"]}', IdentityUnavailable, "answers 503 to sys: Vault is sealed; unseal it"),
    ],
)
def test_what_does_not_help_is_said_in_a_sentence(
    status: int, body: bytes, error: type[Exception], sentence: str, said: Said
) -> None:
    said.status, said.body = status, body
    with pytest.raises(IdentityUnavailable, match=sentence) as found:
        call(said.vault, "POST", "sys", {})
    assert type(found.value) is error


async def test_an_issuer_without_revocation_list_is_trusted_and_lets_nobody_in(said: Said) -> None:
    """Vault answers 204 or 404 where an issuer may not sign lists."""
    listed, other = Authority(), Authority()
    issuers = {"a": {"key_id": "1"}, "b": {"key_id": "2"}, "c": {"key_id": ""}}
    said.at = {
        "/v1/pki/issuers": (200, json.dumps({"data": {"key_info": issuers}}).encode()),
        "/v1/pki/issuer/a/pem": (200, listed.pem),
        "/v1/pki/issuer/b/pem": (200, other.pem),
        "/v1/pki/issuer/c/pem": (200, Authority().pem),
        "/v1/pki/issuer/a/crl/pem": (200, listed.revocations()),
        "/v1/pki/issuer/b/crl/pem": (404, b""),
    }
    settings = VaultSettings(said.vault, Path("/none"), "kubernetes", "identity", "pki", "crowetrade")
    trust = await VaultSource(settings, TRUST_DOMAIN, now).trust()
    assert trust.bundle_pem.count(b"BEGIN CERTIFICATE") == 3
    known, name = Revocations.read(trust), identity_name("venue-sim")
    assert judge(listed.issue_to(name).certificate, TRUST_DOMAIN, known, now()) == name
    found = judge(other.issue_to(name).certificate, TRUST_DOMAIN, known, now())
    assert isinstance(found, Refusal)
    assert found.reason is Reason.REVOCATION_UNKNOWN
    # A server that fails is no issuer without a list: what was known before stays.
    said.at["/v1/pki/issuer/b/crl/pem"] = (500, b"")
    with pytest.raises(IdentityUnavailable, match="answers 500 to pki/issuer/b/crl/pem"):
        await VaultSource(settings, TRUST_DOMAIN, now).trust()
