"""What the API server asks before it deletes one of our resources, and what is recorded of it. Pure.

See https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/ (AdmissionReview v1).
"""

from __future__ import annotations

from typing import Any

import orjson

from crowetrade.audit.v1 import audit_pb2
from crowetrade_operator.cluster.resources import BY_KIND, Role
from crowetrade_operator.decide.changes import deletion_requested
from crowetrade_operator.errors import ReviewUnreadable


def answer(body: bytes) -> tuple[bytes, audit_pb2.AuditEvent | None]:
    """The answer, which always admits, and what to record: nothing of a dry run, of what is being deleted already (the
    garbage collector and the namespace controller ask again and again), and of what is none of our kinds.

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
        raise ReviewUnreadable(f"no AdmissionReview of a deletion: {error!r}") from error


def _event_of(request: dict[str, Any]) -> audit_pb2.AuditEvent | None:
    item = request["oldObject"]
    resource = BY_KIND.get(item["kind"])
    if request["operation"] != "DELETE" or resource is None or resource.role is not Role.OWN:
        return None
    if request.get("dryRun") or item["metadata"].get("deletionTimestamp"):
        return None
    return deletion_requested(item, request["userInfo"]["username"])
