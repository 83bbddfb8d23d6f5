"""What a Strategy makes, and when a change restarts its agents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.names import CONFIG_HASH_ANNOTATION, PAUSED_ANNOTATION
from crowetrade_api.references import Problem, references
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection, VenueConnectionStatus
from crowetrade_operator.decide.observed import Children, GatewayView, NamespaceView
from crowetrade_operator.decide.strategy import Observed, plan
from crowetrade_operator_tests.decide.scenes import (
    NEVER,
    NOW,
    applied,
    enforcing,
    fresh,
    names,
    namespace_view,
    position,
    recorded,
    silent,
    two_venues,
)
from crowetrade_operator_tests.samples import (
    SETTINGS,
    account,
    change,
    limit,
    strategy,
    strategy_manifest,
    unreadable_venue,
    venue,
    venue_manifest,
)

Object = dict[str, Any]
BEFORE = strategy()
AFTER = strategy(change(strategy_manifest(), "spec.model.parameters.fast", 13), generation=2)
SPLIT = strategy(change(strategy_manifest(), "spec.agents", {"topology": "Split"}), generation=2)
SUSPENDED = strategy(change(strategy_manifest(), "spec.suspend", True), generation=2)
IMMEDIATE = strategy(
    change(change(strategy_manifest(), "spec.model.parameters.fast", 13), "spec.agents", {"updatePolicy": "Immediate"}),
    generation=2,
)
REPORTING = status_pb2.AgentStatus(namespace="desk", strategy="ema", waiting_reason="GatewayUnreachable")
FAILING = status_pb2.AgentStatus(
    namespace="desk", strategy="ema", problems=[status_pb2.AgentProblem(reason="ModelFailing")]
)
SECOND_VENUE = venue(change(venue_manifest("sim-b"), "spec.instruments.0.symbol", "GBP-USD"))


def seen(
    wanted: Strategy,
    accounts: Sequence[status_pb2.StrategyAccount] | None = None,
    gateway: GatewayView | None = None,
    children: Sequence[Object] = (),
    record: int = 0,
) -> Observed:
    """The strategy as wanted, beside a gateway that says this; `record` is the token in its venue's status."""
    view = gateway if gateway is not None else fresh(enforcing(venue(), [wanted], [limit()], accounts))
    status = VenueConnectionStatus.model_validate({"session": {"fencingToken": record}})
    at = venue().model_copy(update={"status": status})
    around = namespace_view([wanted], venues=[at], gateways={"sim-fx": view})
    return Observed(wanted, around, Children(children), [], NOW)


def running(ready: int = 1) -> list[Object]:
    """The children of the strategy before it was changed."""
    return applied(plan(seen(BEFORE), SETTINGS), ready)


def just_edited(children: Sequence[Object]) -> list[Object]:
    return [{**item, "metadata": {**item["metadata"], "generation": 2}} for item in children]


def last_known(quantity: str, wanted: Strategy = AFTER) -> Strategy:
    """The strategy with a position in its status, which an operator before us wrote."""
    status = {"position": [{"symbol": "EUR-USD", "venue": "sim-fx", "quantity": quantity}]}
    return wanted.model_copy(update={"status": type(wanted.status).model_validate(status)})


def saying(**fields: Any) -> status_pb2.GatewayStatus:
    return enforcing(venue(), [AFTER], [limit()], [account(**fields)])


HELD = {
    "a position": (seen(AFTER, [account(positions=[position("-1000")])], None, running()), "position -1000 EUR-USD"),
    "open orders": (seen(AFTER, [account(open_orders=2)], None, running()), "2 open orders at venue sim-fx"),
    "a position that cannot be read": (
        seen(AFTER, [account(positions=[position("NaN")])], None, running()),
        "position NaN EUR-USD",
    ),
    "a position of a gateway that fell silent": (
        seen(AFTER, None, silent(saying(positions=[position("1000")])), running()),
        "position 1000 EUR-USD at venue sim-fx",
    ),
    "the last known position of a gateway that has not spoken to us": (
        seen(last_known("3000"), None, NEVER, running()),
        "last known position 3000 EUR-USD",
    ),
    "the last known position, when the gateway has lost its journal and reports none": (
        seen(last_known("3000"), None, fresh(saying()), running(), record=4),
        "last known position 3000 EUR-USD",
    ),
    "agents that are not ready because their gateway restarts": (
        replace(seen(AFTER, None, silent(saying(positions=[position("1000")])), running(ready=0)), agents=[REPORTING]),
        "position 1000 EUR-USD at venue sim-fx",
    ),
    "agents that are not ready, and may not have spoken yet to the one who leads now": (
        replace(seen(AFTER, [account(positions=[position("1000")])], None, running(ready=0)), agents_are_known=False),
        "position 1000 EUR-USD at venue sim-fx",
    ),
    "a Deployment that somebody has just edited, which its controller has not seen": (
        seen(AFTER, [account(positions=[position("1000")])], None, just_edited(running())),
        "position 1000 EUR-USD",
    ),
    "another topology while there is a position": (
        seen(SPLIT, [account(positions=[position("1000")])], None, running()),
        "position 1000 EUR-USD",
    ),
}


