"""Refused peers are told at once, and then no more often than once a minute for each reason."""

from __future__ import annotations

from crowetrade.audit.v1 import audit_pb2
from crowetrade_process.audit.refusals import SECONDS, Refusals
from crowetrade_process.identity.peer import Reason, Refusal


class Recorded:
    """Takes what a trail would."""

    def __init__(self) -> None:
        self.events: list[audit_pb2.AuditEvent] = []

    def record(self, event: audit_pb2.AuditEvent) -> None:
        self.events.append(event)


def test_a_thousand_refusals_are_two_records() -> None:
    now, trail = [0.0], Recorded()
    refusals = Refusals(trail, lambda: now[0])  # type: ignore[arg-type]
    for _ in range(1000):
        refusals.refused(Refusal(Reason.EXPIRED, "it has expired"))
    refusals.refused(Refusal(Reason.REVOKED, "it was revoked"))
    now[0] = SECONDS
    refusals.refused(Refusal(Reason.EXPIRED, "it has expired"))
    assert [(event.reason, event.count) for event in trail.events] == [
        ("Expired: it has expired", 1),
        ("Revoked: it was revoked", 1),
        ("Expired: it has expired", 1000),
    ]
    assert {event.action for event in trail.events} == {audit_pb2.ACTION_IDENTITY_REFUSED}
    assert {event.proof for event in trail.events} == {audit_pb2.ACTOR_PROOF_UNSPECIFIED}


def test_whose_certificate_was_believed_is_named() -> None:
    trail = Recorded()
    Refusals(trail).record("NotPermitted", "no role", "spiffe://a/ns/b/sa/c")  # type: ignore[arg-type]
    (event,) = trail.events
    assert (event.actor, event.proof) == ("spiffe://a/ns/b/sa/c", audit_pb2.ACTOR_PROOF_CERTIFICATE)
