"""What the API server's question says, and what is recorded of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crowetrade.audit.v1 import audit_pb2
from crowetrade_operator.deletions.review import answer
from crowetrade_operator.deletions.server import SAME_SECONDS, Webhook
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


def asked(path: str, value: Any) -> bytes:
    return json.dumps(change(QUESTION, path, value)).encode()


def test_the_user_and_what_was_there_are_recorded() -> None:
    reply, event = answer(json.dumps(QUESTION).encode())
    assert json.loads(reply) == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": "q-1", "allowed": True},
    }
    assert event is not None
    assert json.loads(event.before)["spec"] == LIMIT["spec"]
    event.before = ""
    assert event == audit_pb2.AuditEvent(
        action=audit_pb2.ACTION_DELETION_REQUESTED,
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
    "another operation": asked("request.operation", "UPDATE"),
    "a kind of others": asked("request.oldObject.kind", "Widget"),
    "a child": asked("request.oldObject.kind", "Deployment"),
}


@pytest.mark.parametrize("case", NOTHING)
def test_what_is_no_deletion_of_ours_is_admitted_and_not_recorded(case: str) -> None:
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
    "no object before": asked("request.oldObject", None),
    "an object without a name": asked("request.oldObject.metadata", {}),
    "metadata that are none": asked("request.oldObject.metadata", "x"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_refused(case: str) -> None:
    with pytest.raises(ReviewUnreadable, match="no AdmissionReview of a deletion"):
        answer(UNREADABLE[case])


def test_who_is_asked_about_twice_at_once_is_recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("crowetrade_operator.deletions.server.time.monotonic", lambda: now)
    webhook = Webhook(Path("/nowhere"), 0, Trail("crowetrade", "crowetrade-operator", "operator-0"))
    assert webhook._is_new("u-1", "alice")
    assert not webhook._is_new("u-1", "alice")
    assert webhook._is_new("u-1", "bob")
    assert webhook._is_new("u-2", "alice")
    now += SAME_SECONDS
    assert webhook._is_new("u-1", "alice")
