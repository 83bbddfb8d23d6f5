"""A Strategy that moves from one venue to another, or names one that cannot be found: what serves it, what it may do
there, and what is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_api.conditions import ConditionType, find
from crowetrade_api.gateway_config import compile_config
from crowetrade_api.names import INSTRUMENTS_ANNOTATION, PAUSED_ANNOTATION, InstrumentAddress, VenueAddress
from crowetrade_api.v1alpha1.strategy import Strategy, StrategyStatus, UnreadableStrategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_operator.decide import strategy_deletion, strategy_moves
from crowetrade_operator.decide.observed import Children, GatewayView, NamespaceView
from crowetrade_operator.decide.plan import Plan
from crowetrade_operator.decide.strategy import Observed, plan
from crowetrade_operator.decide.strategy_status import report
from crowetrade_operator_tests.decide.scenes import (
    NEVER,
    NOW,
    applied,
    deleting,
    enforcing,
    fresh,
    names,
    namespace_view,
    position,
    recorded,
    silent,
    told,
)
from crowetrade_operator_tests.samples import (
    SETTINGS,
    account,
    change,
    gateway_status,
    limit,
    limit_manifest,
    strategy,
    strategy_manifest,
    unreadable_strategy,
    venue,
    venue_manifest,
)

Object = dict[str, Any]
State = tuple[int, list[str]]
OLD, NEW = venue(), venue(venue_manifest("sim-b"))
TRADING: State = (config_pb2.TRADING_STATE_ACTIVE, ["EUR-USD"])
CLOSE_ONLY: State = (config_pb2.TRADING_STATE_ACTIVE, [])
SUSPENDED, FLATTEN = config_pb2.TRADING_STATE_SUSPENDED, config_pb2.TRADING_STATE_FLATTEN
FLAT = [account()]
LONG = [account(positions=[position("1000")])]
AT_OLD: Object = {"namespace": "desk", "name": "sim-fx", "symbols": ["EUR-USD"]}
LEAVES_OLD: Object = {**AT_OLD, "symbols": []}
AT_NEW: Object = {"namespace": "desk", "name": "sim-b", "symbols": ["EUR-USD"]}


def naming(to: str = "sim-b", *served: Object, metadata: Object | None = None, **spec: Any) -> Strategy:
    """The strategy that names this venue; `served` is its status.venues."""
    manifest = change(strategy_manifest(), "spec.instruments.0.venueRef.name", to)
    for path, value in spec.items():
        manifest = change(manifest, f"spec.{path}", value)
    status = StrategyStatus.model_validate({"venues": list(served)})
    return strategy(manifest, **(metadata or {})).model_copy(update={"status": status})


def seen(
    of: Strategy,
    accounts: Sequence[status_pb2.StrategyAccount] = (),
    children: Sequence[Object] | None = None,
    venues: Sequence[VenueConnection] = (OLD, NEW),
    views: Mapping[str, GatewayView] | None = None,
    **fields: Any,
) -> Observed:
    """Beside a gateway at the old venue that reports these accounts, and one at the new venue that reports a flat one;
    both have what they should enforce."""
    said = {
        item.name: fresh(enforcing(item, [of], [limit()], accounts if item is OLD else FLAT, beside=venues))
        for item in venues
    }
    around = namespace_view([of], venues=venues, gateways={**said, **(views or {})}, **fields)
    return Observed(of, around, Children(running() if children is None else children), [], NOW)


def running() -> list[Object]:
    """The children as they were applied when the strategy named the old venue."""
    before = naming("sim-fx", AT_OLD)
    return applied(plan(seen(before, FLAT, []), SETTINGS))


def _as_before() -> list[Object]:
    return recorded(plan(seen(naming("sim-fx", AT_OLD), FLAT, []), SETTINGS).apply)


def use_of(observed: Observed, planned: Plan | None = None) -> dict[str, str]:
    """status.venues that is reported."""
    status = report(observed, planned or plan(observed, SETTINGS), None, observed.strategy.status)
    return served(status)


def served(status: StrategyStatus) -> dict[str, str]:
    """What it may do at the venues that serve it: trade in these symbols."""
    return {item.name: " ".join(item.symbols) or "CloseOnly" for item in status.venues}


def state_at(item: VenueConnection, of: Strategy | UnreadableStrategy) -> State | None:
    """What the configuration of a venue says of the strategy: its state, and symbols in which it may open positions.
    None when it does not serve it."""
    config = compile_config(item, [of], [limit()])
    return next(((item.state, list(item.symbols)) for item in config.strategies), None)


def test_the_config_map_says_for_which_venues_it_is() -> None:
    (config_map,) = [item for item in running() if item["kind"] == "ConfigMap"]
    assert config_map["metadata"]["annotations"][INSTRUMENTS_ANNOTATION] == "desk/sim-fx/EUR-USD"
    assert strategy_moves.configured_for(config_map) == {InstrumentAddress(VenueAddress("desk", "sim-fx"), "EUR-USD")}
    assert strategy_moves.configured_for(None) == set()


SERVED: dict[str, tuple[VenueConnection, Strategy | UnreadableStrategy, State | None]] = {
    "the venue that it names": (NEW, naming(), TRADING),
    "the one before, until it is decided that it is left": (OLD, naming("sim-b", AT_OLD), TRADING),
    "the one that it has left": (OLD, naming("sim-b", LEAVES_OLD), CLOSE_ONLY),
    "the one that it has left and names again": (OLD, naming("sim-fx", LEAVES_OLD), TRADING),
    "one that it has never used": (OLD, naming(), None),
    "one of that name in another namespace": (OLD, naming("sim-b", {**AT_OLD, "namespace": "venues"}), None),
    "the one that it has left, suspended": (
        OLD,
        naming("sim-b", LEAVES_OLD, suspend=True),
        (SUSPENDED, []),
    ),
    "the one that it has left, deleted": (
        OLD,
        naming("sim-b", LEAVES_OLD, metadata=deleting(), deletionPolicy="Flatten"),
        (FLATTEN, []),
    ),
    "the one that it has left, of a strategy that cannot be read": (
        OLD,
        unreadable_strategy().model_copy(update={"status": naming("x", LEAVES_OLD).status}),
        (SUSPENDED, ["EUR-USD"]),
    ),
}


@pytest.mark.parametrize("case", SERVED)
def test_what_a_gateway_is_told(case: str) -> None:
    at, of, state = SERVED[case]
    assert state_at(at, of) == state


def test_limits_bind_what_is_left_behind() -> None:
    (rule,) = compile_config(OLD, [naming("sim-b", LEAVES_OLD)], [limit()]).rules
    assert list(rule.strategies) == ["ema"]


MOVES: dict[str, tuple[Observed, dict[str, str]]] = {
    "with a position at the old venue": (
        seen(naming("sim-b", AT_OLD), LONG),
        {"sim-fx": "CloseOnly", "sim-b": "EUR-USD"},
    ),
    "flat, while its agents still run there": (
        seen(naming("sim-b", AT_OLD), FLAT),
        {"sim-fx": "CloseOnly", "sim-b": "EUR-USD"},
    ),
    "before its status was ever written": (
        seen(naming("sim-b"), LONG),
        {"sim-fx": "CloseOnly", "sim-b": "EUR-USD"},
    ),
    "rolled out, with a position": (
        seen(naming("sim-b", LEAVES_OLD, AT_NEW), LONG, []),
        {"sim-fx": "CloseOnly", "sim-b": "EUR-USD"},
    ),
    "rolled out, with an open order": (
        seen(naming("sim-b", LEAVES_OLD, AT_NEW), [account(open_orders=1)], []),
        {"sim-fx": "CloseOnly", "sim-b": "EUR-USD"},
    ),
    "rolled out and flat": (seen(naming("sim-b", LEAVES_OLD, AT_NEW), FLAT, []), {"sim-b": "EUR-USD"}),
    "rolled out, and the gateway knows no account": (
        seen(naming("sim-b", LEAVES_OLD, AT_NEW), [], []),
        {"sim-b": "EUR-USD"},
    ),
    "rolled out and flat, by a gateway that has not heard of the move": (
        seen(naming("sim-b", LEAVES_OLD, AT_NEW), views={"sim-fx": fresh(gateway_status(accounts=FLAT))}, children=[]),
        {"sim-fx": "CloseOnly", "sim-b": "EUR-USD"},
    ),
    "rolled out and flat, by a gateway that is silent": (
        seen(
            naming("sim-b", LEAVES_OLD, AT_NEW),
            views={"sim-fx": silent(enforcing(OLD, [naming("sim-b", LEAVES_OLD)], [limit()], FLAT))},
            children=[],
        ),
        {"sim-fx": "CloseOnly", "sim-b": "EUR-USD"},
    ),
    "rolled out, and the gateway has not spoken to this operator": (
        seen(naming("sim-b", LEAVES_OLD, AT_NEW), views={"sim-fx": NEVER}, children=[]),
        {"sim-fx": "CloseOnly", "sim-b": "EUR-USD"},
    ),
    "rolled out, and the old venue never had a gateway": (
        seen(
            naming("sim-b", LEAVES_OLD, AT_NEW),
            views={"sim-fx": NEVER},
            children=[],
            gateway_deployments=frozenset({"sim-b"}),
        ),
        {"sim-b": "EUR-USD"},
    ),
    "the old venue is gone": (
        seen(naming("sim-b", LEAVES_OLD, AT_NEW), children=[], venues=[NEW]),
        {"sim-b": "EUR-USD"},
    ),
    "a venue that is not there": (seen(naming("sim-x", AT_OLD), LONG), {"sim-fx": "EUR-USD"}),
    "a venue that is not there, after a move": (
        seen(naming("sim-x", LEAVES_OLD, AT_NEW), LONG, []),
        {"sim-fx": "CloseOnly", "sim-b": "EUR-USD"},
    ),
    "paused": (
        seen(naming("sim-b", AT_OLD, metadata={"annotations": {PAUSED_ANNOTATION: "true"}}), LONG),
        {"sim-fx": "EUR-USD"},
    ),
    "back again": (seen(naming("sim-fx", LEAVES_OLD, AT_NEW), LONG), {"sim-fx": "EUR-USD"}),
}


@pytest.mark.parametrize("case", MOVES)
def test_the_venues_that_serve_it(case: str) -> None:
    observed, served = MOVES[case]
    assert use_of(observed) == served


def test_a_position_at_a_venue_that_is_gone_is_not_forgotten() -> None:
    of = naming("sim-b", LEAVES_OLD, AT_NEW)
    known = {"symbol": "EUR-USD", "venue": "sim-fx", "quantity": "-175000", "markPrice": "1.1"}
    status = StrategyStatus.model_validate({**of.status.to_api(), "position": [known]})
    observed = seen(of.model_copy(update={"status": status}), children=[], venues=[NEW])
    said = report(observed, plan(observed, SETTINGS), None, status)
    assert served(said) == {"sim-fx": "CloseOnly", "sim-b": "EUR-USD"}
    (last,) = said.position
    assert (last.quantity, last.mark_price, last.last_known_time) == ("-175000", "", NOW.text)
    assert "last known position -175000 EUR-USD at sim-fx" in told(said.conditions, ConditionType.LEFT_BEHIND).message
    later = report(seen(of.model_copy(update={"status": said}), children=[], venues=[NEW]), Plan(), None, said)
    assert later.position == said.position, "the time is that at which it was known last"


def test_with_a_position_a_move_waits_and_the_old_venue_stays_reachable() -> None:
    observed = seen(naming("sim-b", LEAVES_OLD, AT_NEW), LONG)
    planned = plan(observed, SETTINGS)
    assert "position 1000 EUR-USD at venue sim-fx" in planned.rollout_blocked_by
    assert recorded(planned.apply) == _as_before()
    (policy,) = [item for item in planned.apply if item["kind"] == "NetworkPolicy"]
    assert "sim-fx" in str(policy)
    assert "sim-b" in str(policy)
    status = report(observed, planned, None, observed.strategy.status)
    assert told(status.conditions, ConditionType.RECONCILING).reason == "WaitingForFlat"
    trading = told(status.conditions, ConditionType.TRADING)
    assert (trading.status, trading.reason) == ("False", "WaitingForFlat")
    assert "The agents still trade desk/sim-fx/EUR-USD." in trading.message
    left = told(status.conditions, ConditionType.LEFT_BEHIND)
    assert "position 1000 EUR-USD at sim-fx" in left.message
    assert "may only reduce" in left.message
    assert status.summary.venues == "sim-b,sim-fx (left)"
    assert [(item.venue, item.quantity) for item in status.position] == [("sim-fx", "1000")]


def test_flat_is_believed_when_the_gateway_lets_nothing_be_opened_any_more() -> None:
    """Between a flat report and the move's roll-out an order could leave."""
    undecided = plan(seen(naming("sim-b", AT_OLD), FLAT), SETTINGS)
    assert "has not confirmed yet that orders there may only reduce" in undecided.rollout_blocked_by
    unheard = {"sim-fx": fresh(gateway_status(accounts=FLAT))}
    assert (
        plan(seen(naming("sim-b", LEAVES_OLD, AT_NEW), FLAT, views=unheard), SETTINGS).rollout_blocked_by
        == undecided.rollout_blocked_by
    )
    confirmed = plan(seen(naming("sim-b", LEAVES_OLD, AT_NEW), FLAT), SETTINGS)
    assert confirmed.rollout_blocked_by == ""
    assert names(confirmed.apply) == ["strategy-ema"]


