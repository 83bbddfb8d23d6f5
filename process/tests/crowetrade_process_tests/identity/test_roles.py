"""Who is who."""

from __future__ import annotations

import pytest

from crowetrade_process.identity.roles import Peer, PeerRole, peer_named

from .authority import identity_name

HOME = "crowetrade"
ALICE = identity_name("alice", "people")


@pytest.mark.parametrize(
    ("account", "namespace", "peer"),
    [
        ("crowetrade-operator", HOME, Peer(PeerRole.OPERATOR)),
        ("crowetrade-authorizer", HOME, Peer(PeerRole.AUTHORIZER)),
        ("crowetrade-risk-auditor", HOME, Peer(PeerRole.RISK_AUDITOR)),
        ("nats", HOME, Peer(PeerRole.NATS)),
        ("venue-sim", "desk", Peer(PeerRole.GATEWAY, "desk", "sim")),
        ("strategy-fx", "desk", Peer(PeerRole.STRATEGY, "desk", "fx")),
        ("strategy-venue-a", "desk", Peer(PeerRole.STRATEGY, "desk", "venue-a")),
        ("alice", "people", Peer(PeerRole.ADMINISTRATOR)),
        # Elsewhere anybody may make an account of such a name.
        ("crowetrade-operator", "desk", Peer(PeerRole.STRANGER)),
        ("crowetrade-authorizer", "desk", Peer(PeerRole.STRANGER)),
        ("nats", "desk", Peer(PeerRole.STRANGER)),
        ("alice", "desk", Peer(PeerRole.STRANGER)),
        ("default", "desk", Peer(PeerRole.STRANGER)),
        ("venue-", "desk", Peer(PeerRole.STRANGER)),
        ("strategy", "desk", Peer(PeerRole.STRANGER)),
    ],
)
def test_each_account_has_one_role(account: str, namespace: str, peer: Peer) -> None:
    assert peer_named(identity_name(account, namespace), HOME, {ALICE.uri}) == peer


def test_nobody_is_the_operator_where_its_namespace_is_not_known() -> None:
    assert peer_named(identity_name("crowetrade-operator", HOME), "", ()).role is PeerRole.STRANGER
