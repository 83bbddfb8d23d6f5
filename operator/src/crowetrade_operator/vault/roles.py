"""What the Vault role and policy of a venue should be, and how what is there differs. Pure.

A role that the operator manages has a name that follows from the venue, and its path lies below the namespace's own
prefix: whoever writes a VenueConnection cannot have the operator open another namespace's secrets, or change a role
that somebody else made. Neither a namespace's name nor a venue's has a dot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crowetrade_api.names import venue_object
from crowetrade_api.v1alpha1.venueconnection import VaultCredentials, VenueConnection

AUDIENCE = "vault"
PREFIX = "crowetrade."
TOKEN_SECONDS = 600
"""A gateway's token for Vault; Vault Agent renews it."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role of the Kubernetes auth method with the policy of its name."""

    name: str
    fields: Mapping[str, Any]
    policy: str


def managed_name(namespace: str, venue: str) -> str:
    """Name of the role, and of its policy, that the operator manages for a venue."""
    return f"{PREFIX}{namespace}.{venue}"


def venue_of(role: str) -> tuple[str, str] | None:
    """Namespace and name of the venue that a managed role is for; None for other roles."""
    parts = role.removeprefix(PREFIX).split(".") if role.startswith(PREFIX) else []
    return (parts[0], parts[1]) if len(parts) == 2 else None


def unmanageable(venue: VenueConnection, credentials: VaultCredentials, path_prefix: str) -> str:
    """Why the operator may not manage this role; empty when it may. `path_prefix` has {namespace} in it."""
    name = managed_name(venue.namespace, venue.name)
    if credentials.role != name:
        return f"spec.credentials.vault.role is {credentials.role}: the operator manages {name} alone, write that"
    prefix = path_prefix.replace("{namespace}", venue.namespace)
    parts = credentials.path.split("/")
    if not credentials.path.startswith(prefix) or not {"", ".", ".."}.isdisjoint(parts):
        return (
            f"spec.credentials.vault.path is {credentials.path}: of namespace {venue.namespace} the operator opens "
            f"paths that begin with {prefix} alone"
        )
    return ""


def wanted(venue: VenueConnection, credentials: VaultCredentials) -> Role:
    """A role for the gateway's service account alone, which may read the secret and nothing else."""
    fields = {
        "bound_service_account_names": [venue_object(venue.name)],
        "bound_service_account_namespaces": [venue.namespace],
        "audience": AUDIENCE,
        "token_policies": [credentials.role],
        "token_ttl": TOKEN_SECONDS,
    }
    return Role(credentials.role, fields, f'path "{credentials.path}" {{\n  capabilities = ["read"]\n}}\n')


def differences(role: Role, found: Mapping[str, Any] | None, *, managed: bool) -> list[str]:
    """What is wrong with a role as Vault has it, in words. Which policies a role has that somebody else made, and for
    how long its tokens hold, is theirs."""
    if found is None:
        return [f"there is no role {role.name}"]
    wrong = []
    for name, value in role.fields.items():
        if managed or name not in ("token_policies", "token_ttl"):
            here = found.get(name)
            same = sorted(here or []) == value if isinstance(value, list) else here == value
            if not same:
                wrong.append(f"{name} is {_shown(here)} and not {_shown(value)}")
    if not managed and not found.get("token_policies"):
        wrong.append("it has no policy, so its tokens may read nothing")
    return wrong


def _shown(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value)) or "empty"
    return str(value) if value not in (None, "") else "empty"


def orphans(roles: Sequence[str], venues: Sequence[tuple[str, str]], works_in: Callable[[str], bool]) -> list[str]:
    """Managed roles whose venue is gone; of namespaces that the operator does not work in it knows nothing."""
    found = []
    for role in roles:
        venue = venue_of(role)
        if venue is not None and venue not in venues and works_in(venue[0]):
            found.append(role)
    return found
