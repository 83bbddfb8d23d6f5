"""Source Vault: the process logs in with the token of its service account, and its PKI signs a key made here.

The key never leaves the process. Vault's role fills in who may ask for which name (allowed_uri_sans from the metadata
of the login), so one role serves all workloads. Whom to trust: every issuer of the mount, so that another authority is
trusted from the moment it is added, long before it issues.

Vault's API: auth/kubernetes/login, PKI/sign/:role, LIST PKI/issuers, PKI/issuer/:id/pem and PKI/issuer/:id/crl/pem. The
last three need no token.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from crowetrade_process.identity.credentials import Credentials
from crowetrade_process.identity.errors import IdentityError, IdentityUnavailable
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.source import Trust
from crowetrade_process.identity.vault_api import VaultRefused, VaultServer, call, fetch

log = structlog.get_logger(__name__)

RENEWAL_SHARE = 2 / 3
TRUST_SECONDS = 60.0
MAX_LABEL = 63
"""Characters of a part of a DNS name (RFC 1035); a service account's name may be longer, and is no server's then."""


@dataclass(frozen=True, slots=True)
class VaultSettings:
    """Paths and roles, as they are called in Vault."""

    server: VaultServer
    token_file: Path
    auth_path: str
    auth_role: str
    pki_path: str
    role: str
    lifetime: str = ""
    """A duration as Vault reads it, such as 1h; empty: the role's."""
    pod_names: bool = False
    """Whether to ask for the names of the pods of a StatefulSet as well."""


class VaultSource:
    """Implements Source."""

    renewal_share = RENEWAL_SHARE
    poll_seconds = TRUST_SECONDS

    def __init__(self, settings: VaultSettings, trust_domain: str, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._trust_domain = trust_domain
        self._now = now

    async def issue(self, trust: Trust) -> Credentials:
        """See Source."""
        chain_pem, key_pem = await asyncio.to_thread(self._sign)
        return Credentials.read(chain_pem, key_pem, trust.bundle_pem, self._trust_domain, self._now())

    async def trust(self) -> Trust:
        """See Source."""
        return await asyncio.to_thread(self._trust)

    def _sign(self) -> tuple[bytes, bytes]:
        settings = self._settings
        jwt = _read_token(settings.token_file)
        name = name_in_token(jwt, self._trust_domain)
        key = ec.generate_private_key(ec.SECP256R1())
        request = {"csr": signing_request(name, key, settings.pod_names).decode("ascii"), "format": "pem"}
        if settings.lifetime:
            request["ttl"] = settings.lifetime
        token = self._log_in(jwt, name)
        path = f"{settings.pki_path}/sign/{settings.role}"
        pods = f" with the DNS name {name.pods_dns_name}" if settings.pod_names else ""
        try:
            data = call(settings.server, "POST", path, request, token)["data"]
            chain = [data["certificate"], *(data.get("ca_chain") or [])]
        except VaultRefused as error:
            raise IdentityUnavailable(
                f"{error}; check role {settings.role} of {settings.pki_path}, which must allow {name}{pods}, and that "
                f"the policy of {settings.auth_role} allows update on {path}"
            ) from error
        except (KeyError, TypeError) as error:
            raise IdentityUnavailable(f"what answers at {settings.server.text} to {path} is not Vault's PKI") from error
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return "\n".join(chain).encode(), key_pem

    def _log_in(self, jwt: str, name: IdentityName) -> str:
        settings = self._settings
        path = f"auth/{settings.auth_path}/login"
        try:
            answer = call(settings.server, "POST", path, {"role": settings.auth_role, "jwt": jwt})
            return str(answer["auth"]["client_token"])
        except VaultRefused as error:
            raise IdentityUnavailable(
                f"{error}; check that role {settings.auth_role} at {settings.auth_path} exists and is bound to the "
                f"service account {name.service_account} of namespace {name.namespace}, and to the token's audience"
            ) from error
        except (KeyError, TypeError) as error:
            raise IdentityUnavailable(f"what answers at {settings.server.text} to {path} is not Vault") from error

    def _trust(self) -> Trust:
        server, pki = self._settings.server, self._settings.pki_path
        try:
            issuers = call(server, "LIST", f"{pki}/issuers")["data"]["key_info"]
            bundle = [fetch(server, "GET", f"{pki}/issuer/{issuer}/pem") for issuer in sorted(issuers)]
            # An issuer whose key is elsewhere issues nothing here, and has no list here.
            signing = sorted(issuer for issuer, info in issuers.items() if info.get("key_id"))
            lists = [_revocation_list(server, f"{pki}/issuer/{issuer}/crl/pem") for issuer in signing]
        except VaultRefused as error:
            raise IdentityUnavailable(f"{error}; is a PKI engine with an issuer mounted at {pki}?") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise IdentityUnavailable(f"what answers at {server.text} is not Vault's PKI at {pki}") from error
        return Trust(_joined(bundle), _joined(lists))


def _revocation_list(server: VaultServer, path: str) -> bytes:
    """Empty where the issuer may sign none: nobody is let in with a certificate of it, and the other issuers stay."""
    try:
        return fetch(server, "GET", path)
    except VaultRefused as error:
        log.warning("revocation_list_missing", error=str(error))
        return b""


def signing_request(name: IdentityName, key: ec.EllipticCurvePrivateKey, pod_names: bool) -> bytes:
    """A certificate signing request, PEM, for the names of an identity, with those of its pods if they are wanted."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(name.uri)]
    if all(len(label) <= MAX_LABEL for label in name.dns_name.split(".")):
        names.append(x509.DNSName(name.dns_name))
        if pod_names:
            names.append(x509.DNSName(name.pods_dns_name))
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = request.add_extension(x509.SubjectAlternativeName(names), critical=True)
    return request.sign(key, SHA256()).public_bytes(Encoding.PEM)


def name_in_token(jwt: str, trust_domain: str) -> IdentityName:
    """Who a projected token of Kubernetes is for. Its signature is Vault's affair. Raises IdentityUnavailable."""
    try:
        payload = jwt.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["kubernetes.io"]
        found = IdentityName(trust_domain, claims["namespace"], claims["serviceaccount"]["name"])
        return IdentityName.parse(found.uri)
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error, IdentityError) as error:
        raise IdentityUnavailable("the token is not one that Kubernetes makes for a service account") from error


def _read_token(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise IdentityUnavailable(f"cannot read {path}: {why}; is the token projected there?") from error


def _joined(parts: list[bytes]) -> bytes:
    return b"".join(part.strip() + b"\n" for part in parts)
