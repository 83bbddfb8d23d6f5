"""What the audit trail says about changes of resources, in tables of plain values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crowetrade.audit.v1 import audit_pb2
from crowetrade_api.names import (
    CHANGED_BY_ANNOTATION,
    CLEAR_BREACH_ANNOTATION,
    CLEAR_HALT_ANNOTATION,
    FORCE_DELETE_ANNOTATION,
)
from crowetrade_operator.decide.changes import (
    DELETION_ASKED,
    GONE,
    REQUESTS,
    WHILE_AWAY,
    change_requested,
    events_of,
    events_while_away,
    follow,
    recorded,
)
from crowetrade_operator.decide.kept_resources import decode, encode
from crowetrade_operator_tests.samples import UNSET, change, kill_manifest, limit_manifest, venue_manifest

Object = dict[str, Any]
Row = tuple[str, str, str]
"""Action, actor and reason of an event."""
TEXTS = {
    "by": CHANGED_BY_ANNOTATION,
    "breach": CLEAR_BREACH_ANNOTATION,
    "halt": CLEAR_HALT_ANNOTATION,
    "force": FORCE_DELETE_ANNOTATION,
    "applied": "kubectl.kubernetes.io/last-applied-configuration",
}


def annotated(item: Object, **annotations: str) -> Object:
    """With annotations, named as in TEXTS."""
    return change(item, "metadata.annotations", {TEXTS[name]: text for name, text in annotations.items()})


LIMIT = change(limit_manifest(), "metadata.uid", "u1")
LOOSER = change(LIMIT, "spec.limits.maxOrderQuantity", "9000000")
VENUE = venue_manifest()
KILL = change(kill_manifest("all", "desk"), "spec", {"engaged": False, "reason": "test"})
ENGAGED = change(KILL, "spec", {"engaged": True, "engagedBy": "bob", "reason": "bad data"})


def rows(before: Object | None, after: Object | None) -> list[Row]:
    return [
        (audit_pb2.Action.Name(event.action).removeprefix("ACTION_"), event.actor, event.reason)
        for event in events_of(before, after)
    ]


CHANGES: dict[str, tuple[Object | None, Object | None, list[Row]]] = {
    "a resource is created": (None, annotated(LIMIT, by="alice"), [("CREATED", "alice", "")]),
    "a resource is created by nobody known": (None, LIMIT, [("CREATED", "", "")]),
    "a spec is changed": (annotated(LIMIT, by="alice"), annotated(LOOSER, by="bob"), [("CHANGED", "bob", "")]),
    "a label is changed": (LIMIT, change(LIMIT, "metadata.labels", {"desk": "rates"}), [("CHANGED", "", "")]),
    "an annotation is changed": (LIMIT, change(LIMIT, "metadata.annotations", {"a": "b"}), [("CHANGED", "", "")]),
    "the author alone is not a change": (annotated(LIMIT, by="alice"), annotated(LIMIT, by="bob"), []),
    "what kubectl remembers is not a change": (LIMIT, annotated(LIMIT, applied="{}"), []),
    "a status is not a change": (LIMIT, change(LIMIT, "status", {"breached": []}), []),
    "a finalizer is not a change": (LIMIT, change(LIMIT, "metadata.finalizers", ["a.b/c"]), []),
    "a deletion is asked for": (
        annotated(LIMIT, by="alice"),
        change(annotated(LIMIT, by="alice"), "metadata.deletionTimestamp", "2026-03-01T09:00:00Z"),
        [("DELETED", "", DELETION_ASKED)],
    ),
    "a resource is gone": (annotated(LIMIT, by="alice"), None, [("DELETED", "", GONE)]),
    "a halt is cleared": (
        VENUE,
        annotated(VENUE, by="alice", halt="UnknownExecution@7"),
        [("CHANGED", "alice", ""), ("OVERRIDE", "alice", "clear-halt: UnknownExecution@7")],
    ),
    "a breach is cleared": (
        LIMIT,
        annotated(LIMIT, by="alice", breach="x: checked"),
        [("CHANGED", "alice", ""), ("OVERRIDE", "alice", "clear-breach: x: checked")],
    ),
    "it is asked for once": (
        annotated(LIMIT, by="alice", breach="x: checked"),
        annotated(LOOSER, by="bob", breach="x: checked"),
        [("CHANGED", "bob", "")],
    ),
    "what was asked for is taken away": (annotated(LIMIT, breach="x: checked"), LIMIT, [("CHANGED", "", "")]),
    "a deletion is forced": (
        VENUE,
        annotated(VENUE, by="alice", force="the venue is closed"),
        [("CHANGED", "alice", ""), ("FORCE_DELETE", "alice", "force-delete: the venue is closed")],
    ),
    "a KillSwitch is engaged": (KILL, ENGAGED, [("CHANGED", "bob", ""), ("KILL", "bob", "bad data")]),
    "a KillSwitch is created engaged": (None, ENGAGED, [("CREATED", "bob", ""), ("KILL", "bob", "bad data")]),
    "whoever engages is not whoever changed before": (
        annotated(KILL, by="alice"),
        annotated(ENGAGED, by="alice"),
        [("CHANGED", "bob", ""), ("KILL", "bob", "bad data")],
    ),
    "an old name on an engaged KillSwitch says nothing": (
        annotated(ENGAGED, by="alice"),
        annotated(change(ENGAGED, "spec.mode", "Flatten"), by="alice"),
        [("CHANGED", "", "")],
    ),
    "a new name on an engaged KillSwitch is proven": (
        annotated(ENGAGED, by="alice"),
        annotated(change(ENGAGED, "spec.mode", "Flatten"), by="carol"),
        [("CHANGED", "carol", "")],
    ),
    "a KillSwitch is re-armed": (
        ENGAGED,
        annotated(KILL, by="carol"),
        [("CHANGED", "carol", ""), ("REARM", "carol", "test")],
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_is_recorded(case: str) -> None:
    before, after, expected = CHANGES[case]
    assert rows(before, after) == expected


def test_before_and_after_are_what_people_say() -> None:
    (event,) = events_of(annotated(LIMIT, by="alice", applied="{}"), annotated(LOOSER, by="bob"))
    assert (event.kind, event.namespace, event.name, event.uid) == (
        "RiskLimit",
        "desk",
        LIMIT["metadata"]["name"],
        "u1",
    )
    assert event.proof == audit_pb2.ACTOR_PROOF_API_SERVER
    before, after = json.loads(event.before), json.loads(event.after)
    assert (before["spec"], after["spec"]) == (LIMIT["spec"], LOOSER["spec"])
    assert before["annotations"] == after["annotations"] == {}
    (unknown,) = events_of(LIMIT, LOOSER)
    assert unknown.proof == audit_pb2.ACTOR_PROOF_UNSPECIFIED


def test_what_changed_while_no_operator_worked() -> None:
    other, gone = change(VENUE, "metadata.name", "new"), change(VENUE, "metadata.name", "gone")
    kept = {"u1": recorded(LIMIT), "u2": recorded(VENUE), "u3": recorded(gone)}
    found = {"u1": annotated(LOOSER, by="bob"), "u2": change(VENUE, "status", {}), "u4": other}
    events = events_while_away(kept, found)
    assert [(event.action, event.kind, event.name, event.actor) for event in events] == [
        (audit_pb2.ACTION_CHANGED, "RiskLimit", LIMIT["metadata"]["name"], "bob"),
        (audit_pb2.ACTION_CREATED, "VenueConnection", "new", ""),
        (audit_pb2.ACTION_DELETED, "VenueConnection", "gone", ""),
    ]
    assert {event.reason for event in events} == {WHILE_AWAY}
    assert json.loads(events[0].after)["spec"] == LOOSER["spec"]


def while_away(before: Object | None, after: Object) -> list[tuple[str, str, str, str]]:
    """Action, actor, proof and reason of what is recorded when nobody watched in between, what was kept being read
    again from its text."""
    kept = decode("desk", encode({"u1": recorded(before)} if before is not None else {}))
    return [
        (
            audit_pb2.Action.Name(event.action).removeprefix("ACTION_"),
            event.actor,
            audit_pb2.ActorProof.Name(event.proof).removeprefix("ACTOR_PROOF_"),
            event.reason.removesuffix(f"; {WHILE_AWAY}"),
        )
        for event in events_while_away(kept, {"u1": after})
        if event.reason != WHILE_AWAY
    ]


def engaged(value: bool, **spec: object) -> Object:
    return change(KILL, "spec", {"engaged": value, "reason": "test"} | spec)


MEANT: dict[str, tuple[Object | None, Object, list[tuple[str, str, str, str]]]] = {
    "a KillSwitch is engaged": (
        KILL,
        annotated(engaged(True, engagedBy="alice"), by="bob"),
        [("KILL", "alice", "API_SERVER", "test")],
    ),
    "one is created engaged, without a name": (None, engaged(True), [("KILL", "", "UNSPECIFIED", "test")]),
    "one is re-armed": (engaged(True), annotated(KILL, by="bob"), [("REARM", "bob", "CLAIMED", "test")]),
    "one that stays engaged is changed": (engaged(True), engaged(True, reason="other"), []),
    "a breach is cleared": (
        LIMIT,
        annotated(LIMIT, by="bob", breach="b@v-1: fine"),
        [("OVERRIDE", "bob", "CLAIMED", "clear-breach: b@v-1: fine")],
    ),
    "another one is cleared": (
        annotated(LIMIT, breach="b@v-1: fine"),
        annotated(LIMIT, breach="b@v-2: fine"),
        [("OVERRIDE", "", "UNSPECIFIED", "clear-breach: b@v-2: fine")],
    ),
    "a halt is cleared, and the rest is changed as well": (
        VENUE,
        annotated(change(VENUE, "spec.account", "other"), halt="JournalBelowRecord@7"),
        [("OVERRIDE", "", "UNSPECIFIED", "clear-halt: JournalBelowRecord@7")],
    ),
    "what was cleared before is not cleared again": (
        annotated(LIMIT, breach="b@v-1: fine"),
        annotated(LOOSER, breach="b@v-1: fine"),
        [],
    ),
    "a deletion is forced": (
        VENUE,
        annotated(VENUE, force="yes"),
        [("FORCE_DELETE", "", "UNSPECIFIED", "force-delete: yes")],
    ),
}


@pytest.mark.parametrize("case", MEANT)
def test_what_a_change_means_that_was_made_while_no_operator_worked_is_recorded(case: str) -> None:
    before, after, expected = MEANT[case]
    assert while_away(before, after) == expected


def test_a_resource_without_a_spec_is_recorded_too() -> None:
    assert rows(None, change(LIMIT, "spec", UNSET)) == [("CREATED", "", "")]


@pytest.mark.parametrize("case", MEANT)
def test_what_an_operator_had_told_and_not_kept_is_followed_and_what_it_had_not_told_is_told(case: str) -> None:
    """However much of what happened it could record before it was killed."""
    before, after, _ = MEANT[case]
    events = events_of(before, after)
    for event in events:
        event.uid = "u1"
    for stored in range(len(events) + 1):
        said = {"u1": recorded(before)} if before is not None else {}
        for event in events[:stored]:
            follow(said, event)
        left = events_while_away(said, {"u1": after})
        assert [event.action for event in left] == [event.action for event in events[stored:]]
        for event in left:
            event.uid = "u1"
            follow(said, event)
        assert events_while_away(said, {"u1": after}) == []
    follow(said, audit_pb2.AuditEvent(action=audit_pb2.ACTION_DELETED, uid="u1", reason=DELETION_ASKED))
    assert said
    follow(said, audit_pb2.AuditEvent(action=audit_pb2.ACTION_DELETED, uid="u1", reason=GONE))
    assert not said


@pytest.mark.parametrize("action", REQUESTS)
def test_what_was_asked_for_says_nothing_of_what_is_there(action: audit_pb2.Action.ValueType) -> None:
    """Something else may have refused it, and what became of it has an event of its own."""
    asked = change_requested(LIMIT, LOOSER, "alice")
    assert asked is not None
    asked.action = action
    for said in ({}, {"u1": recorded(LIMIT)}):
        found = dict(said)
        follow(found, asked)
        assert found == said


def test_what_was_too_long_for_a_record_is_not_followed() -> None:
    said = {"u1": recorded(LIMIT)}
    follow(said, audit_pb2.AuditEvent(action=audit_pb2.ACTION_CHANGED, uid="u1", after='{"bytes": 1, "sha256": "x"}'))
    assert said == {"u1": recorded(LIMIT)}
