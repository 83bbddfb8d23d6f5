"""tradingHours: sessions of real calendars, early closes and breaks included."""

from __future__ import annotations

from datetime import datetime

import pytest

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk.limits.trading_hours import LIMIT, parse
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.values import case, check, facts, held, order, reason, rule

REFUSED = Reason.OUTSIDE_TRADING_HOURS


def ns(text: str) -> int:
    """A time in UTC."""
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp()) * 1_000_000_000


def test_values() -> None:
    assert parse({"calendar": "24x7"}).name == "24x7"
    assert parse({"calendar": "XNYS"}) is parse({"calendar": "XNYS"})
    for values in ({}, {"calendar": "XXXX"}, {"calendar": ""}, {"value": "XNYS"}):
        with pytest.raises(InvalidLimit):
            parse(values)


@pytest.mark.parametrize(
    ("calendar", "at", "is_open"),
    [
        ("24x7", "2026-12-25T12:00:00", True),
        # New York: 14:30 to 21:00 UTC in winter, 13:30 to 20:00 in summer.
        ("XNYS", "2026-01-05T14:29:59", False),
        ("XNYS", "2026-01-05T14:30:00", True),
        ("XNYS", "2026-01-05T20:59:59", True),
        ("XNYS", "2026-01-05T21:00:00", False),
        ("XNYS", "2026-07-06T13:30:00", True),
        ("XNYS", "2026-07-06T20:00:00", False),
        # A Saturday, a holiday, and the day after Thanksgiving, which closes at 18:00 UTC.
        ("XNYS", "2026-01-03T15:00:00", False),
        ("XNYS", "2026-12-25T15:00:00", False),
        ("XNYS", "2026-11-27T17:59:59", True),
        ("XNYS", "2026-11-27T18:00:00", False),
        # Hong Kong: 01:30 to 08:00 UTC with a break from 04:00 to 05:00.
        ("XHKG", "2026-01-05T03:59:59", True),
        ("XHKG", "2026-01-05T04:00:00", False),
        ("XHKG", "2026-01-05T05:00:00", True),
        # Years that lie far from each other, and one that the library knows nothing of.
        ("XNYS", "2012-01-04T15:00:00", True),
        ("XHKG", "1950-01-05T03:00:00", False),
    ],
)
def test_open_and_closed(calendar: str, at: str, is_open: bool) -> None:
    judged = case(order(), facts(now_ns=ns(at)))
    refusal = check(LIMIT, parse({"calendar": calendar}), judged, rule())
    assert reason(refusal) is (None if is_open else REFUSED)
    if refusal is not None:
        assert f"{calendar} is closed (tradingHours of desk)" in refusal.text


@pytest.mark.parametrize(("side", "expected"), [(Side.BUY, REFUSED), (Side.SELL, None)])
def test_what_only_reduces_may_leave(side: Side, expected: Reason | None) -> None:
    closed = facts(now_ns=ns("2026-01-03T15:00:00"), exposures=held("5000"))
    assert reason(check(LIMIT, parse({"calendar": "XNYS"}), case(order(side=side), closed), rule())) is expected


def test_it_judges_what_is_sent_by_a_strategy() -> None:
    assert (LIMIT.judges_resting, LIMIT.judges_closing) == (False, False)