ROLLED = {
    "Immediate, with a position": seen(naming("sim-b", LEAVES_OLD, AT_NEW, agents={"updatePolicy": "Immediate"}), LONG),
    "the old venue is gone": seen(naming("sim-b", LEAVES_OLD, AT_NEW), venues=[NEW]),
    "the old gateway is silent, and was flat": seen(
        naming("sim-b", LEAVES_OLD, AT_NEW), views={"sim-fx": silent(gateway_status(accounts=FLAT))}
    ),
}


@pytest.mark.parametrize("case", ROLLED)
def test_a_move_that_does_not_wait(case: str) -> None:
    planned = plan(ROLLED[case], SETTINGS)
    assert planned.rollout_blocked_by == ""
    (config_map,) = [item for item in planned.apply if item["kind"] == "ConfigMap"]
    assert config_map["metadata"]["annotations"][INSTRUMENTS_ANNOTATION] == "desk/sim-b/EUR-USD"


def test_nothing_is_rolled_out_before_the_status_remembers_what_is_left() -> None:
    of = naming("sim-b", agents={"updatePolicy": "Immediate"})
    planned = plan(seen(of, LONG), SETTINGS)
    assert names(planned.apply, "ConfigMap") == []
    assert planned.requeue_after_seconds == 0.5


