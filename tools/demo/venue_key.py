"""Gives a simulated venue an API key that only Vault and the gateway know.

The key is written to Vault; the VenueConnection gets its SHA-256, which the simulated venue compares with. The gateway
alone may read the key: the Vault role is bound to its ServiceAccount.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from tools.demo.clusters import Cluster
from tools.demo.errors import CommandFailed


@dataclass(frozen=True)
class VenueKey:
    """Where a venue's key is in Vault, and its hash."""

    path: str
    role: str
    sha256: str


def secret_path(namespace: str, venue: str) -> str:
    """Path of the key below the key-value mount `secret`; the demo's own namespace needs no prefix."""
    return f"venues/{venue}" if namespace == "demo" else f"venues/{namespace}/{venue}"


def role_name(namespace: str, venue: str) -> str:
    """Vault role (and policy) of a venue's gateway."""
    return f"venue-{venue}" if namespace == "demo" else f"{namespace}-venue-{venue}"


def provide(cluster: Cluster, namespace: str, venue: str, key: str | None = None) -> VenueKey:
    """Writes a key (the given one, else the one that is there, else a random one), a policy to read it and a role for
    the gateway's ServiceAccount."""
    path, role = secret_path(namespace, venue), role_name(namespace, venue)
    value = key or _stored(cluster, path) or secrets.token_hex(24)
    write(cluster, path, value)
    cluster.vault("policy", "write", role, "-", stdin=f'path "secret/data/{path}" {{ capabilities = ["read"] }}\n')
    cluster.vault(
        "write",
        f"auth/kubernetes/role/{role}",
        f"bound_service_account_names=venue-{venue}",
        f"bound_service_account_namespaces={namespace}",
        "audience=vault",
        f"token_policies={role}",
        "token_ttl=10m",
    )
    return VenueKey(f"secret/data/{path}", role, hashlib.sha256(value.encode()).hexdigest())


def write(cluster: Cluster, path: str, value: str) -> None:
    """Writes a key as a new version; it goes through standard input."""
    cluster.vault("kv", "put", f"secret/{path}", "api-key=-", stdin=value)


def _stored(cluster: Cluster, path: str) -> str:
    try:
        return cluster.vault("kv", "get", "-field=api-key", f"secret/{path}").strip()
    except CommandFailed:
        return ""
