"""What a rule says, and that a rule which cannot be read completely blocks what it binds (finding K1)."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import pytest

from crowetrade.config.v1 import config_pb2
from crowetrade_agents.risk import gate
from crowetrade_agents.risk.approved import ApprovedOrder
from crowetrade_agents.risk.limits.max_order_rate import Rate
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.rule_reading import compile_rule
from crowetrade_agents.risk.rules import RuleSet
from crowetrade_agents_tests.risk.values import EUR, JPY, LIMITS, SECOND, D, facts, message, new, order, rule, rules


def test_a_rule_is_read_completely() -> None:
    sent = message(symbols=["EUR-USD"], aggregate_total=True, enforce=False)
    read = compile_rule(sent)
    assert (read.name, read.uid) == ("desk", "uid-1")
    assert (read.strategies, read.symbols) == (frozenset({"ema", "other"}), frozenset({"EUR-USD"}))
    assert (read.total, read.enforce, read.problem, read.refusal) == (True, False, "", None)
    assert {limit.name: value for limit, value in read.limits} == {
        "maxOrderQuantity": D(10_000),
        "maxOrderNotional": D(11_000),
        "maxPositionQuantity": D(20_000),
        "maxOrderRate": Rate(2, 1, SECOND),
    }


def test_the_hash_covers_everything_that_the_operator_sent() -> None:
    sent = message()
    assert compile_rule(sent).hash == hashlib.sha256(sent.SerializeToString(deterministic=True)).hexdigest()
    others = [
        message(uid="uid-2"),
        message(generation=2),
        message(enforce=False),
        message(LIMITS | {"maxOrderQuantity": {"value": "10001"}}),
    ]
    assert len({compile_rule(other).hash for other in [sent, *others]}) == 5


PROBLEMS: dict[str, tuple[dict[str, dict[str, str]], Reason, str]] = {
    "no limit at all": ({}, Reason.UNREADABLE_LIMIT, "broken sets no limit, so it blocks every order that it binds"),
    "an unknown limit alone": ({"maxVega": {"value": "1"}}, Reason.UNKNOWN_LIMIT, "maxVega"),
    "an unknown limit beside known ones": (LIMITS | {"maxVega": {}}, Reason.UNKNOWN_LIMIT, "maxVega"),
    "a limit without a name": ({"": {"value": "1"}}, Reason.UNKNOWN_LIMIT, "a limit without a name"),
    "a value that is no number": ({"maxOrderQuantity": {"value": "lots"}}, Reason.UNREADABLE_LIMIT, "maxOrderQuantity"),
    "a rate of 0": ({"maxOrderRate": {"count": "0", "perSeconds": "1"}}, Reason.UNREADABLE_LIMIT, "maxOrderRate"),
}


@pytest.mark.parametrize("enforce", [True, False])
@pytest.mark.parametrize("what", PROBLEMS)
def test_a_rule_with_a_problem_blocks_whether_it_enforces_or_not(what: str, enforce: bool) -> None:
    limits, reason, named = PROBLEMS[what]
    broken = rule(limits, risk_limit="broken", enforce=enforce, strategies=["ema"])
    assert broken.problem_reason is reason
    assert "RiskLimit broken" in broken.problem
    assert named in broken.problem
    known = facts(rules=rules(rule(), broken))
    assert gate.judge_order(new(order()), known).outcome == Refusal(reason, broken.problem, "broken")
    assert isinstance(gate.judge_order(new(order(strategy="other")), known).outcome, ApprovedOrder)


DAYS = {
    "a zone that nobody knows": (
        "Europe/Nowhere",
        "17:00",
        "time zone 'Europe/Nowhere' is not one of the IANA database",
    ),
    "a folder of zones": ("Europe", "17:00", "time zone 'Europe' is not one"),
    "a zone outside of the database": ("../etc/passwd", "17:00", "is not one of the IANA database"),
    "no zone": ("", "17:00", "time zone '' is not one"),
    "a time that no clock shows": ("Europe/Zurich", "24:00", "'24:00' is not a time of day"),
    "no time": ("Europe/Zurich", "", "'' is not a time of day"),
}


@pytest.mark.parametrize("enforce", [True, False])
@pytest.mark.parametrize("what", DAYS)
def test_a_rule_whose_day_cannot_be_read_blocks(what: str, enforce: bool) -> None:
    zone, starts_at, named = DAYS[what]
    day = config_pb2.TradingDay(time_zone=zone, starts_at=starts_at)
    broken = rule(risk_limit="broken", enforce=enforce, day=day)
    assert broken.problem_reason is Reason.UNREADABLE_LIMIT
    assert "RiskLimit broken has a day that cannot be read" in broken.problem
    assert named in broken.problem
    outcome = gate.judge_order(new(order()), facts(rules=rules(rule(), broken))).outcome
    assert outcome == Refusal(Reason.UNREADABLE_LIMIT, broken.problem, "broken")


def test_what_a_newer_operator_says_of_a_day_is_a_problem() -> None:
    newer = message(day=config_pb2.TradingDay(time_zone="UTC", starts_at="00:00"))
    assert compile_rule(newer).problem == ""
    newer.day.MergeFromString(b"\xf8\x06\x01")  # field 111, varint 1
    assert compile_rule(newer).problem_reason is Reason.UNKNOWN_LIMIT


def test_an_order_of_400_million_does_not_leave_under_an_unknown_limit() -> None:
    known = facts(rules=rules(rule({"maxVega": {"value": "1"}})))
    outcome = gate.judge_order(new(order(quantity=Decimal(400_000_000))), known).outcome
    assert isinstance(outcome, Refusal)
    assert outcome.reason is Reason.UNKNOWN_LIMIT


def test_a_field_that_this_gateway_does_not_know_is_a_problem() -> None:
    newer_rule, newer_limit = message(), message()
    newer_rule.MergeFromString(b"\xf8\x06\x01")  # field 111, varint 1
    newer_limit.limits[0].MergeFromString(b"\xf8\x06\x01")
    for sent in (newer_rule, newer_limit):
        read = compile_rule(sent)
        assert read.problem_reason is Reason.UNKNOWN_LIMIT
        assert "[111]" in read.problem
        assert read.hash != compile_rule(message()).hash


def test_the_first_problem_stands() -> None:
    read = rule({"maxOrderQuantity": {"value": "-1"}, "maxVega": {"value": "1"}})
    assert read.problem_reason is Reason.UNREADABLE_LIMIT
    assert "negative" in read.problem


def test_what_binds() -> None:
    everything, euro, of_other = rule(), rule(symbols=["EUR-USD"]), rule(strategies=["other"])
    given = rules(everything, euro, of_other)
    assert given.binding("ema", EUR) == (everything, euro)
    assert given.binding("ema", JPY) == (everything,)
    assert given.binding("other", EUR) == (everything, euro, of_other)
    assert given.binding("stranger", EUR) == ()
    assert given.binding("ema", EUR) is given.binding("ema", EUR)
    assert list(given) == [everything, euro, of_other]
    assert len(given) == 3


def test_without_rules_nothing_binds() -> None:
    assert RuleSet() == RuleSet(())
    assert RuleSet().binding("ema", EUR) == ()


def test_strangers_do_not_grow_the_lookup() -> None:
    given = rules(rule())
    for number in range(100):
        given.binding(f"stranger-{number}", EUR)
    assert len(given._bound) == 0


def test_an_empty_message_is_a_rule_that_binds_nobody() -> None:
    assert not compile_rule(config_pb2.RiskRule()).binds("ema", EUR)
