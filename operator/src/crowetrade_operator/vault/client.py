"""The operator's own login to Vault, and its calls about roles and policies. Everything here blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crowetrade_operator.settings import Settings
from crowetrade_operator.vault.roles import Role
from crowetrade_process.identity.errors import IdentityUnavailable
from crowetrade_process.identity.variables import IdentityVariable
from crowetrade_process.identity.vault_api import VaultRefused, VaultServer, call, parse_addresses


class VaultUnavailable(Exception):
    """Vault cannot be asked, or refuses the operator; the text is for people."""


def server_of(settings: Settings) -> VaultServer:
    """Where Vault is; the settings were checked at the start."""
    return VaultServer(
        parse_addresses(settings.vault_address, True, IdentityVariable.VAULT_ALLOW_HTTP),
        ca_file=Path(settings.vault_ca_file) if settings.vault_ca_file else None,
        server_name=settings.vault_server_name,
        namespace=settings.vault_namespace,
    )


@dataclass(frozen=True, slots=True)
class VaultSession:
    """Calls with one token. Each raises VaultUnavailable."""

    server: VaultServer
    auth_path: str
    token: str

    def role(self, name: str) -> Mapping[str, Any] | None:
        """A role as Vault has it; None when there is none."""
        return self._read(f"auth/{self.auth_path}/role/{name}")

    def policy(self, name: str) -> str:
        """The text of a policy; empty when there is none."""
        return str((self._read(f"sys/policies/acl/{name}") or {}).get("policy") or "")

    def roles(self) -> list[str]:
        """Names of all roles."""
        return list((self._read(f"auth/{self.auth_path}/role?list=true") or {}).get("keys") or [])

    def write(self, role: Role) -> None:
        """The policy first: a role never has more than it should."""
        self._call("PUT", f"sys/policies/acl/{role.name}", {"policy": role.policy})
        self._call("PUT", f"auth/{self.auth_path}/role/{role.name}", dict(role.fields))

    def delete(self, name: str) -> None:
        """The role first, so that no login is left without a policy."""
        self._call("DELETE", f"auth/{self.auth_path}/role/{name}")
        self._call("DELETE", f"sys/policies/acl/{name}")

    def revoke(self) -> None:
        """Ends this session."""
        self._call("PUT", "auth/token/revoke-self", {})

    def _read(self, path: str) -> Mapping[str, Any] | None:
        try:
            found = call(self.server, "GET", path, token=self.token).get("data")
        except VaultRefused as error:
            if error.status == 404:
                return None
            raise VaultUnavailable(str(error)) from error
        except IdentityUnavailable as error:
            raise VaultUnavailable(str(error)) from error
        return found if isinstance(found, Mapping) else None

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> None:
        try:
            call(self.server, method, path, body, self.token)
        except IdentityUnavailable as error:
            raise VaultUnavailable(str(error)) from error


@contextlib.contextmanager
def session(settings: Settings) -> Iterator[VaultSession]:
    """Logs in with the operator's own role, and out again. Raises VaultUnavailable."""
    server, path = server_of(settings), settings.vault_auth_path
    try:
        jwt = Path(settings.vault_token_file).read_text().strip()
        answer = call(server, "PUT", f"auth/{path}/login", {"role": settings.vault_role, "jwt": jwt})
        token = str(answer["auth"]["client_token"])
    except OSError as error:
        raise VaultUnavailable(
            f"the token for Vault in {settings.vault_token_file} cannot be read: {error.strerror}"
        ) from error
    except VaultRefused as error:
        raise VaultUnavailable(
            f"Vault refuses the operator's login with role {settings.vault_role} at auth/{path}: {error.why}"
        ) from error
    except IdentityUnavailable as error:
        raise VaultUnavailable(str(error)) from error
    except (KeyError, TypeError) as error:
        raise VaultUnavailable("what answers to the operator's login is not Vault") from error
    found = VaultSession(server, path, token)
    try:
        yield found
    finally:
        with contextlib.suppress(VaultUnavailable):
            found.revoke()
