"""What a process says of itself: the first reason in order, with a sentence."""

from __future__ import annotations

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade_agents.roles.problems import REMEMBERED_NS, Problem, Problems
from crowetrade_agents.roles.status import AgentState, is_worth_reporting


@pytest.mark.parametrize(
    ("state", "reason", "sentence"),
    [
        (AgentState(market_data_seen=True), "", ""),
        (AgentState(), "NoMarketData", "no market data has arrived"),
        (AgentState(market_data_seen=True, warming_up=True), "WarmingUp", "the model warms up"),
        (AgentState(gateways_down={"b": "b is down", "a": "a is down"}), "GatewayUnreachable", "a is down; b is down"),
        (AgentState(roles_missing="the signal role", gateways_down={"a": "x"}), "RoleNotReady", "the signal role"),
        (AgentState(market_data_seen=True, stand_down="DataGap"), "DataGap", "stands down"),
        (AgentState(market_data_seen=True, stand_down="ModelFailing"), "ModelFailing", "the model fails"),
        (AgentState(market_data_seen=True, model_failing=True, stand_down="DataGap"), "ModelFailing", "the model"),
        (AgentState(market_data_seen=True, quantity_unknown=True), "NoQuotedQuantity", "remove the cap"),
    ],
)
def test_why_it_does_not_trade(state: AgentState, reason: str, sentence: str) -> None:
    identity = status_pb2.AgentStatus(namespace="desk", strategy="ema", roles=["feature"], pod="p", config_hash="h")
    message = state.message(identity, now_ns=5)
    assert message.waiting_reason == reason
    assert sentence in message.waiting_message
    assert (message.strategy, list(message.roles), message.sent_unix_ns) == ("ema", ["feature"], 5)


@pytest.mark.parametrize("reason", ["WarmingUp", "ModelFailing", ""])
def test_an_event_that_the_model_does_not_use_changes_nothing(reason: str) -> None:
    state = AgentState()
    state.hold(reason)
    before = state.waiting()
    state.hold("EventNotUsed")
    assert state.waiting() == before


def test_problems_are_counted_and_reported_the_worst_first() -> None:
    problems = Problems()
    problems.report(Problem.ORDERS_REFUSED, "first", 10)
    assert problems.report(Problem.ORDERS_REFUSED, "second", 20) == 2
    problems.report(Problem.MODEL_FAILING, "boom", 30)
    assert [(one.reason, one.message, one.count, one.since_unix_ns) for one in problems.current(40)] == [
        ("ModelFailing", "boom", 1, 30),
        ("OrdersRefused", "second", 2, 10),
    ]


def test_a_problem_is_forgotten_when_it_has_not_happened_for_a_while() -> None:
    problems = Problems()
    problems.report(Problem.ORDERS_REFUSED, "x", 0)
    assert problems.report(Problem.ORDERS_REFUSED, "x", REMEMBERED_NS - 1) == 2
    assert len(problems.current(2 * REMEMBERED_NS - 2)) == 1
    assert problems.current(2 * REMEMBERED_NS - 1) == []
    assert problems.report(Problem.ORDERS_REFUSED, "x", 2 * REMEMBERED_NS) == 1


def test_a_standing_problem_stays_until_it_is_cleared() -> None:
    problems = Problems()
    problems.report(Problem.DATA_GAP, "silent", 0, standing=True)
    assert len(problems.current(1000 * REMEMBERED_NS)) == 1
    problems.clear(Problem.DATA_GAP)
    assert problems.current(0) == []


def test_the_first_of_a_kind_is_published_at_once_and_problems_are_in_the_message() -> None:
    state = AgentState()
    state.report_problem(Problem.MODEL_FAILING, "on_quote raised KeyError: 'boom'", 5)
    assert state.changed.is_set()
    state.changed.clear()
    state.report_problem(Problem.MODEL_FAILING, "on_quote raised KeyError: 'boom'", 6)
    assert not state.changed.is_set()
    (problem,) = state.message(status_pb2.AgentStatus(), now_ns=7).problems
    assert (problem.reason, problem.count, problem.since_unix_ns) == ("ModelFailing", 2, 5)


def status_at(state: AgentState, milliseconds: int) -> status_pb2.AgentStatus:
    return state.message(status_pb2.AgentStatus(), now_ns=milliseconds * 1_000_000)


def failing() -> AgentState:
    state = AgentState(market_data_seen=True)
    state.report_problem(Problem.MODEL_FAILING, "boom", 0)
    return state


def failing_again() -> AgentState:
    state = failing()
    state.report_problem(Problem.MODEL_FAILING, "boom", 1)
    return state


@pytest.mark.parametrize(
    ("before", "after", "milliseconds", "expected"),
    [
        (AgentState(market_data_seen=True), AgentState(market_data_seen=True), 2_999, False),
        (AgentState(market_data_seen=True), AgentState(market_data_seen=True), 3_000, True),
        # A clock that was put back.
        (AgentState(market_data_seen=True), AgentState(market_data_seen=True), -3_000, True),
        (AgentState(market_data_seen=True), AgentState(market_data_seen=True, last_signal_unix_ns=5), 1_000, False),
        (AgentState(market_data_seen=True), AgentState(market_data_seen=True, warming_up=True), 1, True),
        (AgentState(market_data_seen=True), failing(), 1, True),
        (failing(), AgentState(market_data_seen=True), 1, True),
        (failing(), failing_again(), 1_000, False),
    ],
)
def test_what_matters_is_reported_at_once_and_the_rest_every_three_seconds(
    before: AgentState, after: AgentState, milliseconds: int, expected: bool
) -> None:
    at = 5_000
    assert is_worth_reporting(status_at(before, at), status_at(after, at + milliseconds)) is expected


def test_the_first_status_is_reported() -> None:
    assert is_worth_reporting(None, status_at(AgentState(), 0))
