"""The API server's resources that the operator uses, by kind."""

from __future__ import annotations

from dataclasses import dataclass

from crowetrade_api.names import GROUP, VERSION


@dataclass(frozen=True, slots=True)
class ApiResource:
    """Where a kind lives in the API."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As in manifests: group/version, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of the collection, of an object or of its subresource."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        parts += ["namespaces", namespace] if namespace else []
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/" + "/".join(parts)


STRATEGIES = ApiResource(GROUP, VERSION, "strategies", "Strategy")
VENUES = ApiResource(GROUP, VERSION, "venueconnections", "VenueConnection")
RISK_LIMITS = ApiResource(GROUP, VERSION, "risklimits", "RiskLimit")
KILL_SWITCHES = ApiResource(GROUP, VERSION, "killswitches", "KillSwitch")
DEPLOYMENTS = ApiResource("apps", "v1", "deployments", "Deployment")
CONFIG_MAPS = ApiResource("", "v1", "configmaps", "ConfigMap")
SERVICES = ApiResource("", "v1", "services", "Service")
SERVICE_ACCOUNTS = ApiResource("", "v1", "serviceaccounts", "ServiceAccount")
NETWORK_POLICIES = ApiResource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
DISRUPTION_BUDGETS = ApiResource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NAMESPACES = ApiResource("", "v1", "namespaces", "Namespace")
CERTIFICATES = ApiResource("cert-manager.io", "v1", "certificates", "Certificate")
PODS = ApiResource("", "v1", "pods", "Pod")
EVENTS = ApiResource("events.k8s.io", "v1", "events", "Event")
LEASES = ApiResource("coordination.k8s.io", "v1", "leases", "Lease")

CUSTOM = (STRATEGIES, VENUES, RISK_LIMITS, KILL_SWITCHES)
CHILDREN = (SERVICE_ACCOUNTS, CONFIG_MAPS, NETWORK_POLICIES, SERVICES, DISRUPTION_BUDGETS, DEPLOYMENTS)
"""Kinds that the operator creates, in the order in which they are applied: the Deployment comes last."""
WATCHED = (*CUSTOM, *CHILDREN, PODS)
WATCHED_WITH_CERTIFICATES = (*WATCHED, CERTIFICATES)
"""Where cert-manager issues identities; elsewhere its kinds may not be there."""
BY_KIND = {resource.kind: resource for resource in (*WATCHED_WITH_CERTIFICATES, EVENTS, LEASES)}
