"""What is compiled for an order, and when it is compiled again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from crowetrade_agents.domain.money import Money
from crowetrade_agents.risk.case import valuation_of
from crowetrade_agents.risk.facts import Facts
from crowetrade_agents.risk.plans import SENDING, Plans, Purpose, plans_of, tightest
from crowetrade_agents_tests.risk.values import EUR, JPY, LIMITS, D, facts, rule, rules


def known() -> Facts:
    """Facts with a valuation that somebody keeps, as a gateway has it."""
    found = facts()
    found.valuation = valuation_of(found)
    return found


def test_the_tightest_of_limits_that_are_measured_alike_decides() -> None:
    tight = {**LIMITS, "maxOrderQuantity": {"value": "1"}, "maxOrderRate": {"count": "1", "perSeconds": "1"}}
    loose, alone, together = rule(), rule(tight, risk_limit="tight"), rule(aggregate_total=True, risk_limit="together")
    minute = rule({"maxOrderRate": {"count": "5", "perSeconds": "60"}}, risk_limit="minute")
    given = (loose, alone, together, minute)
    decide = tightest(given)
    assert sorted((given[which].limits[place][0].name, given[which].name) for which, place in decide) == [
        ("maxOrderNotional", "desk"),
        ("maxOrderQuantity", "tight"),
        ("maxOrderRate", "minute"),
        ("maxOrderRate", "tight"),
        ("maxOrderRate", "together"),
        ("maxPositionQuantity", "desk"),
        ("maxPositionQuantity", "together"),
    ]


def test_the_purpose_leaves_out_what_does_not_judge_it() -> None:
    given = rule()
    judged = {
        purpose: [given.limits[place][0].name for _, place in tightest([given], purpose)]
        for purpose in (SENDING, Purpose(closing=True), Purpose(resting=True), Purpose(closing=True, resting=True))
    }
    assert judged == {
        SENDING: ["maxOrderQuantity", "maxOrderNotional", "maxPositionQuantity", "maxOrderRate"],
        Purpose(closing=True): ["maxOrderQuantity", "maxOrderNotional"],
        Purpose(resting=True): ["maxOrderQuantity", "maxOrderNotional", "maxPositionQuantity"],
        Purpose(closing=True, resting=True): ["maxOrderQuantity", "maxOrderNotional"],
    }


def test_a_plan_is_compiled_once() -> None:
    given = known()
    plans = plans_of(given)
    assert plans_of(replace(given, now_ns=given.now_ns + 1)) is plans
    checks = plans.deciding(given, "ema", EUR, SENDING)
    assert plans.deciding(given, "ema", EUR, SENDING) is checks
    # In another instrument the same checks judge.
    assert plans.deciding(given, "ema", JPY, SENDING) == checks
    assert set(plans.deciding(given, "other", EUR, SENDING)).isdisjoint(checks)


def test_together_one_check_serves_every_strategy_that_is_counted() -> None:
    given = replace(known(), rules=rules(rule(aggregate_total=True)))
    plans = plans_of(given)
    assert plans.deciding(given, "ema", EUR, SENDING) == plans.deciding(given, "other", EUR, SENDING)


def _forget(given: Facts) -> None:
    assert given.valuation is not None
    given.valuation.forget()


CHANGES: dict[str, Callable[[Facts], object]] = {
    "the rules": lambda given: setattr(given, "rules", rules(rule())),
    "whom rules count": lambda given: setattr(given, "members", {"desk": frozenset(("ema",))}),
    "capital": lambda given: setattr(given, "capital", {"ema": Money(D(1), "USD")}),
    "the sums": lambda given: setattr(given, "valuation", valuation_of(facts())),
    "which sums are kept": _forget,
    "what subjects are measured from": lambda given: setattr(given.standing, "watches", {}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_it_is_compiled_again_when_it_looks_at_something_else(what: str) -> None:
    given = known()
    plans = plans_of(given)
    CHANGES[what](given)
    assert plans_of(given) is not plans


def test_without_a_valuation_that_is_kept_nothing_is() -> None:
    given = facts()
    assert not Plans(given).fit(given)


def test_strangers_do_not_grow_the_lookup() -> None:
    given = known()
    plans = plans_of(given)
    for number in range(100):
        assert plans.deciding(given, f"stranger-{number}", EUR, SENDING) == ()
    assert not plans._plans
    assert not plans._checks
