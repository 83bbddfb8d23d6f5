"""Settings of the authorizer, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import nkeys

from crowetrade_api.files import EnvName
from crowetrade_api.names import HTTP_PORT
from crowetrade_operator.authorizer.keys import ISSUER_SEED, USER_SEED, Seeds, pair
from crowetrade_operator.errors import SettingsError
from crowetrade_operator.settings import names

KEYS_DIRECTORY = "/var/run/crowetrade/authorizer"


class Variable(StrEnum):
    """Environment variables, beside those of the identity and of the bus."""

    # Where the Secret with the two nkeys is mounted.
    KEYS_DIRECTORY = "AUTHORIZER_KEYS_DIRECTORY"
    # Namespaces whose Strategies and VenueConnections are read, separated by commas; unset: all.
    NAMESPACES = "NAMESPACES"
    KUBECONFIG = "KUBECONFIG"
    LOG_LEVEL = "LOG_LEVEL"


@dataclass(frozen=True, slots=True)
class AuthorizerSettings:
    """Everything that can be set."""

    nats_url: str
    seeds: Seeds
    namespaces: tuple[str, ...] = ()
    kubeconfig: str = ""
    http_port: int = HTTP_PORT
    log_level: str = "INFO"


def read_settings(environment: Mapping[str, str]) -> AuthorizerSettings:
    """Raises SettingsError, which says what to set."""
    url = environment.get(EnvName.NATS_URL, "")
    if not url:
        raise SettingsError(f"{EnvName.NATS_URL} is not set: write the address of the bus, such as tls://nats:4222")
    port = environment.get(EnvName.HTTP_PORT, "") or str(HTTP_PORT)
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise SettingsError(f"{EnvName.HTTP_PORT} is {port!r}: write a port such as {HTTP_PORT}")
    return AuthorizerSettings(
        nats_url=url,
        seeds=_seeds(Path(environment.get(Variable.KEYS_DIRECTORY, "") or KEYS_DIRECTORY)),
        namespaces=names(environment.get(Variable.NAMESPACES, "")),
        kubeconfig=environment.get(Variable.KUBECONFIG, ""),
        http_port=int(port),
        log_level=(environment.get(Variable.LOG_LEVEL) or "INFO").upper(),
    )


def _seeds(directory: Path) -> Seeds:
    return Seeds(_seed(directory / USER_SEED, "SU"), _seed(directory / ISSUER_SEED, "SA"))


def _seed(path: Path, kind: str) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read ({error}): is the Secret crowetrade-authorizer mounted?") from error
    try:
        pair(text)
        usable = text.startswith(kind)
    except (nkeys.NkeysError, ValueError):
        usable = False
    if not usable:
        raise SettingsError(f"{path} holds no nkey seed that begins with {kind}: make the Secret again")
    return text
