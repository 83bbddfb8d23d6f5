"""RiskLimit: the reconcilers of the venues compile it into the gateways' configuration; what is left to do here is to
take clear-breach away once it is carried out. What its status says: see decide/risklimit_status.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_api.reasons import EventReason
from crowetrade_api.v1alpha1.common import cut
from crowetrade_api.v1alpha1.risklimit import (
    SHOWN_BREACHES,
    RiskLimit,
    RiskLimitStatus,
)
from crowetrade_operator.cluster.objects import Note
from crowetrade_operator.decide.observed import GatewayView, Moment, NamespaceView
from crowetrade_operator.decide.plan import Plan


@dataclass(frozen=True, slots=True)
class Observed:
    """All that is looked at for one RiskLimit."""

    limit: RiskLimit
    around: NamespaceView
    now: Moment


def concerned(limit: RiskLimit, around: NamespaceView) -> dict[str, config_pb2.RiskRule]:
    """The rule at each gateway where it binds a strategy."""
    found = {}
    for name, venue in sorted(around.venues.items()):
        config = around.config(venue)
        rule = next((item for item in config.rules if item.risk_limit == limit.name), None)
        if rule is not None:
            found[name] = rule
    return found


def acknowledgement(view: GatewayView, risk_limit: str, uid: str, hash_: str) -> status_pb2.RiskAcknowledgement | None:
    """What the gateway says about exactly this rule: by the uid of its RiskLimit and the hash of all that it says."""
    status = view.status
    wanted = (risk_limit, uid, hash_)
    found = status.risk_acknowledgements if status is not None else ()
    return next((item for item in found if (item.risk_limit, item.uid, item.hash) == wanted), None)


def acknowledgements(
    observed: Observed, rules: Mapping[str, config_pb2.RiskRule]
) -> dict[str, status_pb2.RiskAcknowledgement | None]:
    """By venue: what its gateway says about this version of the limit; None when it has not said anything, or has to
    keep the version before until others have tightened theirs."""
    limit, around = observed.limit, observed.around
    return {
        name: acknowledgement(
            around.gateway(name),
            limit.name,
            limit.metadata.uid,
            around.rule_hash(around.venues[name], limit.name),
        )
        if limit.name not in around.held(around.venues[name])
        else None
        for name in rules
    }


def plan(observed: Observed, previous: RiskLimitStatus) -> Plan:
    """What to write: the annotation clear-breach is carried out once, then taken away. `previous` is the status that
    was reported last: what it does not list and no gateway has was no breach, unless there was no room to list it."""
    if not _breaches_cleared(observed):
        return Plan()
    listed = {item.id for item in previous.breached}
    asked = observed.limit.cleared_breaches
    known = listed if len(listed) < SHOWN_BREACHES else asked
    cleared = "; ".join(f"{breach}: {why}" for breach, why in asked.items() if breach in known)
    unknown = ", ".join(breach for breach in asked if breach not in known)
    notes = []
    if cleared:
        text = f"The gateways have confirmed that these are breached no more: {cleared}"
        notes.append(Note("Normal", EventReason.BREACH_CLEARED, "Reconcile", cut(text, 900)))
    if unknown:
        others = ", ".join(sorted(listed - asked.keys())) or "none"
        text = (
            f"The annotation clear-breach was removed. No breach of RiskLimit {observed.limit.name} is known by these "
            f"names, so none was cleared: {unknown}. status.breached lists those that there are: {others}"
        )
        notes.append(Note("Warning", EventReason.BREACH_UNKNOWN, "Reconcile", cut(text, 900)))
    return Plan(breaches_cleared=True, notes=notes)


def _breaches_cleared(observed: Observed) -> bool:
    """Whether each gateway that has found one of the breaches has carried out the annotation. What is a breach of
    another RiskLimit is not waited for: it is not cleared here."""
    cleared, around = observed.limit.cleared_breaches, observed.around
    if not cleared:
        return False
    for breach in cleared:
        venue = around.venues.get(venue_of(breach))
        if venue is None:
            continue  # nobody is left who could have it
        status = around.gateway(venue.name).status
        if status is None or status.config_revision != around.config(venue).revision:
            return False
        if any((item.risk_limit, item.breach) == (observed.limit.name, breach) for item in status.breaches):
            return False
    return True


def venue_of(breach: str) -> str:
    """The venue that the name of a breach says: LIMIT/SUBJECT@VENUE-SEQUENCE."""
    return breach.rpartition("@")[2].rpartition("-")[0]
