"""What the API server asks the operator about, as the chart has it."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_operator_tests.charts import of_kind, rendered

Object = dict[str, Any]
POLICY = "MutatingAdmissionPolicy"
OPERATIONS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "an API server that names the author itself": ((f"admissionregistration.k8s.io/v1/{POLICY}",), ["DELETE"]),
    "one that does so behind its feature gate": ((f"admissionregistration.k8s.io/v1beta1/{POLICY}",), ["DELETE"]),
    "one whose version of it the chart does not know": (
        (f"admissionregistration.k8s.io/v1alpha1/{POLICY}",),
        ["CREATE", "UPDATE", "DELETE"],
    ),
    "one that does not": ((), ["CREATE", "UPDATE", "DELETE"]),
}


@pytest.mark.parametrize("case", OPERATIONS)
def test_changes_are_asked_about_where_the_annotation_does_not_name_their_author(case: str) -> None:
    served, operations = OPERATIONS[case]
    objects = rendered(served=served)
    assert bool(of_kind(objects, POLICY)) is (operations == ["DELETE"])
    (configuration,) = of_kind(objects, "ValidatingWebhookConfiguration")
    (webhook,) = configuration["webhooks"]
    (rule,) = webhook["rules"]
    assert rule["operations"] == operations
    assert rule["resources"] == ["strategies", "venueconnections", "risklimits", "killswitches"], "no subresource"
    assert (webhook["failurePolicy"], webhook["sideEffects"], webhook["timeoutSeconds"]) == (
        "Ignore",
        "NoneOnDryRun",
        2,
    )


def test_nothing_is_asked_where_it_is_not_to_be_recorded() -> None:
    assert of_kind(rendered("audit.recordRequests=false"), "ValidatingWebhookConfiguration") == []