def test_after_an_immediate_move_it_is_said_how_to_get_rid_of_what_is_left() -> None:
    observed = seen(naming("sim-b", LEAVES_OLD, AT_NEW), LONG, [])
    status = report(observed, plan(observed, SETTINGS), None, observed.strategy.status)
    left = told(status.conditions, ConditionType.LEFT_BEHIND)
    assert left.reason == "CloseOnly"
    assert "name it in spec.instruments again" in left.message


UNRESOLVED = {
    "a typo": (naming("sim-x", AT_OLD), (OLD, NEW), "VenueNotFound"),
    "a venue that does not admit it": (
        naming("sim-b", AT_OLD),
        (
            OLD,
            venue(change(venue_manifest("sim-b"), "spec.allowedStrategies", {"selector": {"matchLabels": {"a": "b"}}})),
        ),
        "VenueNotAllowed",
    ),
    "an instrument that the venue does not have": (
        naming("sim-b", AT_OLD),
        (OLD, venue(change(venue_manifest("sim-b"), "spec.instruments.0.symbol", "GBP-USD"))),
        "InstrumentUnknown",
    ),
    "another currency": (
        naming("sim-fx", AT_OLD, capital={"amount": "1000", "currency": "JPY"}),
        (OLD, NEW),
        "CurrencyMismatch",
    ),
}


