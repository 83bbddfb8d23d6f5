"""While a change waits, what runs is kept as it was applied last, whatever others do to it."""

from __future__ import annotations

import base64
import random
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from crowetrade_api.names import APPLIED_ANNOTATION
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_operator.cluster.compare import with_hash
from crowetrade_operator.decide.last_applied import LONGEST, has_record, kept, with_record
from crowetrade_operator.decide.observed import Children
from crowetrade_operator.decide.plan import Plan
from crowetrade_operator.decide.strategy import Observed, plan
from crowetrade_operator_tests.decide.scenes import (
    NOW,
    applied,
    enforcing,
    fresh,
    namespace_view,
    position,
    recorded,
)
from crowetrade_operator_tests.samples import SETTINGS, account, change, limit, strategy, strategy_manifest, venue

Object = dict[str, Any]
Edit = Callable[[Object], None]
SPLIT = change(strategy_manifest(), "spec.agents", {"topology": "Split"})
BEFORE, AFTER = strategy(SPLIT), strategy(change(SPLIT, "spec.model.parameters.fast", 13), generation=2)
EXECUTION, FEATURE = ("Deployment", "agent-execution-ema"), ("Deployment", "agent-feature-ema")
CONFIG_MAP = ("ConfigMap", "strategy-ema")


def seen(wanted: Strategy, children: Sequence[Object]) -> Observed:
    """The strategy as wanted, which holds a position."""
    said = enforcing(venue(), [wanted], [limit()], [account(positions=[position("1000")])])
    around = namespace_view([wanted], venues=[venue()], gateways={"sim-fx": fresh(said)})
    return Observed(wanted, around, Children(children), [], NOW)


def desired(wanted: Strategy) -> Plan:
    return plan(seen(wanted, []), SETTINGS)


def running() -> dict[tuple[str, str], Object]:
    """What was applied before the change, by kind and name."""
    return {key(item): item for item in applied(desired(BEFORE))}


def key(item: Object) -> tuple[str, str]:
    return item["kind"], item["metadata"]["name"]


def without_record(item: Object) -> None:
    """Somebody took the record away, and with it our claim to it; all else is still ours."""
    metadata = item["metadata"]
    metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if k != APPLIED_ANNOTATION}
    names: Object = {f"f:{name}": {} for name in metadata["annotations"]}
    (entry,) = metadata["managedFields"]
    fields = {**entry["fieldsV1"], "f:metadata": {"f:annotations": names, "f:labels": {}}}
    metadata["managedFields"] = [{**entry, "fieldsV1": fields}]


def written_by_another(item: Object) -> None:
    """Somebody put another record there."""
    without_record(item)
    record = with_record(item, [{**item, "spec": {"replicas": 7}}])
    item["metadata"] = record["metadata"]


def edited(item: Object) -> None:
    """Somebody changed its image, so that it is theirs."""
    (entry,) = item["metadata"]["managedFields"]
    fields = {name: value for name, value in entry["fieldsV1"].items() if name not in ("f:spec", "f:data")}
    item["metadata"]["managedFields"] = [{**entry, "fieldsV1": fields}]


def on_the_node_s_network(item: Object) -> None:
    item.setdefault("spec", {})["template"] = {"spec": {"hostNetwork": True}}


def planned(gone: Sequence[tuple[str, str]] = (), edits: Sequence[tuple[tuple[str, str], Edit]] = ()) -> Plan:
    """The plan while the change waits, after somebody took these children away and edited those."""
    children = running()
    for name, edit in edits:
        edit(children[name])
    for name in gone:
        del children[name]
    return plan(seen(AFTER, list(children.values())), SETTINGS)


ALL = [key(item) for item in recorded(desired(BEFORE).apply) if item["kind"] == "Deployment"]
KEPT: dict[str, tuple[Sequence[tuple[str, str]], Sequence[tuple[tuple[str, str], Edit]]]] = {
    "nobody did anything": ([], []),
    "the agent that would flatten is gone": ([EXECUTION], []),
    "the configuration is gone, and a pod that restarts needs it": ([CONFIG_MAP], []),
    "all but one are gone": ([CONFIG_MAP, *(name for name in ALL if name != FEATURE)], []),
    "an image was set": ([], [(EXECUTION, edited)]),
    "the configuration was edited": ([], [(CONFIG_MAP, edited)]),
    "the node's network was joined": ([], [(EXECUTION, on_the_node_s_network)]),
    "an image was set and the record taken away: those beside it have it": (
        [],
        [(EXECUTION, edited), (EXECUTION, without_record)],
    ),
    "an image was set, and another record": ([], [(EXECUTION, written_by_another), (EXECUTION, edited)]),
}


