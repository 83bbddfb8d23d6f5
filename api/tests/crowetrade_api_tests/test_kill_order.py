"""The KillSwitch, the order that gateways obey, and whom it selects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade.config.v1 import kill_pb2 as pb
from crowetrade_api.kill_order import kill_order, manifest, selects_gateway, selects_strategy
from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_api_tests.samples import change, kill_manifest, kill_switch, stored, unreadable_kill_switch

Object = dict[str, Any]
SELECTOR = {"matchLabels": {"desk": "fx"}}


def ordered(path: str = "spec.mode", value: Any = "Cancel") -> pb.KillOrder:
    found = kill_order(kill_switch(change(kill_manifest(), path, value)))
    assert found is not None
    return found


def test_one_that_is_not_engaged_orders_nothing() -> None:
    assert kill_order(kill_switch(kill_manifest(engaged=False))) is None


def test_one_that_cannot_be_read_is_engaged_for_everybody() -> None:
    order = kill_order(unreadable_kill_switch())
    assert order is not None
    assert order.mode == pb.KILL_MODE_CANCEL
    assert selects_gateway(order, {"another": {}}, {})
    assert selects_strategy(order, {"another": {}}, {})
    assert "spec.mode" in order.reason


SELECTED: dict[str, tuple[pb.KillOrder, str, Object | None, Object | None, bool]] = {
    "the same namespace": (ordered(), "desk", {}, {}, True),
    "another namespace": (ordered(), "other", {}, {}, False),
    "all namespaces": (ordered("spec.scope.namespaces", {"from": "All"}), "other", None, {}, True),
    "namespaces by label": (
        ordered("spec.scope.namespaces", {"from": "Selector", "selector": SELECTOR}),
        "other",
        {"desk": "fx"},
        {},
        True,
    ),
    "a namespace without the label": (
        ordered("spec.scope.namespaces", {"from": "Selector", "selector": SELECTOR}),
        "other",
        {},
        {},
        False,
    ),
    "a namespace whose labels are not known": (
        ordered("spec.scope.namespaces", {"from": "Selector", "selector": SELECTOR}),
        "other",
        None,
        {},
        True,
    ),
    "venues by label": (ordered("spec.scope.venueSelector", SELECTOR), "desk", {}, {"desk": "fx"}, True),
    "a venue without the label": (ordered("spec.scope.venueSelector", SELECTOR), "desk", {}, {}, False),
    "a word that nobody knows": (
        pb.KillOrder(namespace="desk", scope=pb.KillScope(namespaces_from="Galaxy")),
        "other",
        {},
        {},
        True,
    ),
    "an operator that nobody knows": (
        pb.KillOrder(
            namespace="desk",
            scope=pb.KillScope(
                namespaces_from="Same",
                venue_selector=pb.LabelSelector(match_expressions=[pb.LabelRequirement(key="a", operator="Near")]),
            ),
        ),
        "desk",
        {},
        {},
        True,
    ),
}


@pytest.mark.parametrize("case", SELECTED)
def test_whom_it_concerns(case: str) -> None:
    order, namespace, namespace_labels, venue_labels, selected = SELECTED[case]
    assert selects_gateway(order, {namespace: namespace_labels}, venue_labels) is selected


def test_it_concerns_a_gateway_by_its_namespace_or_by_that_of_who_trades_there() -> None:
    order = ordered()
    assert selects_gateway(order, {"venues": {}, "desk": {}}, {})
    assert not selects_gateway(order, {"venues": {}, "other": {}}, {})
    elsewhere = ordered("spec.scope.venueSelector", SELECTOR)
    assert not selects_gateway(elsewhere, {"venues": {}, "desk": {}}, {}), "the venue has to be selected, too"


def test_it_stops_a_strategy_by_the_namespace_of_either_side() -> None:
    order = ordered("spec.scope.strategySelector", SELECTOR)
    of_the_desk: dict[str, Object] = {"venues": {}, "desk": {}}
    of_others: dict[str, Object] = {"venues": {}, "other": {}}
    assert selects_strategy(order, of_the_desk, {"desk": "fx"})
    assert not selects_strategy(order, of_the_desk, {"desk": "rates"})
    assert not selects_strategy(order, of_others, {"desk": "fx"})
    assert selects_strategy(order, {"desk": {}, "other": {}}, {"desk": "fx"}), "whoever trades at the desk's venue"


MODES = st.sampled_from(["Block", "CloseOnly", "Cancel", "Flatten"])
LABELS = st.dictionaries(st.sampled_from(["desk", "tier"]), st.sampled_from(["fx", "rates"]), max_size=2)
EXPRESSIONS = st.lists(
    st.one_of(
        st.builds(
            lambda key, operator, values: {"key": key, "operator": operator, "values": values},
            st.sampled_from(["desk", "tier"]),
            st.sampled_from(["In", "NotIn"]),
            st.lists(st.sampled_from(["fx", "rates"]), min_size=1, max_size=2, unique=True),
        ),
        st.builds(
            lambda key, operator: {"key": key, "operator": operator},
            st.sampled_from(["desk", "tier"]),
            st.sampled_from(["Exists", "DoesNotExist"]),
        ),
    ),
    max_size=2,
)
SELECTORS = st.builds(lambda labels, found: {"matchLabels": labels, "matchExpressions": found}, LABELS, EXPRESSIONS)


@given(MODES, SELECTORS, SELECTORS, SELECTORS, st.sampled_from(["Same", "All", "Selector"]), st.text(max_size=400))
def test_the_object_of_an_order_orders_the_same(
    mode: str, strategies: Object, venues: Object, namespaces: Object, from_: str, reason: str
) -> None:
    scope = {
        "strategySelector": strategies,
        "venueSelector": venues,
        "namespaces": {"from": from_, "selector": namespaces},
    }
    spec = {"engaged": True, "mode": mode, "reason": reason, "scope": scope, "engagedBy": ""}
    order = kill_order(kill_switch(change(kill_manifest(), "spec", spec)))
    assert order is not None
    again = kill_order(KillSwitch.model_validate(stored(manifest(order), generation=order.generation)))
    assert again is not None
    assert (again.mode, again.scope) == (order.mode, order.scope)
    assert again.reason == reason or (not reason and again.reason)


def test_who_gave_an_order_without_an_object_is_told_and_not_believed() -> None:
    made = manifest(pb.KillOrder(namespace="desk", name="now", reason="x" * 600, engaged_by="alice"))
    assert "engagedBy" not in made["spec"]
    assert made["spec"]["reason"].endswith("(given by alice without the API server)")
    assert len(made["spec"]["reason"]) == 512
    assert made["spec"]["mode"] == "Cancel"
    assert made["spec"]["scope"]["namespaces"]["from"] == "All"
