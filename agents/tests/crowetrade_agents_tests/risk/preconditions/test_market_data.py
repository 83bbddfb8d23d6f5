"""Quotes that are missing, unusable, another instrument's, or of a session that is silent (findings G14, G22)."""

from __future__ import annotations

import pytest

from crowetrade_agents.domain.market import MAX_FEED_SILENCE_NS, Mark, TopOfBook
from crowetrade_agents.risk.preconditions.market_data import check, check_known
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.values import BOOK, EUR, JPY, NOW, SECOND, D, facts, new, order, reason

PROPOSAL = new(order())
UNUSABLE: dict[str, TopOfBook] = {
    "crossed": BOOK._replace(bid_price=D("1.2")),
    "bid 0": BOOK._replace(bid_price=D(0)),
    "negative": BOOK._replace(bid_price=D(-1), ask_price=D(-1)),
    "bid NaN": BOOK._replace(bid_price=D("NaN")),
    "ask NaN": BOOK._replace(ask_price=D("NaN")),
    "infinite": BOOK._replace(ask_price=D("Infinity")),
    "another instrument's": BOOK._replace(instrument=JPY),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_unusable(what: str) -> None:
    known = facts(marks={EUR: Mark(UNUSABLE[what], NOW)})
    for judged in (check, check_known):
        assert reason(judged(PROPOSAL, known)) is Reason.MISSING_MARKET_DATA


def test_missing() -> None:
    for judged in (check, check_known):
        refusal = judged(PROPOSAL, facts(marks={}))
        assert reason(refusal) is Reason.MISSING_MARKET_DATA
        assert refusal is not None
        assert "has not arrived yet" in refusal.text


def test_locked_is_usable() -> None:
    assert check(PROPOSAL, facts(marks={EUR: Mark(BOOK._replace(ask_price=BOOK.bid_price), NOW)})) is None


@pytest.mark.parametrize(
    ("alive_ns", "expected"),
    [
        (NOW, None),
        (NOW - MAX_FEED_SILENCE_NS, None),
        (NOW - MAX_FEED_SILENCE_NS - 1, Reason.STALE_MARKET_DATA),
        (0, Reason.STALE_MARKET_DATA),
        (NOW + SECOND, None),
        (NOW + 3_600 * SECOND, Reason.STALE_MARKET_DATA),
    ],
)
def test_a_silent_session(alive_ns: int, expected: Reason | None) -> None:
    known = facts(feed_alive_ns=alive_ns)
    assert reason(check(PROPOSAL, known)) is expected
    assert check_known(PROPOSAL, known) is None


def test_a_quote_is_good_while_its_session_is_alive() -> None:
    day = 86_400 * SECOND
    assert check(PROPOSAL, facts(marks={EUR: Mark(BOOK._replace(event_ns=NOW - day), NOW - day)})) is None
