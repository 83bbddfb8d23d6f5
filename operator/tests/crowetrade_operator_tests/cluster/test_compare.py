"""Whether an apply would change anything, and what others have changed. Objects as a real API server stores them are in
integration/test_other_writers.py."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from crowetrade_operator.cluster.compare import Drift, drifts, is_applied, with_hash, without_others
from crowetrade_operator.desired.deployment import venue_deployment
from crowetrade_operator.desired.networkpolicy import venue_policy
from crowetrade_operator.desired.service import service
from crowetrade_operator_tests.decide.scenes import all_ours, live
from crowetrade_operator_tests.samples import SETTINGS, change, venue

Object = dict[str, Any]
DESIRED = with_hash(venue_deployment(venue(), "h", SETTINGS))


def stored() -> Object:
    """As the API server hands it out: with defaults and a status."""
    item = copy.deepcopy(live(venue_deployment(venue(), "h", SETTINGS)))
    item["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    pod = item["spec"]["template"]["spec"]
    pod["dnsPolicy"] = "ClusterFirst"
    pod["containers"][0]["resources"]["limits"]["memory"] = "0.5Gi"
    pod["volumes"].reverse()
    return item


def owned(fields: Object) -> Object:
    return change(stored(), "metadata.managedFields", [{**all_ours(DESIRED), "fieldsV1": fields}])


METADATA: Object = {"f:metadata": {}}
TEMPLATE: Object = {"f:replicas": {}, "f:paused": {}, "f:revisionHistoryLimit": {}, "f:progressDeadlineSeconds": {}}
CASES = {
    "defaults of the API server change nothing": (stored(), True),
    "nothing is there": (None, False),
    "nobody knows any more who wrote what": (change(stored(), "metadata.managedFields", []), False),
    "it was applied with other content": (
        change(stored(), "metadata.annotations", {"trading.crowetrade.io/applied-hash": "old"}),
        False,
    ),
    "annotations of others do not matter": (change(stored(), "metadata.annotations.mine", "x"), True),
    "somebody took its owner away": (change(stored(), "metadata.ownerReferences", []), False),
    "the rest of the spec is not ours any more": (owned({**METADATA, "f:spec": TEMPLATE}), False),
    "metadata is not ours any more": (owned({"f:spec": {}}), False),
    "pods share the node's network": (change(stored(), "spec.template.spec.hostNetwork", True), False),
    "pods do not share it, as somebody has written": (
        change(stored(), "spec.template.spec.hostNetwork", False),
        True,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_is_applied(case: str) -> None:
    item, expected = CASES[case]
    assert is_applied(DESIRED, item) is expected


def _entry(manager: str, fields: Object, operation: str = "Update", **more: str) -> Object:
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


def test_who_wrote_a_field_is_the_last_of_those_that_have_it() -> None:
    ours: Object = {
        "f:metadata": {},
        "f:spec": {f"f:{name}": {} for name in DESIRED["spec"] if name not in ("replicas", "template")}
        | {"f:template": {"f:metadata": {}, "f:spec": _pod_without_image()}},
    }
    image: Object = {"f:containers": {'k:{"name":"gateway"}': {"f:image": {}}}}
    entries = [
        {**all_ours(DESIRED), "fieldsV1": ours},
        _entry("kubectl-set", {"f:spec": {"f:template": {"f:spec": image}}}),
        _entry("kubectl-edit", {"f:spec": {"f:replicas": {}}}),
        _entry("hpa", {"f:spec": {"f:replicas": {}}}, subresource="scale"),
        _entry("somebody", {"f:metadata": {"f:annotations": {"f:mine": {}}}}),
    ]
    item = change(stored(), "metadata.managedFields", entries)
    assert drifts(DESIRED, item) == [
        Drift("spec.replicas", "hpa (scale)"),
        Drift("spec.template.spec.containers[gateway].image", "kubectl-set"),
    ]


def _pod_without_image() -> Object:
    pod = DESIRED["spec"]["template"]["spec"]
    container: Object = {f"f:{name}": {} for name in pod["containers"][0] if name != "image"}
    return {f"f:{name}": {} for name in pod if name != "containers"} | {
        "f:containers": {'k:{"name":"gateway"}': {".": {}, **container}}
    }


def test_what_others_added_where_only_we_write_is_taken_away_and_the_rest_stays() -> None:
    policy = venue_policy(venue(), (), SETTINGS)
    assert without_others(policy, live(policy)) is None
    opened = change(live(policy), "spec.ingress", [{}])
    assert without_others(policy, opened) == {"spec": {"ingress": policy["spec"]["ingress"]}}
    of_gateway = service(venue())
    more = {"externalIPs": ["203.0.113.7"], "clusterIP": "10.0.0.1", "sessionAffinity": "None"}
    item = live(of_gateway)
    assert without_others(of_gateway, {**item, "spec": {**item["spec"], **more}}) == {"spec": {"externalIPs": None}}


def test_empty_lists_and_maps_may_be_left_out_of_what_is_ours() -> None:
    raw: Object = {"kind": "ConfigMap", "metadata": {"name": "a"}, "spec": {"rules": [], "labels": {}, "on": False}}
    desired, item = with_hash(raw), live(raw)
    left_out: Object = {"f:metadata": {}, "f:spec": {"f:on": {}}}
    item["metadata"]["managedFields"] = [{**all_ours(desired), "fieldsV1": left_out}]
    assert is_applied(desired, item)
    item["metadata"]["managedFields"] = [{**all_ours(desired), "fieldsV1": {"f:metadata": {}, "f:spec": {"f:x": {}}}}]
    assert drifts(desired, item) == [Drift("spec.on")]


def test_the_hash_follows_the_content() -> None:
    one, other = venue_deployment(venue(), "h", SETTINGS), venue_deployment(venue(), "other", SETTINGS)
    assert with_hash(one) == with_hash(copy.deepcopy(one))
    assert with_hash(one)["metadata"]["annotations"] != with_hash(other)["metadata"]["annotations"]
