"""What a Strategy makes, and when a change restarts its agents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.conditions import Condition, ConditionType
from crowetrade_api.model import ApiModel
from crowetrade_api.names import APPLIED_ANNOTATION, CONFIG_HASH_ANNOTATION, PAUSED_ANNOTATION, SPEC_HASH_ANNOTATION
from crowetrade_api.references import Problem, references
from crowetrade_api.v1alpha1.strategy import Strategy, StrategySpec, StrategyStatus
from crowetrade_api.v1alpha1.venueconnection import VenueConnection, VenueConnectionStatus
from crowetrade_operator.decide.observed import Children, GatewayView, NamespaceView
from crowetrade_operator.decide.plan import Plan
from crowetrade_operator.decide.strategy import Observed, plan
from crowetrade_operator.decide.strategy_status import report
from crowetrade_operator.desired.deployment import spec_hash
from crowetrade_operator.settings import Settings
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
    told,
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
    restarting: Sequence[str] = (),
) -> Observed:
    """The strategy as wanted, beside a gateway that says this; `record` is the token in its venue's status."""
    view = gateway if gateway is not None else fresh(enforcing(venue(), [wanted], [limit()], accounts))
    status = VenueConnectionStatus.model_validate({"session": {"fencingToken": record}})
    at = venue().model_copy(update={"status": status})
    around = namespace_view(
        [wanted], venues=[at], gateways={"sim-fx": view}, restarting_strategies=frozenset(restarting)
    )
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


def progress(observed: Observed, settings: Settings) -> tuple[Plan, Condition]:
    """What is planned, and how the status tells it."""
    planned = plan(observed, settings)
    status = report(observed, planned, None, StrategyStatus(observed_generation=1))
    return planned, told(status.conditions, ConditionType.RECONCILING)


def without_record(item: Object) -> Object:
    return _without_annotation(item, APPLIED_ANNOTATION)


def without_spec_hash(item: Object) -> Object:
    return _without_annotation(item, SPEC_HASH_ANNOTATION)


def _without_annotation(item: Object, name: str) -> Object:
    kept = {key: value for key, value in item["metadata"].get("annotations", {}).items() if key != name}
    return {**item, "metadata": {**item["metadata"], "annotations": kept}}


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


UPGRADED = replace(SETTINGS, agents_image="crowetrade/agents:next", agent_restarts_at_once=2)
OTHERS = ("a", "b")
HELD_POSITION = [account(positions=[position("1000")])]
OTHER_TICK = venue(change(venue_manifest(), "spec.instruments.0.tickSize", "0.0001"))
IN_LINE: dict[str, Observed] = {
    "flat": seen(BEFORE, [account()], None, running(), restarting=OTHERS),
    "Immediate, with a position": seen(
        strategy(change(strategy_manifest(), "spec.agents", {"updatePolicy": "Immediate"}), generation=2),
        HELD_POSITION,
        None,
        running(),
        restarting=OTHERS,
    ),
    "suspended since, and not changed otherwise": seen(SUSPENDED, [account()], None, running(), restarting=OTHERS),
    "agents that work, and are not ready because their gateway restarts": replace(
        seen(BEFORE, [account()], None, running(ready=0), restarting=OTHERS), agents=[REPORTING]
    ),
    "an older version has not noted for which spec the agents were made": seen(
        AFTER, [account()], None, [without_spec_hash(item) for item in running()], restarting=OTHERS
    ),
}


@pytest.mark.parametrize("case", IN_LINE)
def test_an_upgrade_waits_for_its_turn(case: str) -> None:
    planned, found = progress(IN_LINE[case], UPGRADED)
    assert recorded(planned.apply) == recorded(plan(seen(BEFORE), SETTINGS).apply), "what runs is kept as it was"
    assert not planned.restarts
    assert (found.status, found.reason) == ("True", "WaitingForTurn")
    assert "2 of the namespace restart, and no more do so at once" in found.message


