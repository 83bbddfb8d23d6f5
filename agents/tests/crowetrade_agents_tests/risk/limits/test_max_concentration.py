"""maxConcentration: one instrument as a share of capital."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.limits.limit import Use
from crowetrade_agents.risk.limits.max_concentration import LIMIT, NAME
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.limits.exposures import CAPITAL, MEMBERS, TOGETHER, exposure, old_rate, unquoted
from crowetrade_agents_tests.risk.values import EUR, JPY, D, case, check, facts, order, reason, rule

TICK = D("0.000000000001")
REFUSED = Reason.MAX_CONCENTRATION


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(
    ("held", "share"),
    [
        ({}, "0.55005"),
        ({("ema", EUR): exposure("0", "1000", "1000")}, "0.66006"),
        ({("ema", JPY): exposure("900")}, "0.55005"),
        ({("other", EUR): exposure("9000")}, "0.55005"),
    ],
)
def test_at_under_and_over(side: Side, held: Any, share: str) -> None:
    """5,000 EUR-USD of a capital of 10,000 USD."""
    judged = case(order(side=side), facts(exposures=held, capital=CAPITAL))
    assert check(LIMIT, D(share) + TICK, judged, rule()) is None
    assert check(LIMIT, D(share), judged, rule()) is None
    assert reason(check(LIMIT, D(share) - TICK, judged, rule())) is REFUSED


def test_together_the_capital_of_all_bound_counts() -> None:
    """14,000 EUR-USD with the order, of 10,000 USD and 3,200,000 JPY."""
    judged = case(order(), facts(exposures=TOGETHER, members=MEMBERS, capital=CAPITAL))
    total = rule(aggregate_total=True)
    share = D("15401.4") / 30_000
    assert check(LIMIT, share, judged, total) is None
    assert reason(check(LIMIT, share - TICK, judged, total)) is REFUSED


@pytest.mark.parametrize(("leaves", "expected"), [("6000", None), ("6001", REFUSED)])
def test_a_replaced_order_does_not_count_twice(leaves: str, expected: Reason | None) -> None:
    known = facts(exposures={("ema", EUR): exposure(buy="7000", orders=2)}, capital=CAPITAL)
    judged = case(order(), known, leaves=leaves, counted="4000")
    assert reason(check(LIMIT, D("0.99009"), judged, rule())) is expected


CAPITALS: dict[str, Any] = {
    "of nobody": {},
    "of another strategy": {"other": CAPITAL["other"]},
    "NaN": {"ema": Money(D("NaN"), "USD")},
    "infinite": {"ema": Money(D("Infinity"), "USD")},
    "zero": {"ema": Money(D(0), "USD")},
}


@pytest.mark.parametrize("total", [False, True])
@pytest.mark.parametrize("what", CAPITALS)
def test_without_the_capital_it_refuses_all_but_what_reduces(what: str, total: bool) -> None:
    known = facts(exposures={("ema", EUR): exposure("9000")}, capital=CAPITALS[what])
    limited = rule(aggregate_total=total)
    assert reason(check(LIMIT, D(1), case(order(), known), limited)) is Reason.MISSING_CAPITAL
    assert check(LIMIT, D(1), case(order(side=Side.SELL), known), limited) is None


def test_capital_in_another_currency_needs_a_rate() -> None:
    known = old_rate(61, capital=CAPITAL)
    assert reason(check(LIMIT, D(1), case(order(strategy="other"), known), rule())) is Reason.MISSING_EXCHANGE_RATE
    assert check(LIMIT, D(1), case(order(strategy="other"), facts(capital=CAPITAL)), rule()) is None


def test_without_a_quote_it_refuses() -> None:
    known = facts(marks=unquoted(EUR)["missing"], capital=CAPITAL)
    assert reason(check(LIMIT, D(1), case(order(), known), rule())) is Reason.MISSING_MARK


def test_what_is_above_the_limit_may_come_down() -> None:
    known = facts(exposures={("ema", EUR): exposure("50000")}, capital=CAPITAL)
    for side, quantity, expected in (
        (Side.SELL, "5000", None),
        (Side.SELL, "90000", REFUSED),
        (Side.BUY, "2000", REFUSED),
    ):
        judged = case(order(side=side, quantity=D(quantity)), known)
        assert reason(check(LIMIT, D("0.5"), judged, rule())) is expected


def test_use_is_a_share() -> None:
    known = facts(exposures=TOGETHER, members=MEMBERS, capital=CAPITAL)
    assert list(LIMIT.use(D("0.5"), Sums(known), rule())) == [
        Use("desk", NAME, "ema/sim-fx/EUR-USD", D("0.66006"), D("0.5")),
        Use("desk", NAME, "other/sim-fx/EUR-USD", D("0.33003"), D("0.5")),
    ]
    together = list(LIMIT.use(D("0.5"), Sums(known), rule(aggregate_total=True)))
    assert [(use.key, round(use.used, 6)) for use in together] == [
        ("sim-fx/EUR-USD", D("0.33003")),
        ("sim-fx/USD-JPY", D("0.033333")),
    ]
    assert list(LIMIT.use(D(1), Sums(facts(exposures=TOGETHER)), rule())) == []
