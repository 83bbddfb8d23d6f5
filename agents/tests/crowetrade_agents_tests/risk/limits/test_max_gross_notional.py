"""maxGrossNotional: the worse side of each instrument in the rule's currency, alone and together."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.limits.limit import Use
from crowetrade_agents.risk.limits.max_gross_notional import LIMIT, NAME
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.limits.exposures import MEMBERS, TOGETHER, Held, exposure, old_rate, unquoted
from crowetrade_agents_tests.risk.values import EUR, JPY, D, case, check, counted, facts, order, reason, rule

TICK = D("0.00000001")
REFUSED = Reason.MAX_GROSS_NOTIONAL


class Row(NamedTuple):
    """What ema holds, an order of 5,000 EUR-USD, and the gross notional with it in USD."""

    held: Held
    side: Side
    gross: str


ROWS: dict[str, Row] = {
    "nothing held": Row({}, Side.BUY, "5500.5"),
    "nothing held, sold": Row({}, Side.SELL, "5500.5"),
    "long, more of it": Row({("ema", EUR): exposure("1000")}, Side.BUY, "6600.6"),
    "short, more of it": Row({("ema", EUR): exposure("-1000")}, Side.SELL, "6600.6"),
    "working buys and sells: the worse side": Row({("ema", EUR): exposure("0", "2000", "3000")}, Side.SELL, "8800.8"),
    "a buy beside larger sells adds nothing": Row({("ema", EUR): exposure("0", "0", "9000")}, Side.BUY, "9900.9"),
    "another instrument in another currency": Row({("ema", JPY): exposure("-100")}, Side.BUY, "6500.5"),
    "opposite positions do not cancel out": Row(
        {("ema", EUR): exposure("-1000"), ("ema", JPY): exposure("100")}, Side.SELL, "7600.6"
    ),
    "others do not count": Row({("other", EUR): exposure("90000"), ("", JPY): exposure("9")}, Side.BUY, "5500.5"),
}


@pytest.mark.parametrize("what", ROWS)
def test_at_under_and_over(what: str) -> None:
    row = ROWS[what]
    judged = case(order(side=row.side), facts(exposures=row.held))
    assert judged.gross(counted(judged, rule())) == D(row.gross)
    assert check(LIMIT, D(row.gross) + TICK, judged, rule()) is None
    assert check(LIMIT, D(row.gross), judged, rule()) is None
    assert reason(check(LIMIT, D(row.gross) - TICK, judged, rule())) is REFUSED


@pytest.mark.parametrize(
    ("currency", "gross"),
    # 6,000 + 5,000 + 1,000 - 3,000 and 5,000 bought are 14,000 EUR-USD; and 1,000 USD in USD-JPY.
    [("USD", "16401.4"), ("JPY", "2624224")],
)
def test_together_nets_the_account_in_each_instrument(currency: str, gross: str) -> None:
    """Members who are deleted and the suspense account count, strangers do not."""
    judged = case(order(), facts(exposures=TOGETHER, members=MEMBERS))
    total = rule(aggregate_total=True, currency=currency)
    assert check(LIMIT, D(gross), judged, total) is None
    assert reason(check(LIMIT, D(gross) - TICK, judged, total)) is REFUSED


def test_a_rule_for_symbols_counts_them_alone() -> None:
    judged = case(order(), facts(exposures={("ema", JPY): exposure("100")}))
    assert check(LIMIT, D("5500.5"), judged, rule(symbols=["EUR-USD"])) is None


@pytest.mark.parametrize(("leaves", "expected"), [("6000", None), ("6001", REFUSED)])
def test_a_replaced_order_does_not_count_twice(leaves: str, expected: Reason | None) -> None:
    """11,000 work: 4,000 of it is the order that shall have 6,000 open."""
    known = facts(exposures={("ema", EUR): exposure(buy="11000", orders=3)})
    judged = case(order(), known, leaves=leaves, counted="4000")
    assert reason(check(LIMIT, D("14301.3"), judged, rule())) is expected


def test_what_is_above_the_limit_may_come_down_and_not_flip() -> None:
    known = facts(exposures={("ema", EUR): exposure("50000")})
    for quantity, expected in (("5000", None), ("50000", None), ("80000", REFUSED)):
        judged = case(order(side=Side.SELL, quantity=D(quantity)), known)
        assert reason(check(LIMIT, D(10_000), judged, rule())) is expected
    assert reason(check(LIMIT, D(10_000), case(order(quantity=D(2000)), known), rule())) is REFUSED


@pytest.mark.parametrize("instrument", [EUR, JPY])
@pytest.mark.parametrize("what", ["missing", "NaN", "crossed", "of another instrument"])
def test_what_cannot_be_valued_refuses_all_but_what_reduces(what: str, instrument: Any) -> None:
    known = facts(
        exposures={("ema", EUR): exposure("9000"), ("ema", JPY): exposure("1")}, marks=unquoted(instrument)[what]
    )
    refusal = check(LIMIT, D(10**12), case(order(), known), rule())
    assert refusal is not None
    # Without a quote of USD-JPY there is no rate either, but what is held of it comes first.
    assert (refusal.reason, str(instrument) in refusal.text) == (Reason.MISSING_MARK, True)
    assert check(LIMIT, D(0), case(order(side=Side.SELL), known), rule()) is None


def test_an_instrument_that_is_listed_no_more_cannot_be_valued() -> None:
    known = facts(exposures={("ema", JPY): exposure("1")}, instruments={EUR: facts().instruments[EUR]})
    assert reason(check(LIMIT, D(10**12), case(order(), known), rule())) is Reason.MISSING_MARK


@pytest.mark.parametrize("position", ["NaN", "Infinity"])
def test_a_position_that_is_no_number_cannot_be_valued(position: str) -> None:
    known = facts(exposures={("ema", JPY): exposure(position)})
    assert reason(check(LIMIT, D(10**12), case(order(), known), rule())) is Reason.MISSING_MARK


@pytest.mark.parametrize(
    ("seconds", "limits", "expected"),
    [
        (60, {}, None),
        (61, {}, Reason.MISSING_EXCHANGE_RATE),
        (-1, {}, Reason.MISSING_EXCHANGE_RATE),
        (2, {"maxDataAgeSeconds": {"value": "2"}}, None),
        (3, {"maxDataAgeSeconds": {"value": "2"}}, Reason.MISSING_EXCHANGE_RATE),
        (600, {"maxDataAgeSeconds": {"value": "600"}}, None),
    ],
)
def test_a_rate_of_exchange_has_an_age(seconds: int, limits: dict[str, Any], expected: Reason | None) -> None:
    known = old_rate(seconds, exposures={("ema", JPY): exposure("1")})
    refusal = check(LIMIT, D(10**12), case(order(), known), rule({NAME: {"value": "1"}} | limits))
    assert reason(refusal) is expected
    if refusal is not None:
        assert "baseCurrency JPY and currency USD" in refusal.text


def test_use_is_what_the_check_counts() -> None:
    known = facts(exposures=TOGETHER, members=MEMBERS)
    assert list(LIMIT.use(D(50_000), Sums(known), rule())) == [
        Use("desk", NAME, "ema", D("6600.6"), D(50_000)),
        Use("desk", NAME, "other", D("6600.6"), D(50_000)),
    ]
    assert list(LIMIT.use(D(50_000), Sums(known), rule(aggregate_total=True))) == [
        Use("desk", NAME, "", D("10900.9"), D(50_000))
    ]
    assert list(LIMIT.use(D(1), Sums(facts()), rule())) == []
    assert (
        list(LIMIT.use(D(1), Sums(old_rate(61, exposures=TOGETHER, members=MEMBERS)), rule(aggregate_total=True))) == []
    )


def test_it_does_not_stop_closing_orders_and_ends_resting_ones() -> None:
    assert (LIMIT.judges_closing, LIMIT.judges_resting) == (False, True)
