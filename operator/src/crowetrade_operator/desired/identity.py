"""What a pod needs to prove who it is: a token by which its process asks Vault for a certificate, or the certificate.

The certificate's name is that of the pod's service account, so nothing here differs by workload but the Secret where a
certificate is. cert-manager, where it issues them, writes that Secret for the Certificate made here.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from crowetrade_api.files import VAULT_CA_FILE
from crowetrade_operator.desired.metadata import Owner, metadata, object_name
from crowetrade_operator.settings import Settings
from crowetrade_process.identity.variables import (
    DEFAULT_LIFETIME,
    DEFAULT_TRUST_DOMAIN,
    IDENTITY_DIRECTORY,
    IDENTITY_TOKEN_FILE,
    IdentitySource,
    IdentityVariable,
)

TOKEN_AUDIENCE = "vault"
TOKEN_SECONDS = 3600
VOLUME = "identity"


def add(pod: dict[str, Any], owner: Owner, config_map: str, settings: Settings) -> None:
    """Gives the pod's first container the identity of its service account, where there are identities."""
    if not settings.identity:
        return
    container = pod["containers"][0]
    container["env"] += [{"name": name, "value": value} for name, value in sorted(settings.identity.items())]
    token = settings.identity[IdentityVariable.SOURCE] == IdentitySource.VAULT
    volume, directory = (
        (_token_volume(config_map, settings), str(PurePosixPath(IDENTITY_TOKEN_FILE).parent))
        if token
        else (_secret_volume(owner), IDENTITY_DIRECTORY)
    )
    container["volumeMounts"].append({"name": VOLUME, "mountPath": directory, "readOnly": True})
    pod["volumes"].append(volume)


def secret_name(owner: Owner) -> str:
    """The Secret with the certificate of the owner's pods, where they read it as files."""
    return f"{object_name(owner)}-identity"


def certificates(owner: Owner, settings: Settings) -> list[dict[str, Any]]:
    """cert-manager's Certificate, whose Secret has the keys that pods read as files; none where it issues none."""
    if settings.issuer is None:
        return []
    account, domain = object_name(owner), settings.identity.get(IdentityVariable.TRUST_DOMAIN, DEFAULT_TRUST_DOMAIN)
    host = f"{account}.{owner.namespace}.svc"
    issuer = settings.issuer
    certificate = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": metadata(owner),
        "spec": {
            "secretName": secret_name(owner),
            "duration": settings.identity.get(IdentityVariable.LIFETIME, DEFAULT_LIFETIME),
            "privateKey": {"algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always"},
            "uris": [f"spiffe://{domain}/ns/{owner.namespace}/sa/{account}"],
            "dnsNames": [host, f"{host}.cluster.local"],
            "usages": ["digital signature", "key encipherment", "server auth", "client auth"],
            "issuerRef": {"name": issuer.name, "kind": issuer.kind, "group": issuer.group},
        },
    }
    return [certificate]


def _token_volume(config_map: str, settings: Settings) -> dict[str, Any]:
    """A token that is made for Vault alone, and the authority of Vault's own certificate."""
    token = {"audience": TOKEN_AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": "token"}
    sources: list[dict[str, Any]] = [{"serviceAccountToken": token}]
    if settings.vault_ca:
        sources.append({"configMap": {"name": config_map, "items": [{"key": VAULT_CA_FILE, "path": VAULT_CA_FILE}]}})
    return {"name": VOLUME, "projected": {"defaultMode": 0o440, "sources": sources}}


def _secret_volume(owner: Owner) -> dict[str, Any]:
    return {"name": VOLUME, "secret": {"secretName": secret_name(owner), "defaultMode": 0o440}}
