"""A Strategy that is deleted lets go when its gateways have stopped it, and never hangs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from crowetrade.bus.v1 import instrument_pb2, status_pb2
from crowetrade_api.gateway_config import AnyStrategy, AnyVenue
from crowetrade_api.names import FORCE_DELETE_ANNOTATION, PAUSED_ANNOTATION
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_operator.decide.observed import GatewayView
from crowetrade_operator.decide.strategy_deletion import Observed, plan, waiting_venues
from crowetrade_operator_tests.decide.scenes import (
    NEVER,
    NOW,
    deleted_seconds,
    deleting,
    enforcing,
    fresh,
    namespace_view,
    position,
    silent,
    two_venues,
)
from crowetrade_operator_tests.samples import (
    SETTINGS,
    account,
    change,
    limit,
    strategy,
    strategy_manifest,
    unreadable_strategy,
    unreadable_venue,
    venue,
    venue_manifest,
)

Object = dict[str, Any]
GONE = strategy(**deleting())
HERE = venue()
THERE = venue(change(venue_manifest("sim-b"), "spec.instruments.0.symbol", "GBP-USD"))
BOTH = strategy(two_venues(), **deleting())
FORCED = strategy(annotations={FORCE_DELETE_ANNOTATION: "true"}, **deleting())
USED = venue().model_copy(
    update={"status": HERE.status.model_validate({"session": {"fencingToken": 3, "state": "LoggedOn"}})}
)


def seen(
    gateways: Mapping[str, GatewayView],
    resource: AnyStrategy = GONE,
    venues: tuple[AnyVenue, ...] = (HERE,),
    **fields: Any,
) -> Observed:
    around = namespace_view([resource], venues=venues, gateways=gateways, **fields)
    return Observed(resource, around, NOW, deleted_seconds=deleted_seconds(resource))


def stopped(resource: AnyStrategy = GONE, at: AnyVenue = HERE, **fields: Any) -> GatewayView:
    """A gateway that enforces the deletion and says that no order of the strategy is open."""
    return fresh(enforcing(at, [resource], [limit()], [account(stopped=True)], **fields))


def works(at: AnyVenue = HERE, resource: AnyStrategy = GONE) -> GatewayView:
    """A gateway that has heard of the deletion but still has an order to cancel."""
    return fresh(enforcing(at, [resource], [limit()], [account(stopped=False, open_orders=1)]))


ODD = unreadable_strategy(**deleting())
ODD_VENUE = unreadable_venue()
STOPPED = stopped().status
ENDS_TOO: Object = {"gateway_deployments": frozenset(), "terminating": frozenset({HERE.namespace})}
"""The namespace is being deleted, and the pod of the gateway has ended."""
PAUSED = venue(annotations={PAUSED_ANNOTATION: "true"})
LET_GO = venue(**{**deleting(), "finalizers": ["example.com/keep"]})
assert STOPPED is not None
WAITING: dict[str, Observed] = {
    "an order is still to be cancelled": seen({"sim-fx": works()}),
    "it was stopped under another configuration": seen({"sim-fx": stopped(config_revision="another")}),
    "the gateway that confirmed is silent now": seen({"sim-fx": silent(STOPPED)}),
    "somebody has deleted the gateway, which is made again": seen(
        {"sim-fx": silent(STOPPED)}, gateway_deployments=frozenset()
    ),
    "the gateway was not heard, but had a session once": seen({"sim-fx": NEVER}, venues=(USED,)),
    "the gateway was not heard, because the bus is down": seen({"sim-fx": NEVER}, bus_connected=False),
    "the gateway has lost its journal and knows of nothing": seen(
        {"sim-fx": fresh(enforcing(HERE, [GONE], [limit()], [account(stopped=True)]))}, venues=(USED,)
    ),
    "the gateway has not taken its journal over yet": seen(
        {"sim-fx": fresh(enforcing(HERE, [GONE], [limit()], [], fencing_token=0))}, venues=(USED,)
    ),
    "one of two gateways has not confirmed": seen(
        {"sim-fx": stopped(BOTH, beside=[THERE]), "sim-b": works(THERE, BOTH)}, BOTH, (HERE, THERE)
    ),
}


@pytest.mark.parametrize("case", WAITING)
def test_deletion_waits(case: str) -> None:
    planned = plan(WAITING[case], SETTINGS)
    assert planned.finalizer is None
    assert planned.requeue_after_seconds == 1.0
    assert list(planned.notes) == []
    assert list(planned.apply) == [], "what is being deleted is not repaired"


ASKED = "has confirmed that no order is open"
NOBODY = "There is no gateway to ask at sim-fx"
CONFIRMED: dict[str, tuple[Observed, str]] = {
    "the gateway has stopped it": (seen({"sim-fx": stopped()}), ASKED),
    "the gateway enforces the deletion and has no account of it": (
        seen({"sim-fx": fresh(enforcing(HERE, [GONE], [limit()], []))}),
        ASKED,
    ),
    "both gateways have stopped it": (
        seen(
            {"sim-fx": stopped(BOTH, beside=[THERE]), "sim-b": stopped(BOTH, THERE, beside=[HERE])}, BOTH, (HERE, THERE)
        ),
        f"The gateway of sim-fx, sim-b {ASKED}",
    ),
    "the venue is gone": (seen({}, venues=()), NOBODY),
    "one of two venues is gone": (
        seen({"sim-b": stopped(BOTH, THERE)}, BOTH, (THERE,)),
        f"The gateway of sim-b {ASKED}. {NOBODY}",
    ),
    "the venue never had a gateway": (seen({"sim-fx": NEVER}, gateway_deployments=frozenset()), NOBODY),
    "the venue never had a gateway, and the bus is down": (
        seen({"sim-fx": NEVER}, gateway_deployments=frozenset(), bus_connected=False),
        NOBODY,
    ),
    "the gateway has never worked": (seen({"sim-fx": NEVER}), NOBODY),
    "its spec cannot be read, and the gateway has stopped it": (seen({"sim-fx": stopped(ODD)}, ODD), ASKED),
    "its spec names no venue that can be read": (seen({}, unreadable_strategy("spec", None, **deleting())), ""),
    "the spec of its venue cannot be read": (
        seen({"sim-fx": stopped(GONE, ODD_VENUE)}, GONE, (ODD_VENUE,)),
        ASKED,
    ),
    "its namespace is deleted, and the gateway's pod has ended": (
        seen({"sim-fx": silent(STOPPED)}, **ENDS_TOO),
        NOBODY,
    ),
    "the gateway is gone, and is not made again while its venue is paused": (
        seen({"sim-fx": silent(STOPPED)}, venues=(PAUSED,), gateway_deployments=frozenset()),
        NOBODY,
    ),
    "the gateway is gone, and so is what held its venue": (
        seen({"sim-fx": silent(STOPPED)}, venues=(LET_GO,), gateway_deployments=frozenset()),
        NOBODY,
    ),
    "nothing is left to be forced": (seen({"sim-fx": stopped(FORCED)}, FORCED), ASKED),
}


@pytest.mark.parametrize("case", CONFIRMED)
def test_deletion_lets_go_when_nothing_can_be_open(case: str) -> None:
    observed, words = CONFIRMED[case]
    planned = plan(observed, SETTINGS)
    assert planned.finalizer is False
    assert [(note.type, note.reason) for note in planned.notes] == [("Normal", "Stopped")]
    assert words in planned.notes[0].text


def test_which_venues_are_waited_for() -> None:
    assert waiting_venues(WAITING["one of two gateways has not confirmed"]) == ["sim-b"]


LATE = strategy(**deleting(SETTINGS.stop_deadline_seconds))
ENDS: dict[str, tuple[Observed, str, str]] = {
    "the deadline": (
        seen({"sim-fx": works(HERE, LATE)}, LATE),
        "StopDeadlineExceeded",
        "No confirmation of sim-fx within 60 s",
    ),
    "the annotation": (seen({"sim-fx": works(HERE, FORCED)}, FORCED), "ForceDeleted", "without confirmation of sim-fx"),
}


@pytest.mark.parametrize("case", ENDS)
def test_deletion_that_nobody_confirmed_ends_with_a_warning(case: str) -> None:
    observed, reason, words = ENDS[case]
    planned = plan(observed, SETTINGS)
    assert planned.finalizer is False
    note = planned.notes[0]
    assert (note.type, note.reason) == ("Warning", reason)
    assert words in note.text
    assert "open orders" in note.text


def test_the_deadline_counts_from_the_deletion() -> None:
    early = strategy(**deleting(SETTINGS.stop_deadline_seconds - 1))
    assert plan(seen({"sim-fx": works(HERE, early)}, early), SETTINGS).finalizer is None


def test_the_time_in_the_object_counts_for_nothing() -> None:
    """It is of another clock."""
    ahead = strategy(**deleting(86_400.0))
    observed = replace(seen({"sim-fx": works(HERE, ahead)}, ahead), deleted_seconds=1.0)
    assert plan(observed, SETTINGS).finalizer is None


# --- what is left

FLATTENS = strategy(change(strategy_manifest(), "spec.deletionPolicy", "Flatten"), **deleting())
KNOWN = {"position": [{"symbol": "EUR-USD", "venue": "sim-fx", "quantity": "-175000"}]}


def knowing(resource: Strategy, status: Object = KNOWN) -> Strategy:
    """The strategy with the position that its status had last."""
    return resource.model_copy(update={"status": type(resource.status).model_validate(status)})


def remaining(quantity: str, reason: str, text: str, final: bool) -> status_pb2.Remaining:
    instrument = instrument_pb2.InstrumentId(venue="sim-fx", symbol="EUR-USD")
    return status_pb2.Remaining(instrument=instrument, quantity=quantity, reason=reason, text=text, final=final)


def holding(resource: Strategy, is_stopped: bool = True, *left: status_pb2.Remaining) -> GatewayView:
    own = account(stopped=is_stopped, positions=[position("900")], remaining=left)
    return fresh(enforcing(HERE, [resource], [limit()], [own]))


DUST = remaining("900", "BelowMinQuantity", "the venue trades 1000 at least", True)
LATE_FLATTENS = strategy(
    change(strategy_manifest(), "spec.deletionPolicy", "Flatten"), **deleting(SETTINGS.stop_deadline_seconds)
)
LEFT: dict[str, tuple[Observed, tuple[str, str], str]] = {
    "dust": (
        seen({"sim-fx": holding(FLATTENS, True, DUST)}, FLATTENS),
        ("Warning", "PositionLeft"),
        "Left: 900 EUR-USD at sim-fx (BelowMinQuantity: the venue trades 1000 at least).",
    ),
    "what nobody asked to close": (
        seen({"sim-fx": holding(GONE)}),
        ("Normal", "Stopped"),
        "Left: 900 EUR-USD at sim-fx.",
    ),
    "what could not be closed in time": (
        seen(
            {"sim-fx": holding(LATE_FLATTENS, False, remaining("900", "VenueHalted", "it is suspended", False))},
            LATE_FLATTENS,
        ),
        ("Warning", "StopDeadlineExceeded"),
        "Left: 900 EUR-USD at sim-fx (VenueHalted: it is suspended).",
    ),
    "a position at a venue that is gone": (
        seen({}, knowing(FLATTENS), ()),
        ("Warning", "PositionLeft"),
        "the venue is gone or has never worked. Left: -175000 EUR-USD at sim-fx (last known).",
    ),
    "a position at a venue that is gone, which nobody asked to close": (
        seen({}, knowing(GONE), ()),
        ("Warning", "PositionLeft"),
        "Left: -175000 EUR-USD at sim-fx (last known).",
    ),
    "a position at a gateway that is gone": (
        seen({"sim-fx": silent(STOPPED)}, knowing(FLATTENS), **ENDS_TOO),
        ("Normal", "Stopped"),
        "There is no gateway to ask at sim-fx",
    ),
    "what is left when it is forced": (
        seen({"sim-fx": holding(FORCED, False)}, FORCED),
        ("Warning", "ForceDeleted"),
        "Left: 900 EUR-USD at sim-fx.",
    ),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_is_left_is_named_with_its_reason(case: str) -> None:
    observed, event, words = LEFT[case]
    planned = plan(observed, SETTINGS)
    assert planned.finalizer is False
    assert [(note.type, note.reason) for note in planned.notes] == [event]
    assert words in planned.notes[0].text


def test_a_note_about_many_positions_fits_an_event() -> None:
    positions = [position(f"{number}000", f"SYMBOL-{number:03}") for number in range(1, 200)]
    view = fresh(enforcing(HERE, [FLATTENS], [limit()], [account(stopped=True, positions=positions)]))
    assert len(plan(seen({"sim-fx": view}, FLATTENS), SETTINGS).notes[0].text) <= 1024
