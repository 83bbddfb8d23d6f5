from __future__ import annotations

from crowetrade.bus.v1 import status_pb2
from crowetrade_operator.bus.news import News
from crowetrade_operator.bus.status_board import SUCCESSOR_SECONDS, StatusBoard
from crowetrade_operator_tests.samples import gateway_status


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_whoever_falls_silent_is_noticed_once_and_is_as_new_when_they_are_heard_again() -> None:
    clock = Clock()
    board = StatusBoard(clock)
    agent = status_pb2.AgentStatus(namespace="desk", strategy="ema", pod="a")
    board.record_gateway_status(gateway_status())
    board.record_agent_status(agent)
    clock.now = 10.0
    assert board.notice_silence(10.0) == ([], set())
    clock.now = 10.1
    assert board.notice_silence(10.0) == ([("desk", "sim-fx")], {("desk", "ema")})
    assert board.notice_silence(10.0) == ([], set())
    assert board.record_gateway_status(gateway_status()).gateway is News.FIRST
    assert board.record_agent_status(agent) is News.FIRST
    assert not board.record_gateway_status(gateway_status())
    assert board.record_agent_status(agent) is News.NOTHING
    clock.now = 30.0
    assert board.notice_silence(10.0) == ([("desk", "sim-fx")], {("desk", "ema")})


def test_a_repeated_message_is_fresh() -> None:
    clock = Clock()
    board = StatusBoard(clock)
    board.record_gateway_status(gateway_status())
    clock.now = 5.0
    board.record_gateway_status(gateway_status(sent_unix_ns=2))
    heard = board.gateway("desk", "sim-fx")
    assert heard is not None
    assert heard.at == 5.0


def test_an_overtaken_gateway_is_not_believed_while_its_successor_speaks() -> None:
    clock = Clock()
    board = StatusBoard(clock)
    board.record_gateway_status(gateway_status(fencing_token=2, pod="new"))
    for second in range(1, 20):
        clock.now = float(second)
        assert not board.record_gateway_status(gateway_status(fencing_token=1, pod="old"))
        board.record_gateway_status(gateway_status(fencing_token=2, pod="new", sent_unix_ns=second))
        heard = board.gateway("desk", "sim-fx")
        assert heard is not None
        assert heard.message.pod == "new"


def test_a_lower_token_is_heard_when_nobody_else_reports_any_more() -> None:
    """Whether it is believed is decided against the record: see decide/test_venue.py."""
    clock = Clock()
    board = StatusBoard(clock)
    board.record_gateway_status(gateway_status(fencing_token=7, pod="before"))
    clock.now = SUCCESSOR_SECONDS
    assert not board.record_gateway_status(gateway_status(fencing_token=1, pod="after"))
    clock.now = SUCCESSOR_SECONDS + 0.1
    assert board.record_gateway_status(gateway_status(fencing_token=1, pod="after"))
    heard = board.gateway("desk", "sim-fx")
    assert heard is not None
    assert heard.message.pod == "after"


def test_agents_by_pod_and_forgetting() -> None:
    clock = Clock()
    board = StatusBoard(clock)
    board.record_agent_status(status_pb2.AgentStatus(namespace="desk", strategy="ema", pod="a"))
    clock.now = 100.0
    board.record_agent_status(status_pb2.AgentStatus(namespace="desk", strategy="ema", pod="b"))
    assert [agent.pod for agent in board.agents("desk", "ema", within=100.0)] == ["a", "b"]
    assert [agent.pod for agent in board.agents("desk", "ema", within=99.0)] == ["b"]
    board.forget_silent_agents(50.0)
    assert [agent.pod for agent in board.agents("desk", "ema", within=1e9)] == ["b"]
    clock.now = 1000.0
    board.forget_silent_agents(50.0)
    assert board.agents("desk", "ema", within=1e9) == []
    board.record_gateway_status(gateway_status())
    board.forget_gateway("desk", "sim-fx")
    board.forget_strategy("desk", "ema")
    assert board.gateway("desk", "sim-fx") is None