@pytest.mark.parametrize("case", KEPT)
def test_while_a_change_waits_what_runs_is_kept_as_it_was_applied_last(case: str) -> None:
    found = planned(*KEPT[case])
    assert "position 1000 EUR-USD" in found.rollout_blocked_by
    assert sorted(recorded(found.apply), key=key) == sorted(recorded(desired(BEFORE).apply), key=key)
    assert list(found.delete) == []


def test_pods_find_their_configuration_before_they_are_made() -> None:
    found = recorded(planned([CONFIG_MAP, EXECUTION]).apply)
    assert [item["kind"] for item in found] == ["ConfigMap", *["Deployment"] * 4]


RECORDLESS: list[tuple[tuple[str, str], Edit]] = [(name, without_record) for name in ALL]
UNKNOWN: dict[str, tuple[Sequence[tuple[str, str]], Sequence[tuple[tuple[str, str], Edit]]]] = {
    "an agent is gone": ([EXECUTION], RECORDLESS),
    "the configuration is gone": ([CONFIG_MAP], RECORDLESS),
    "an image was set": ([], [*RECORDLESS, (EXECUTION, edited)]),
    "the configuration was edited": ([], [*RECORDLESS, (CONFIG_MAP, edited)]),
    "the node's network was joined": ([], [*RECORDLESS, (EXECUTION, on_the_node_s_network)]),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_where_nobody_knows_how_it_was_the_change_does_not_wait(case: str) -> None:
    """Otherwise what somebody did would stay, and what is missing would never be made."""
    found = planned(*UNKNOWN[case])
    assert found.rollout_blocked_by == ""
    assert recorded(found.apply) == recorded(desired(AFTER).apply)


def test_without_a_record_what_nobody_touched_waits_all_the_same() -> None:
    found = planned([], RECORDLESS)
    assert "position 1000 EUR-USD" in found.rollout_blocked_by
    assert recorded(found.apply) == []


def test_a_record_that_is_taken_away_is_missed() -> None:
    children = running()
    assert all(has_record(item) for item in children.values())
    without_record(children[EXECUTION])
    assert [name for name, item in children.items() if not has_record(item)] == [EXECUTION]


FORGED: dict[str, Object] = {
    "another kind": {"kind": "NetworkPolicy"},
    "another namespace": {"metadata": {"name": "x", "namespace": "kube-system", "ownerReferences": []}},
    "another owner": {
        "metadata": {"name": "x", "namespace": "desk", "ownerReferences": [{"uid": "other", "controller": True}]}
    },
}


@pytest.mark.parametrize("case", FORGED)
def test_a_record_brings_nothing_of_another_kind_place_or_owner(case: str) -> None:
    item = running()[EXECUTION]
    forged = with_record(item, [{**item, **FORGED[case]}])
    assert kept(Children([forged])) == []


def _packed(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode())).decode()


@pytest.mark.parametrize(
    "text", ["", "no base64!", "AAAA", _packed("["), _packed("7"), _packed("[7]"), _packed("[{}]")]
)
def test_a_record_that_cannot_be_read_says_nothing(text: str) -> None:
    item = running()[EXECUTION]
    item["metadata"]["annotations"][APPLIED_ANNOTATION] = text
    assert kept(Children([item])) == []


def test_what_does_not_fit_into_an_annotation_is_not_recorded() -> None:
    item = running()[EXECUTION]
    noise = "".join(random.Random(1).choices("0123456789abcdef", k=3 * LONGEST))
    large = with_record(item, [{"kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"noise": noise}}])
    assert len(large["metadata"]["annotations"][APPLIED_ANNOTATION]) < 100
    assert has_record(large), "it is not written again and again"
    assert kept(Children([large])) == []


def test_what_was_recorded_is_the_same_content() -> None:
    children = running()
    hashes = {name: item["metadata"]["annotations"] for name, item in children.items()}
    for item in kept(Children(list(children.values()))):
        wanted = with_hash(item)["metadata"]["annotations"]
        assert wanted.items() <= hashes[key(item)].items(), "an apply of it is an apply of the same"


def test_a_topology_of_which_all_are_there_replaces_the_one_before_without_waiting() -> None:
    """Both would trade otherwise."""
    combined = strategy(generation=2)
    children = [*running().values(), *(item for item in applied(desired(combined)) if item["kind"] == "Deployment")]
    found = plan(seen(combined, children), SETTINGS)
    assert found.rollout_blocked_by == ""
    assert sorted(key(item) for item in found.delete) == sorted(ALL)
