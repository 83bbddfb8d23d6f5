"""A Strategy that moves to another instrument of the same venue, or drops one of several: what it may do in those that
it has left, and what is said."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from crowetrade_api.conditions import ConditionType, find
from crowetrade_api.gateway_config import compile_config
from crowetrade_api.names import INSTRUMENTS_ANNOTATION
from crowetrade_api.v1alpha1.strategy import Strategy, StrategyStatus
from crowetrade_operator.decide.observed import Children, GatewayView
from crowetrade_operator.decide.strategy import Observed, plan
from crowetrade_operator.decide.strategy_status import report
from crowetrade_operator_tests.decide.scenes import (
    NEVER,
    NOW,
    applied,
    enforcing,
    fresh,
    namespace_view,
    position,
    silent,
    told,
)
from crowetrade_operator_tests.samples import (
    SETTINGS,
    account,
    change,
    limit,
    strategy,
    strategy_manifest,
    venue,
    venue_manifest,
)

Object = dict[str, Any]
SYMBOLS = ("EUR-USD", "GBP-USD", "AUD-USD")
FIRST = venue_manifest()["spec"]["instruments"][0]
VENUE = venue(change(venue_manifest(), "spec.instruments", [{**FIRST, "symbol": symbol} for symbol in SYMBOLS]))
FLAT = [account()]
EUR = position("1000")


def gbp(quantity: str) -> Any:
    """A position in GBP-USD."""
    held = position(quantity)
    held.instrument.symbol = "GBP-USD"
    return held


def trading(*symbols: str, serves: Sequence[str] | None = None, policy: str = "WhenFlat", at: str = "") -> Strategy:
    """A strategy that names these symbols, the last of them at a venue of its own if `at` says which; `serves` are
    those in which it may open positions at its venue, by its status."""
    listed: list[Object] = [{"symbol": symbol, "venueRef": {"name": "sim-fx"}} for symbol in symbols]
    if at:
        listed[-1]["venueRef"] = {"name": at}
    manifest = change(strategy_manifest(), "spec.instruments", listed)
    manifest = change(manifest, "spec.agents", {"updatePolicy": policy})
    served = [] if serves is None else [{"namespace": "desk", "name": "sim-fx", "symbols": list(serves)}]
    return strategy(manifest).model_copy(update={"status": StrategyStatus.model_validate({"venues": served})})


def seen(of: Strategy, accounts: Sequence[Any], runs: Sequence[str], view: GatewayView | None = None) -> Observed:
    """Beside a gateway that has what it should enforce and reports these accounts; the agents run these symbols."""
    said = view or fresh(enforcing(VENUE, [of], [limit()], accounts))
    around = namespace_view([of], venues=[VENUE], gateways={"sim-fx": said})
    children: Sequence[Object] = applied(plan(seen(trading(*runs), FLAT, []), SETTINGS)) if runs else []
    return Observed(of, around, Children(children), [], NOW)


def left(observed: Observed) -> str:
    """What the condition LeftBehind says; empty when it is not there."""
    status = report(observed, plan(observed, SETTINGS), None, observed.strategy.status)
    found = find(status.conditions, ConditionType.LEFT_BEHIND)
    return found.message if found is not None else ""


TOLD: dict[str, tuple[Strategy, list[str]]] = {
    "what it names": (trading("EUR-USD", "GBP-USD", serves=["EUR-USD", "GBP-USD"]), ["EUR-USD", "GBP-USD"]),
    "another one than before, until that is decided": (trading("GBP-USD", serves=["EUR-USD"]), ["EUR-USD", "GBP-USD"]),
    "another one than before": (trading("GBP-USD", serves=["GBP-USD"]), ["GBP-USD"]),
    "what cannot be found, and what its agents run": (trading("XXX", serves=["EUR-USD"]), ["EUR-USD", "XXX"]),
    "before its status was ever written": (trading("GBP-USD"), ["GBP-USD"]),
}


@pytest.mark.parametrize("case", TOLD)
def test_what_the_gateway_is_told(case: str) -> None:
    of, symbols = TOLD[case]
    (binding,) = compile_config(VENUE, [of], [limit()]).strategies
    assert list(binding.symbols) == symbols


SERVED: dict[str, tuple[Strategy, list[str], list[str]]] = {
    "it moves": (trading("GBP-USD", serves=["EUR-USD"]), ["EUR-USD"], ["GBP-USD"]),
    "it drops one": (trading("GBP-USD", serves=["EUR-USD", "GBP-USD"]), ["EUR-USD", "GBP-USD"], ["GBP-USD"]),
    "it adds one": (trading("EUR-USD", "GBP-USD", serves=["EUR-USD"]), ["EUR-USD"], ["EUR-USD", "GBP-USD"]),
    "it names what the venue does not list": (trading("XXX", serves=["EUR-USD"]), ["EUR-USD"], ["EUR-USD"]),
    "it names that, and its status was never written": (trading("XXX"), ["EUR-USD"], ["EUR-USD"]),
    "back again": (trading("EUR-USD", serves=["GBP-USD"]), ["EUR-USD"], ["EUR-USD"]),
}


@pytest.mark.parametrize("case", SERVED)
def test_what_the_status_says(case: str) -> None:
    of, runs, symbols = SERVED[case]
    observed = seen(of, [account(positions=[EUR])], runs)
    status = report(observed, plan(observed, SETTINGS), None, of.status)
    assert [(item.name, item.symbols) for item in status.venues] == [("sim-fx", symbols)]


def test_with_a_position_a_move_waits_and_its_agents_close_it() -> None:
    observed = seen(trading("GBP-USD", serves=["GBP-USD"]), [account(positions=[EUR])], ["EUR-USD"])
    planned = plan(observed, SETTINGS)
    assert "position 1000 EUR-USD at venue sim-fx" in planned.rollout_blocked_by
    status = report(observed, planned, None, observed.strategy.status)
    assert told(status.conditions, ConditionType.RECONCILING).reason == "WaitingForFlat"
    assert "The agents still trade desk/sim-fx/EUR-USD." in told(status.conditions, ConditionType.TRADING).message
    behind = told(status.conditions, ConditionType.LEFT_BEHIND)
    assert behind.reason == "CloseOnly"
    assert "position 1000 EUR-USD at sim-fx. The agents still trade it" in behind.message


ROLLS: dict[str, tuple[Strategy, str]] = {
    "the gateway may still let something be opened": (trading("GBP-USD", serves=["EUR-USD"]), "has not confirmed yet"),
    "it lets nothing be opened": (trading("GBP-USD", serves=["GBP-USD"]), ""),
    "it adds one, which waits for nothing": (trading("EUR-USD", "GBP-USD", serves=["EUR-USD"]), ""),
}


@pytest.mark.parametrize("case", ROLLS)
def test_flat_is_believed_when_nothing_can_be_opened_in_what_is_left(case: str) -> None:
    of, blocked = ROLLS[case]
    planned = plan(seen(of, FLAT, ["EUR-USD"]), SETTINGS)
    assert blocked in planned.rollout_blocked_by
    assert bool(planned.rollout_blocked_by) is bool(blocked)


def test_a_gateway_that_has_not_heard_of_the_move_is_waited_for() -> None:
    before = trading("EUR-USD", serves=["EUR-USD"])
    unheard = fresh(enforcing(VENUE, [before], [limit()], FLAT))
    planned = plan(seen(trading("GBP-USD", serves=["GBP-USD"]), FLAT, ["EUR-USD"], unheard), SETTINGS)
    assert "has not confirmed yet" in planned.rollout_blocked_by


def test_one_that_is_dropped_leaves_the_other_trading() -> None:
    observed = seen(trading("GBP-USD", serves=["GBP-USD"]), [account(positions=[EUR])], ["EUR-USD", "GBP-USD"])
    status = report(observed, plan(observed, SETTINGS), None, observed.strategy.status)
    assert told(status.conditions, ConditionType.TRADING).reason != "WaitingForFlat"
    assert "The agents still trade it" in told(status.conditions, ConditionType.LEFT_BEHIND).message


def test_an_immediate_move_rolls_and_says_how_to_get_rid_of_what_is_left() -> None:
    of = trading("GBP-USD", serves=["GBP-USD"], policy="Immediate")
    planned = plan(seen(of, [account(positions=[EUR])], ["EUR-USD"]), SETTINGS)
    (config_map,) = [item for item in planned.apply if item["kind"] == "ConfigMap"]
    assert config_map["metadata"]["annotations"][INSTRUMENTS_ANNOTATION] == "desk/sim-fx/GBP-USD"
    said = left(seen(of, [account(positions=[EUR, gbp("-5")])], ["GBP-USD"]))
    assert "No agent closes position 1000 EUR-USD at sim-fx: name it in spec.instruments again" in said
    assert "GBP-USD" not in said


NOTHING_LEFT: dict[str, Observed] = {
    "flat": seen(trading("GBP-USD", serves=["GBP-USD"]), FLAT, ["GBP-USD"]),
    "orders are open in what it trades": seen(
        trading("GBP-USD", serves=["GBP-USD"]), [account(open_orders=2)], ["GBP-USD"]
    ),
    "a position in what it trades": seen(
        trading("GBP-USD", serves=["GBP-USD"]), [account(positions=[gbp("7")])], ["GBP-USD"]
    ),
    "while what it names is not found": seen(
        trading("XXX", serves=["EUR-USD"]), [account(positions=[EUR])], ["EUR-USD"]
    ),
    "the gateway has never reported": seen(trading("GBP-USD", serves=["GBP-USD"]), [], ["GBP-USD"], NEVER),
}


@pytest.mark.parametrize("case", NOTHING_LEFT)
def test_nothing_is_left(case: str) -> None:
    assert left(NOTHING_LEFT[case]) == ""


def test_of_a_silent_gateway_the_last_known_position_counts() -> None:
    of = trading("GBP-USD", serves=["GBP-USD"])
    known = {"symbol": "EUR-USD", "venue": "sim-fx", "quantity": "1000"}
    status = StrategyStatus.model_validate({**of.status.to_api(), "position": [known]})
    of = of.model_copy(update={"status": status})
    unheard = silent(enforcing(VENUE, [of], [limit()], [account(positions=[EUR])]))
    assert "last known position 1000 EUR-USD at sim-fx" in left(seen(of, [], ["GBP-USD"], NEVER))
    assert "1000 EUR-USD at sim-fx" in left(seen(of, [], ["GBP-USD"], unheard))


SUBSETS = [c for n in (1, 2, 3) for c in itertools.combinations(SYMBOLS, n)]


@pytest.mark.parametrize("runs", SUBSETS)
@pytest.mark.parametrize("names", SUBSETS)
def test_whatever_moves_agents_are_restarted_only_when_nothing_of_what_they_leave_can_be_held(
    runs: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """Step by step as the operator does it, beside a gateway that obeys: it is closed, or closed and flat."""
    of = trading(*names, serves=runs)
    moves = set(runs) != set(names)
    leaves = set(runs) - set(names)
    first = plan(seen(of, FLAT, runs), SETTINGS)
    assert bool(first.rollout_blocked_by) is bool(leaves)
    assert first.restarts is (moves and not leaves)
    observed = seen(of, FLAT, runs)
    of = of.model_copy(update={"status": report(observed, first, None, of.status)})
    (binding,) = compile_config(VENUE, [of], [limit()]).strategies
    assert set(binding.symbols) == set(names)
    for symbol in leaves:
        held = position("1000")
        held.instrument.symbol = symbol
        later = seen(of, [account(positions=[held])], runs)
        assert f"position 1000 {symbol}" in plan(later, SETTINGS).rollout_blocked_by
        assert f"position 1000 {symbol} at sim-fx" in left(later)
    then = plan(seen(of, FLAT, runs), SETTINGS)
    assert then.rollout_blocked_by == ""
    assert then.restarts is moves