@pytest.mark.parametrize("case", HELD)
def test_a_change_waits_until_the_strategy_is_flat(case: str) -> None:
    observed, words = HELD[case]
    planned = plan(observed, SETTINGS)
    assert words in planned.rollout_blocked_by
    assert "spec.agents.updatePolicy to Immediate" in planned.rollout_blocked_by
    assert recorded(planned.apply) == recorded(plan(seen(BEFORE), SETTINGS).apply), "what runs is kept as it was"
    assert list(planned.delete) == []
    assert names(planned.apply, "NetworkPolicy") == ["strategy-ema"]


ROLLED = {
    "flat and without orders": seen(AFTER, [account()], None, running()),
    "a position that is zero again": seen(AFTER, [account(positions=[position("0.00")])], None, running()),
    "Immediate with a position": seen(IMMEDIATE, [account(positions=[position("1000")])], None, running()),
    "no pod runs that could be restarted": seen(AFTER, [account(positions=[position("1000")])], None, running(ready=0)),
    "agents that are not ready and have a problem of their own": replace(
        seen(AFTER, [account(positions=[position("1000")])], None, running(ready=0)),
        agents=[FAILING],
    ),
    "a gateway that was never heard, and no position known": seen(AFTER, None, NEVER, running()),
    "a gateway that was never heard, and the last known position is zero": seen(
        last_known("0"), None, NEVER, running()
    ),
    "a gateway that knows no account says more than an old status": seen(last_known("3000"), [], None, running()),
}


@pytest.mark.parametrize("case", ROLLED)
def test_a_change_is_rolled_out(case: str) -> None:
    planned = plan(ROLLED[case], SETTINGS)
    assert planned.rollout_blocked_by == ""
    assert names(planned.apply) == ["strategy-ema"]
    assert _config_hash(planned.apply) != _config_hash(running())
    assert names(planned.apply, "ConfigMap") == ["strategy-ema"]


UNCHANGED = {
    "nothing was changed": BEFORE,
    "suspend travels by the gateways": SUSPENDED,
    "deletionPolicy": strategy(change(strategy_manifest(), "spec.deletionPolicy", "Flatten"), generation=2),
    "updatePolicy": strategy(change(strategy_manifest(), "spec.agents", {"updatePolicy": "Immediate"}), generation=2),
    "a label": strategy(labels={"desk": "rates"}, generation=2),
    "an annotation": strategy(annotations={"note": "x"}, generation=2),
}


@pytest.mark.parametrize("case", UNCHANGED)
def test_what_restarts_nothing_is_not_held(case: str) -> None:
    observed = seen(UNCHANGED[case], [account(positions=[position("1000")])], None, running())
    planned = plan(observed, SETTINGS)
    assert planned.rollout_blocked_by == ""
    assert _config_hash(planned.apply) == _config_hash(running())


def test_a_deployment_that_is_gone_is_made_again_while_there_is_a_position() -> None:
    """Nobody is restarted by it: there is nobody."""
    left = [item for item in running() if item["kind"] != "Deployment"]
    planned = plan(seen(AFTER, [account(positions=[position("1000")])], None, left), SETTINGS)
    assert names(planned.apply) == ["strategy-ema"]


def _config_hash(items: Sequence[Object]) -> str:
    deployment = next(item for item in items if item["kind"] == "Deployment")
    return str(deployment["spec"]["template"]["metadata"]["annotations"][CONFIG_HASH_ANNOTATION])


def test_another_topology_deletes_the_deployments_of_the_one_before() -> None:
    roles = ["agent-feature-ema", "agent-signal-ema", "agent-portfolio-ema", "agent-execution-ema"]
    split = plan(seen(SPLIT, None, None, running()), SETTINGS)
    assert names(split.apply) == roles
    assert names(split.delete) == ["strategy-ema"]
    back = plan(seen(BEFORE, None, None, applied(split)), SETTINGS)
    assert names(back.apply) == ["strategy-ema"]
    assert names(back.delete) == roles


