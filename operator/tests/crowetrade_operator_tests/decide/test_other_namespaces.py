"""A strategy of one namespace at a venue of another: what each side decides and says."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest

from crowetrade_api.conditions import ConditionType
from crowetrade_api.gateway_config import Namespaces, compile_config
from crowetrade_api.v1alpha1.strategy import Strategy, StrategyStatus
from crowetrade_api.v1alpha1.venueconnection import VenueConnection, VenueConnectionStatus
from crowetrade_operator.decide import strategy_deletion, venueconnection, venueconnection_status
from crowetrade_operator.decide.observed import Children, Kept, NamespaceView, ObservedVenue
from crowetrade_operator.decide.plan import Plan
from crowetrade_operator.decide.strategy import Observed, plan
from crowetrade_operator.decide.strategy_status import report
from crowetrade_operator.decide.venueconnection_deletion import CASCADE_SECONDS
from crowetrade_operator_tests.decide.scenes import NOW, deleting, fresh, position, told
from crowetrade_operator_tests.samples import (
    SETTINGS,
    account,
    change,
    gateway_status,
    limit,
    limit_manifest,
    strategy,
    strategy_manifest,
    venue,
    venue_manifest,
)

Object = dict[str, Any]
ALL: Object = {"namespaces": {"from": "All"}}
BY_LABEL: Object = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "fx"}}}}
LIMIT = limit(change(limit_manifest(namespace="venues"), "spec.scope", {}))
GUEST = "ema.desk"


def shared(allowed: Object = ALL) -> VenueConnection:
    return venue(change(venue_manifest(namespace="venues"), "spec.allowedStrategies", allowed))


def guest(**metadata: Any) -> Strategy:
    return strategy(
        change(strategy_manifest(), "spec.instruments.0.venueRef", {"name": "sim-fx", "namespace": "venues"}),
        **metadata,
    )


def around(at: VenueConnection, of: Strategy, said: list[Any] | None = None, labels: Any = None) -> NamespaceView:
    """The venue's namespace, whose gateway enforces what it should."""
    namespaces: Namespaces = {"venues": {}, "desk": labels or {}}
    config = compile_config(at, [of], [LIMIT], venues=[at], namespaces=namespaces)
    accounts = [account(item.strategy) for item in config.strategies] if said is None else said
    status = gateway_status(config, accounts, namespace="venues", name=at.name)
    return NamespaceView(
        namespace="venues",
        venues={at.name: at},
        limits={LIMIT.name: LIMIT},
        gateways={at.name: fresh(status)},
        gateway_deployments=frozenset({at.name}),
        traders={at.name: [of]},
        namespaces=namespaces,
    )


def seen(of: Strategy, there: NamespaceView, labels: Any = None) -> Observed:
    here = NamespaceView(namespace="desk", namespaces={"desk": labels or {}})
    return Observed(of, here, Children(), [], NOW, {"venues": there})


def test_an_admitted_strategy_has_its_venue_its_limits_and_its_gateways_address() -> None:
    of = guest()
    there = around(shared(), of)
    observed = seen(of, there)
    status = report(observed, Plan(), None, StrategyStatus())
    assert told(status.conditions, ConditionType.VENUE_CONNECTED).status == "True"
    assert told(status.conditions, ConditionType.RISK_BOUND).status == "True"
    assert status.risk_limits == [LIMIT.name]
    assert status.admitted_venues == ["venues/sim-fx"]
    early = plan(observed, SETTINGS)
    assert not [item for item in early.apply if item["kind"] == "Deployment"], "the bus goes by the status"
    assert early.requeue_after_seconds == 0.5
    written = of.model_copy(update={"status": status})
    planned = plan(seen(written, there), SETTINGS)
    config_map = next(item for item in planned.apply if item["kind"] == "ConfigMap")
    assert [item for item in planned.apply if item["kind"] == "Deployment"]
    assert "venue-sim-fx.venues.svc:50051" in config_map["data"]["strategy.json"]


