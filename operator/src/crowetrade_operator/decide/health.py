"""The conditions by which other tools know how a resource does: Reconciling, Stalled and Suspended beside Ready. Pure.

kstatus, and Flux with it, reads Reconciling and Stalled by these names, then Ready; the checks for Argo CD in
gitops/argocd read the same and Suspended. At most one of Reconciling and Stalled is True:

- Reconciling: it moves towards what its spec says, or may still do so by itself.
- Stalled: it will not get there without a person. What may come a moment later, as a VenueConnection that is applied
  after the Strategy that names it, is waited for.
- Suspended: somebody has stopped it on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from crowetrade_api.conditions import Condition, ConditionType, condition, find
from crowetrade_api.reasons import Reason
from crowetrade_operator.cluster.times import unix_of
from crowetrade_operator.decide.observed import Moment

GRACE_SECONDS = 60.0
"""So long something that wants a person may be missing: the rest of what was applied with it comes meanwhile."""
PATIENCE_SECONDS = 600.0
"""So long a resource may be on its way; after that somebody has to look."""
STOPPED_ON_PURPOSE = frozenset(
    {Reason.SUSPENDED, Reason.VENUE_SUSPENDED, Reason.VENUE_DELETED, Reason.KILL_SWITCH_ENGAGED}
)

PASSES_BY_ITSELF = frozenset(
    {
        Reason.AGENT_NOT_CONNECTED,
        Reason.BUS_UNAVAILABLE,
        Reason.DATA_GAP,
        Reason.DISCONNECTED,
        Reason.EVICTED,
        Reason.GATEWAY_SILENT,
        Reason.NEAR_LIMIT,
        Reason.NO_CONFIGURATION,
        Reason.POD_FAILED,
    }
)
"""Its remedy is for where it lasts: a new pod or connection mostly ends it before anybody has looked."""


class Reported(Protocol):
    """A status that was reported before."""

    @property
    def observed_generation(self) -> int: ...

    @property
    def conditions(self) -> Sequence[Condition]: ...


def health(
    ready: Condition,
    previous: Reported,
    generation: int,
    now: Moment,
    moving: Condition | None = None,
    stopped: Condition | None = None,
) -> list[Condition]:
    """Reconciling always, Stalled and Suspended while they are True. `moving` is what is still to be done although the
    resource is Ready, `stopped` why it is stopped on purpose; of both the reason and message are used."""
    stalled = _stalled(ready, previous, generation, now)
    found = [_reconciling(ready, moving, stalled)]
    if stalled:
        found.append(condition(ConditionType.STALLED, True, ready.reason, ready.message))
    if stopped is not None:
        found.append(condition(ConditionType.SUSPENDED, True, stopped.reason, stopped.message))
    return found


def _reconciling(ready: Condition, moving: Condition | None, stalled: bool) -> Condition:
    type_ = ConditionType.RECONCILING
    waits = ready.status != "True" and ready.reason not in STOPPED_ON_PURPOSE
    if not waits and moving is None:
        said = "It is as its spec says." if ready.status == "True" else ready.message
        return condition(type_, False, Reason.AS_DESIRED if ready.status == "True" else ready.reason, said)
    said_by = ready if moving is None or stalled else moving
    return condition(type_, not stalled, said_by.reason, said_by.message)


def _stalled(ready: Condition, previous: Reported, generation: int, now: Moment) -> bool:
    if ready.status == "True" or ready.reason in STOPPED_ON_PURPOSE:
        return False
    wants_person = _wants_person(ready.reason)
    before = find(previous.conditions, ConditionType.STALLED)
    if before is not None and previous.observed_generation == generation:
        return wants_person or before.reason == ready.reason
    waited = now.unix - _since(previous, now)
    return waited >= (GRACE_SECONDS if wants_person else PATIENCE_SECONDS)


def _wants_person(reason: str) -> bool:
    """A word of a gateway of another version is not known."""
    if reason not in {str(item) for item in Reason} or reason in PASSES_BY_ITSELF:
        return False
    return bool(Reason(reason).remedy)


def _since(previous: Reported, now: Moment) -> float:
    """When it began to move towards being Ready, in seconds since the Unix epoch."""
    ready = find(previous.conditions, ConditionType.READY)
    moving = find(previous.conditions, ConditionType.RECONCILING)
    if ready is None or ready.status == "True" or moving is None or moving.status != "True":
        return now.unix
    return max(unix_of(ready.last_transition_time), unix_of(moving.last_transition_time))
