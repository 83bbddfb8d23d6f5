"""No order without an enforced limit."""

from __future__ import annotations

from typing import get_args

import pytest

from crowetrade_agents.risk.preconditions.limits_in_force import check
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.rules import Rule, RuleSet
from crowetrade_agents_tests.risk.values import LIMITS, facts, new, only_limit, order, reason, rule, rules
from crowetrade_api.v1alpha1.risklimit import LIMIT_NAMES
from crowetrade_api.v1alpha1.venueconnection import LIMITS_OF_GROUP, RequiredLimit

BROKEN = rule({}, risk_limit="broken")

CASES: dict[str, tuple[RuleSet, Reason | None]] = {
    "an enforced rule": (rules(rule()), None),
    "an enforced rule beside one that observes": (rules(rule(enforce=False), rule()), None),
    "no rule": (rules(), Reason.NO_LIMIT_IN_FORCE),
    "a rule that observes": (rules(rule(enforce=False)), Reason.NO_LIMIT_IN_FORCE),
    "a rule for others": (rules(rule(strategies=["other"])), Reason.NO_LIMIT_IN_FORCE),
    "a rule for another symbol": (rules(rule(symbols=["USD-JPY"])), Reason.NO_LIMIT_IN_FORCE),
    "a rule with a problem": (rules(BROKEN), Reason.UNREADABLE_LIMIT),
    "a rule with a problem after one without": (rules(rule(), BROKEN), Reason.UNREADABLE_LIMIT),
    "a rule with a problem for others": (rules(rule(), rule({}, strategies=["other"])), None),
}


@pytest.mark.parametrize("what", CASES)
def test_in_force(what: str) -> None:
    given, expected = CASES[what]
    assert reason(check(new(order()), facts(rules=given))) is expected


def rate(**changes: object) -> Rule:
    """A rule with a rate alone."""
    return rule({"maxOrderRate": {"count": "2", "perSeconds": "1"}}, **changes)


ALL = frozenset({"OrderSize", "Position", "OrderRate"})
QUANTITY = only_limit("maxOrderQuantity", "1")
REQUIRED: dict[str, tuple[frozenset[str], RuleSet, str]] = {
    # What is required, the rules, and what the sentence says is missing.
    "nothing is required": (frozenset(), rules(QUANTITY), ""),
    "one rule covers all": (ALL, rules(rule()), ""),
    "several rules cover all": (ALL, rules(QUANTITY, only_limit("maxNetNotional", "1"), rate()), ""),
    "another limit of the group covers it": (
        ALL,
        rules(rate(), only_limit("maxOrderNotional", "1"), only_limit("maxGrossNotional", "1")),
        "",
    ),
    "no size": (ALL, rules(rate(), only_limit("maxPositionQuantity", "1")), "maxOrderNotional or maxOrderQuantity"),
    "no position": (ALL, rules(rate(), QUANTITY), "maxGrossNotional or maxNetNotional or maxPositionQuantity"),
    "no rate": (ALL, rules(QUANTITY, only_limit("maxPositionQuantity", "1")), "maxOrderRate"),
    "no loss": (ALL | {"Loss"}, rules(rule()), "maxDailyLoss or maxDrawdown"),
    "the rate is only observed": (
        ALL,
        rules(rule({name: value for name, value in LIMITS.items() if name != "maxOrderRate"}), rate(enforce=False)),
        "maxOrderRate",
    ),
    "the rate is for others": (
        frozenset({"OrderRate"}),
        rules(QUANTITY, rate(strategies=["other"])),
        "maxOrderRate",
    ),
    "the rate is for another symbol": (
        frozenset({"OrderRate"}),
        rules(QUANTITY, rate(symbols=["USD-JPY"])),
        "maxOrderRate",
    ),
    "a group that nobody knows": (frozenset({"Vega"}), rules(rule()), "names Vega"),
}


@pytest.mark.parametrize("what", REQUIRED)
def test_what_the_venue_requires(what: str) -> None:
    required, given, missing = REQUIRED[what]
    for _ in range(2):
        refusal = check(new(order()), facts(rules=given, required_limits=required))
        assert reason(refusal) is (Reason.REQUIRED_LIMIT_MISSING if missing else None)
        assert refusal is None or missing in refusal.text


def test_the_groups_are_those_of_the_resource() -> None:
    assert set(LIMITS_OF_GROUP) == set(get_args(RequiredLimit))
    assert frozenset().union(*LIMITS_OF_GROUP.values()) <= set(LIMIT_NAMES)
