"""Answers the server's questions about connections. Every replica can answer every question: all that it remembers is
how many connections an identity has (connection_bound.py).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog
from cryptography import x509
from nats.aio.client import Client
from nats.aio.msg import Msg
from nkeys import KeyPair

from crowetrade_operator.authorizer import metrics
from crowetrade_operator.authorizer.connection_bound import REASON, REFUSED_FROM, Connection, ConnectionBound
from crowetrade_operator.authorizer.jwt import Request, UnreadableRequest, allow, read_request, refuse
from crowetrade_operator.authorizer.permissions import Permissions, Venue, permissions
from crowetrade_process.audit.refusals import Refusals
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.peer import Reason, Refusal
from crowetrade_process.identity.roles import Peer, PeerRole

SUBJECT = "$SYS.REQ.USER.AUTH"
QUEUE = "crowetrade-authorizer"
ALLOWED = "Allowed"
BOUNDED = (PeerRole.STRATEGY, PeerRole.GATEWAY)
"""Those that users make, of which each has one pod."""

log = structlog.get_logger()


class Judge(Protocol):
    """Who shows a certificate, and what that is here."""

    def judge(self, certificate_pem: bytes) -> IdentityName | Refusal:
        """See Identity.judge."""
        ...

    def peer(self, name: IdentityName) -> Peer:
        """See Identity.peer."""
        ...


T = TypeVar("T", covariant=True)


class Resources(Protocol[T]):
    """Which resources of a kind there are."""

    @property
    def problem(self) -> str:
        """Why that is not known; empty when it is."""
        ...

    def get(self, namespace: str, name: str) -> T | None:
        """None when there is no such resource."""
        ...


@dataclass(frozen=True, slots=True)
class Installation:
    """What the identities of gateways and strategies stand for. Whoever may make a service account gives it any name:
    so one counts only where there is its resource, in a namespace of this installation."""

    strategies: Resources[frozenset[Venue]]
    """The venues that each trades at."""
    venues: Resources[bool]


@dataclass(frozen=True, slots=True)
class Decision:
    """About one connection: what it may do, or why it is refused."""

    role: PeerRole
    who: str
    granted: Permissions | None
    reason: str = ALLOWED
    text: str = ""
    ends: int = 0
    """When the certificate ends that was shown, and with it the connection: Unix time in seconds."""


class Authorizer:
    """One replica, on one connection in account AUTH."""

    def __init__(
        self,
        issuer: KeyPair,
        judge: Judge,
        installation: Installation,
        bound: ConnectionBound,
        refusals: Refusals,
    ) -> None:
        self._bound = bound
        self._refusals = refusals
        self._issuer = issuer
        self._judge = judge
        self._installation = installation

    async def serve(self, client: Client) -> None:
        """Answers from now on; what one replica takes, no other does."""
        await client.subscribe(SUBJECT, queue=QUEUE, cb=self._answer)
        await client.flush()

    async def _answer(self, message: Msg) -> None:
        started = time.monotonic()
        try:
            request = read_request(message.data)
        except UnreadableRequest as error:
            metrics.DECISIONS.labels(PeerRole.STRANGER, "UnreadableRequest").inc()
            log.error("authorization_request_unreadable", error=str(error))
            return
        decision = self._bounded(self.decide(request), request)
        metrics.DECISIONS.labels(decision.role, decision.reason).inc()
        now = int(time.time())
        if decision.granted is not None:
            log.info("connection_allowed", role=decision.role, identity=decision.who, host=request.host)
            answer = allow(request, decision.granted, decision.ends, self._issuer, now)
        else:
            log.warning(
                "connection_refused",
                role=decision.role,
                reason=decision.reason,
                text=decision.text,
                identity=decision.who,
                client=request.client_name,
                host=request.host,
            )
            self._refusals.record(decision.reason, decision.text, decision.who)
            answer = refuse(request, f"{decision.reason}: {decision.text}", self._issuer, now)
        await message.respond(answer)
        metrics.DECISION_SECONDS.observe(time.monotonic() - started)

    def decide(self, request: Request) -> Decision:
        """What cannot be read, and who is not known, is refused."""
        if not request.certificate_pem:
            return _refused(Refusal(Reason.NO_CERTIFICATE, "the client has shown no certificate"))
        certificate = request.certificate_pem.encode()
        identity = self._judge.judge(certificate)
        if isinstance(identity, Refusal):
            return _refused(identity)
        ends = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
        return self._of(identity, self._judge.peer(identity), int(ends.timestamp()))

    def _bounded(self, decision: Decision, request: Request) -> Decision:
        if decision.granted is None or decision.role not in BOUNDED:
            return decision
        if self._bound.admits(decision.who, Connection(request.server_id, request.connection)):
            return decision
        text = f"{decision.who} has {REFUSED_FROM} connections open, and the oldest are not closed yet"
        return Decision(decision.role, decision.who, None, REASON, text)

    def _of(self, identity: IdentityName, peer: Peer, ends: int) -> Decision:
        strategies, connections = self._installation.strategies, self._installation.venues
        venues = strategies.get(peer.namespace, peer.name) if peer.role is PeerRole.STRATEGY else frozenset[Venue]()
        if venues is None:
            reason = "StrategiesUnknown" if strategies.problem else "StrategyNotFound"
            return _missing(identity, peer, reason, strategies.problem or f"there is no Strategy {peer.name}")
        if peer.role is PeerRole.GATEWAY and connections.get(peer.namespace, peer.name) is None:
            reason = "VenueConnectionsUnknown" if connections.problem else "VenueConnectionNotFound"
            return _missing(identity, peer, reason, connections.problem or f"there is no VenueConnection {peer.name}")
        granted = permissions(identity, peer, venues)
        if granted is None:
            text = f"{identity} is no operator, risk auditor, gateway, strategy or administrator of this installation"
            return Decision(peer.role, identity.uri, None, Reason.NOT_PERMITTED, text)
        return Decision(peer.role, identity.uri, granted, ends=ends)


def _missing(identity: IdentityName, peer: Peer, reason: str, what: str) -> Decision:
    text = f"{what}: looked for in namespace {peer.namespace}, if it is one of this installation"
    return Decision(peer.role, identity.uri, None, reason, text)


def _refused(refusal: Refusal) -> Decision:
    return Decision(PeerRole.STRANGER, "", None, refusal.reason, refusal.text)
