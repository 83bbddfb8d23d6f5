"""Why the API server makes no pod: the words of the condition ReplicaFailure, sorted by who said them. Pure.

The words are those of Kubernetes' admission plugins (resourcequota, limitranger, podsecurity, webhook,
validatingadmissionpolicy), which have no other form than text.
"""

from __future__ import annotations

import re

from crowetrade_api.reasons import Reason
from crowetrade_operator.cluster.admission import denied_by, unanswered_by
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.decide.pod_failures import Failure, sentence

_PREFIX = re.compile(r'^pods "[^"]*" is forbidden: ')
"""It has the name of a pod that never was, a new one with each try."""
_QUOTA = re.compile(r"(?:exceeded|failed) quota: ([^:,\s]+)")
_NO_QUOTA = ("insufficient quota to ", "status unknown for quota")
_LIMIT_RANGE = re.compile(r"(?:minimum|maximum) \S+ usage per |max limit to request ratio per ")
_POD_SECURITY = "violates PodSecurity "
_POLICY = re.compile(r"ValidatingAdmissionPolicy '([^']+)'")
_NOT_TAKEN_BACK = re.compile(
    r"field is immutable|may not be specified when (?:strategy `type` is|`value` is not empty)|"
    r"may not specify more than 1 (?:volume|handler) type"
)
"""Said of an object that is there: an apply leaves what somebody else has written beside what is ours, and the API
server takes the two together for wrong."""
_AGAIN = "Kubernetes tries again by itself, at intervals that grow to 17 minutes."


def refusal_of(deployment: Object, said: str, resources_field: str) -> Failure:
    """The refusal with its remedy. `resources_field` is where the resource says what its pods ask for."""
    name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
    said = _PREFIX.sub("", said.strip()) or "it says no more"
    what = f"No pod can be made for Deployment {name}: {sentence(said)}"
    for reason, remedy in _sorted(said, namespace, resources_field):
        return reason, f"{what} {remedy} {_AGAIN}"
    return Reason.POD_REFUSED, f"{what} {_AGAIN}"


def _sorted(said: str, namespace: str, field: str) -> list[Failure]:
    """At most one: whose refusal it is, and what to do."""
    if quota := _QUOTA.search(said):
        name = quota[1]
        if "must specify " in said:
            return [(Reason.QUOTA_EXCEEDED, f"ResourceQuota {name} wants it: set it under {field}.")]
        text = f"Raise ResourceQuota {name} of namespace {namespace}, free what it counts, or ask for less in {field}."
        return [(Reason.QUOTA_EXCEEDED, text)]
    if any(words in said for words in _NO_QUOTA):
        return [(Reason.QUOTA_EXCEEDED, f"See kubectl describe resourcequota -n {namespace}.")]
    if _LIMIT_RANGE.search(said):
        text = f"Set {field} within the LimitRange of namespace {namespace}, or change the LimitRange."
        return [(Reason.LIMIT_RANGE_VIOLATED, text)]
    if _POD_SECURITY in said:
        text = (
            "What the operator asks for passes the level restricted, so something adds to its pods: look for an "
            f"injected container, or change the label pod-security.kubernetes.io/enforce of namespace {namespace}."
        )
        return [(Reason.POD_SECURITY_VIOLATED, text)]
    if remedy := admission_remedy(said, namespace):
        return [(Reason.ADMISSION_DENIED, remedy)]
    return []


def refusal_remedy(said: str, namespace: str) -> str:
    """What to do about a refusal of an object that is no pod; empty when its words say all."""
    if quota := _QUOTA.search(said):
        return f"Raise ResourceQuota {quota[1]} of namespace {namespace}, or free what it counts."
    return admission_remedy(said, namespace)


def admission_remedy(said: str, namespace: str) -> str:
    """What to do when a webhook, a policy or what somebody wrote stands in the way; empty when none does."""
    if webhook := denied_by(said):
        return f"Ask who runs the webhook {webhook}, or exempt namespace {namespace} from it."
    if webhook := unanswered_by(said):
        return f"The webhook {webhook} does not answer: mend it, or exempt namespace {namespace} from it."
    if policy := _POLICY.search(said):
        return f"Ask who wrote ValidatingAdmissionPolicy {policy[1]}, or exempt namespace {namespace} from it."
    if _NOT_TAKEN_BACK.search(said):
        return f"No change takes back what somebody wrote: delete it in namespace {namespace}, and it is made again."
    return ""
