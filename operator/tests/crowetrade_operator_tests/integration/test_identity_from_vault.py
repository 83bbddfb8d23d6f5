"""Source Vault against a real Vault, whose logins a real API server confirms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import SERVICE_ACCOUNTS
from crowetrade_operator_tests.servers import ApiServer, free_port
from crowetrade_operator_tests.vault_server import (
    AUTH,
    AUTH_ROLE,
    PKI,
    ROLE,
    Vault,
    service_account_token,
    skip_without_vault,
)
from crowetrade_process.identity.errors import IdentityUnavailable
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.peer import Reason, Refusal
from crowetrade_process.identity.settings import identity_from_environment
from crowetrade_process.identity.variables import IdentityVariable
from crowetrade_process.identity.vault_api import VaultRefused, VaultServer, call, parse_addresses

pytestmark = pytest.mark.integration
SECONDS = 30.0
ACCOUNT = "venue-sim"


@pytest.fixture(scope="module")
def vault(api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    """One for the tests of this module."""
    skip_without_vault()
    server = Vault(tmp_path_factory.mktemp("vault"), api_server)
    server.start()
    server.set_up_identities()
    yield server
    server.stop()


@pytest.fixture
async def environment(
    vault: Vault, api_server: ApiServer, cluster: Cluster, namespace: str, tmp_path: Path
) -> dict[str, str]:
    """What a gateway's pod gets."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": namespace}}
    await cluster.create(SERVICE_ACCOUNTS, namespace, account)
    token = tmp_path / "token"
    token.write_text(service_account_token(api_server, namespace, ACCOUNT))
    return {
        IdentityVariable.SOURCE: "Vault",
        IdentityVariable.VAULT_ADDR: vault.address,
        IdentityVariable.VAULT_CACERT: str(vault.ca_file),
        IdentityVariable.VAULT_TLS_SERVER_NAME: vault.server_name,
        IdentityVariable.TOKEN_FILE: str(token),
    }


async def start(environment: Mapping[str, str]) -> Identity:
    identity = identity_from_environment(environment)
    assert identity is not None
    await asyncio.wait_for(identity.start(), SECONDS)
    return identity


async def test_a_pod_gets_the_certificate_of_its_service_account(environment: dict[str, str], namespace: str) -> None:
    identity = await start(environment)
    credentials = identity.credentials
    assert identity.name.uri == f"spiffe://crowetrade.local/ns/{namespace}/sa/{ACCOUNT}"
    assert timedelta(minutes=59) <= credentials.not_after - credentials.not_before <= timedelta(minutes=61)
    leaf = x509.load_pem_x509_certificate(credentials.chain_pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [f"{ACCOUNT}.{namespace}.svc"]
    assert identity.judge(credentials.chain_pem) == identity.name


async def test_a_pod_of_several_gets_the_names_of_all_where_it_asks_for_them(
    environment: dict[str, str], namespace: str
) -> None:
    identity = await start({**environment, IdentityVariable.POD_NAMES: "true"})
    host = f"{ACCOUNT}.{namespace}.svc"
    assert identity.credentials.dns_names == {host, f"*.{host}"}


@pytest.mark.parametrize(
    "host", ["nats-0.nats.{0}.svc", "*.nats.{0}.svc", "nats.{0}.svc", "a.{1}.{0}.svc", "*.{0}.svc", "*.*.{0}.svc"]
)
async def test_no_account_gets_names_of_another_one_s_pods_or_single_names_of_its_own(
    host: str, vault: Vault, environment: dict[str, str], api_server: ApiServer, namespace: str
) -> None:
    """With a name of a pod of NATS it would be a server of the bus."""
    token = service_account_token(api_server, namespace, ACCOUNT)
    names = [x509.DNSName(host.format(namespace, ACCOUNT))]
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = request.add_extension(x509.SubjectAlternativeName(names), critical=True)
    pem = request.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.PEM)
    server = VaultServer(
        parse_addresses(vault.address, False, ""), ca_file=vault.ca_file, server_name=vault.server_name
    )
    login = call(server, "POST", f"auth/{AUTH}/login", {"role": AUTH_ROLE, "jwt": token})
    with pytest.raises(VaultRefused, match="not allowed by this role"):
        call(server, "POST", f"{PKI}/sign/{ROLE}", {"csr": pem.decode()}, login["auth"]["client_token"])


