"""maxConsecutiveRejects: at, under and over, alone and together."""

from __future__ import annotations

import pytest

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.limits.limit import Use
from crowetrade_agents.risk.limits.max_consecutive_rejects import LIMIT, NAME, parse
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.standing import Tally
from crowetrade_agents_tests.risk.limits.standings import standing
from crowetrade_agents_tests.risk.values import D, case, check, held, only_limit, order, reason

RULE, TOTAL = only_limit(NAME, "3"), only_limit(NAME, "3", aggregate_total=True)


@pytest.mark.parametrize(("rejects", "admitted"), [(0, True), (3, True), (4, False)])
def test_at_under_and_over_the_limit(rejects: int, admitted: bool) -> None:
    known = standing(RULE, ema=Tally(rejects=rejects), other=Tally(rejects=9))
    assert reason(check(LIMIT, 3, case(order(), known), RULE)) is (None if admitted else Reason.MAX_CONSECUTIVE_REJECTS)
    known.exposures = held("10000")
    assert check(LIMIT, 3, case(order(side=Side.SELL), known), RULE) is None


@pytest.mark.parametrize(("others", "admitted"), [(1, True), (2, False)])
def test_together_they_are_added(others: int, admitted: bool) -> None:
    known = standing(TOTAL, ema=Tally(rejects=2), other=Tally(rejects=others))
    assert reason(check(LIMIT, 3, case(order(), known), TOTAL)) is (
        None if admitted else Reason.MAX_CONSECUTIVE_REJECTS
    )


THREE = ("sim-fx", "two", "three")


@pytest.mark.parametrize(("value", "rejects", "admitted"), [(9, 3, True), (9, 4, False), (5, 1, True), (5, 2, False)])
def test_a_gateway_of_three_admits_its_third(value: int, rejects: int, admitted: bool) -> None:
    rule = only_limit(NAME, str(value), aggregate_total=True, gateways=THREE)
    known = standing(rule, ema=Tally(rejects=rejects - 1), other=Tally(rejects=1))
    said = check(LIMIT, value, case(order(), known), rule)
    assert reason(said) is (None if admitted else Reason.MAX_CONSECUTIVE_REJECTS)
    assert said is None or f"admits, {value // 3} here, of {value} at 3 gateways" in said.text


def test_with_more_gateways_than_rejects_the_first_one_is_too_many() -> None:
    rule = only_limit(NAME, "2", aggregate_total=True, gateways=THREE)
    assert check(LIMIT, 2, case(order(), standing(rule)), rule) is None
    said = check(LIMIT, 2, case(order(), standing(rule, ema=Tally(rejects=1))), rule)
    assert reason(said) is Reason.MAX_CONSECUTIVE_REJECTS


@pytest.mark.parametrize("gateways", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("value", [1, 2, 5, 19, 1_000_000])
def test_gateways_together_never_have_more_in_a_row_than_the_whole(value: int, gateways: int) -> None:
    names = [f"v{number}" for number in range(gateways)]
    rule = only_limit(NAME, str(value), aggregate_total=True, gateways=names)
    part = value // gateways
    most = max(
        number
        for number in (0, part, part + 1, value + 1)
        if check(LIMIT, value, case(order(), standing(rule, ema=Tally(rejects=number))), rule) is None
    )
    assert most * gateways <= value < (most + 1) * gateways


def test_counted_alone_the_number_of_gateways_says_nothing() -> None:
    rule = only_limit(NAME, "3", gateways=THREE)
    assert check(LIMIT, 3, case(order(), standing(rule, ema=Tally(rejects=3))), rule) is None


def test_use_of_a_part() -> None:
    rule = only_limit(NAME, "9", aggregate_total=True, gateways=["sim-fx", "two"])
    known = standing(rule, ema=Tally(rejects=2))
    assert list(LIMIT.use(9, Sums(known), rule)) == [Use("desk", NAME, "", D(2), D(4), D(9), D("0.5"))]


def test_use() -> None:
    known = standing(RULE, ema=Tally(rejects=2))
    assert list(LIMIT.use(3, Sums(known), RULE)) == [Use("desk", NAME, "ema", D(2), D(3))]


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1000001", "many"])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(InvalidLimit):
        parse({"value": text})