REFUSED: dict[str, tuple[Object, Any, str]] = {
    "the default, of the same namespace": ({}, {}, "does not admit strategies of namespace desk"),
    "a namespace without the label": (BY_LABEL, {"team": "rates"}, "does not admit strategies of namespace desk"),
    "a strategy without the label": (
        {**ALL, "selector": {"matchLabels": {"desk": "rates"}}},
        {},
        "admits strategies by their labels",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_told_on_both_sides_and_binds_nothing(case: str) -> None:
    allowed, labels, words = REFUSED[case]
    of, at = guest(), shared(allowed)
    there = around(at, of, labels=labels)
    assert not there.config(at).strategies
    status = report(seen(of, there, labels), Plan(), None, StrategyStatus())
    for type_ in (ConditionType.VENUE_CONNECTED, ConditionType.RISK_BOUND, ConditionType.TRADING):
        found = told(status.conditions, type_)
        assert (found.status, found.reason) == ("False", "VenueNotAllowed")
    assert words in told(status.conditions, ConditionType.VENUE_CONNECTED).message
    assert status.phase == "Pending"
    assert status.admitted_venues == []
    planned = plan(seen(of, there, labels), SETTINGS)
    (policy,) = [item for item in planned.apply if item["kind"] == "NetworkPolicy"]
    assert "50051" not in str(policy["spec"]["egress"]), "and has no way there"
    assert not [item for item in planned.apply if item["kind"] == "Deployment"]
    observed = ObservedVenue(at, there, Children(), NOW)
    conditions = venueconnection_status.report(observed, Plan(), SETTINGS, None, VenueConnectionStatus()).conditions
    other = told(conditions, ConditionType.STRATEGIES_REFUSED)
    assert (other.status, other.reason) == ("True", "StrategyNotAllowed")
    assert "desk/ema" in other.message


def test_a_namespace_with_the_label_is_admitted_and_one_whose_labels_are_unknown_is_not() -> None:
    of, at = guest(), shared(BY_LABEL)
    known = compile_config(at, [of], [LIMIT], namespaces={"venues": {}, "desk": {"team": "fx"}})
    assert [item.strategy for item in known.strategies] == [GUEST]
    unknown: Namespaces = {"venues": {}, "desk": None}
    assert not compile_config(at, [of], [LIMIT], namespaces=unknown).strategies
    status = report(
        Observed(of, NamespaceView(namespace="desk"), Children(), [], NOW, {"venues": around(at, of)}),
        Plan(),
        None,
        StrategyStatus(),
    )
    found = told(status.conditions, ConditionType.VENUE_CONNECTED)
    assert "cannot be read: give the operator the right to get the namespace" in found.message


def test_nothing_is_refused_where_everybody_is_admitted() -> None:
    of, at = guest(), shared()
    observed = ObservedVenue(at, around(at, of), Children(), NOW)
    status = venueconnection_status.report(observed, Plan(), SETTINGS, None, VenueConnectionStatus())
    assert not [item for item in status.conditions if item.type == ConditionType.STRATEGIES_REFUSED]


def test_the_gateways_policy_lets_in_who_is_admitted() -> None:
    of, at = guest(), shared()
    wanted = venueconnection.plan(ObservedVenue(at, around(at, of), Children(), NOW), SETTINGS)
    (policy,) = [item for item in wanted.apply if item["kind"] == "NetworkPolicy"]
    assert "'desk'" in str(policy["spec"]["ingress"][0]["from"][1])
    closed = shared({})
    wanted = venueconnection.plan(ObservedVenue(closed, around(closed, of), Children(), NOW), SETTINGS)
    (policy,) = [item for item in wanted.apply if item["kind"] == "NetworkPolicy"]
    assert len(policy["spec"]["ingress"][0]["from"]) == 1


def test_its_end_waits_for_the_gateway_and_names_what_is_left_there() -> None:
    of = guest(**deleting())
    open_ = around(shared(), of, [account(GUEST, open_orders=1, stopped=False)])
    here = NamespaceView(namespace="desk")
    waiting = strategy_deletion.Observed(of, here, NOW, {"venues": open_})
    assert strategy_deletion.waiting_venues(waiting) == ["sim-fx"]
    done = around(shared(), of, [account(GUEST, stopped=True, positions=[position("3000")])])
    ended = strategy_deletion.plan(strategy_deletion.Observed(of, here, NOW, {"venues": done}), SETTINGS)
    assert ended.finalizer is False
    assert "3000 EUR-USD at sim-fx" in ended.notes[0].text


def test_its_end_does_not_wait_for_a_venue_that_never_admitted_it() -> None:
    of = guest(**deleting())
    there = around(shared({}), of, [])
    slow = NamespaceView(
        namespace="venues",
        venues=there.venues,
        gateways={"sim-fx": fresh(gateway_status(config_revision="another", namespace="venues"))},
        gateway_deployments=there.gateway_deployments,
        namespaces=there.namespaces,
    )
    observed = strategy_deletion.Observed(of, NamespaceView(namespace="desk"), NOW, {"venues": slow})
    assert strategy_deletion.waiting_venues(observed) == []


def test_a_venue_that_ends_waits_for_a_guest_that_flattens() -> None:
    closing = strategy(
        change(
            change(strategy_manifest(), "spec.instruments.0.venueRef", {"name": "sim-fx", "namespace": "venues"}),
            "spec.deletionPolicy",
            "Flatten",
        ),
        **deleting(),
    )
    at = venue(change(venue_manifest(namespace="venues"), "spec.allowedStrategies", ALL), **deleting())
    there = around(at, closing, [account(GUEST, stopped=False, positions=[position("3000")])])
    planned = venueconnection.plan(ObservedVenue(at, there, Children(), NOW), SETTINGS)
    assert planned.finalizer is None, "it waits"
    flat = around(at, closing, [account(GUEST, stopped=True)])
    planned = venueconnection.plan(ObservedVenue(at, flat, Children(), NOW), SETTINGS)
    assert planned.finalizer is None, "the strategy has to tell that it is flat"
    let_go = closing.model_copy(update={"metadata": closing.metadata.model_copy(update={"finalizers": []})})
    gone = around(at, let_go, [account(GUEST, stopped=True)])
    planned = venueconnection.plan(ObservedVenue(at, gone, Children(), NOW), SETTINGS)
    assert planned.finalizer is False


# --- a guest whose namespace cannot be read


def unseen(at: VenueConnection, **fields: Any) -> NamespaceView:
    """The venue's namespace when an operator begins that may not read the guest's: what is known is on the bus."""
    seen_before = around(at, guest(), labels={"team": "fx"})
    present = seen_before.config(at)
    defaults: Object = {"on_the_bus": {at.name: present}, "unreadable": frozenset({"desk"}), "traders": {}}
    return replace(seen_before, compiled=defaultdict(Kept), namespaces={"venues": {}}, **(defaults | fields))


def test_it_stays_as_the_bus_has_it_under_limits_that_change() -> None:
    at = shared(BY_LABEL)
    there = unseen(at)
    assert there.config(at) == around(at, guest(), labels={"team": "fx"}).config(at)
    split = limit(change(limit_manifest("split", "venues"), "spec.aggregate", "Total"))
    config = unseen(at, limits={"split": split}).config(at)
    assert [(list(rule.strategies), list(rule.gateways)) for rule in config.rules] == [([GUEST], [at.name])]
    planned = venueconnection.plan(ObservedVenue(at, there, Children(), NOW), SETTINGS)
    policy = next(item for item in planned.apply if item["kind"] == "NetworkPolicy")
    assert "ema" in str(policy["spec"]["ingress"])


def test_it_goes_when_the_venue_admits_it_no_more() -> None:
    there = unseen(shared(BY_LABEL))
    closed = shared({"namespaces": {"from": "Same"}})
    assert not there.config(closed).strategies


def test_as_long_as_the_bus_is_not_read_nothing_is_put_and_the_way_in_stays_as_it_is() -> None:
    at = shared()
    there = unseen(at, on_the_bus={}, bus_is_read=False)
    planned = venueconnection.plan(ObservedVenue(at, there, Children(), NOW), SETTINGS)
    assert planned.config is None
    assert "NetworkPolicy" not in {item["kind"] for item in planned.apply}
    assert planned.requeue_after_seconds == SETTINGS.silent_after_seconds


def test_a_venue_that_is_deleted_stays_open_for_one_that_closes_its_positions() -> None:
    at = shared().model_copy(update={"metadata": shared().metadata.model_copy(update=deleting())})
    flattens = strategy(
        change(
            change(strategy_manifest(), "spec.instruments.0.venueRef", {"name": "sim-fx", "namespace": "venues"}),
            "spec.deletionPolicy",
            "Flatten",
        ),
        **deleting(),
    )
    seen_before = around(at, flattens, [account(GUEST, positions=[position("900")])])
    there = replace(
        seen_before,
        on_the_bus={at.name: seen_before.config(at)},
        unreadable=frozenset({"desk"}),
        traders={},
        compiled=defaultdict(Kept),
        namespaces={"venues": {}},
    )
    observed = ObservedVenue(at, there, Children(), NOW, deleted_seconds=CASCADE_SECONDS)
    assert venueconnection.plan(observed, SETTINGS).finalizer is None