async def test_each_issue_is_for_another_key(environment: dict[str, str]) -> None:
    first, second = await start(environment), await start({**environment, IdentityVariable.LIFETIME: "2m"})
    assert first.credentials.key_pem != second.credentials.key_pem
    lifetime = second.credentials.not_after - second.credentials.not_before
    assert timedelta(minutes=2) <= lifetime <= timedelta(minutes=3)


REFUSED: dict[str, tuple[Callable[[dict[str, str], ApiServer, str], dict[str, str]], str]] = {
    "a token for somebody else": (
        lambda found, server, namespace: (
            found | _token(found, service_account_token(server, namespace, ACCOUNT, "https://kubernetes.default.svc"))
        ),
        r"answers 403 to auth/kubernetes/login: .*; check that role crowetrade-identity at kubernetes exists and is "
        r"bound to the service account venue-sim of namespace .*, and to the token's audience",
    ),
    "a token that is none": (
        lambda found, server, namespace: found | _token(found, "none"),
        "the token is not one that Kubernetes makes for a service account",
    ),
    "no token": (
        lambda found, server, namespace: found | {IdentityVariable.TOKEN_FILE: "/nowhere/token"},
        "cannot read /nowhere/token: No such file or directory; is the token projected there",
    ),
    "a role that is not there": (
        lambda found, server, namespace: found | {IdentityVariable.VAULT_AUTH_ROLE: "nobody"},
        "answers 400 to auth/kubernetes/login: invalid role name .*; check that role nobody at kubernetes exists",
    ),
    "a PKI that is not there": (
        lambda found, server, namespace: found | {IdentityVariable.VAULT_PKI_PATH: "nowhere"},
        "to nowhere/issuers: .*is a PKI engine with an issuer mounted at nowhere",
    ),
    "a PKI role that is not allowed": (
        lambda found, server, namespace: found | {IdentityVariable.VAULT_ROLE: "other"},
        "answers 403 to crowetrade-pki/sign/other: .*permission denied; check role other of crowetrade-pki",
    ),
    "another trust domain": (
        lambda found, server, namespace: found | {IdentityVariable.TRUST_DOMAIN: "other.local"},
        "answers 400 to crowetrade-pki/sign/crowetrade: .*; check role crowetrade of crowetrade-pki, which must allow "
        "spiffe://other.local/ns/",
    ),
    "an authority that is not Vault's": (
        lambda found, server, namespace: (
            found | {IdentityVariable.VAULT_CACERT: str(server.kubeconfig.parent / "certificates" / "apiserver.crt")}
        ),
        "shows a certificate that is not accepted .*: set VAULT_CACERT to its authority",
    ),
    "another server name": (
        lambda found, server, namespace: found | {IdentityVariable.VAULT_TLS_SERVER_NAME: "vault.example"},
        "shows a certificate that is not accepted .*Hostname mismatch.*VAULT_TLS_SERVER_NAME",
    ),
    "an authority's file that is not there": (
        lambda found, server, namespace: found | {IdentityVariable.VAULT_CACERT: "/nowhere/ca.crt"},
        "VAULT_CACERT /nowhere/ca.crt cannot be read: No such file or directory",
    ),
    "a server that is not there": (
        lambda found, server, namespace: found | {IdentityVariable.VAULT_ADDR: f"https://127.0.0.1:{free_port()}"},
        "Vault at https://127.0.0.1:.* cannot be reached: .*Connection refused",
    ),
}


def _token(environment: Mapping[str, str], token: str) -> dict[str, str]:
    path = Path(environment[IdentityVariable.TOKEN_FILE]).with_name("other-token")
    path.write_text(token)
    return {IdentityVariable.TOKEN_FILE: str(path)}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_wrong_is_said_in_a_sentence(
    what: str, environment: dict[str, str], api_server: ApiServer, namespace: str
) -> None:
    change, sentence = REFUSED[what]
    identity = identity_from_environment(change(environment, api_server, namespace))
    assert identity is not None
    said: list[tuple[bool, str]] = []
    starting = asyncio.create_task(identity.start(lambda ok, why: said.append((ok, why))))
    try:
        async with asyncio.timeout(SECONDS):
            while not said:
                await asyncio.sleep(0.01)
    finally:
        starting.cancel()
    ok, why = said[0]
    assert not ok
    with pytest.raises(IdentityUnavailable, match=sentence):
        raise IdentityUnavailable(why)


