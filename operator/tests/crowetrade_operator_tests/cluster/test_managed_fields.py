"""Sets of fields as the API server writes them."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_operator.cluster.managed_fields import dotted, kept, lost, ours, writer

Object = dict[str, Any]
FIELDS: Object = {
    "f:replicas": {},
    "f:selector": {},
    "f:containers": {
        'k:{"name":"agent"}': {
            ".": {},
            "f:name": {},
            "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
        }
    },
}
LOST: dict[str, tuple[Any, list[str]]] = {
    "all is there": ({"replicas": 1, "containers": [{"name": "agent"}]}, []),
    "what is below a leaf": ({"selector": {"matchLabels": {"a": "b"}}}, []),
    "a field": ({"replicas": 1, "paused": False}, ["paused"]),
    "a field of an item": ({"containers": [{"name": "agent", "image": "i"}]}, ["containers[agent].image"]),
    "an item": ({"containers": [{"name": "agent"}, {"name": "more"}]}, ["containers[more]"]),
    "a key that has a default": ({"containers": [{"name": "agent", "ports": [{"containerPort": 80}]}]}, []),
    "an item by its second key": (
        {"containers": [{"name": "agent", "ports": [{"containerPort": 80, "protocol": "UDP"}]}]},
        ["containers[agent].ports[80]"],
    ),
    "an empty one": ({"volumes": [], "labels": {}}, []),
}


@pytest.mark.parametrize("case", LOST)
def test_what_we_want_and_do_not_have(case: str) -> None:
    wanted, expected = LOST[case]
    assert [dotted(path) for path in lost(wanted, FIELDS)] == expected


def _entry(manager: str, operation: str, time: str, **more: str) -> Object:
    return {
        "manager": manager,
        "operation": operation,
        "time": time,
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
        **more,
    }


def test_entries_are_kept_in_the_order_of_their_times_without_those_of_a_status() -> None:
    entries = [
        _entry("later", "Update", "2026-01-02T00:00:00Z"),
        _entry("controller", "Update", "2026-01-03T00:00:00Z", subresource="status"),
        _entry("earlier", "Update", "2026-01-01T00:00:00Z"),
    ]
    assert [entry["manager"] for entry in kept(entries)] == ["earlier", "later"]


def test_only_what_we_have_applied_is_ours() -> None:
    """The same program may write in other ways: a merge patch, or a status."""
    others = [
        _entry("crowetrade-operator", "Update", "t"),
        _entry("crowetrade-operator", "Apply", "t", subresource="status"),
        _entry("kubectl", "Apply", "t"),
    ]
    item: Object = {"metadata": {"managedFields": others}}
    assert ours(item) == {}
    item["metadata"]["managedFields"] = [*others, _entry("crowetrade-operator", "Apply", "t")]
    assert ours(item) == {"f:spec": {"f:replicas": {}}}


def test_who_wrote_what_is_above_or_below_a_field_wrote_it() -> None:
    item: Object = {"metadata": {"managedFields": [_entry("kubectl", "Update", "t")]}}
    assert writer(item, ("spec",)) == "kubectl"
    assert writer(item, ("spec", "replicas", "x")) == "kubectl"
    assert writer(item, ("spec", "paused")) == ""


def test_names_of_labels_stand_in_brackets() -> None:
    assert dotted(("metadata", "labels", "app.kubernetes.io/name")) == "metadata.labels[app.kubernetes.io/name]"
    assert dotted(("spec", "ports", {"port": 80})) == "spec.ports[80]"
