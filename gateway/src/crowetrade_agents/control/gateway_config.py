"""From the bytes of a GatewayConfig to what is in force. Pure.

What cannot be read completely is not read in part: the whole configuration is unreadable, which stops every new order.
A rule that cannot be read is the exception: it blocks what it binds (risk/rule_reading.py).
"""

from __future__ import annotations

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from crowetrade.config.v1 import config_pb2
from crowetrade_agents.control.state import Configuration, OnRecord
from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.numbers import parse
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.errors import InvalidNumber
from crowetrade_agents.risk.rule_reading import compile_rule
from crowetrade_agents.risk.rules import RuleSet
from crowetrade_api.gateway_config import revision_of

_STATES = {
    config_pb2.TRADING_STATE_ACTIVE: TradingState.ACTIVE,
    config_pb2.TRADING_STATE_SUSPENDED: TradingState.HALTED,
    config_pb2.TRADING_STATE_FLATTEN: TradingState.FLATTEN,
}


def decode(payload: bytes | None) -> Configuration:
    """What is in force by these bytes; None (there is no configuration) admits nothing. Raises nothing.

    A trading state that this gateway does not know halts its strategy.
    """
    if payload is None:
        return Configuration()
    config = config_pb2.GatewayConfig()
    try:
        config.ParseFromString(payload)
    except DecodeError as error:
        return Configuration(unreadable=f"it is not a GatewayConfig ({error})")
    if problem := _problem(config):
        return Configuration(unreadable=problem)
    return Configuration(
        revision=config.revision,
        bindings={binding.strategy: _STATES.get(binding.state, TradingState.HALTED) for binding in config.strategies},
        tradable={binding.strategy: frozenset(binding.symbols) for binding in config.strategies},
        flattened_when_deleted=frozenset(
            binding.strategy for binding in config.strategies if binding.flatten_when_deleted
        ),
        rules=RuleSet(tuple(compile_rule(rule) for rule in config.rules)),
        halted_reason=config.halted_reason,
        halted_message=config.halted_message,
        on_record=OnRecord(config.on_record.fencing_token, config.on_record.sequence, config.on_record.pod),
        cleared_halts=frozenset(config.cleared_halts),
        cleared_breaches={
            (item.risk_limit, item.breach): item.reason for item in config.cleared_breaches if not item.at_venue
        },
        cleared_at_venue={item.breach: item.reason for item in config.cleared_breaches if item.at_venue},
        required_limits=frozenset(config.required_limits),
        strategy_labels={binding.strategy: dict(binding.labels) for binding in config.strategies},
        venue_labels=dict(config.venue_labels),
        namespace_labels=dict(config.namespace_labels),
        strategy_namespaces={name: dict(item.labels) for name, item in config.strategy_namespaces.items()},
        capital=_capital(config),
        source=_journaled(config),
    )


def _journaled(config: config_pb2.GatewayConfig) -> config_pb2.GatewayConfig:
    """Without what the operator has on record, which changes all the time and is not part of the revision."""
    source = config_pb2.GatewayConfig()
    source.CopyFrom(config)
    source.ClearField("on_record")
    return source


def _capital(config: config_pb2.GatewayConfig) -> dict[str, Money]:
    """What cannot be read is left out: limits that are shares of it refuse."""
    found = {}
    for binding in config.strategies:
        try:
            amount = parse(binding.capital)
        except InvalidNumber:
            continue
        if amount > 0 and binding.capital_currency:
            found[binding.strategy] = Money(amount, binding.capital_currency)
    return found


def _problem(config: config_pb2.GatewayConfig) -> str:
    """Why the configuration cannot be taken as a whole; empty when it can."""
    if numbers := _unknown(config, *config.strategies):
        return f"it has fields {numbers} that this gateway does not know: bring the gateway to the operator's version"
    expected = revision_of(config)
    if config.revision != expected:
        return f"its revision {config.revision[:64]!r} is not the hash of what it says, {expected}"
    names = [binding.strategy for binding in config.strategies]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        return f"it binds strategy {twice[0]!r} twice"
    return ""


def _unknown(*messages: Message) -> list[int]:
    return sorted({field.field_number for message in messages for field in UnknownFieldSet(message)})  # type: ignore[attr-defined]
