"""What a KillSwitch's status says, and what the operator relays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade.config.v1 import kill_pb2 as pb
from crowetrade_api.conditions import ConditionType
from crowetrade_api.v1alpha1.killswitch import KillState, KillSwitchStatus
from crowetrade_operator.decide.killswitch import (
    AnyKillSwitch,
    Gateway,
    Observed,
    Relay,
    relay,
)
from crowetrade_operator.decide.killswitch_status import before_the_first, report
from crowetrade_operator.decide.observed import GatewayView
from crowetrade_operator.decide.plan import transition_notes
from crowetrade_operator_tests.decide.scenes import NEVER, NOW, UNIX, fresh, silent, told
from crowetrade_operator_tests.samples import (
    change,
    gateway_status,
    kill_manifest,
    kill_switch,
    unreadable_kill_switch,
)

Object = dict[str, Any]
SEEN = int(UNIX * 1e9) - 5_000_000_000
ENGAGED = kill_switch()
REARMED = kill_switch(kill_manifest(engaged=False), generation=2)
EVERYWHERE = kill_switch(change(kill_manifest(), "spec.scope.namespaces", {"from": "All"}))


def acknowledged(of: AnyKillSwitch = ENGAGED, **fields: Any) -> pb.KillAcknowledgement:
    """A gateway that has halted in 40 ms."""
    defaults: Object = {
        "namespace": of.namespace,
        "name": of.name,
        "uid": of.metadata.uid,
        "generation": of.metadata.generation,
        "mode": pb.KILL_MODE_CANCEL,
        "seen_unix_ns": SEEN,
        "blocked_unix_ns": SEEN + 1_000_000,
        "halted_unix_ns": SEEN + 40_000_000,
        "cancels_sent": 3,
        "cancels_confirmed": 3,
    }
    return pb.KillAcknowledgement(**(defaults | fields))


def says(*kills: pb.KillAcknowledgement) -> GatewayView:
    return fresh(gateway_status(kills=kills, watches_kill_switches=True))


def gateway(view: GatewayView, venue: str = "sim-fx", namespace: str = "desk", **fields: Any) -> Gateway:
    return Gateway(namespace, venue, view, {}, **fields)


def observed(*gateways: Gateway, of: AnyKillSwitch = ENGAGED, **fields: Any) -> Observed:
    return Observed(of, gateways, NOW, **fields)


def status_of(seen: Observed, previous: KillSwitchStatus | None = None) -> KillSwitchStatus:
    return report(seen, previous or KillSwitchStatus())


NOT_ACKNOWLEDGED: dict[str, tuple[GatewayView, str]] = {
    "it was never heard": (NEVER, "silent"),
    "it was heard long ago": (silent(gateway_status(kills=[acknowledged()])), "silent"),
    "it has not seen it": (says(), "has not seen it"),
    "it has another KillSwitch in force": (says(acknowledged(name="other")), "has not seen it"),
    "one of that name in another namespace": (says(acknowledged(namespace="other")), "has not seen it"),
    "another object of that name": (says(acknowledged(uid="uid-before")), "has an earlier version in force"),
    "an earlier generation": (says(acknowledged(generation=0)), "has an earlier version in force"),
    "a milder mode": (says(acknowledged(mode=pb.KILL_MODE_BLOCK)), "has an earlier version in force"),
    "it does not block yet": (says(acknowledged(blocked_unix_ns=0, halted_unix_ns=0)), "does not block yet"),
    "an order is open": (says(acknowledged(still_open_count=2, still_open=["a", "b"])), "2 orders are open"),
    "it has not halted": (says(acknowledged(halted_unix_ns=0)), "has not confirmed that no order is open"),
    "it cannot tell": (
        says(acknowledged(problem="no session with the venue", halted_unix_ns=0)),
        "no session with the venue",
    ),
}


@pytest.mark.parametrize("case", NOT_ACKNOWLEDGED)
def test_a_gateway_that_has_not_acknowledged_is_pending_and_says_why(case: str) -> None:
    view, why = NOT_ACKNOWLEDGED[case]
    status = status_of(observed(gateway(says(acknowledged()), "sim-a"), gateway(view, "sim-b")))
    counts = status.acknowledgements
    assert (counts.summary, counts.pending, status.state) == ("1/2", ["desk/sim-b"], KillState.ENGAGING)
    found = told(status.conditions, ConditionType.ACKNOWLEDGED)
    assert found.status == "False"
    assert f"desk/sim-b ({why})" in found.message


def test_without_the_gateways_of_other_namespaces_it_is_not_known_whether_all_have_acknowledged() -> None:
    seen = observed(gateway(says(acknowledged())), bus_connected=False, gateways_are_known=False)
    status = status_of(seen)
    assert status.state == KillState.ENGAGING
    found = told(status.conditions, ConditionType.ACKNOWLEDGED)
    assert (found.status, found.reason) == ("Unknown", "BusUnavailable")


def test_a_harder_mode_in_force_counts() -> None:
    """As of an order of this name that came without the KillSwitch."""
    assert status_of(observed(gateway(says(acknowledged(mode=pb.KILL_MODE_FLATTEN))))).state == KillState.HALTED


HELD = pb.OpenPosition(
    strategy="ema", symbol="EUR-USD", quantity="400", reason="InvalidQuantity", text="less than the venue trades"
)


def test_a_flatten_that_left_a_position_has_not_halted_and_names_it() -> None:
    switch = kill_switch(change(kill_manifest(), "spec.mode", "Flatten"))
    said = acknowledged(switch, mode=pb.KILL_MODE_FLATTEN, halted_unix_ns=0, positions=[HELD], positions_count=1)
    status = status_of(observed(gateway(says(said)), of=switch))
    assert (status.state, status.acknowledgements.summary) == (KillState.ENGAGING, "0/1")
    assert status.open_positions_count == 1
    [position] = status.open_positions
    assert (position.venue, position.strategy, position.symbol) == ("desk/sim-fx", "ema", "EUR-USD")
    assert (position.quantity, position.reason, position.message) == ("400", HELD.reason, HELD.text)
    found = told(status.conditions, ConditionType.ACKNOWLEDGED)
    assert (found.status, found.reason) == ("False", "PositionsOpen")
    assert "400 EUR-USD of ema: InvalidQuantity, less than the venue trades" in found.message


def test_a_gateway_that_says_both_is_not_believed_to_have_halted() -> None:
    switch = kill_switch(change(kill_manifest(), "spec.mode", "Flatten"))
    said = acknowledged(switch, mode=pb.KILL_MODE_FLATTEN, positions=[HELD], positions_count=1)
    assert status_of(observed(gateway(says(said)), of=switch)).state == KillState.ENGAGING


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [("KILL_MODE_CLOSE_ONLY", "Block"), ("KILL_MODE_BLOCK", "CloseOnly"), ("KILL_MODE_BLOCK", "Cancel")],
)
def test_a_mode_in_force_that_is_not_as_hard_does_not_count(mode: str, wanted: str) -> None:
    switch = kill_switch(change(kill_manifest(), "spec.mode", wanted))
    in_force = says(acknowledged(switch, mode=pb.KillMode.Value(mode)))
    assert status_of(observed(gateway(in_force), of=switch)).state == KillState.ENGAGING


def test_halted_when_all_have_acknowledged() -> None:
    status = status_of(observed(gateway(says(acknowledged()), "sim-a"), gateway(says(acknowledged()), "sim-b")))
    assert status.state == KillState.HALTED
    assert status.acknowledgements.summary == "2/2"
    assert status.acknowledgements.pending == []
    assert status.orders_cancelled == 6
    assert status.engaged_by == "alice"
    assert told(status.conditions, ConditionType.ENGAGED).status == "True"
    assert told(status.conditions, ConditionType.ACKNOWLEDGED).status == "True"


def test_an_open_order_is_named() -> None:
    said = acknowledged(still_open_count=40, still_open=["b", "a"], halted_unix_ns=0)
    status = status_of(observed(gateway(says(said))))
    assert [(item.venue, item.order) for item in status.still_open] == [("desk/sim-fx", "a"), ("desk/sim-fx", "b")]
    assert status.still_open_count == 40
    assert told(status.conditions, ConditionType.ACKNOWLEDGED).reason == "OrdersOpen"


def test_a_gateway_without_a_journal_that_has_looked_at_the_venue_counts() -> None:
    said = acknowledged(problem="NATS is down; orders are cancelled at the venue without the journal")
    assert status_of(observed(gateway(says(said)))).state == KillState.HALTED


def test_gateways_of_other_namespaces_are_concerned_only_when_the_scope_says_so() -> None:
    there = gateway(says(), namespace="other")
    assert status_of(observed(there)).acknowledgements.summary == "0/0"
    assert told(status_of(observed(there)).conditions, ConditionType.ACKNOWLEDGED).reason == "NothingInScope"
    assert status_of(observed(there, of=EVERYWHERE)).acknowledgements.pending == ["other/sim-fx"]


def test_a_gateway_where_it_has_stopped_somebody_is_waited_for_whatever_labels_it_has_by_now() -> None:
    of_fx = kill_switch(change(kill_manifest(), "spec.scope.venueSelector", {"matchLabels": {"market": "fx"}}))
    stopping = acknowledged(of_fx, strategies=["ema"], halted_unix_ns=0)
    found = gateway(says(stopping)), gateway(says(acknowledged(of_fx)), "sim-b")
    status = status_of(observed(*found, of=of_fx))
    assert (status.acknowledgements.summary, status.acknowledgements.pending) == ("0/1", ["desk/sim-fx"])


def test_a_namespace_whose_labels_are_not_known_is_concerned() -> None:
    selector = {"from": "Selector", "selector": {"matchLabels": {"desk": "fx"}}}
    switch = kill_switch(change(kill_manifest(), "spec.scope.namespaces", selector))
    for labels, concerned in ((None, 1), ({"desk": "fx"}, 1), ({"desk": "rates"}, 0)):
        found = gateway(says(), namespace="other", namespace_labels=labels)
        assert status_of(observed(found, of=switch)).acknowledgements.concerned == concerned


def test_one_that_cannot_be_read_halts_everybody_and_says_so() -> None:
    switch = unreadable_kill_switch()
    seen = observed(gateway(says(), namespace="other"), of=switch)
    status = status_of(seen)
    found = told(status.conditions, ConditionType.ENGAGED)
    assert (found.status, found.reason) == ("True", "KillSwitchUnreadable")
    assert "spec.mode" in found.message
    assert status.acknowledgements.pending == ["other/sim-fx"]
    order = relay(seen).order
    assert order is not None
    assert order.mode == pb.KILL_MODE_CANCEL


@given(st.lists(st.integers(0, 5_000_000_000), min_size=1, max_size=30))
def test_time_to_halt_is_the_nearest_rank_and_the_slowest(took: list[int]) -> None:
    gateways = [
        gateway(says(acknowledged(halted_unix_ns=SEEN + nanos)), f"sim-{number}") for number, nanos in enumerate(took)
    ]
    found = status_of(observed(*gateways)).time_to_halt_millis
    assert found is not None
    up = sorted(-(-nanos // 1_000_000) for nanos in took)
    assert found.max == up[-1]
    assert found.p50 in up
    assert sum(value <= found.p50 for value in up) * 2 >= len(up)
    assert sum(value < found.p50 for value in up) * 2 < len(up)


def test_nobody_has_halted_yet() -> None:
    assert status_of(observed(gateway(says(acknowledged(halted_unix_ns=0))))).time_to_halt_millis is None


def test_engaged_since_is_the_first_sight_and_stays() -> None:
    status = status_of(observed(gateway(says(acknowledged()))))
    assert status.engaged_since == "2026-01-05T09:59:55Z"
    later = report(replace(observed(gateway(says())), now=replace(NOW, unix=UNIX + 60)), status)
    assert later.engaged_since == "2026-01-05T09:59:55Z"


def test_armed_when_nobody_has_it_in_force() -> None:
    status = status_of(observed(gateway(says()), of=REARMED))
    assert (status.state, status.acknowledgements.summary) == (KillState.ARMED, "1/1")
    assert told(status.conditions, ConditionType.ENGAGED).status == "False"
    assert told(status.conditions, ConditionType.ACKNOWLEDGED).reason == "NotEngaged"
    assert relay(observed(gateway(says()), of=REARMED)) == Relay()


REARMING: dict[str, tuple[GatewayView, str]] = {
    "it has it in force": (says(acknowledged()), "desk/sim-fx (has it in force)"),
    "it was heard last with it in force": (
        silent(gateway_status(kills=[acknowledged()])),
        "desk/sim-fx (silent, had it in force)",
    ),
    "it has it in force and cannot watch": (
        fresh(gateway_status(kills=[acknowledged()])),
        "cannot watch KillSwitches at the API server: check ClusterRole crowetrade-gateway",
    ),
    "it has an order without an object in force": (says(acknowledged(uid="")), "set spec.engaged to true, then"),
}


@pytest.mark.parametrize("case", REARMING)
def test_rearming_while_a_gateway_has_it_in_force(case: str) -> None:
    view, words = REARMING[case]
    status = status_of(observed(gateway(view), of=REARMED))
    assert (status.state, status.acknowledgements.pending) == (KillState.REARMING, ["desk/sim-fx"])
    found = told(status.conditions, ConditionType.ACKNOWLEDGED)
    assert (found.status, found.reason) == ("False", "Rearming")
    assert words in found.message


def test_a_gateway_out_of_scope_that_has_it_in_force_is_not_rearmed_yet() -> None:
    assert status_of(observed(gateway(says(acknowledged()), namespace="other"), of=REARMED)).state == "Rearming"


def test_without_the_bus_it_is_not_known_who_is_rearmed() -> None:
    engaged = status_of(observed(gateway(says(acknowledged()))))
    status = report(observed(gateway(NEVER), of=REARMED, bus_connected=False, bus_problem="refused"), engaged)
    found = told(status.conditions, ConditionType.ACKNOWLEDGED)
    assert (status.state, found.status, found.reason) == ("Rearming", "Unknown", "BusUnavailable")


def test_a_gateway_that_is_not_heard_on_the_bus_gets_the_order_directly() -> None:
    seen = observed(gateway(NEVER, "a"), gateway(says(), "b"), gateway(NEVER, namespace="other"))
    assert relay(seen).direct == {("desk", "a")}


def test_what_a_gateway_answers_directly_counts_while_the_bus_is_down() -> None:
    answered = gateway(silent(gateway_status()), answered=acknowledged())
    status = status_of(observed(answered, bus_connected=False, bus_problem="refused"))
    assert (status.state, status.acknowledgements.summary) == ("Halted", "1/1")
    unanswered = status_of(observed(gateway(NEVER), bus_connected=False, bus_problem="refused"))
    found = told(unanswered.conditions, ConditionType.ACKNOWLEDGED)
    assert (found.status, found.reason) == ("Unknown", "BusUnavailable")


def events(steps: Sequence[Observed]) -> list[tuple[str, str]]:
    """Type and reason of what is told, from a new KillSwitch on."""
    notes: list[tuple[str, str]] = []
    previous = KillSwitchStatus(conditions=before_the_first())
    for step in steps:
        after = report(step, previous)
        watched = (ConditionType.ENGAGED, ConditionType.ACKNOWLEDGED)
        notes += [(note.type, note.reason) for note in transition_notes(previous.conditions, after.conditions, watched)]
        previous = after
    return notes


def test_transitions_are_told_once() -> None:
    steps = [
        observed(gateway(says())),
        observed(gateway(says())),
        observed(gateway(says(acknowledged()))),
        observed(gateway(says(acknowledged())), of=REARMED),
        observed(gateway(says()), of=REARMED),
    ]
    assert events(steps) == [
        ("Warning", "KillSwitchEngaged"),
        ("Normal", "WaitingForGateway"),
        ("Normal", "Acknowledged"),
        ("Normal", "NotEngaged"),
        ("Normal", "Rearming"),
        ("Normal", "NotEngaged"),
    ]
    assert events([observed(gateway(says()), of=REARMED)]) == []
