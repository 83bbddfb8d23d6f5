"""Who is who: what a service account is in CroweTrade."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from crowetrade_process.identity.name import IdentityName

OPERATOR_ACCOUNT = "crowetrade-operator"
AUTHORIZER_ACCOUNT = "crowetrade-authorizer"
RISK_AUDITOR_ACCOUNT = "crowetrade-risk-auditor"
NATS_ACCOUNT = "nats"
GATEWAY_PREFIX, STRATEGY_PREFIX = "venue-", "strategy-"
"""Before the name of a VenueConnection or Strategy, in the name of the service account of its pods."""


class PeerRole(StrEnum):
    """What a process is."""

    OPERATOR = "operator"
    AUTHORIZER = "authorizer"
    RISK_AUDITOR = "risk-auditor"
    NATS = "nats"
    GATEWAY = "gateway"
    STRATEGY = "strategy"
    ADMINISTRATOR = "administrator"
    STRANGER = "stranger"


_OF_THE_OPERATORS_NAMESPACE = {
    OPERATOR_ACCOUNT: PeerRole.OPERATOR,
    AUTHORIZER_ACCOUNT: PeerRole.AUTHORIZER,
    RISK_AUDITOR_ACCOUNT: PeerRole.RISK_AUDITOR,
    NATS_ACCOUNT: PeerRole.NATS,
}


@dataclass(frozen=True, slots=True)
class Peer:
    """A role, with namespace and name of the Strategy or VenueConnection; empty for the other roles."""

    role: PeerRole
    namespace: str = ""
    name: str = ""


def peer_named(name: IdentityName, operator_namespace: str, administrators: Collection[str]) -> Peer:
    """Who has this name. `administrators` are URIs of identities."""
    if name.uri in administrators:
        return Peer(PeerRole.ADMINISTRATOR)
    account = name.service_account
    if name.namespace == operator_namespace and account in _OF_THE_OPERATORS_NAMESPACE:
        return Peer(_OF_THE_OPERATORS_NAMESPACE[account])
    for prefix, role in ((GATEWAY_PREFIX, PeerRole.GATEWAY), (STRATEGY_PREFIX, PeerRole.STRATEGY)):
        if account.startswith(prefix) and len(account) > len(prefix):
            return Peer(role, name.namespace, account.removeprefix(prefix))
    return Peer(PeerRole.STRANGER)
