"""maxNetNotional: long minus short, working orders of one side counted, alone and together."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.limits.limit import Use
from crowetrade_agents.risk.limits.max_net_notional import LIMIT, NAME
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.limits.exposures import MEMBERS, TOGETHER, Held, exposure, old_rate, unquoted
from crowetrade_agents_tests.risk.values import EUR, JPY, D, case, check, counted, facts, order, reason, rule

TICK = D("0.00000001")
REFUSED = Reason.MAX_NET_NOTIONAL


class Row(NamedTuple):
    """What ema holds, the side of an order of 5,000 EUR-USD, and the net on that side with it, in USD."""

    held: Held
    side: Side
    net: str


ROWS: dict[str, Row] = {
    "nothing held": Row({}, Side.BUY, "5500.5"),
    "nothing held, sold": Row({}, Side.SELL, "-5500.5"),
    "long, more of it": Row({("ema", EUR): exposure("1000")}, Side.BUY, "6600.6"),
    "working sells do not count for a buy": Row({("ema", EUR): exposure("0", "1000", "9000")}, Side.BUY, "6600.6"),
    "working buys do not count for a sell": Row({("ema", EUR): exposure("0", "9000", "1000")}, Side.SELL, "-6600.6"),
    "opposite positions cancel out": Row({("ema", JPY): exposure("-100")}, Side.BUY, "4500.5"),
    "the same way they add up": Row({("ema", JPY): exposure("-100")}, Side.SELL, "-6500.5"),
    "working orders elsewhere count on that side": Row({("ema", JPY): exposure("0", "50", "100")}, Side.BUY, "6000.5"),
    "a buy that only comes down": Row({("ema", JPY): exposure("-1000")}, Side.BUY, "-4499.5"),
    "others do not count": Row({("other", EUR): exposure("90000")}, Side.BUY, "5500.5"),
}


@pytest.mark.parametrize("what", ROWS)
def test_at_under_and_over(what: str) -> None:
    row = ROWS[what]
    judged = case(order(side=row.side), facts(exposures=row.held))
    net = D(row.net)
    assert judged.net(counted(judged, rule()), D(5000)) == net
    assert check(LIMIT, abs(net) + TICK, judged, rule()) is None
    assert check(LIMIT, abs(net), judged, rule()) is None
    comes_down = (net < 0) is (row.side is Side.BUY)
    assert reason(check(LIMIT, abs(net) - TICK, judged, rule())) is (None if comes_down else REFUSED)


def test_what_is_beyond_the_limit_may_come_down_and_not_flip() -> None:
    known = facts(exposures={("ema", JPY): exposure("5000")})  # 50,000 USD
    for side, quantity, expected in (
        (Side.SELL, "10000", None),
        (Side.SELL, "45000", None),
        (Side.SELL, "100000", REFUSED),
        (Side.BUY, "2000", REFUSED),
    ):
        judged = case(order(side=side, quantity=D(quantity)), known)
        assert reason(check(LIMIT, D(10_000), judged, rule())) is expected, (side, quantity)


def test_an_order_that_reduces_its_position_and_opens_the_net_is_refused() -> None:
    """Long 1,000 USD-JPY and short 8,000 EUR-USD: 10,000 - 8,800.8. The short leg hedges the long one."""
    known = facts(exposures={("ema", JPY): exposure("1000"), ("ema", EUR): exposure("-8000")})
    assert reason(check(LIMIT, D(2_000), case(order(), known), rule())) is REFUSED
    assert not LIMIT.judges_closing


def test_together() -> None:
    """14,000 EUR-USD with the order and 100 USD-JPY of the suspense account."""
    judged = case(order(), facts(exposures=TOGETHER, members=MEMBERS))
    total = rule(aggregate_total=True)
    assert check(LIMIT, D("16401.4"), judged, total) is None
    assert reason(check(LIMIT, D("16401.4") - TICK, judged, total)) is REFUSED


@pytest.mark.parametrize(("leaves", "expected"), [("6000", None), ("6001", REFUSED)])
def test_a_replaced_order_does_not_count_twice(leaves: str, expected: Reason | None) -> None:
    known = facts(exposures={("ema", EUR): exposure(buy="11000", orders=3)})
    judged = case(order(), known, leaves=leaves, counted="4000")
    assert reason(check(LIMIT, D("14301.3"), judged, rule())) is expected


@pytest.mark.parametrize("what", ["missing", "NaN", "crossed", "of another instrument"])
def test_what_cannot_be_valued_refuses_all_but_what_reduces(what: str) -> None:
    known = facts(exposures={("ema", EUR): exposure("9000"), ("ema", JPY): exposure("1")}, marks=unquoted(JPY)[what])
    assert reason(check(LIMIT, D(10**12), case(order(), known), rule())) is Reason.MISSING_MARK
    assert check(LIMIT, D(0), case(order(side=Side.SELL), known), rule()) is None


def test_without_a_rate_it_refuses() -> None:
    known = old_rate(61, exposures={("ema", JPY): exposure("1")})
    assert reason(check(LIMIT, D(10**12), case(order(), known), rule())) is Reason.MISSING_EXCHANGE_RATE


def test_use_is_the_worse_side() -> None:
    known = facts(exposures=TOGETHER, members=MEMBERS)
    assert list(LIMIT.use(D(50_000), Sums(known), rule())) == [
        Use("desk", NAME, "ema", D("6600.6"), D(50_000)),
        Use("desk", NAME, "other", D("6600.6"), D(50_000)),
    ]
    assert list(LIMIT.use(D(50_000), Sums(known), rule(aggregate_total=True))) == [
        Use("desk", NAME, "", D("10900.9"), D(50_000))
    ]
    short = facts(exposures={("ema", EUR): exposure("1000", sell="3000")})
    assert [use.used for use in LIMIT.use(D(1), Sums(short), rule())] == [D("2200.2")]