def test_what_the_venue_lists_in_another_way_waits_for_its_turn() -> None:
    """Its author has changed a VenueConnection, and all who trade there would be restarted."""
    observed = seen(BEFORE, [account()], None, running(), restarting=OTHERS)
    around = replace(observed.around, venues={"sim-fx": OTHER_TICK})
    _, found = progress(replace(observed, around=around), UPGRADED)
    assert found.reason == "WaitingForTurn"


def test_who_is_not_flat_waits_for_that_first() -> None:
    _, found = progress(seen(BEFORE, HELD_POSITION, None, running(), restarting=OTHERS), UPGRADED)
    assert found.reason == "WaitingForFlat"


def test_where_nobody_knows_how_it_was_an_upgrade_waits_for_its_turn_alone() -> None:
    """As a gateway does."""
    gone = [without_record(item) for item in running() if item["kind"] != "ConfigMap"]
    _, found = progress(seen(BEFORE, HELD_POSITION, None, gone, restarting=OTHERS), UPGRADED)
    assert found.reason == "WaitingForTurn"
    _, found = progress(seen(BEFORE, HELD_POSITION, None, gone), UPGRADED)
    assert found.reason == "RollingOut"


TAKES_TURN: dict[str, Observed] = {
    "fewer restart than may": seen(BEFORE, [account()], None, running(), restarting=OTHERS[:1]),
    "it restarts already": seen(BEFORE, [account()], None, running(), restarting=("a", "ema")),
    "its user has changed it": seen(AFTER, [account()], None, running(), restarting=OTHERS),
    "its user has changed it, Immediate": seen(IMMEDIATE, HELD_POSITION, None, running(), restarting=OTHERS),
    "its user has changed its topology": seen(SPLIT, [account()], None, running(), restarting=OTHERS),
    "its user has named an image": seen(
        strategy(change(strategy_manifest(), "spec.agents", {"image": "team/alpha:2"}), generation=2),
        [account()],
        None,
        running(),
        restarting=OTHERS,
    ),
}


@pytest.mark.parametrize("case", TAKES_TURN)
def test_who_has_a_turn_or_needs_none_is_restarted(case: str) -> None:
    planned, found = progress(TAKES_TURN[case], UPGRADED)
    assert planned.restarts
    assert _images(planned.apply) <= {"crowetrade/agents:next", "team/alpha:2"}
    assert (found.status, found.reason) == ("True", "RollingOut")


NOBODY_NOTICES: dict[str, Observed] = {
    "it does not run": seen(BEFORE, [account()], None, running(ready=0), restarting=OTHERS),
    "it starts for the first time": seen(BEFORE, [account()], None, [], restarting=OTHERS),
}


@pytest.mark.parametrize("case", NOBODY_NOTICES)
def test_an_upgrade_that_nobody_would_notice_waits_for_no_turn(case: str) -> None:
    planned, _ = progress(NOBODY_NOTICES[case], UPGRADED)
    assert _images(planned.apply) == {"crowetrade/agents:next"}
    assert not planned.restarts, "it takes nobody's turn"


class _Section(ApiModel):
    field: str = "1"


class _NextSpec(StrategySpec):
    """As another version of the operator has it."""

    field: str = "1"
    section: _Section = _Section()


def test_a_default_that_another_version_brings_is_no_change_of_its_user() -> None:
    """The API server fills it in when the CRD has it, and the generation stays as it is."""
    filled = _NextSpec.model_validate({**BEFORE.spec.to_api(), "field": "1", "section": {"field": "1"}})
    assert spec_hash(BEFORE.model_copy(update={"spec": filled})) == spec_hash(BEFORE)
    written = _NextSpec.model_validate({**BEFORE.spec.to_api(), "section": {"field": "2"}})
    assert spec_hash(BEFORE.model_copy(update={"spec": written})) != spec_hash(BEFORE)


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


def _images(items: Sequence[Object]) -> set[str]:
    found = [item for item in items if item["kind"] == "Deployment"]
    return {item["spec"]["template"]["spec"]["containers"][0]["image"] for item in found}


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
