"""When a change of a VenueConnection, or another image, restarts its gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from crowetrade.bus.v1 import instrument_pb2, status_pb2
from crowetrade_api.conditions import Condition, ConditionType
from crowetrade_api.names import APPLIED_ANNOTATION, PAUSED_ANNOTATION
from crowetrade_api.v1alpha1.venueconnection import VenueConnection, VenueConnectionStatus
from crowetrade_operator.decide.observed import Children, GatewayView, ObservedVenue
from crowetrade_operator.decide.plan import Plan
from crowetrade_operator.decide.pods import restarting
from crowetrade_operator.decide.venueconnection import plan
from crowetrade_operator.decide.venueconnection_status import report
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.decide.scenes import (
    NEVER,
    NOW,
    applied,
    enforcing,
    fresh,
    live,
    names,
    namespace_view,
    position,
    recorded,
    silent,
    told,
)
from crowetrade_operator_tests.samples import (
    SETTINGS,
    account,
    change,
    gateway_status,
    limit,
    strategy,
    venue,
    venue_manifest,
)

Object = dict[str, Any]
BEFORE = venue()
AFTER = venue(change(venue_manifest(), "spec.simulated.replay.speed", "7"), generation=2)
IMMEDIATE = venue(
    change(change(venue_manifest(), "spec.simulated.replay.speed", "7"), "spec.updatePolicy", "Immediate"), generation=2
)
OTHER_INSTRUMENT = venue(
    change(change(venue_manifest(), "spec.instruments.0.symbol", "BTC-USD"), "spec.simulated.data.0.symbol", "BTC-USD"),
    generation=2,
)
HELD_EURO = status_pb2.AccountPosition(
    instrument=instrument_pb2.InstrumentId(venue="sim-fx", symbol="EUR-USD"), quantity="-5"
)
UPGRADED = replace(SETTINGS, gateway_image="crowetrade/gateway:next")
WORKING = [account(open_orders=2)]
FLAT = [account(positions=[position("1000")])]
"""Positions are in the journal: a restart loses none."""


def seen(
    resource: VenueConnection = AFTER,
    accounts: Sequence[status_pb2.StrategyAccount] = (),
    view: GatewayView | None = None,
    children: Sequence[Object] | None = None,
    ready: int = 1,
    restarting: frozenset[str] = frozenset(),
) -> ObservedVenue:
    """A venue whose children are those of before, and a gateway that reports these accounts."""
    said = view or fresh(enforcing(resource, [strategy()], [limit()], accounts))
    found = namespace_view([strategy()], venues=[resource], gateways={resource.name: said}, restarting=restarting)
    items = running(ready) if children is None else children
    return ObservedVenue(resource, found, Children(items), NOW)


def running(ready: int = 1) -> list[Object]:
    """The children as they were applied before the change."""
    return applied(plan(seen(BEFORE, children=[]), SETTINGS), ready)


def progress(observed: ObservedVenue, settings: Settings = SETTINGS, before: int = 1) -> tuple[Plan, Condition]:
    """What is planned, and how the status tells it."""
    planned = plan(observed, settings)
    previous = VenueConnectionStatus(observed_generation=before)
    status = report(observed, planned, settings, None, previous)
    return planned, told(status.conditions, ConditionType.RECONCILING)


HELD: dict[str, tuple[ObservedVenue, Settings, str, str]] = {
    "open orders": (seen(accounts=WORKING), SETTINGS, "WaitingForQuiet", "until no order is open: 2 orders are. Set"),
    "an open order of one of two strategies": (
        seen(accounts=[account(), account("mm", open_orders=1)]),
        SETTINGS,
        "WaitingForQuiet",
        "1 order is. Set spec.updatePolicy to Immediate",
    ),
    "an upgrade, with open orders": (seen(BEFORE, WORKING), UPGRADED, "WaitingForQuiet", "2 orders are"),
    "an upgrade, and the gateway has not spoken to the new operator": (
        seen(BEFORE, view=NEVER),
        UPGRADED,
        "WaitingForQuiet",
        "is not known",
    ),
    "a gateway that fell silent with open orders": (
        seen(view=silent(gateway_status(accounts=WORKING))),
        SETTINGS,
        "WaitingForQuiet",
        "2 orders are",
    ),
    "a position in an instrument that is taken away": (
        seen(OTHER_INSTRUMENT, view=fresh(enforcing(OTHER_INSTRUMENT, [strategy()], [limit()], positions=[HELD_EURO]))),
        SETTINGS,
        "WaitingForQuiet",
        "until nothing is held that spec.instruments lists no more, and that nobody could close then: -5 EUR-USD. Set",
    ),
    "another gateway restarts": (
        seen(accounts=FLAT, restarting=frozenset({"sim-a"})),
        SETTINGS,
        "WaitingForTurn",
        "those of venue sim-a restart, and at most 1 of a namespace",
    ),
    "another gateway restarts, and this one would at once": (
        seen(IMMEDIATE, WORKING, restarting=frozenset({"sim-a"})),
        SETTINGS,
        "WaitingForTurn",
        "sim-a",
    ),
    "as many as may": (
        seen(BEFORE, FLAT, restarting=frozenset({"sim-a", "sim-b"})),
        replace(UPGRADED, gateway_restarts_at_once=2),
        "WaitingForTurn",
        "those of venue sim-a, sim-b restart, and at most 2",
    ),
}


@pytest.mark.parametrize("case", HELD)
def test_a_change_waits(case: str) -> None:
    observed, settings, reason, words = HELD[case]
    planned, found = progress(observed, settings)
    before = plan(seen(BEFORE, children=[]), SETTINGS).apply
    assert recorded(planned.apply) == recorded(before), "what runs is kept as it was"
    assert names(planned.apply, "NetworkPolicy") == ["venue-sim-fx"]
    assert planned.config is not None, "limits go out all the same"
    assert not planned.restarts
    assert (found.status, found.reason) == ("True", reason)
    assert words in found.message


ROLLED: dict[str, tuple[ObservedVenue, Settings]] = {
    "no order is open": (seen(accounts=FLAT), SETTINGS),
    "an upgrade, and no order is open": (seen(BEFORE, FLAT), UPGRADED),
    "a position in an instrument that stays": (
        seen(view=fresh(enforcing(AFTER, [strategy()], [limit()], positions=[HELD_EURO]))),
        SETTINGS,
    ),
    "Immediate": (seen(IMMEDIATE, WORKING), SETTINGS),
    "its own restart is under way": (seen(accounts=FLAT, restarting=frozenset({"sim-fx"})), SETTINGS),
    "fewer than may": (
        seen(accounts=FLAT, restarting=frozenset({"sim-a"})),
        replace(SETTINGS, gateway_restarts_at_once=2),
    ),
}


@pytest.mark.parametrize("case", ROLLED)
def test_a_change_is_rolled_out(case: str) -> None:
    observed, settings = ROLLED[case]
    planned, found = progress(observed, settings)
    assert names(planned.apply) == ["venue-sim-fx"]
    assert names(planned.apply, "ConfigMap") == ["venue-sim-fx"]
    assert planned.restarts
    assert (found.status, found.reason) == ("True", "RollingOut")


INTERRUPTS_NOBODY: dict[str, ObservedVenue] = {
    "nothing changed": seen(BEFORE, WORKING),
    "there is no gateway yet": seen(accounts=WORKING, children=[]),
    "the gateway is not ready": seen(accounts=WORKING, ready=0, restarting=frozenset({"sim-a", "sim-fx"})),
}


@pytest.mark.parametrize("case", INTERRUPTS_NOBODY)
def test_what_interrupts_nobody_waits_for_nobody(case: str) -> None:
    planned, _ = progress(INTERRUPTS_NOBODY[case])
    assert names(planned.apply) == ["venue-sim-fx"]
    assert not planned.restarts


RESTARTS_NOTHING: dict[str, tuple[str, Any]] = {
    "suspend": ("spec.suspend", True),
    "who may trade": ("spec.allowedStrategies", {"namespaces": {"from": "All"}}),
    "what must be limited": ("spec.requiredLimits", ["Loss"]),
    "the update policy": ("spec.updatePolicy", "Immediate"),
    "a label": ("metadata.labels", {"desk": "fx"}),
}


@pytest.mark.parametrize("case", RESTARTS_NOTHING)
def test_what_needs_no_restart_causes_none(case: str) -> None:
    path, value = RESTARTS_NOTHING[case]
    manifest = venue_manifest()
    if path == "metadata.labels":
        resource = venue(manifest, labels=value, generation=2)
    else:
        resource = venue(change(manifest, path, value), generation=2)
    planned, found = progress(seen(resource, WORKING, restarting=frozenset({"sim-a"})))
    assert not planned.restarts
    # A suspension is under way until the gateway has confirmed it.
    assert found.reason == ("Stopping" if case == "suspend" else "AsDesired")


def test_while_paused_nothing_claims_that_the_new_spec_runs() -> None:
    paused = AFTER.model_copy(
        update={"metadata": AFTER.metadata.model_copy(update={"annotations": {PAUSED_ANNOTATION: "true"}})}
    )
    observed = seen(paused, FLAT)
    _, found = progress(observed, before=1)
    assert (found.status, found.reason, found.observed_generation) == ("False", "ReconcilingPaused", 1)
    assert "What runs is the spec of generation 1." in found.message


def _deployment(generation: int = 2, **status: Any) -> Object:
    (found,) = [item for item in plan(seen(children=[]), SETTINGS).apply if item["kind"] == "Deployment"]
    found = live(found, 1, **status)
    return {**found, "metadata": {**found["metadata"], "generation": generation}}


TOO_LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
TURNS: dict[str, tuple[Object, bool]] = {
    "ready": (_deployment(observedGeneration=2), False),
    "applied, and its controller has not seen that": (_deployment(observedGeneration=1), True),
    "its pod is not ready": (_deployment(observedGeneration=2, readyReplicas=0), True),
    "its pod is of the template before": (_deployment(observedGeneration=2, updatedReplicas=0), True),
    "it did not come up in time": (
        _deployment(observedGeneration=2, readyReplicas=0, conditions=[TOO_LATE]),
        False,
    ),
    "it did not come up in time, and was changed since": (
        _deployment(observedGeneration=1, readyReplicas=0, conditions=[TOO_LATE]),
        True,
    ),
}


@pytest.mark.parametrize("case", TURNS)
def test_how_long_a_restart_lasts(case: str) -> None:
    deployment, lasts = TURNS[case]
    assert restarting(deployment) is lasts


def _without_record(item: Object) -> Object:
    metadata = item["metadata"]
    kept = {name: value for name, value in metadata["annotations"].items() if name != APPLIED_ANNOTATION}
    return {**item, "metadata": {**metadata, "annotations": kept}}


def _edited(item: Object) -> Object:
    """Somebody changed its content, so that it is theirs."""
    return {**item, "metadata": {**item["metadata"], "managedFields": []}}


def _nobody_else(kind: str) -> list[Object]:
    return [item for item in running() if item["kind"] != kind]


TOUCHED: dict[str, list[Object]] = {
    "the configuration is gone, and a pod that restarts needs it": _nobody_else("ConfigMap"),
    "the configuration was edited": [_edited(item) if item["kind"] == "ConfigMap" else item for item in running()],
}


@pytest.mark.parametrize("case", TOUCHED)
def test_while_a_change_waits_the_gateway_is_kept_as_it_was_applied_last(case: str) -> None:
    planned, found = progress(seen(accounts=WORKING, children=TOUCHED[case]))
    assert found.reason == "WaitingForQuiet"
    assert recorded(planned.apply) == recorded(plan(seen(BEFORE, children=[]), SETTINGS).apply)


UNKNOWN: dict[str, list[Object]] = {
    "the configuration is gone": [_without_record(item) for item in _nobody_else("ConfigMap")],
    "the gateway was edited": [
        _edited(_without_record(item)) if item["kind"] == "Deployment" else item for item in running()
    ],
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_where_nobody_knows_how_it_was_a_change_waits_for_its_turn_alone(case: str) -> None:
    planned, found = progress(seen(accounts=WORKING, children=UNKNOWN[case]))
    assert (planned.restarts, found.reason) == (True, "RollingOut")
    assert recorded(planned.apply) == recorded(plan(seen(AFTER, children=[]), SETTINGS).apply)
    others = frozenset({"sim-a"})
    planned, found = progress(seen(accounts=WORKING, children=UNKNOWN[case], restarting=others))
    assert (planned.restarts, found.reason) == (False, "WaitingForTurn")
