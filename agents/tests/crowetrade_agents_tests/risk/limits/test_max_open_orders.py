"""maxOpenOrders: whose orders count, and what is no new one."""

from __future__ import annotations

import pytest

from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.limits.limit import Use
from crowetrade_agents.risk.limits.max_open_orders import LIMIT, NAME, parse
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.limits.exposures import MEMBERS, TOGETHER, exposure, unquoted
from crowetrade_agents_tests.risk.values import EUR, JPY, D, case, check, facts, order, reason, rule

REFUSED = Reason.MAX_OPEN_ORDERS


def test_values() -> None:
    assert parse({"value": "50"}) == 50
    for values in ({}, {"value": "0"}, {"value": "1.5"}, {"value": "1000001"}, {"value": "NaN"}, {"count": "1"}):
        with pytest.raises(InvalidLimit):
            parse(values)


@pytest.mark.parametrize(("orders", "expected"), [(0, None), (1, None), (2, None), (3, REFUSED), (4, REFUSED)])
def test_at_under_and_over(orders: int, expected: Reason | None) -> None:
    """Three may be open."""
    held = {("ema", EUR): exposure(buy="1", orders=orders), ("other", EUR): exposure(buy="1", orders=9)}
    refusal = check(LIMIT, D(3), case(order(), facts(exposures=held)), rule())
    assert reason(refusal) is expected
    if refusal is not None:
        assert f"{orders + 1} orders would be open, above maxOpenOrders 3 of desk" in refusal.text


def test_orders_in_all_instruments_count_unless_the_rule_is_for_some() -> None:
    held = {("ema", EUR): exposure(orders=1), ("ema", JPY): exposure(orders=2)}
    judged = case(order(), facts(exposures=held))
    assert reason(check(LIMIT, D(3), judged, rule())) is REFUSED
    assert check(LIMIT, D(2), judged, rule(symbols=["EUR-USD"])) is None


def test_together() -> None:
    judged = case(order(), facts(exposures=TOGETHER, members=MEMBERS))
    assert check(LIMIT, D(5), judged, rule(aggregate_total=True)) is None
    assert reason(check(LIMIT, D(4), judged, rule(aggregate_total=True))) is REFUSED


def test_a_replacement_and_a_resting_order_are_open_already() -> None:
    known = facts(exposures={("ema", EUR): exposure(buy="4000", orders=3)})
    assert check(LIMIT, D(3), case(order(), known, leaves="6000", counted="4000"), rule()) is None
    assert reason(check(LIMIT, D(2), case(order(), known, leaves="4000", counted="4000"), rule())) is REFUSED


def test_quotes_do_not_matter() -> None:
    known = facts(exposures={("ema", EUR): exposure(orders=2)}, marks=unquoted(EUR)["missing"])
    assert check(LIMIT, D(3), case(order(), known), rule()) is None


def test_use_is_what_the_check_counts() -> None:
    known = facts(exposures=TOGETHER, members=MEMBERS)
    assert list(LIMIT.use(D(9), Sums(known), rule())) == [
        Use("desk", NAME, "ema", D(1), D(9)),
        Use("desk", NAME, "other", D(2), D(9)),
    ]
    assert list(LIMIT.use(D(9), Sums(known), rule(aggregate_total=True))) == [Use("desk", NAME, "", D(4), D(9))]


def test_a_closing_order_is_not_stopped() -> None:
    assert (LIMIT.judges_closing, LIMIT.judges_resting) == (False, True)
