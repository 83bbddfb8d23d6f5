"""metadata of the children: names, labels, owner."""

from __future__ import annotations

from typing import Any

from crowetrade_api.names import (
    AGENT_APP,
    API_VERSION,
    COMBINED_ROLE,
    GATEWAY_APP,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    NAME_LABEL,
    ROLE_LABEL,
    STRATEGY_LABEL,
    VENUE_LABEL,
    strategy_object,
    venue_object,
)
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection

Owner = Strategy | VenueConnection


def selector(owner: Owner, role: str | None = None) -> dict[str, str]:
    """Labels that select the owner's pods (of one role, if given)."""
    if isinstance(owner, VenueConnection):
        return {NAME_LABEL: GATEWAY_APP, VENUE_LABEL: owner.name}
    labels = {NAME_LABEL: AGENT_APP, STRATEGY_LABEL: owner.name}
    return labels | ({ROLE_LABEL: role} if role else {})


def labels(owner: Owner, role: str | None = None) -> dict[str, str]:
    """Labels of the owner's children."""
    return {**selector(owner, role), MANAGED_BY_LABEL: MANAGED_BY}


def object_name(owner: Owner, role: str = COMBINED_ROLE) -> str:
    """Name of the owner's children."""
    return venue_object(owner.name) if isinstance(owner, VenueConnection) else strategy_object(owner.name, role)


def metadata(owner: Owner, name: str | None = None, role: str | None = None) -> dict[str, Any]:
    """metadata of a child: deleted with its owner, and found by its labels."""
    return {
        "name": name or object_name(owner),
        "namespace": owner.namespace,
        "labels": labels(owner, role),
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": type(owner).__name__,
                "name": owner.name,
                "uid": owner.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
