"""Which venues a Strategy trades at."""

from __future__ import annotations

from collections.abc import Mapping

from crowetrade_api.v1alpha1.strategy import venues_of
from crowetrade_operator.authorizer.permissions import Venue
from crowetrade_operator.cluster.objects import Object


def readable_venues(item: Object) -> frozenset[Venue]:
    """The venues that a Strategy names, and those that it has left: its agents run there until they are configured for
    others. What cannot be read is none: the schema of another version may differ.

    Of another namespace those count that the operator has found to admit it: who writes a Strategy writes no status.
    """
    own = item["metadata"]["namespace"]
    status = item.get("status")
    listed = status.get("admittedVenues") if isinstance(status, Mapping) else None
    admitted = set(listed) if isinstance(listed, list) else set()
    return frozenset(venue for venue in venues_of(item) if venue.namespace == own or str(venue) in admitted)
