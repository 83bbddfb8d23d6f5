"""maxDailyLoss, maxDrawdown, maxLossPerMinute: at, under and over the limit, and what is not known."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_agents.domain.market import Mark, TopOfBook
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk import gate
from crowetrade_agents.risk.approved import ApprovedOrder
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.limits import KNOWN
from crowetrade_agents.risk.limits.limit import Limit, Use
from crowetrade_agents.risk.limits.loss import parse_share
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.rules import Rule
from crowetrade_agents.risk.standing import Baseline
from crowetrade_agents_tests.risk.limits.standings import standing
from crowetrade_agents_tests.risk.values import EUR, NOW, D, case, check, held, new, only_limit, order, reason

# Value, and the result of the day and since the peak that is just within it: 1,000 USD each.
LIMITS = {"maxDailyLoss": "1000", "maxDrawdown": "0.01", "maxLossPerMinute": "0.01"}


def _rule(name: str, **changes: Any) -> Rule:
    return only_limit(name, LIMITS[name], **{"currency": "USD", **changes})


def _limit(name: str) -> Limit[Any]:
    return KNOWN[name]


@pytest.mark.parametrize("name", ["maxDailyLoss", "maxDrawdown"])
@pytest.mark.parametrize(("made", "admitted"), [("5", True), ("-999.99", True), ("-1000", True), ("-1000.01", False)])
def test_at_under_and_over_the_limit(name: str, made: str, admitted: bool) -> None:
    rule, limit = _rule(name), _limit(name)
    known = standing(rule, made)
    refusal = check(limit, D(LIMITS[name]), case(order(), known), rule)
    assert reason(refusal) is (None if admitted else limit.reason)
    assert limit.breach is not None
    assert (limit.breach(D(LIMITS[name]), known, rule, "ema") is None) is admitted


@pytest.mark.parametrize(("value", "admitted"), [("-999.99", True), ("-1000", True), ("-1000.01", False)])
@pytest.mark.parametrize(("ago", "counts"), [(59, True), (60, True), (61, False)])
def test_the_highest_of_a_minute(value: str, admitted: bool, ago: int, counts: bool) -> None:
    rule, limit = _rule("maxLossPerMinute"), _limit("maxLossPerMinute")
    known = standing(rule, value)
    watch = known.standing.watches["uid-1", "ema"]
    watch.minute.append((NOW - ago * 10**9, D(0)))
    refusal = check(limit, D("0.01"), case(order(), known), rule)
    assert reason(refusal) is (None if admitted or not counts else Reason.MAX_LOSS_PER_MINUTE)


@pytest.mark.parametrize("name", LIMITS)
def test_over_the_limit_an_order_that_reduces_may_leave(name: str) -> None:
    rule = _rule(name)
    known = standing(rule, "-5000")
    known.standing.watches["uid-1", "ema"].minute.append((NOW, D(0)))
    known.exposures = held("10000")
    judged = case(order(side=Side.SELL, quantity=D(10_000)), known)
    assert check(_limit(name), D(LIMITS[name]), judged, rule) is None
    judged = case(order(side=Side.SELL, quantity=D(11_000)), known)
    assert reason(check(_limit(name), D(LIMITS[name]), judged, rule)) is _limit(name).reason


@pytest.mark.parametrize("name", LIMITS)
def test_once_it_is_latched_the_action_decides(name: str) -> None:
    rule = _rule(name)
    for enforced in (True, False):
        actions = frozenset({"Block"} if enforced else ())
        known = standing(rule, "-5000", latched={("uid-1", name, "ema"): actions})
        known.standing.watches["uid-1", "ema"].minute.append((NOW, D(0)))
        refusal = check(_limit(name), D(LIMITS[name]), case(order(), known), rule)
        assert reason(refusal) is (None if enforced else _limit(name).reason)


UNKNOWN: dict[str, tuple[str, Baseline | None, Reason]] = {
    "no day was marked": ("maxDailyLoss", Baseline(), Reason.MISSING_MARK),
    "no peak was known": ("maxDrawdown", Baseline("2023-11-14", D(0)), Reason.MISSING_MARK),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_is_not_known_refuses(what: str) -> None:
    name, baseline, expected = UNKNOWN[what]
    rule = _rule(name)
    known = standing(rule, "0", baseline)
    assert reason(check(_limit(name), D(LIMITS[name]), case(order(), known), rule)) is expected


@pytest.mark.parametrize("name", LIMITS)
def test_a_subject_that_nobody_watches_is_refused(name: str) -> None:
    rule = _rule(name)
    known = standing(rule, "0")
    known.standing.watches = {}
    assert reason(check(_limit(name), D(LIMITS[name]), case(order(), known), rule)) is Reason.MISSING_MARK


@pytest.mark.parametrize("name", ["maxDrawdown", "maxLossPerMinute"])
@pytest.mark.parametrize("capital", [{}, {"ema": None}], ids=["none", "not a number"])
def test_a_share_of_capital_that_is_not_known_refuses(name: str, capital: dict[str, Any]) -> None:
    rule = _rule(name)
    known = standing(rule, "0")
    known.capital = {name: value for name, value in capital.items() if value is not None}
    assert reason(check(_limit(name), D("0.01"), case(order(), known), rule)) is Reason.MISSING_CAPITAL


@pytest.mark.parametrize("name", LIMITS)
def test_a_currency_without_a_rate_refuses(name: str) -> None:
    rule = _rule(name, currency="CHF")
    known = standing(rule, "5")
    assert reason(check(_limit(name), D(LIMITS[name]), case(order(), known), rule)) is Reason.MISSING_EXCHANGE_RATE


def test_a_closed_result_needs_no_quote() -> None:
    rule = _rule("maxDailyLoss")
    known = standing(rule, "-1")
    known.marks = {EUR: Mark(TopOfBook(EUR, D("NaN"), None, D("NaN"), None, NOW), NOW)}
    assert check(_limit("maxDailyLoss"), D(1000), case(order(), known), rule) is None


def test_the_whole_gate_admits_and_refuses() -> None:
    rule = _rule("maxDailyLoss")
    assert isinstance(gate.judge_order(new(order()), standing(rule, "-1000")).outcome, ApprovedOrder)
    assert reason(gate.judge_order(new(order()), standing(rule, "-1000.01")).outcome) is Reason.MAX_DAILY_LOSS


def test_use_is_in_the_unit_of_the_limit() -> None:
    day, peak = _rule("maxDailyLoss"), _rule("maxDrawdown")
    known = standing(day, "-250")
    assert list(_limit("maxDailyLoss").use(D(1000), Sums(known), day)) == [
        Use("desk", "maxDailyLoss", name, D(250), D(1000)) for name in ("ema", "other")
    ]
    known = standing(peak, "-250")
    assert list(_limit("maxDrawdown").use(D("0.01"), Sums(known), peak)) == [
        Use("desk", "maxDrawdown", name, D("0.0025"), D("0.01")) for name in ("ema", "other")
    ]
    assert list(_limit("maxDailyLoss").use(D(1000), Sums(standing(day, "250")), day)) == []


@pytest.mark.parametrize("aggregate", [False, True])
def test_together_results_and_capital_add_up(aggregate: bool) -> None:
    rule = _rule("maxDrawdown", aggregate_total=aggregate)
    limit = _limit("maxDrawdown")
    for made, admitted in (("-1000", True), ("-1000.01", False)):
        known = standing(rule, made)
        refusal = check(limit, D("0.01"), case(order(), known), rule)
        assert reason(refusal) is (None if admitted else Reason.MAX_DRAWDOWN)


@pytest.mark.parametrize("text", ["0.0001", "1"])
def test_a_share(text: str) -> None:
    assert parse_share({"value": text}) == D(text)


@pytest.mark.parametrize("text", ["0", "1.0001", "NaN", "-0.1", ""])
def test_no_share(text: str) -> None:
    with pytest.raises(InvalidLimit):
        parse_share({"value": text})