@pytest.mark.parametrize("case", UNRESOLVED)
def test_what_cannot_be_found_leaves_what_runs_as_it_is(case: str) -> None:
    of, venues, reason = UNRESOLVED[case]
    observed = seen(of, LONG, venues=venues)
    planned = plan(observed, SETTINGS)
    assert recorded(planned.apply) == _as_before(), "and what others do to it is put back"
    (policy,) = [item for item in planned.apply if item["kind"] == "NetworkPolicy"]
    assert "sim-fx" in str(policy), "its agents still reach the venue"
    assert state_at(OLD, of) == TRADING
    status = report(observed, planned, None, of.status)
    assert served(status) == {"sim-fx": "EUR-USD"}
    # It is waited for a while, because what is missing may be applied a moment later.
    for type_, truth in ((ConditionType.VENUE_CONNECTED, "False"), (ConditionType.RECONCILING, "True")):
        found = told(status.conditions, type_)
        assert (found.status, found.reason) == (truth, reason)
        assert "What runs is the previous configuration, at sim-fx." in found.message
    assert told(status.conditions, ConditionType.READY).reason == reason
    trading = told(status.conditions, ConditionType.TRADING)
    assert (trading.status, trading.message) == ("True", "Orders are accepted at sim-fx, as configured before.")
    assert find(status.conditions, ConditionType.LEFT_BEHIND) is None


