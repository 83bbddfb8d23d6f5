"""The identity that the environment asks for."""

from __future__ import annotations

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
    IdentitySource,
    IdentityVariable,
)


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
    )


def _source(environment: Mapping[str, str]) -> Source | None:
    text = environment.get(IdentityVariable.SOURCE, "") or IdentitySource.NONE
    match text:
        case IdentitySource.NONE:
            return None
        case IdentitySource.FILES:
            directory = Path(environment.get(IdentityVariable.DIRECTORY, "") or IDENTITY_DIRECTORY)
            return FilesSource(directory, _trust_domain(environment), utc_now)
        case _:
            raise IdentitySettingsError(
                f"the environment variable {IdentityVariable.SOURCE} is {text!r}: write None, Vault or Files"
            )


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
