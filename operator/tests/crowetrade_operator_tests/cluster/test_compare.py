from __future__ import annotations

import copy
from typing import Any

import pytest

from crowetrade_operator.cluster.compare import is_applied, with_hash
from crowetrade_operator.desired.deployment import venue_deployment
from crowetrade_operator_tests.samples import SETTINGS, change, venue

Object = dict[str, Any]
DESIRED = with_hash(venue_deployment(venue(), "h", SETTINGS))


def _live() -> Object:
    """As the API server hands it out: with defaults and a status."""
    live = copy.deepcopy(DESIRED)
    live["metadata"] |= {"uid": "u", "resourceVersion": "7", "generation": 1}
    live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    pod = live["spec"]["template"]["spec"]
    pod["dnsPolicy"] = "ClusterFirst"
    pod["containers"][0]["resources"]["limits"]["memory"] = "0.5Gi"
    pod["volumes"].reverse()
    live["status"] = {"replicas": 1}
    return live


CASES = {
    "defaults of the API server change nothing": (_live(), True),
    "nothing is there": (None, False),
    "a label was taken away": (change(_live(), "metadata.labels", {}), False),
    "replicas were changed": (change(_live(), "spec.replicas", 2), False),
    "an image was changed": (change(_live(), "spec.template.spec.containers.0.image", "other"), False),
    "a container was added": (
        change(
            _live(),
            "spec.template.spec.containers",
            [*_live()["spec"]["template"]["spec"]["containers"], {"name": "x"}],
        ),
        False,
    ),
    "memory is another amount": (
        change(_live(), "spec.template.spec.containers.0.resources.limits.memory", "1Gi"),
        False,
    ),
    "memory is no amount": (
        change(_live(), "spec.template.spec.containers.0.resources.limits.memory", "much"),
        False,
    ),
    "it was applied with other content": (
        change(_live(), "metadata.annotations", {"trading.crowetrade.io/applied-hash": "old"}),
        False,
    ),
    "annotations of others do not matter": (change(_live(), "metadata.annotations.mine", "x"), True),
}


@pytest.mark.parametrize("case", CASES)
def test_is_applied(case: str) -> None:
    live, expected = CASES[case]
    assert is_applied(DESIRED, live) is expected


def test_empty_lists_and_maps_are_what_the_api_server_leaves_out() -> None:
    desired = with_hash({"metadata": {"name": "a"}, "spec": {"rules": [], "labels": {}}})
    live = {"metadata": desired["metadata"], "spec": {}}
    assert is_applied(desired, live)
    assert not is_applied(desired, {"metadata": desired["metadata"], "spec": {"rules": [1]}})


def test_the_hash_follows_the_content() -> None:
    one, other = venue_deployment(venue(), "h", SETTINGS), venue_deployment(venue(), "other", SETTINGS)
    assert with_hash(one) == with_hash(copy.deepcopy(one))
    assert with_hash(one)["metadata"]["annotations"] != with_hash(other)["metadata"]["annotations"]
