"""What the API server's question says, and what is recorded of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crowetrade.audit.v1 import audit_pb2
from crowetrade_api.names import CHANGED_BY_ANNOTATION
from crowetrade_operator.admission.review import answer
from crowetrade_operator.admission.server import SAME_SECONDS, Webhook
from crowetrade_operator.decide.changes import change_requested, deletion_requested, said
from crowetrade_operator.errors import ReviewUnreadable
from crowetrade_operator_tests.samples import UNSET, change, limit_manifest
from crowetrade_process.audit.trail import Trail

Object = dict[str, Any]
LIMIT = change(limit_manifest("desk", namespace="fx"), "metadata.uid", "u-1")
QUESTION: Object = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {
        "uid": "q-1",
        "operation": "DELETE",
        "userInfo": {"username": "alice", "groups": ["people"]},
        "object": None,
        "oldObject": LIMIT,
        "dryRun": False,
    },
}


LOOSER = change(LIMIT, "spec.limits.maxOrderQuantity", "9")


def asked(path: str, value: Any) -> bytes:
    return json.dumps(change(QUESTION, path, value)).encode()


def asked_for(operation: str, before: Object | None, after: Object | None, **fields: Any) -> bytes:
    request = {**QUESTION["request"], "operation": operation, "oldObject": before, "object": after, **fields}
    return json.dumps({**QUESTION, "request": request}).encode()


RECORDED: dict[str, tuple[str, Object | None, Object | None, audit_pb2.Action.ValueType]] = {
    "a creation": ("CREATE", None, LIMIT, audit_pb2.ACTION_CHANGE_REQUESTED),
    "a change of the spec": ("UPDATE", LIMIT, LOOSER, audit_pb2.ACTION_CHANGE_REQUESTED),
    "a change of a label": (
        "UPDATE",
        LIMIT,
        change(LIMIT, "metadata.labels", {"desk": "rates"}),
        audit_pb2.ACTION_CHANGE_REQUESTED,
    ),
    "a change of what is being deleted": (
        "UPDATE",
        change(LIMIT, "metadata.deletionTimestamp", "2026-03-01T09:00:00Z"),
        change(LOOSER, "metadata.deletionTimestamp", "2026-03-01T09:00:00Z"),
        audit_pb2.ACTION_CHANGE_REQUESTED,
    ),
    "a deletion": ("DELETE", LIMIT, None, audit_pb2.ACTION_DELETION_REQUESTED),
}


@pytest.mark.parametrize("case", RECORDED)
def test_the_user_and_what_was_and_will_be_there_are_recorded(case: str) -> None:
    operation, before, after, action = RECORDED[case]
    reply, event = answer(asked_for(operation, before, after))
    assert json.loads(reply) == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": "q-1", "allowed": True},
    }
    assert event is not None
    for text, item in ((event.before, before), (event.after, after)):
        assert (json.loads(text) if text else None) == (said(item) if item is not None else None)
    event.before = event.after = ""
    assert event == audit_pb2.AuditEvent(
        action=action,
        actor="alice",
        proof=audit_pb2.ACTOR_PROOF_API_SERVER,
        kind="RiskLimit",
        namespace="fx",
        name="desk",
        uid="u-1",
    )


NOTHING: dict[str, bytes] = {
    "a dry run": asked("request.dryRun", True),
    "it is being deleted": asked("request.oldObject.metadata.deletionTimestamp", "2026-03-01T09:00:00Z"),
    "a creation in a dry run": asked_for("CREATE", None, LIMIT, dryRun=True),
    "a change in a dry run": asked_for("UPDATE", LIMIT, LOOSER, dryRun=True),
    "finalizers": asked_for("UPDATE", LIMIT, change(LIMIT, "metadata.finalizers", ["a.b/c"])),
    "owners": asked_for("UPDATE", LIMIT, change(LIMIT, "metadata.ownerReferences", [{"name": "a"}])),
    "the author alone": asked_for(
        "UPDATE", LIMIT, change(LIMIT, "metadata.annotations", {CHANGED_BY_ANNOTATION: "bob"})
    ),
    "what the API server keeps": asked_for("UPDATE", LIMIT, change(LIMIT, "metadata.generation", 7)),
    "a creation of others": asked_for("CREATE", None, change(LIMIT, "kind", "Widget")),
    "a change of a child": asked_for("UPDATE", change(LIMIT, "kind", "Pod"), change(LOOSER, "kind", "Pod")),
    "another operation": asked_for("CONNECT", LIMIT, LOOSER),
    "a kind of others": asked("request.oldObject.kind", "Widget"),
    "a child": asked("request.oldObject.kind", "Deployment"),
}


@pytest.mark.parametrize("case", NOTHING)
def test_what_nobody_asked_of_ours_is_admitted_and_not_recorded(case: str) -> None:
    reply, event = answer(NOTHING[case])
    assert json.loads(reply)["response"]["allowed"] is True
    assert event is None


UNREADABLE: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"\xff",
    "no object": b"[]",
    "no request": b"{}",
    "no uid": asked("request.uid", UNSET),
    "no user": asked("request.userInfo", UNSET),
    "no name of the user": asked("request.userInfo.username", 7),
    "a deletion of nothing": asked("request.oldObject", None),
    "a creation of nothing": asked_for("CREATE", None, None),
    "a change of nothing": asked_for("UPDATE", None, LIMIT),
    "a change to nothing": asked_for("UPDATE", LIMIT, None),
    "a creation without a name": asked_for("CREATE", None, change(LIMIT, "metadata.name", UNSET)),
    "an object without a name": asked("request.oldObject.metadata", {}),
    "metadata that are none": asked("request.oldObject.metadata", "x"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_refused(case: str) -> None:
    with pytest.raises(ReviewUnreadable, match="no AdmissionReview that can be read"):
        answer(UNREADABLE[case])


def test_who_is_asked_about_twice_at_once_is_recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("crowetrade_operator.admission.server.time.monotonic", lambda: now)
    webhook = Webhook(Path("/nowhere"), 0, Trail("crowetrade", "crowetrade-operator", "operator-0"))

    def is_new(user: str = "alice", uid: str = "u-1", before: Object = LIMIT, after: Object = LOOSER) -> bool:
        event = change_requested(change(before, "metadata.uid", uid), change(after, "metadata.uid", uid), user)
        assert event is not None
        return webhook._is_new(event)

    assert is_new()
    assert not is_new()
    assert is_new(uid="u-2")
    assert not is_new(), "a question about something else lies between"
    assert is_new(user="bob")
    assert is_new(after=change(LIMIT, "spec.limits.maxOrderQuantity", "8"))
    assert is_new()
    assert is_new(before=LOOSER, after=LIMIT)
    assert is_new(), "it was changed back meanwhile"
    assert webhook._is_new(deletion_requested(LOOSER, "alice"))
    assert not webhook._is_new(deletion_requested(LOOSER, "alice"))
    now += SAME_SECONDS
    assert is_new(uid="u-2")
    assert webhook._recorded.keys() == {"u-2"}, "nothing is remembered for longer"
