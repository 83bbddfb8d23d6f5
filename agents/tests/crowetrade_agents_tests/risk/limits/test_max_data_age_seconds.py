"""maxDataAgeSeconds: at, under and over, and a quote that is none."""

from __future__ import annotations

import pytest

from crowetrade_agents.domain.market import Mark
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk.limits.max_data_age_seconds import LIMIT, parse
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.limits.exposures import unquoted
from crowetrade_agents_tests.risk.values import BOOK, EUR, NOW, SECOND, case, check, facts, market, order, reason, rule


def test_values() -> None:
    assert parse({"value": "0.25"}) == SECOND // 4
    for values in ({}, {"value": "0"}, {"value": "-1"}, {"value": "NaN"}, {"value": "1e3"}):
        with pytest.raises(InvalidLimit):
            parse(values)


@pytest.mark.parametrize("terms", [order(), order(side=Side.SELL), market(Side.BUY, "5000")])
@pytest.mark.parametrize(
    ("age_ns", "expected"),
    [
        (0, None),
        (2 * SECOND - 1, None),
        (2 * SECOND, None),
        (2 * SECOND + 1, Reason.STALE_MARKET_DATA),
        (-1, Reason.STALE_MARKET_DATA),
    ],
)
def test_at_under_and_over(age_ns: int, expected: Reason | None, terms: object) -> None:
    judged = case(terms, facts(marks={EUR: Mark(BOOK, NOW - age_ns)}))  # type: ignore[arg-type]
    assert reason(check(LIMIT, 2 * SECOND, judged, rule())) is expected


@pytest.mark.parametrize("what", ["missing", "NaN", "crossed", "of another instrument"])
def test_without_a_usable_quote_it_refuses(what: str) -> None:
    judged = case(order(), facts(marks=unquoted(EUR)[what]))
    assert reason(check(LIMIT, 10**18, judged, rule())) is Reason.MISSING_MARKET_DATA


def test_the_text_names_both_ages_and_the_resource() -> None:
    judged = case(order(), facts(marks={EUR: Mark(BOOK, NOW - 5 * SECOND // 2)}))
    refusal = check(LIMIT, 2 * SECOND, judged, rule())
    assert refusal is not None
    assert "is 2.5 s old, and maxDataAgeSeconds of desk takes one of at most 2 s" in refusal.text
    assert refusal.risk_limit == "desk"


def test_it_judges_what_is_sent_by_a_strategy() -> None:
    assert (LIMIT.judges_resting, LIMIT.judges_closing) == (False, False)