async def test_nobody_gets_the_name_of_another_account(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, namespace: str
) -> None:
    from crowetrade_process.identity import vault as source

    identity = identity_from_environment(environment)
    assert identity is not None
    own = source.name_in_token
    monkeypatch.setattr(
        source, "name_in_token", lambda jwt, domain: type(own(jwt, domain))(domain, "crowetrade", "crowetrade-operator")
    )
    assert not await identity.refresh()
    with pytest.raises(IdentityUnavailable):
        _ = identity.credentials


async def test_the_next_address_is_asked_when_one_is_down_or_is_not_vault(
    environment: dict[str, str], vault: Vault, api_server: ApiServer
) -> None:
    environment[IdentityVariable.VAULT_ADDR] = f"https://127.0.0.1:{free_port()},{api_server.url},{vault.address}"
    identity = await start(environment)
    assert identity.name.service_account == ACCOUNT


async def test_where_no_server_name_is_set_the_host_of_the_address_counts(
    environment: dict[str, str], vault: Vault
) -> None:
    """In the other tests it is set, and the address is a number."""
    del environment[IdentityVariable.VAULT_TLS_SERVER_NAME]
    identity = await start({**environment, IdentityVariable.VAULT_ADDR: f"https://localhost:{vault.port}"})
    assert identity.name.service_account == ACCOUNT


@asynccontextmanager
async def one_more_authority(vault: Vault, name: str) -> AsyncIterator[str]:
    """An issuer for the length of a test; the first one signs before and afterwards."""
    issuer = vault.add_authority(name)
    try:
        yield issuer
    finally:
        vault.issue_by("first")
        vault.remove_authority(issuer)


async def test_an_authority_that_is_added_is_trusted_before_it_issues(
    environment: dict[str, str], vault: Vault
) -> None:
    older = await start(environment)
    before = older.credentials
    async with one_more_authority(vault, "second") as issuer:
        assert await older.refresh()
        assert older.credentials.bundle_pem.count(b"BEGIN CERTIFICATE") == 2
        assert older.credentials.chain_pem == before.chain_pem
        vault.issue_by(issuer)
        newer = await start(environment)
        assert newer.credentials.bundle_pem == older.credentials.bundle_pem
        assert _issuer(newer) != _issuer(older)
        # Each lets the other in.
        assert older.judge(newer.credentials.chain_pem) == newer.name
        assert newer.judge(older.credentials.chain_pem) == older.name


def _issuer(identity: Identity) -> str:
    return x509.load_pem_x509_certificate(identity.credentials.chain_pem).issuer.rfc4514_string()


async def test_what_vault_revokes_is_refused_after_the_next_look(environment: dict[str, str], vault: Vault) -> None:
    gateway, peer = await start(environment), await start(environment)
    assert gateway.judge(peer.credentials.chain_pem) == peer.name
    vault.revoke(peer.credentials.serial)
    assert await gateway.refresh()
    found = gateway.judge(peer.credentials.chain_pem)
    assert isinstance(found, Refusal)
    assert found.reason is Reason.REVOKED


async def test_a_certificate_is_renewed_by_itself_while_vault_is_there(environment: dict[str, str]) -> None:
    """Vault dates certificates 30 s back, so one of 5 s is due at once."""
    identity = await start({**environment, IdentityVariable.LIFETIME: "5s"})
    first, changed = identity.credentials.serial, asyncio.Event()
    identity.on_change(changed.set)
    renewing = asyncio.create_task(identity.run())
    try:
        await asyncio.wait_for(changed.wait(), SECONDS)
    finally:
        renewing.cancel()
    assert identity.credentials.serial != first


async def test_a_sealed_vault_is_said_to_be_sealed(
    environment: dict[str, str], api_server: ApiServer, tmp_path: Path
) -> None:
    own = Vault(tmp_path, api_server)
    try:
        own.start()
        own.set_up_identities()
        environment |= {IdentityVariable.VAULT_ADDR: own.address, IdentityVariable.VAULT_CACERT: str(own.ca_file)}
        identity = await start(environment)
        own.seal()
        said: list[str] = []
        identity._report = lambda ok, why: said.append(why)
        assert not await identity.refresh()
        # The certificate is valid still: nothing is wrong yet.
        assert said == [""]
        another = identity_from_environment(environment)
        assert another is not None
        another._report = lambda ok, why: said.append(why)
        assert not await another.refresh()
        assert "answers 503" in said[-1]
        assert "unseal it" in said[-1]
    finally:
        own.stop()
