"""What a process says of itself: the first reason in order, with a sentence."""

from __future__ import annotations

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade_agents.runtime.state import AgentState


@pytest.mark.parametrize(
    ("state", "reason", "sentence"),
    [
        (AgentState(market_data_seen=True), "", ""),
        (AgentState(), "NoMarketData", "no market data has arrived"),
        (AgentState(market_data_seen=True, warming_up=True), "WarmingUp", "the model warms up"),
        (AgentState(gateways_down={"b": "b is down", "a": "a is down"}), "GatewayUnreachable", "a is down; b is down"),
        (AgentState(roles_missing="the signal role", gateways_down={"a": "x"}), "RoleNotReady", "the signal role"),
        (AgentState(market_data_seen=True, stand_down="DataGap"), "DataGap", "stands down"),
        (AgentState(market_data_seen=True, quantity_unknown=True), "NoQuotedQuantity", "remove the cap"),
    ],
)
def test_why_it_does_not_trade(state: AgentState, reason: str, sentence: str) -> None:
    identity = status_pb2.AgentStatus(namespace="desk", strategy="ema", roles=["feature"], pod="p", config_hash="h")
    message = state.message(identity, now_ns=5)
    assert message.waiting_reason == reason
    assert sentence in message.waiting_message
    assert (message.strategy, list(message.roles), message.sent_unix_ns) == ("ema", ["feature"], 5)
