"""From bytes to what is in force: everything, or nothing at all."""

from __future__ import annotations

import hashlib

import pytest

from crowetrade.config.v1 import config_pb2 as pb
from crowetrade_agents.control.gateway_config import decode
from crowetrade_agents.control.state import Configuration, OnRecord, blocking
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.values import message
from crowetrade_api.gateway_config import revision_of


def config(**changes: object) -> pb.GatewayConfig:
    """A configuration as the operator writes it, revision included."""
    given = {
        "strategies": [pb.StrategyBinding(strategy="ema", state=pb.TRADING_STATE_ACTIVE, symbols=["EUR-USD"])],
        "rules": [message()],
        "on_record": pb.JournalRecordOnFile(fencing_token=7, sequence=1234),
        **changes,
    }
    written = pb.GatewayConfig(**given)  # type: ignore[arg-type]
    written.revision = revision_of(written)
    return written


def test_everything_is_read() -> None:
    cleared = [
        pb.ClearedBreach(breach="a@sim-fx-1", reason="hedged", risk_limit="fx-desk"),
        pb.ClearedBreach(breach="a@sim-fx-1", reason="of an older operator"),
        pb.ClearedBreach(breach="b@sim-fx-2", reason="the limit is gone", at_venue=True),
    ]
    written = config(halted_reason="VenueSuspended", halted_message="spec.suspend is true", cleared_breaches=cleared)
    read = decode(written.SerializeToString())
    assert read.unreadable == ""
    assert read.revision == written.revision
    assert read.bindings == {"ema": TradingState.ACTIVE}
    assert [(rule.name, rule.problem) for rule in read.rules] == [("desk", "")]
    assert (read.halted_reason, read.halted_message) == ("VenueSuspended", "spec.suspend is true")
    assert read.on_record == OnRecord(7, 1234)
    assert read.cleared_breaches == {("fx-desk", "a@sim-fx-1"): "hedged", ("", "a@sim-fx-1"): "of an older operator"}
    assert read.cleared_at_venue == {"b@sim-fx-2": "the limit is gone"}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (pb.TRADING_STATE_ACTIVE, TradingState.ACTIVE),
        (pb.TRADING_STATE_SUSPENDED, TradingState.HALTED),
        (pb.TRADING_STATE_FLATTEN, TradingState.FLATTEN),
        (pb.TRADING_STATE_UNSPECIFIED, TradingState.HALTED),
        (99, TradingState.HALTED),
    ],
)
def test_states(state: pb.TradingState.ValueType, expected: TradingState) -> None:
    read = decode(config(strategies=[pb.StrategyBinding(strategy="ema", state=state)]).SerializeToString())
    assert read.bindings == {"ema": expected}


def test_without_a_configuration_nothing_may_leave() -> None:
    assert decode(None) == Configuration()
    refusal = blocking(decode(None), {})
    assert refusal is not None
    assert refusal.reason is Reason.NO_CONFIGURATION


def _changed(**changes: object) -> bytes:
    """Somebody changed it after the operator had computed the revision."""
    written = config()
    revision = written.revision
    changed = config(**changes)
    changed.revision = revision
    return changed.SerializeToString()


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "no protobuf": (b"\xff\xff\xff", "is not a GatewayConfig"),
    "no UTF-8": (b"\x22\x02\xff\xff", "is not a GatewayConfig"),
    "cut short": (config().SerializeToString()[:-3], "is not a GatewayConfig"),
    "empty": (b"", "is not the hash"),
    "no revision": (pb.GatewayConfig(rules=[message()]).SerializeToString(), "is not the hash"),
    "one strategy more": (
        _changed(strategies=[pb.StrategyBinding(strategy="x", state=pb.TRADING_STATE_ACTIVE)]),
        "is not the hash",
    ),
    "a wider limit": (_changed(rules=[message({"maxOrderQuantity": {"value": "999999999"}})]), "is not the hash"),
    "no rules": (_changed(rules=[]), "is not the hash"),
    "a halt taken away": (_changed(halted_reason="VenueDeleted"), "is not the hash"),
    "a strategy twice": (
        config(
            strategies=[
                pb.StrategyBinding(strategy="ema", state=pb.TRADING_STATE_SUSPENDED),
                pb.StrategyBinding(strategy="ema", state=pb.TRADING_STATE_ACTIVE),
            ]
        ).SerializeToString(),
        "binds strategy 'ema' twice",
    ),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_completely_admits_nothing(what: str) -> None:
    payload, said = UNREADABLE[what]
    read = decode(payload)
    assert said in read.unreadable
    assert read == Configuration(unreadable=read.unreadable)
    refusal = blocking(read, {})
    assert refusal is not None
    assert refusal.reason is Reason.UNREADABLE_CONFIGURATION


def test_fields_of_a_newer_operator_are_not_ignored() -> None:
    newer, newer_binding = config(), config()
    newer.MergeFromString(b"\xf8\x06\x01")  # field 111, varint 1
    newer_binding.strategies[0].MergeFromString(b"\xf8\x06\x01")
    for written in (newer, newer_binding):
        written.revision = revision_of(written)
        assert "fields [111]" in decode(written.SerializeToString()).unreadable


def test_a_rule_that_cannot_be_read_blocks_what_it_binds_and_nothing_else() -> None:
    read = decode(config(rules=[message(), message({"maxVega": {}}, risk_limit="vega")]).SerializeToString())
    assert read.unreadable == ""
    assert [(rule.name, bool(rule.problem)) for rule in read.rules] == [("desk", False), ("vega", True)]


def test_the_revision_is_the_hash_of_everything_but_itself_and_what_is_on_record() -> None:
    written = config()
    bare = pb.GatewayConfig(strategies=written.strategies, rules=written.rules)
    assert written.revision == hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()
    other = config(on_record=pb.JournalRecordOnFile(fencing_token=8, sequence=1))
    assert other.revision == written.revision
    assert decode(other.SerializeToString()).on_record == OnRecord(8, 1)


def test_the_order_of_a_map_does_not_change_the_revision() -> None:
    one = message({"maxOrderRate": {"count": "20", "perSeconds": "1"}})
    two = message({"maxOrderRate": {"perSeconds": "1", "count": "20"}})
    assert revision_of(pb.GatewayConfig(rules=[one])) == revision_of(pb.GatewayConfig(rules=[two]))
