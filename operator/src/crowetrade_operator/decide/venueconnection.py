"""VenueConnection: one gateway and its configuration on the bus.

Its status is the record of the gateway's journal: the highest fencing token and sequence that were reported. They go
down only when a person has cleared the halt JournalBelowRecord and the gateway has confirmed that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crowetrade_api.gateway_config import bound_strategies, with_record
from crowetrade_api.names import FINALIZER
from crowetrade_api.reasons import EventReason, Reason
from crowetrade_api.v1alpha1.common import cut
from crowetrade_api.v1alpha1.venueconnection import (
    VenueConnection,
)
from crowetrade_operator.cluster.compare import with_hash
from crowetrade_operator.cluster.objects import Note, Object
from crowetrade_operator.decide import last_applied, venueconnection_deletion, venueconnection_rollout
from crowetrade_operator.decide.observed import NamespaceView, ObservedVenue
from crowetrade_operator.decide.plan import (
    Plan,
)
from crowetrade_operator.decide.stops import clearing
from crowetrade_operator.decide.venueconnection_status import vault_missing
from crowetrade_operator.desired import identity
from crowetrade_operator.desired.configmap import config_hash, venue_config_map, venue_content
from crowetrade_operator.desired.deployment import venue_deployment
from crowetrade_operator.desired.networkpolicy import venue_policy
from crowetrade_operator.desired.poddisruptionbudget import pod_disruption_budget
from crowetrade_operator.desired.service import service
from crowetrade_operator.desired.serviceaccount import service_account
from crowetrade_operator.settings import Settings

LOOK_AGAIN_SECONDS = 60.0
"""An operator of some namespaces cannot watch their labels, by which Strategies are admitted."""


def plan(observed: ObservedVenue, settings: Settings) -> Plan:
    """What to write. Pausing leaves the children alone, and so does a spec that cannot be read; the configuration goes
    out all the same."""
    venue, around = observed.venue, observed.around
    config = with_record(observed.config, venue.status)
    if venue.deleting:
        held = FINALIZER in venue.metadata.finalizers
        if not held and around.bus_is_read and around.on_the_bus.get(venue.name) is None:
            # It was let go, and somebody else's finalizer keeps it: its gateway gets nothing any more.
            return Plan(finalizer=False)
        planned = venueconnection_deletion.plan(observed, config, settings)
        if held and planned.finalizer is None:
            planned = replace(planned, apply=_while_needed(observed, settings))
        return planned if around.guests_are_known else replace(planned, config=None)
    children: list[Object] = []
    restart = None
    if isinstance(venue, VenueConnection) and not venue.paused:
        children = _children(venue, around, settings)
        deployment = next((item for item in children if item["kind"] == "Deployment"), None)
        if deployment is not None:
            restart = venueconnection_rollout.restart(observed, venue, children, deployment, settings)
        if (restart is not None and restart.rollout_blocked_by) or deployment is None:
            children = _as_it_runs(children, observed)
    blocked_by = restart.rollout_blocked_by if restart is not None else ""
    return Plan(
        apply=_within_what_is_known(children, around),
        rollout_blocked_by=blocked_by,
        blocked_reason=restart.reason if restart is not None else Reason.ROLLING_OUT,
        restarts=restart is not None and not blocked_by,
        finalizer=True,
        config=config if around.guests_are_known else None,
        journal=True,
        halts_cleared=_halts_cleared(observed),
        notes=_cleared_notes(observed),
        requeue_after_seconds=settings.silent_after_seconds
        if blocked_by or not around.guests_are_known
        else LOOK_AGAIN_SECONDS,
    )


def _within_what_is_known(children: Sequence[Object], around: NamespaceView) -> list[Object]:
    """Who trades here and cannot be seen would lose the gateway by a policy that does not name them."""
    return [item for item in children if around.guests_are_known or item["kind"] != "NetworkPolicy"]


def _while_needed(observed: ObservedVenue, settings: Settings) -> list[Object]:
    """The gateway of a venue that is being deleted, as it runs: what somebody takes of it before it has closed what is
    held is made again. In a namespace that ends nothing can be made."""
    venue, around = observed.venue, observed.around
    if not isinstance(venue, VenueConnection) or venue.paused or venue.namespace in around.terminating:
        return []
    return _within_what_is_known(_as_it_runs(_children(venue, around, settings), observed), around)


def _as_it_runs(children: Sequence[Object], observed: ObservedVenue) -> list[Object]:
    """The children, with a gateway that runs as it was applied last. Its ConfigMap, too: a pod that restarts by itself
    must read what it was made for."""
    if not observed.children.of_kind("Deployment"):
        return list(children)
    others = [item for item in children if item["kind"] not in last_applied.RECORDED]
    return [*others, *last_applied.kept(observed.children)]


def _halts_cleared(observed: ObservedVenue) -> bool:
    """Whether the gateway has carried out the annotation clear-halt, and the status has the record that holds now.

    The annotation is carried out once: left there, it would clear a later halt of the same name as soon as it came.
    """
    status, venue = observed.gateway.status, observed.venue
    if not (venue.cleared_halts or venue.breaches_cleared_as_halts) or status is None:
        return False
    stored = venue.status
    return (
        status.config_revision == observed.config.revision
        and status.fencing_token == stored.session.fencing_token
        and status.journal_sequence >= stored.journal.sequence
    )


def _cleared_notes(observed: ObservedVenue) -> list[Note]:
    if not _halts_cleared(observed):
        return []
    venue, status = observed.venue, observed.gateway.status
    asked = venue.breaches_cleared_as_halts
    left = {item.breach: item.risk_limit for item in status.breaches if item.breach in asked} if status else {}
    notes = []
    done = venue.cleared_halts + [f"{breach} ({why})" for breach, why in asked.items() if breach not in left]
    if done:
        text = f"The gateway has confirmed that a person cleared {', '.join(done)}."
        notes.append(Note("Normal", EventReason.HALT_CLEARED, "Reconcile", cut(text, 900)))
    if left:
        text = "; ".join(f"breach {breach} stays: {clearing(limit, breach)}" for breach, limit in left.items())
        text = f"Breaches whose RiskLimit is there are not cleared at the VenueConnection: {text}"
        notes.append(Note("Warning", EventReason.BREACH_NOT_CLEARED, "Reconcile", cut(text, 900)))
    return notes


def _children(venue: VenueConnection, around: NamespaceView, settings: Settings) -> list[Object]:
    content, kept = venue_content(venue), around.kept_guests(venue.name)
    bound = bound_strategies(venue, around.traders_at(venue), around.namespaces, kept)
    children = [
        service_account(venue, settings.gateway_pull_secrets),
        with_hash(venue_config_map(venue, content, settings)),
        venue_policy(venue, bound, settings),
        service(venue),
        pod_disruption_budget(venue),
        *identity.certificates(venue, settings),
    ]
    if not vault_missing(venue, settings):
        children.append(with_hash(venue_deployment(venue, config_hash(children[1]["data"]), settings)))
    return children
