"""GatewayConfig from the bus, read once into what the gate understands."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from crowetrade.config.v1 import config_pb2
from crowetrade_agents.errors import InvalidNumber
from crowetrade_agents.risk.request import Limits, TradingState
from crowetrade_agents.risk.rules import parse_rule

STATES = {
    config_pb2.TRADING_STATE_ACTIVE: TradingState.ACTIVE,
    config_pb2.TRADING_STATE_FLATTEN: TradingState.FLATTEN,
}


def decode(payload: bytes) -> tuple[str, Limits]:
    """The revision and the limits. What cannot be read blocks everything: the limits then say why."""
    try:
        message = config_pb2.GatewayConfig.FromString(payload)
    except DecodeError as error:
        return "", Limits(unreadable=f"not a GatewayConfig: {error}")
    # An unknown state means suspended: fail closed.
    bindings = {binding.strategy: STATES.get(binding.state, TradingState.SUSPENDED) for binding in message.strategies}
    try:
        rules = tuple(parse_rule(rule) for rule in message.rules)
    except InvalidNumber as error:
        return message.revision, Limits(bindings=bindings, unreadable=f"a RiskLimit is not readable: {error}")
    return message.revision, Limits(bindings=bindings, rules=rules, halted=message.halted)
