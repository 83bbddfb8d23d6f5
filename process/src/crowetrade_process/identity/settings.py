"""The identity that the environment asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from crowetrade_process.identity.errors import IdentityError, IdentitySettingsError
from crowetrade_process.identity.files import FilesSource
from crowetrade_process.identity.holder import Identity, utc_now
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.source import Source
from crowetrade_process.identity.variables import (
    DEFAULT_TRUST_DOMAIN,
    IDENTITY_DIRECTORY,
    IDENTITY_TOKEN_FILE,
    IdentitySource,
    IdentityVariable,
)
from crowetrade_process.identity.vault import VaultSettings, VaultSource
from crowetrade_process.identity.vault_api import VaultServer, parse_addresses

_DURATION = re.compile(r"[1-9][0-9]{0,8}[smh]")
_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


def identity_from_environment(environment: Mapping[str, str]) -> Identity | None:
    """The identity, not started yet; None when the environment asks for none. Raises IdentitySettingsError."""
    source = _source(environment)
    if source is None:
        return None
    return Identity(
        source,
        _trust_domain(environment),
        operator_namespace=environment.get(IdentityVariable.OPERATOR_NAMESPACE, ""),
        administrators=_administrators(environment),
        nats_server_name=environment.get(IdentityVariable.NATS_SERVER_NAME, ""),
        pod_names=_pod_names(environment),
    )


def _source(environment: Mapping[str, str]) -> Source | None:
    text = environment.get(IdentityVariable.SOURCE, "") or IdentitySource.NONE
    match text:
        case IdentitySource.NONE:
            return None
        case IdentitySource.FILES:
            directory = Path(environment.get(IdentityVariable.DIRECTORY, "") or IDENTITY_DIRECTORY)
            return FilesSource(directory, _trust_domain(environment), utc_now)
        case IdentitySource.VAULT:
            return VaultSource(_vault(environment), _trust_domain(environment), utc_now)
        case _:
            raise IdentitySettingsError(
                f"the environment variable {IdentityVariable.SOURCE} is {text!r}: write None, Vault or Files"
            )


def _vault(environment: Mapping[str, str]) -> VaultSettings:
    variable = IdentityVariable
    allow_http = environment.get(variable.VAULT_ALLOW_HTTP, "") == "true"
    ca_file = environment.get(variable.VAULT_CACERT, "")
    server = VaultServer(
        parse_addresses(environment.get(variable.VAULT_ADDR, ""), allow_http, variable.VAULT_ALLOW_HTTP),
        ca_file=Path(ca_file) if ca_file else None,
        server_name=environment.get(variable.VAULT_TLS_SERVER_NAME, ""),
        namespace=environment.get(variable.VAULT_NAMESPACE, ""),
    )
    lifetime = environment.get(variable.LIFETIME, "")
    if lifetime and not _DURATION.fullmatch(lifetime):
        raise IdentitySettingsError(
            f"the environment variable {variable.LIFETIME} is {lifetime!r}: write a duration such as 1h, 30m or 90s"
        )
    return VaultSettings(
        server,
        token_file=Path(environment.get(variable.TOKEN_FILE, "") or IDENTITY_TOKEN_FILE),
        auth_path=_path(environment, variable.VAULT_AUTH_PATH, "kubernetes"),
        auth_role=environment.get(variable.VAULT_AUTH_ROLE, "") or "crowetrade-identity",
        pki_path=_path(environment, variable.VAULT_PKI_PATH, "crowetrade-pki"),
        role=_path(environment, variable.VAULT_ROLE, "crowetrade"),
        lifetime=lifetime,
        pod_names=_pod_names(environment),
    )


def _pod_names(environment: Mapping[str, str]) -> bool:
    return environment.get(IdentityVariable.POD_NAMES, "") == "true"


def _path(environment: Mapping[str, str], name: IdentityVariable, default: str) -> str:
    text = (environment.get(name, "") or default).strip("/")
    if not _PATH.fullmatch(text):
        raise IdentitySettingsError(f"the environment variable {name} is {text!r}: write a path such as {default}")
    return text


def _trust_domain(environment: Mapping[str, str]) -> str:
    text = environment.get(IdentityVariable.TRUST_DOMAIN, "") or DEFAULT_TRUST_DOMAIN
    try:
        IdentityName.parse(f"spiffe://{text}/ns/a/sa/a")
    except IdentityError:
        raise IdentitySettingsError(
            f"the environment variable {IdentityVariable.TRUST_DOMAIN} is {text!r}: write a name in lower case, "
            f"such as {DEFAULT_TRUST_DOMAIN}"
        ) from None
    return text


def _administrators(environment: Mapping[str, str]) -> frozenset[str]:
    text = environment.get(IdentityVariable.ADMINISTRATORS, "")
    uris = frozenset(filter(None, (part.strip() for part in text.split(","))))
    for uri in uris:
        try:
            IdentityName.parse(uri)
        except IdentityError as error:
            raise IdentitySettingsError(
                f"the environment variable {IdentityVariable.ADMINISTRATORS}: {error}"
            ) from None
    return uris
