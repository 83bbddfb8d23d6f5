"""The table of kinds: where each is in the API, whose it is, and how it is watched, compared, written and cleaned up.

Everything that goes through kinds derives from this table; the chart's rules of RBAC are compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from crowetrade_api.names import GROUP, MANAGED_SELECTOR, VERSION

Path = tuple[str, ...]
"""Of a field: the names on the way to it."""


class Role(Enum):
    """Whose a kind is, which says how it is watched and cleaned up."""

    OWN = "written by people: watched whole, by kopf; goes when the operator takes its finalizer away"
    CHILD = "written by the operator: watched by label; goes with its owner"
    POD = "made by Deployments of the operator: watched by label; goes with its Deployment"
    NAMESPACE = "read; watched by an operator that works in all"
    OTHER = "written or read where it is needed, never watched"


@dataclass(frozen=True, slots=True)
class ApiResource:
    """A kind."""

    group: str
    version: str
    plural: str
    kind: str
    role: Role = Role.OTHER
    verbs: str = ""
    """What the operator asks for, as in rules of RBAC, separated by spaces."""
    subresources: tuple[tuple[str, str], ...] = ()
    """Subresources and their verbs."""
    only_ours: tuple[Path, ...] = ()
    """Fields that hold what we want and nothing beside it. Of all others managedFields say whether they are ours."""
    needed: tuple[Path, ...] = ()
    """Other fields that decisions are made from."""

    @property
    def api_version(self) -> str:
        """As in manifests: group/version, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def selector(self) -> str:
        """Labels of what is watched; all without any."""
        return MANAGED_SELECTOR if self.role in (Role.CHILD, Role.POD) else ""

    @property
    def kept(self) -> tuple[Path, ...]:
        """What is kept of an object besides its metadata. Of our own kinds everything is."""
        return (*self.only_ours, *self.needed)

    @property
    def metadata_only(self) -> bool:
        """Whether the API server is asked for the metadata alone."""
        return self.role is not Role.OWN and not self.kept

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of the collection, of an object or of its subresource."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        parts += ["namespaces", namespace] if namespace else []
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(parts)


def _paths(prefix: str, *names: str) -> tuple[Path, ...]:
    return tuple((*prefix.split("."), name) for name in names)


_MANAGED = "list watch patch"
"""patch: finalizers, and annotations that are carried out are taken away."""
_OF_CHILDREN = "list watch create patch delete"
_STATUS = ("status", "patch")
_FINALIZERS = ("finalizers", "update")
"""For ownerReferences.blockOwnerDeletion of children."""

STRATEGIES = ApiResource(GROUP, VERSION, "strategies", "Strategy", Role.OWN, _MANAGED, (_STATUS, _FINALIZERS))
VENUES = ApiResource(GROUP, VERSION, "venueconnections", "VenueConnection", Role.OWN, _MANAGED, (_STATUS, _FINALIZERS))
RISK_LIMITS = ApiResource(GROUP, VERSION, "risklimits", "RiskLimit", Role.OWN, _MANAGED, (_STATUS,))
# Created for an order that was given without one; never changed or deleted.
KILL_SWITCHES = ApiResource(GROUP, VERSION, "killswitches", "KillSwitch", Role.OWN, "list watch create", (_STATUS,))

SERVICE_ACCOUNTS = ApiResource("", "v1", "serviceaccounts", "ServiceAccount", Role.CHILD, _OF_CHILDREN)
CONFIG_MAPS = ApiResource("", "v1", "configmaps", "ConfigMap", Role.CHILD, _OF_CHILDREN)
NETWORK_POLICIES = ApiResource(
    "networking.k8s.io",
    "v1",
    "networkpolicies",
    "NetworkPolicy",
    Role.CHILD,
    _OF_CHILDREN,
    only_ours=_paths("spec", "podSelector", "policyTypes", "ingress", "egress"),
)
SERVICES = ApiResource(
    "",
    "v1",
    "services",
    "Service",
    Role.CHILD,
    _OF_CHILDREN,
    only_ours=_paths(
        "spec",
        "selector",
        "type",
        "ports",
        "externalIPs",
        "externalName",
        "loadBalancerIP",
        "loadBalancerClass",
        "loadBalancerSourceRanges",
        "publishNotReadyAddresses",
    ),
)
DISRUPTION_BUDGETS = ApiResource(
    "policy",
    "v1",
    "poddisruptionbudgets",
    "PodDisruptionBudget",
    Role.CHILD,
    _OF_CHILDREN,
    only_ours=_paths("spec", "selector", "minAvailable", "maxUnavailable"),
)
# Only where cert-manager issues identities; elsewhere its kinds may not be there.
CERTIFICATES = ApiResource(
    "cert-manager.io",
    "v1",
    "certificates",
    "Certificate",
    Role.CHILD,
    _OF_CHILDREN,
    only_ours=_paths(
        "spec",
        "commonName",
        "subject",
        "literalSubject",
        "dnsNames",
        "uris",
        "ipAddresses",
        "emailAddresses",
        "otherNames",
        "isCA",
        "usages",
        "nameConstraints",
        "secretTemplate",
        "additionalOutputFormats",
        "keystores",
    ),
)
DEPLOYMENTS = ApiResource(
    "apps",
    "v1",
    "deployments",
    "Deployment",
    Role.CHILD,
    _OF_CHILDREN,
    # Pods that share the node's network are beyond every NetworkPolicy.
    only_ours=_paths("spec.template.spec", "hostNetwork", "hostPID", "hostIPC"),
    needed=(("spec", "progressDeadlineSeconds"), ("status",)),
)
PODS = ApiResource("", "v1", "pods", "Pod", Role.POD, "list watch", needed=(("spec",), ("status",)))

# list and watch where it works in all; with the rights of some namespaces only these can be asked for, one by one.
NAMESPACES = ApiResource("", "v1", "namespaces", "Namespace", Role.NAMESPACE, "get list watch")
EVENTS = ApiResource("events.k8s.io", "v1", "events", "Event", verbs="create list")
# In the operator's own namespace.
LEASES = ApiResource("coordination.k8s.io", "v1", "leases", "Lease", verbs="create get update watch")

KINDS = (
    STRATEGIES,
    VENUES,
    RISK_LIMITS,
    KILL_SWITCHES,
    # In the order in which they are applied: the Deployment comes last.
    SERVICE_ACCOUNTS,
    CONFIG_MAPS,
    NETWORK_POLICIES,
    SERVICES,
    DISRUPTION_BUDGETS,
    CERTIFICATES,
    DEPLOYMENTS,
    PODS,
    NAMESPACES,
    EVENTS,
    LEASES,
)
BY_KIND = {resource.kind: resource for resource in KINDS}
CUSTOM = tuple(resource for resource in KINDS if resource.role is Role.OWN)
CHILDREN = tuple(resource for resource in KINDS if resource.role is Role.CHILD and resource is not CERTIFICATES)
"""Kinds that the operator creates for every owner."""


def watched(*, everywhere: bool = False, certificates: bool = False) -> tuple[ApiResource, ...]:
    """What an operator watches, of all namespaces or of some, with cert-manager's kinds where it issues identities."""
    roles = {Role.OWN, Role.CHILD, Role.POD} | ({Role.NAMESPACE} if everywhere else set())
    return tuple(item for item in KINDS if item.role in roles and (certificates or item is not CERTIFICATES))
