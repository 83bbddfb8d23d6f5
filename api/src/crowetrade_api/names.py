"""Names: group, kinds, labels, annotations, children, roles and ports. Each has its one definition here."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

GROUP = "trading.crowetrade.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "crowetrade"

FIELD_MANAGER = "crowetrade-operator"
MANAGED_BY = "crowetrade-operator"

FINALIZER = f"{GROUP}/stop-trading"
FOREGROUND_FINALIZER = "foregroundDeletion"
"""Kubernetes' own: the object goes when the garbage collector has deleted its children."""
PAUSED_ANNOTATION = f"{GROUP}/paused"
FORCE_DELETE_ANNOTATION = f"{GROUP}/force-delete"
CLEAR_HALT_ANNOTATION = f"{GROUP}/clear-halt"
"""On a VenueConnection: halts of its gateway that a person has cleared, such as JournalBelowRecord@3, separated by
commas; and breaches whose RiskLimit is gone, as on a RiskLimit. Between halts and breaches stands a semicolon."""
CLEAR_BREACH_ANNOTATION = f"{GROUP}/clear-breach"
"""On a RiskLimit: breaches that a person has cleared, each with a reason: `ID: reason`, separated by semicolons."""
CHANGED_BY_ANNOTATION = f"{GROUP}/changed-by"
"""User who made the last change of a resource, as the API server knows them: admission lets nobody else be named."""
APPLIED_HASH_ANNOTATION = f"{GROUP}/applied-hash"
APPLIED_ANNOTATION = f"{GROUP}/applied"
"""On a Deployment: it, those beside it and their ConfigMap as they were applied last (decide/last_applied.py)."""
CONFIG_HASH_ANNOTATION = f"{GROUP}/config-hash"
INSTRUMENTS_ANNOTATION = f"{GROUP}/instruments"
"""On the ConfigMap of a strategy: NAMESPACE/VENUE/SYMBOL of what its agents are configured for, with commas."""
SPEC_HASH_ANNOTATION = f"{GROUP}/spec-hash"
LEFT_BEHIND_ANNOTATION = f"{GROUP}/left-behind"
"""On the operator's Lease while nobody holds it: how far the last leader has seen and written (cluster/takeover.py)."""

NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"
"""On every namespace, with its name: the API server sets it, so nobody can claim another one's."""
ENVIRONMENT_LABEL = f"{GROUP}/environment"
"""On namespaces: in those that are `live` no venue may have its key from a Secret."""
NAME_LABEL = "app.kubernetes.io/name"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
STRATEGY_LABEL = f"{GROUP}/strategy"
VENUE_LABEL = f"{GROUP}/venue"
ROLE_LABEL = f"{GROUP}/role"
CONTROL_LABEL = f"{GROUP}/control"
SHARD_LABEL = f"{GROUP}/shard"
"""On pods, with value "true": they may reach the control service of gateways."""

GATEWAY_APP = "crowetrade-gateway"
AGENT_APP = "crowetrade-agent"
MANAGED_SELECTOR = f"{MANAGED_BY_LABEL}={MANAGED_BY}"

HTTP_PORT = 8080
GRPC_PORT = 50051
CONTROL_PORT = 50052
"""Of a gateway: the control service, where kill orders come in directly."""
USER_ID = 65532


class Role(StrEnum):
    """The roles of a strategy, in the order of the data."""

    FEATURE = "feature"
    SIGNAL = "signal"
    PORTFOLIO = "portfolio"
    EXECUTION = "execution"


ROLES = tuple(Role)
COMBINED_ROLE = "combined"
"""What a process with all roles is called."""


class Kind(StrEnum):
    """Kinds of the custom resources."""

    STRATEGY = "Strategy"
    VENUE = "VenueConnection"
    RISK_LIMIT = "RiskLimit"
    KILL_SWITCH = "KillSwitch"


class Key(NamedTuple):
    """Address of one custom resource."""

    kind: Kind
    namespace: str
    name: str


class VenueAddress(NamedTuple):
    """Address of one VenueConnection."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def reason_of_halt(halt: str) -> str:
    """Why a halt of that name, REASON@EVENT, stops trading: a CamelCase word."""
    return halt.partition("@")[0]


class InstrumentAddress(NamedTuple):
    """One instrument at one VenueConnection."""

    venue: VenueAddress
    symbol: str

    def __str__(self) -> str:
        return f"{self.venue}/{self.symbol}"


def strategy_object(strategy: str, role: str = COMBINED_ROLE) -> str:
    """Name of a strategy's children; in Split each role has its Deployment.

    The role comes first: no role has a hyphen, so no other strategy, kind or role has a child of the same name.
    """
    return f"strategy-{strategy}" if role == COMBINED_ROLE else f"agent-{role}-{strategy}"


def venue_object(venue: str) -> str:
    """Name of a gateway's children."""
    return f"venue-{venue}"


def child_names(key: Key) -> tuple[str, ...]:
    """Every name that a Deployment of a resource may have."""
    if key.kind is Kind.VENUE:
        return (venue_object(key.name),)
    return tuple(strategy_object(key.name, role) for role in (COMBINED_ROLE, *ROLES))


def name_at(venue_namespace: str, namespace: str, strategy: str) -> str:
    """What the gateways of a namespace call a Strategy: its name, and NAME.NAMESPACE where it is of another one. Names
    hold no dots, so no two strategies share one."""
    return strategy if namespace == venue_namespace else f"{strategy}.{namespace}"


def strategy_of(known_as: str, venue_namespace: str) -> tuple[str, str]:
    """Namespace and name of the Strategy that the gateways of a namespace call so."""
    name, _, namespace = known_as.partition(".")
    return namespace or venue_namespace, name


def gateway_address(namespace: str, venue: str, cluster_domain: str = "") -> str:
    """Host and port of a gateway's order entry service."""
    suffix = f".{cluster_domain}" if cluster_domain else ""
    return f"{venue_object(venue)}.{namespace}.svc{suffix}:{GRPC_PORT}"


def control_address(namespace: str, venue: str, cluster_domain: str = "") -> str:
    """Host and port of a gateway's control service."""
    host, _, _ = gateway_address(namespace, venue, cluster_domain).rpartition(":")
    return f"{host}:{CONTROL_PORT}"