def test_trading_as_configured_before_needs_the_old_gateway() -> None:
    observed = seen(naming("sim-x", AT_OLD), views={"sim-fx": silent(gateway_status(accounts=FLAT))})
    trading = told(report(observed, Plan(), None, observed.strategy.status).conditions, ConditionType.TRADING)
    assert (trading.status, trading.reason) == ("Unknown", "GatewaySilent")


def test_while_paused_nothing_claims_that_the_new_spec_runs() -> None:
    of = naming("sim-b", AT_OLD, metadata={"annotations": {PAUSED_ANNOTATION: "true"}, "generation": 3})
    previous = of.status.model_copy(update={"observed_generation": 2})
    observed = seen(of, LONG)
    status = report(observed, plan(observed, SETTINGS), None, previous)
    assert status.observed_generation == 2
    assert {item.observed_generation for item in status.conditions} == {2}
    found = told(status.conditions, ConditionType.RECONCILING)
    assert (found.status, found.reason) == ("False", "ReconcilingPaused")
    assert "What runs is the spec of generation 2." in found.message


@pytest.mark.parametrize("policy", ["Cancel", "Flatten"])
def test_a_deletion_asks_the_venues_that_were_left(policy: str) -> None:
    of = naming("sim-b", LEAVES_OLD, AT_NEW, metadata=deleting(), deletionPolicy=policy)
    stopped = [account(stopped=True)]

    def ending(old: Sequence[status_pb2.StrategyAccount]) -> strategy_deletion.Observed:
        views = {
            item.name: fresh(enforcing(item, [of], [limit()], accounts, beside=[OLD, NEW]))
            for item, accounts in ((OLD, old), (NEW, stopped))
        }
        return strategy_deletion.Observed(of, namespace_view([of], venues=[OLD, NEW], gateways=views), NOW)

    waiting = ending(LONG)
    assert strategy_deletion.waiting_venues(waiting) == ["sim-fx"]
    assert strategy_deletion.plan(waiting, SETTINGS).finalizer is None
    ended = strategy_deletion.plan(ending(stopped), SETTINGS)
    assert ended.finalizer is False
    assert "sim-b, sim-fx has confirmed" in ended.notes[0].text
    left = strategy_deletion.plan(ending([account(stopped=True, positions=[position("1000")])]), SETTINGS)
    assert "Left: 1000 EUR-USD at sim-fx" in left.notes[0].text


def test_a_venue_in_another_namespace_is_left_like_any_other() -> None:
    """It may have the name of the new one."""
    of = naming("sim-fx", {**LEAVES_OLD, "namespace": "venues"}, AT_OLD)
    there = venue(change(venue_manifest(namespace="venues"), "spec.allowedStrategies", {"namespaces": {"from": "All"}}))
    limit_there = limit(change(limit_manifest(namespace="venues"), "spec.scope", {}))
    namespaces: dict[str, Any] = {"venues": {}, "desk": {}}
    config = compile_config(there, [of], [limit_there], namespaces=namespaces)
    assert [(item.strategy, list(item.symbols)) for item in config.strategies] == [("ema.desk", [])]
    holds = gateway_status(config, [account("ema.desk", positions=[position("7")])], namespace="venues")
    beyond = NamespaceView(
        namespace="venues",
        venues={"sim-fx": there},
        limits={limit_there.name: limit_there},
        gateways={"sim-fx": fresh(holds)},
        gateway_deployments=frozenset({"sim-fx"}),
        traders={"sim-fx": [of]},
        namespaces=namespaces,
    )
    here = namespace_view([of], venues=[OLD], namespaces={"desk": {}})
    status = report(Observed(of, here, Children(), [], NOW, {"venues": beyond}), Plan(), None, of.status)
    assert [(item.namespace, item.symbols) for item in status.venues] == [("desk", ["EUR-USD"]), ("venues", [])]
    assert "position 7 EUR-USD at venues/sim-fx" in told(status.conditions, ConditionType.LEFT_BEHIND).message
    assert [(item.venue, item.quantity) for item in status.position] == [("venues/sim-fx", "7")]
    ending = strategy_deletion.Observed(of, here, NOW, {"venues": beyond})
    assert "venues/sim-fx" in strategy_deletion.waiting_venues(ending)
