"""duplicateWindowMillis: what is the same order, for how long, and of whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crowetrade_agents.domain.orders import OrderTerms, OrdType, Side, TimeInForce
from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk.limits.duplicate_window_millis import LIMIT, parse
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.recent import KEPT, RecentOrders
from crowetrade_agents_tests.risk.values import JPY, NOW, D, case, check, facts, order, reason, rule

MILLISECOND = 1_000_000
REFUSED = Reason.DUPLICATE_ORDER
MEMBERS = {"desk": frozenset({"ema", "other", "gone"})}


def recent(*sent: tuple[OrderTerms, int]) -> RecentOrders:
    """Orders that were sent so many milliseconds ago."""
    found = RecentOrders()
    for terms, millis in sent:
        found.add(terms, NOW - millis * MILLISECOND)
    return found


def test_values() -> None:
    assert parse({"value": "500"}) == 500
    for values in ({}, {"value": "0"}, {"value": "86400001"}, {"value": "1.5"}, {"value": "NaN"}):
        with pytest.raises(InvalidLimit):
            parse(values)


@pytest.mark.parametrize(("millis", "expected"), [(0, REFUSED), (499, REFUSED), (500, None), (501, None)])
def test_at_under_and_over(millis: int, expected: Reason | None) -> None:
    refusal = check(LIMIT, 500, case(order(), facts(recent=recent((order(), millis)))), rule())
    assert reason(refusal) is expected
    if refusal is not None:
        assert "less than 500 ms ago (duplicateWindowMillis of desk)" in refusal.text


MARKET = order(ord_type=OrdType.MARKET, price=None)
OTHERS: dict[str, OrderTerms] = {
    "another side": order(side=Side.SELL),
    "another quantity": order(quantity=D(6000)),
    "another price": order(price=D("1.1001")),
    "another type": MARKET,
    "another instrument": order(instrument=JPY),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_order_is_no_duplicate(what: str) -> None:
    known = facts(recent=recent((OTHERS[what], 0)))
    assert check(LIMIT, 500, case(order(), known), rule()) is None
    assert reason(check(LIMIT, 500, case(OTHERS[what], known), rule())) is REFUSED


def test_identity_time_in_force_and_how_a_number_is_written_do_not_matter() -> None:
    sent = replace(order(), cl_ord_id="ema-run-9", time_in_force=TimeInForce.IOC, quantity=D("5000.0"))
    assert reason(check(LIMIT, 500, case(order(), facts(recent=recent((sent, 1)))), rule())) is REFUSED


@pytest.mark.parametrize(
    ("owner", "alone", "together"),
    [("ema", REFUSED, REFUSED), ("other", None, REFUSED), ("gone", None, REFUSED), ("stranger", None, None)],
)
def test_alone_and_together(owner: str, alone: Reason | None, together: Reason | None) -> None:
    known = facts(recent=recent((order(strategy=owner), 3), (order(strategy="stranger"), 1)), members=MEMBERS)
    assert reason(check(LIMIT, 500, case(order(), known), rule())) is alone
    assert reason(check(LIMIT, 500, case(order(), known), rule(aggregate_total=True))) is together


def test_the_latest_of_several_counts() -> None:
    known = facts(recent=recent((order(), 900), (order(strategy="other"), 800), (order(), 100)), members=MEMBERS)
    assert reason(check(LIMIT, 500, case(order(), known), rule())) is REFUSED
    assert check(LIMIT, 500, case(order(strategy="other"), known), rule()) is None
    assert check(LIMIT, 100, case(order(), known), rule()) is None


def test_a_replacement_is_no_second_order() -> None:
    known = facts(recent=recent((order(), 1)))
    assert check(LIMIT, 500, case(order(), known, leaves="5000", counted="4000"), rule()) is None


def test_a_window_beyond_what_is_remembered_refuses() -> None:
    known = recent((order(quantity=D(99_999)), 10_000), *((order(quantity=D(n)), 400) for n in range(1, KEPT + 1)))
    refusal = check(LIMIT, 20_000, case(order(price=D(9)), facts(recent=known)), rule())
    assert refusal is not None
    assert (refusal.reason, "set a shorter window" in refusal.text) == (REFUSED, True)
    assert check(LIMIT, 9_999, case(order(price=D(9)), facts(recent=known)), rule()) is None


def test_the_longer_window_is_the_tighter_one() -> None:
    assert LIMIT.bound(1000) < LIMIT.bound(10)
    assert (LIMIT.judges_resting, LIMIT.judges_closing) == (False, False)