def test_every_strategy_has_its_small_children_in_the_order_in_which_pods_need_them() -> None:
    planned = plan(seen(BEFORE), SETTINGS)
    assert [item["kind"] for item in planned.apply] == [
        "ServiceAccount",
        "NetworkPolicy",
        "Service",
        "PodDisruptionBudget",
        "ConfigMap",
        "Deployment",
    ]
    assert planned.finalizer is True
    assert planned.requeue_after_seconds is None, "whatever may change is an event"


def test_paused_leaves_the_children_alone_but_deletion_stays_safe() -> None:
    paused = strategy(annotations={PAUSED_ANNOTATION: "true"}, generation=2)
    planned = plan(seen(paused), SETTINGS)
    assert list(planned.apply) == []
    assert list(planned.delete) == []
    assert planned.finalizer is True


def _without(name: str) -> NamespaceView:
    return namespace_view([BEFORE], venues=[venue(venue_manifest(name))])


def _quoted_in(currency: str) -> VenueConnection:
    return venue(change(venue_manifest(), "spec.instruments.0.currency", currency))


def _declaring(symbol: str) -> VenueConnection:
    return venue(change(venue_manifest(), "spec.instruments.0.symbol", symbol))


MISSING = {
    "a venue that does not exist": (
        _without("other"),
        "VenueNotFound",
        "VenueConnection sim-fx does not exist in namespace desk: create it, or correct "
        "spec.instruments[EUR-USD].venueRef.name.",
    ),
    "an instrument that the venue does not declare": (
        namespace_view([BEFORE], venues=[_declaring("GBP-USD")]),
        "InstrumentUnknown",
        "VenueConnection sim-fx declares no instrument EUR-USD; it has GBP-USD. Add it, or correct spec.instruments.",
    ),
    "a venue that cannot be read": (
        namespace_view([BEFORE], venues=[unreadable_venue()]),
        "VenueUnreadable",
        "VenueConnection sim-fx does not match the operator's schema (spec.type: Input should be 'Simulated'): its "
        "gateway is halted.",
    ),
    "a venue that is gone, with a position there": (
        _without("other"),
        "VenueNotFound",
        "VenueConnection sim-fx does not exist in namespace desk: create it, or correct "
        "spec.instruments[EUR-USD].venueRef.name. The last known position there is 3000 EUR-USD: check account and "
        "positions at the venue.",
    ),
    "another currency": (
        namespace_view([BEFORE], venues=[_quoted_in("JPY")]),
        "CurrencyMismatch",
        "EUR-USD at venue sim-fx is quoted in JPY, but spec.capital.currency is USD: they must be the same.",
    ),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_is_missing_is_named_with_what_to_do(case: str) -> None:
    around, reason, words = MISSING[case]
    found = references(last_known("3000", BEFORE) if "with a position" in case else BEFORE, around.venues, {})
    assert isinstance(found, Problem)
    assert (found.reason, found.message) == (reason, words)


@pytest.mark.parametrize("case", MISSING)
def test_what_is_missing_starts_nothing_and_stops_nothing(case: str) -> None:
    around, _, _ = MISSING[case]
    children = Children(running())
    planned = plan(Observed(BEFORE, around, children, [], NOW), SETTINGS)
    assert recorded(planned.apply) == recorded(plan(seen(BEFORE), SETTINGS).apply)
    assert list(planned.delete) == []
    assert names(planned.apply, "ServiceAccount") == ["strategy-ema"]
    nothing_yet = plan(Observed(BEFORE, around, Children([]), [], NOW), SETTINGS)
    assert recorded(nothing_yet.apply) == []
    assert planned.finalizer is True


def test_the_instruments_are_those_that_the_venues_declare() -> None:
    both = strategy(two_venues())
    found = references(both, namespace_view([both], venues=[venue(), SECOND_VENUE]).venues, {})
    assert not isinstance(found, Problem)
    assert sorted(found) == [("sim-b", "GBP-USD"), ("sim-fx", "EUR-USD")]
    assert found["sim-fx", "EUR-USD"].tick_size == "0.00001"


def test_one_venue_with_a_position_holds_a_change_for_all() -> None:
    both = strategy(two_venues())
    here, there = venue(), SECOND_VENUE

    def at(wanted: Strategy, children: Sequence[Object]) -> Observed:
        views = {
            "sim-fx": fresh(enforcing(here, [wanted], [limit()])),
            "sim-b": fresh(enforcing(there, [wanted], [limit()], [account(positions=[position("5", "GBP-USD")])])),
        }
        around = namespace_view([wanted], venues=[here, there], gateways=views)
        return Observed(wanted, around, Children(children), [], NOW)

    children = applied(plan(at(both, []), SETTINGS))
    changed = strategy(change(two_venues(), "spec.model.parameters.fast", 13), generation=2)
    assert "position 5 GBP-USD at venue sim-b" in plan(at(changed, children), SETTINGS).rollout_blocked_by
