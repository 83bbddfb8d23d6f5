"""priceCollarBps: the worse side of the touch alone, by a quote that is fresh."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_agents.domain.market import Mark
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk.limits.price_collar_bps import LIMIT
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.limits.exposures import unquoted
from crowetrade_agents_tests.risk.values import (
    BOOK,
    EUR,
    NOW,
    SECOND,
    D,
    case,
    check,
    facts,
    market,
    order,
    reason,
    rule,
)

BUY, SELL = Side.BUY, Side.SELL
REFUSED = Reason.PRICE_COLLAR


@pytest.mark.parametrize(
    ("side", "price", "expected"),
    [
        # 50 basis points of the offer 1.1002 are 0.005501, of the bid 1.1000 they are 0.0055.
        (BUY, "1.1057", None),
        (BUY, "1.105701", None),
        (BUY, "1.1057011", REFUSED),
        (BUY, "9", REFUSED),
        (BUY, "0.0001", None),
        (SELL, "1.0945", None),
        (SELL, "1.09449", REFUSED),
        (SELL, "0.0001", REFUSED),
        (SELL, "9", None),
    ],
)
def test_at_under_and_over(side: Side, price: str, expected: Reason | None) -> None:
    refusal = check(LIMIT, D(50), case(order(side=side, price=D(price)), facts()), rule())
    assert reason(refusal) is expected
    if refusal is not None:
        touch = "above the offer 1.1002" if side is BUY else "below the bid 1.1"
        assert touch in refusal.text


def test_a_collar_of_nothing_is_the_touch() -> None:
    assert check(LIMIT, D(0), case(order(price=D("1.1002")), facts()), rule()) is None
    assert reason(check(LIMIT, D(0), case(order(price=D("1.1003")), facts()), rule())) is REFUSED


def test_a_replacement_is_judged_by_its_new_price() -> None:
    judged = case(order(price=D("1.2")), facts(), leaves="5000", counted="5000")
    assert reason(check(LIMIT, D(50), judged, rule())) is REFUSED


@pytest.mark.parametrize("terms", [order(), market(BUY, "5000"), market(SELL, "5000")])
@pytest.mark.parametrize("what", ["missing", "NaN", "crossed", "of another instrument"])
def test_without_a_usable_quote_it_refuses(what: str, terms: Any) -> None:
    judged = case(terms, facts(marks=unquoted(EUR)[what]))
    assert reason(check(LIMIT, D(10_000), judged, rule())) is Reason.MISSING_MARKET_DATA


@pytest.mark.parametrize("terms", [order(), market(BUY, "5000")])
@pytest.mark.parametrize(
    ("age_ns", "seconds", "expected"),
    [
        (60 * SECOND, "", None),
        (60 * SECOND + 1, "", Reason.STALE_MARKET_DATA),
        (2 * SECOND, "2", None),
        (2 * SECOND + 1, "2", Reason.STALE_MARKET_DATA),
        (90 * SECOND, "90.5", None),
        (-1, "", Reason.STALE_MARKET_DATA),
    ],
)
def test_the_reference_has_an_age(age_ns: int, seconds: str, expected: Reason | None, terms: Any) -> None:
    limits = {"priceCollarBps": {"value": "50"}} | ({"maxDataAgeSeconds": {"value": seconds}} if seconds else {})
    judged = case(terms, facts(marks={EUR: Mark(BOOK._replace(), NOW - age_ns)}))
    assert reason(check(LIMIT, D(50), judged, rule(limits))) is expected


def test_it_judges_what_is_sent_by_a_strategy() -> None:
    assert (LIMIT.judges_resting, LIMIT.judges_closing) == (False, False)
