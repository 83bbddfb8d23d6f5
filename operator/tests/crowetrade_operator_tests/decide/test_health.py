"""What tools that read conditions are told: by a table of what was reported before, and for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from crowetrade_api.conditions import Condition, ConditionType, condition, follow
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.killswitch import KillSwitchStatus
from crowetrade_api.v1alpha1.risklimit import RiskLimitStatus
from crowetrade_api.v1alpha1.venueconnection import VenueConnectionStatus
from crowetrade_operator.cluster.times import rfc3339
from crowetrade_operator.decide import killswitch_status, risklimit_status, venueconnection, venueconnection_status
from crowetrade_operator.decide.health import GRACE_SECONDS, PASSES_BY_ITSELF, PATIENCE_SECONDS, health
from crowetrade_operator.decide.observed import Children, GatewayView, Moment
from crowetrade_operator_tests.decide import test_killswitch, test_risklimit, test_strategy_status, test_venueconnection
from crowetrade_operator_tests.decide.scenes import NEVER, NOW, UNIX, enforcing, fresh, silent
from crowetrade_operator_tests.samples import SETTINGS, account, change, limit, venue, venue_manifest

READY, RECONCILING, STALLED = ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED
UP = condition(READY, True, Reason.AVAILABLE, "All is well.")
NO_VENUE = condition(READY, False, Reason.VENUE_NOT_FOUND, "There is no venue sim-fx.")
STARTS = condition(READY, False, Reason.STARTING, "0 of 1 pods are ready.")
SILENT = condition(READY, "Unknown", Reason.GATEWAY_SILENT, "It has stopped reporting.")
KILLED = condition(READY, False, Reason.KILL_SWITCH_ENGAGED, "KillSwitch desk/all stops it.")
ODD = condition(READY, False, "NewerReason", "A gateway of another version says so.")
ROLLS = condition(RECONCILING, True, Reason.ROLLING_OUT, "The agents are being brought there.")


@dataclass(frozen=True)
class Before:
    """What was reported last, so many seconds ago."""

    conditions: Sequence[Condition] = ()
    observed_generation: int = 1


def before(ready: Condition, seconds: float, stalled: bool = False, generation: int = 1) -> Before:
    """Ready, and Stalled or Reconciling, both for so many seconds."""
    found = [ready, condition(RECONCILING, not stalled, ready.reason, ready.message)]
    found += [condition(STALLED, True, ready.reason, ready.message)] if stalled else []
    return Before(follow([], found, generation, rfc3339(UNIX - seconds)), generation)


WELL = Before(follow([], [UP, condition(RECONCILING, False, Reason.AS_DESIRED, "")], 1, rfc3339(UNIX - 9999)))
HEALTH: dict[str, tuple[Condition, Before, Condition | None, str]] = {
    "all is as the spec says": (UP, WELL, None, ""),
    "a change is rolled out": (UP, WELL, ROLLS, "Reconciling"),
    "a venue is missing in a new strategy": (NO_VENUE, Before(observed_generation=0), None, "Reconciling"),
    "it comes a moment later": (NO_VENUE, before(NO_VENUE, GRACE_SECONDS - 1), None, "Reconciling"),
    "it does not come": (NO_VENUE, before(NO_VENUE, GRACE_SECONDS), None, "Stalled"),
    "it still does not come": (NO_VENUE, before(NO_VENUE, 9999, stalled=True), None, "Stalled"),
    "the strategy is corrected": (NO_VENUE, before(NO_VENUE, 9999, stalled=True, generation=0), None, "Reconciling"),
    "it came, and the pods start": (STARTS, before(NO_VENUE, 9999, stalled=True), None, "Reconciling"),
    "another person is wanted": (NO_VENUE, before(ODD, 9999, stalled=True), None, "Stalled"),
    "a start takes its time": (STARTS, before(STARTS, PATIENCE_SECONDS - 1), None, "Reconciling"),
    "a start takes for ever": (STARTS, before(STARTS, PATIENCE_SECONDS), None, "Stalled"),
    "and goes on to": (STARTS, before(STARTS, 9999, stalled=True), None, "Stalled"),
    "what was well until now": (NO_VENUE, WELL, None, "Reconciling"),
    "a gateway is restarted": (SILENT, WELL, ROLLS, "Reconciling"),
    "a word that is not known": (ODD, before(ODD, GRACE_SECONDS), None, "Reconciling"),
    "a word that is not known, for long": (ODD, before(ODD, PATIENCE_SECONDS), None, "Stalled"),
    "a KillSwitch": (KILLED, before(KILLED, 9999), None, ""),
}


@pytest.mark.parametrize("case", HEALTH)
def test_at_most_one_of_reconciling_and_stalled_is_true(case: str) -> None:
    ready, previous, moving, wanted = HEALTH[case]
    found = health(ready, previous, 1, NOW, moving)
    assert [item.type for item in found if item.status == "True"] == ([wanted] if wanted else [])
    assert found[0].type == "Reconciling", "it is always there"
    if wanted == "Stalled":
        assert {(item.reason, item.message) for item in found} == {(ready.reason, ready.message)}


@pytest.mark.parametrize("reason", sorted(PASSES_BY_ITSELF))
def test_what_mostly_passes_by_itself_wants_nobody_at_once_although_it_has_a_remedy(reason: Reason) -> None:
    assert reason.remedy
    ready = condition(READY, False, reason, "A node has evicted a pod.")
    for seconds, wanted in ((GRACE_SECONDS, "Reconciling"), (PATIENCE_SECONDS, "Stalled")):
        found = health(ready, before(ready, seconds), 1, NOW)
        assert [item.type for item in found if item.status == "True"] == [wanted]


def test_a_long_wait_before_a_failure_does_not_count_against_it() -> None:
    """A change that waited an hour until the strategy was flat, and whose pods now start."""
    waited = [UP, condition(RECONCILING, True, Reason.WAITING_FOR_FLAT, "It waits.")]
    previous = Before(follow([], waited, 1, rfc3339(UNIX - 3600)))
    assert [item.type for item in health(STARTS, previous, 1, NOW) if item.status == "True"] == ["Reconciling"]


def true(status: Any) -> set[str]:
    """Which of the conditions that tools read are True."""
    read = ("Ready", "Reconciling", "Stalled", "Suspended")
    return {item.type for item in status.conditions if item.type in read and item.status == "True"}


def venue_status(seen: Any, previous: VenueConnectionStatus | None = None) -> VenueConnectionStatus:
    planned = venueconnection.plan(seen, SETTINGS)
    return venueconnection_status.report(seen, planned, SETTINGS, None, previous or VenueConnectionStatus())


def test_a_strategy() -> None:
    module = test_strategy_status
    assert true(module.status_of(module.TRADING)) == {"Ready"}
    assert true(module.status_of(module.WAITS_FOR_FLAT)) == {"Ready", "Reconciling"}
    suspending = module.scene(module.SUSPENDED, [account(open_orders=1)])
    assert true(module.status_of(suspending)) == {"Ready", "Reconciling"}
    suspended = module.scene(module.SUSPENDED, [account(stopped=True)])
    assert true(module.status_of(suspended)) == {"Ready", "Suspended"}
    missing = module.status_of(module.NO_VENUE)
    assert true(missing) == {"Reconciling"}
    later = replace(module.NO_VENUE, now=Moment(rfc3339(UNIX + GRACE_SECONDS), UNIX + GRACE_SECONDS))
    assert true(module.status_of(later, missing)) == {"Stalled"}


def test_a_change_of_a_strategy_or_venue_is_reconciling_in_the_status_that_first_observes_it() -> None:
    """kstatus and Argo CD would else take Ready of the spec before for that of the new one."""
    module = test_strategy_status
    changed = replace(module.TRADING, strategy=module.CHANGED)
    status = module.status_of(changed, module.status_of(module.TRADING))
    assert status.observed_generation == module.CHANGED.metadata.generation
    assert "Reconciling" in true(status)
    resource = venue(change(venue_manifest(), "spec.resources", {"limits": {"memory": "1Gi"}}))
    seen = replace(test_venueconnection.scene(), venue=resource)
    assert true(venue_status(seen)) == {"Ready", "Reconciling"}


def test_a_venue() -> None:
    module = test_venueconnection
    running = venue_status(module.scene())
    assert true(running) == {"Ready"}
    restarting = module.scene(view=silent(enforcing(venue(), [], [])), ready=0)
    assert true(venue_status(restarting, running)) == {"Reconciling"}, "a planned restart is no failure"
    halt = {"blocked_reason": "VenueSuspended", "blocked_message": "suspended"}
    asked = module.scene(module.SUSPENDED, gateway=halt)
    assert true(venue_status(asked)) == {"Ready", "Suspended"}
    open_orders = module.scene(module.SUSPENDED, accounts=[account(open_orders=1)], gateway=halt)
    assert true(venue_status(open_orders)) == {"Ready", "Reconciling"}
    resumed = module.scene(gateway=halt)
    assert true(venue_status(resumed)) == {"Ready", "Reconciling"}


def limit_status(view: GatewayView) -> RiskLimitStatus:
    return risklimit_status.report(test_risklimit.scene(view=view), RiskLimitStatus())


def test_a_risk_limit_waits_only_for_gateways_that_run() -> None:
    assert true(limit_status(fresh(enforcing(venue(), [test_risklimit.EMA], [limit()])))) == {"Ready"}
    behind = limit_status(fresh(enforcing(venue(), [], [])))
    assert true(behind) == {"Reconciling"}
    for view in (NEVER, silent(enforcing(venue(), [], []))):
        found = limit_status(view)
        assert true(found) == {"Ready"}
        by_type = {item.type: item for item in found.conditions}
        assert by_type["Ready"].reason == "Accepted"
        assert (by_type["Enforced"].status, by_type["Enforced"].reason) == ("False", "WaitingForGateway")


def test_a_kill_switch() -> None:
    module = test_killswitch
    for of in (module.ENGAGED, module.REARMED):
        assert true(module.status_of(module.observed(of=of))) == {"Ready"}
    waits = module.observed(module.gateway(module.says()))
    first = killswitch_status.report(waits, KillSwitchStatus())
    assert true(first) == {"Reconciling"}
    late = UNIX + PATIENCE_SECONDS
    assert true(killswitch_status.report(replace(waits, now=Moment(rfc3339(late), late)), first)) == {"Stalled"}


def test_children_that_are_not_there_yet() -> None:
    assert true(venue_status(replace(test_venueconnection.scene(), children=Children()))) == {"Ready", "Reconciling"}
