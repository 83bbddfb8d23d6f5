"""What an identity may do on the bus. Pure: who it is, and what follows from that.

Everybody may use an inbox of their own, and nobody anybody else's. What is not listed is refused. A strategy has no
request that the server answers: nats-server sends an answer to whatever subject the request names, so who may make
it answer may have it write elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from crowetrade import subjects
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.roles import Peer, PeerRole


class Account(StrEnum):
    """Accounts of NATS, as nats.conf names them."""

    DATA = "DATA"
    ADMIN = "ADMIN"


Venue = tuple[str, str]
"""Namespace and name of a VenueConnection."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects that may be published and subscribed to (wildcards of NATS)."""

    account: Account
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def permissions(identity: IdentityName, peer: Peer, venues: Iterable[Venue] = ()) -> Permissions | None:
    """None for who has nothing to do there. `venues` are those whose market data a strategy may read."""
    inbox = f"{identity.inbox_prefix}.>"
    namespace, name = peer.namespace, peer.name
    if "." in name:
        # It would be several tokens of a subject; no resource of ours has such a name.
        return None
    match peer.role:
        case PeerRole.OPERATOR:
            return Permissions(Account.DATA, (*_operator(), *_trail(identity)), (inbox, subjects.STATUS_SUBJECTS))
        case PeerRole.RISK_AUDITOR:
            return Permissions(Account.DATA, _risk_auditor(), (inbox, subjects.MARKET_DATA_SUBJECTS))
        case PeerRole.GATEWAY:
            shares = subjects.key_subject(subjects.ALLOWANCE_BUCKET, subjects.allowance_key(namespace, "*"))
            return Permissions(Account.DATA, (*_gateway(namespace, name), *_trail(identity)), (inbox, shares))
        case PeerRole.STRATEGY:
            read = (*_streams_of(namespace, name), *_market(venues))
            return Permissions(
                Account.DATA,
                (*_said_by(namespace, name), *map(subjects.dead_letter, read), inbox),
                (inbox, *read),
            )
        case PeerRole.ADMINISTRATOR:
            kills = subjects.key_subject(subjects.KILL_BUCKET, "kill.>")
            return Permissions(Account.ADMIN, (f"{subjects.ADMIN_API}.>", kills), (inbox, subjects.STATUS_SUBJECTS))
        case PeerRole.AUTHORIZER | PeerRole.NATS:
            # Whom they refuse. The authorizer answers on another connection, by its nkey, in an account of its own.
            return Permissions(Account.DATA, _trail(identity), (inbox,))
        case PeerRole.STRANGER:
            return None


def _operator() -> tuple[str, ...]:
    """Makes streams and buckets, and changes or deletes none: an update that shortens a stream deletes from it."""
    written = (subjects.CONFIG_BUCKET, subjects.KILL_BUCKET, subjects.ALLOWANCE_BUCKET)
    return (
        "$JS.API.INFO",
        "$JS.API.STREAM.CREATE.*",
        "$JS.API.STREAM.INFO.*",
        # What the journals of a namespace reserve.
        "$JS.API.STREAM.LIST",
        *(f"$JS.API.STREAM.MSG.GET.{subjects.bucket_stream(bucket)}" for bucket in written),
        *(subjects.key_subject(bucket, ">") for bucket in written),
        # It keeps where every chain of the audit trail ends.
        f"$JS.API.DIRECT.GET.{subjects.AUDIT_STREAM}",
        f"$JS.API.DIRECT.GET.{subjects.AUDIT_STREAM}.>",
        "$SYS.REQ.USER.INFO",
        subjects.SERVER_FACTS,
    )


def _trail(identity: IdentityName) -> tuple[str, ...]:
    """Goes on with its own chain of the audit trail, and reads no other."""
    own = subjects.audit(identity.namespace, identity.service_account)
    return (own, f"$JS.API.DIRECT.GET.{subjects.AUDIT_STREAM}.{own}")


def _risk_auditor() -> tuple[str, ...]:
    """Reads every stream; writes what it found and how far it is."""
    own = subjects.bucket_stream(subjects.RISK_AUDITOR_BUCKET)
    return (
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.INFO.*",
        "$JS.API.STREAM.MSG.GET.*",
        "$JS.API.DIRECT.GET.*",
        f"$JS.API.STREAM.CREATE.{own}",
        subjects.key_subject(subjects.RISK_AUDITOR_BUCKET, ">"),
        subjects.risk_finding("*", "*"),
    )


def _gateway(namespace: str, venue: str) -> tuple[str, ...]:
    """Writes its market data, status, journal and snapshots, and its namespace's shares of limits; reads its own
    configuration, every kill order, and its own streams. It deletes nothing."""
    own = (subjects.journal_stream(namespace, venue), subjects.snapshot_stream(namespace, venue))
    config, kills = subjects.bucket_stream(subjects.CONFIG_BUCKET), subjects.bucket_stream(subjects.KILL_BUCKET)
    shares = subjects.bucket_stream(subjects.ALLOWANCE_BUCKET)
    watched = (
        (config, subjects.key_subject(subjects.CONFIG_BUCKET, subjects.gateway_config_key(namespace, venue))),
        (kills, subjects.key_subject(subjects.KILL_BUCKET, "kill.>")),
    )
    return (
        subjects.market_data_of_venue(namespace, venue),
        subjects.gateway_status(namespace, venue),
        subjects.journal(namespace, venue),
        subjects.journal_snapshots(namespace, venue),
        subjects.key_subject(subjects.ALLOWANCE_BUCKET, subjects.allowance_key(namespace, "*")),
        *(f"$JS.API.STREAM.INFO.{stream}" for stream in (*own, config, kills, shares)),
        *(f"$JS.API.STREAM.MSG.GET.{stream}" for stream in (*own, shares)),
        *(f"$JS.API.DIRECT.GET.{stream}" for stream in own),
        # The filter is part of the subject, and the server holds the request to it.
        *(f"$JS.API.CONSUMER.CREATE.{stream}.*.{filtered}" for stream, filtered in watched),
    )


def _streams_of(namespace: str, strategy: str) -> tuple[str, ...]:
    """What the roles of a strategy say to each other."""
    return (
        subjects.features(namespace, strategy),
        subjects.signals(namespace, strategy),
        subjects.targets(namespace, strategy),
        subjects.handshake(namespace, strategy, "*"),
    )


def _said_by(namespace: str, strategy: str) -> tuple[str, ...]:
    return (*_streams_of(namespace, strategy), subjects.agent_status(namespace, strategy, "*"))


def _market(venues: Iterable[Venue]) -> tuple[str, ...]:
    ordered = sorted(set(venues))
    return (
        *(subjects.market_data_of_venue(*venue) for venue in ordered),
        *(subjects.gateway_status(*venue) for venue in ordered),
    )
