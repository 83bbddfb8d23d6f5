"""What the API server asks before it changes or deletes one of our resources, and what is recorded of it. Pure.

See https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/ (AdmissionReview v1).
"""

from __future__ import annotations

from typing import Any

import orjson

from crowetrade.audit.v1 import audit_pb2
from crowetrade_operator.cluster.resources import BY_KIND, Role
from crowetrade_operator.decide.changes import change_requested, deletion_requested
from crowetrade_operator.errors import ReviewUnreadable


def answer(body: bytes) -> tuple[bytes, audit_pb2.AuditEvent | None]:
    """The answer, which always admits, and what to record: nothing of a dry run, of what changes nothing that people
    say, of what is being deleted already and is to be deleted again (the garbage collector and the namespace controller
    ask again and again), and of what is none of our kinds.

    Raises ReviewUnreadable.
    """
    try:
        request = orjson.loads(body)["request"]
        reply = orjson.dumps(
            {
                "apiVersion": "admission.k8s.io/v1",
                "kind": "AdmissionReview",
                "response": {"uid": request["uid"], "allowed": True},
            }
        )
        return reply, _event_of(request)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReviewUnreadable(f"no AdmissionReview that can be read: {error!r}") from error


def _event_of(request: dict[str, Any]) -> audit_pb2.AuditEvent | None:
    operation, user = request["operation"], request["userInfo"]["username"]
    # The API server sends nothing before a creation, and nothing after a deletion.
    before, after = request["oldObject"], request["object"]
    item = before if operation == "DELETE" else after
    resource = BY_KIND.get(item["kind"])
    if resource is None or resource.role is not Role.OWN or request.get("dryRun"):
        return None
    match operation:
        case "CREATE":
            return change_requested(None, after, user)
        case "UPDATE":
            return change_requested(dict(before), after, user)
        case "DELETE" if not item["metadata"].get("deletionTimestamp"):
            return deletion_requested(before, user)
    return None
