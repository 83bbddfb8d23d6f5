"""No order without an enforced limit."""

from __future__ import annotations

import pytest

from crowetrade_agents.risk.preconditions.limits_in_force import check
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.rules import RuleSet
from crowetrade_agents_tests.risk.values import facts, new, order, reason, rule, rules

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
