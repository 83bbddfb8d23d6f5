from __future__ import annotations

from typing import Any

import pytest

from crowetrade_operator.decide.pods import rolled_out, workload

Object = dict[str, Any]


def deployment(ready: int = 1, updated: int = 1, generation: int = 1, observed: int = 1) -> Object:
    return {
        "metadata": {"generation": generation},
        "status": {"observedGeneration": observed, "readyReplicas": ready, "updatedReplicas": updated},
    }


def pod(container: Object | None = None, **status: Any) -> Object:
    statuses = [{"name": "gateway", "image": "i", **container}] if container is not None else []
    return {"metadata": {"name": "p"}, "status": {"containerStatuses": statuses, **status}}


FAILURES = {
    "a wrong configuration": (
        pod({"lastState": {"terminated": {"exitCode": 78, "message": "model.parameters.fast: must be below slow\n"}}}),
        "ConfigurationError",
        "model.parameters.fast: must be below slow",
    ),
    "a wrong configuration without words": (
        pod({"state": {"terminated": {"exitCode": 78}}}),
        "ConfigurationError",
        "said no more",
    ),
    "an image that is not there": (
        pod({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}),
        "Unavailable",
        "cannot get its image i: not found",
    ),
    "a missing ConfigMap": (
        pod({"state": {"waiting": {"reason": "CreateContainerConfigError", "message": "configmap x not found"}}}),
        "Unavailable",
        "configmap x not found",
    ),
    "a crash loop": (
        pod({"restartCount": 3, "lastState": {"terminated": {"exitCode": 1}}}),
        "Crashing",
        "kubectl logs p --previous",
    ),
    "a first crash is only a start": (
        pod({"restartCount": 1, "lastState": {"terminated": {"exitCode": 1}}}),
        "Starting",
        "0 of 1",
    ),
    "no node has room": (
        pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}]),
        "Unavailable",
        "Insufficient cpu",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_why_a_pod_is_not_there(case: str) -> None:
    item, reason, words = FAILURES[case]
    found = workload([deployment(ready=0)], [item])
    assert found.reason == reason
    assert words in found.message
    assert not found.available


def test_available() -> None:
    assert workload([deployment()], []).available
    assert not workload([], []).available
    assert workload([deployment(), None], []).ready == 1


def test_an_old_answer_of_the_deployment_controller_does_not_count() -> None:
    assert workload([deployment(generation=2, observed=1)], []).ready == 0
    assert not rolled_out(deployment(generation=2, observed=1))
    assert not rolled_out(deployment(updated=0))
    assert not rolled_out(None)
    assert rolled_out(deployment())


def test_a_pod_that_ends_is_not_asked() -> None:
    ending, _, _ = FAILURES["a crash loop"]
    ending = {**ending, "metadata": {"name": "p", "deletionTimestamp": "x"}}
    assert workload([deployment(ready=0)], [ending]).reason == "Starting"
