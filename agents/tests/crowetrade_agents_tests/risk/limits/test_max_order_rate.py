"""maxOrderRate: what is counted, for whom, and counts far above 10,000 (finding G5)."""

from __future__ import annotations

import pytest

from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.limits.limit import Use
from crowetrade_agents.risk.limits.max_order_rate import LIMIT, NAME, Rate, parse
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.windows import MessageWindows
from crowetrade_agents_tests.risk.values import EUR, JPY, NOW, SECOND, D, case, check, facts, order, reason, rule, sent

TWO_A_SECOND = Rate(2, 1, SECOND)
MEMBERS = {"desk": frozenset({"ema", "other", "gone", ""})}


def test_values() -> None:
    assert parse({"count": "1000000", "perSeconds": "86400"}) == Rate(1_000_000, 86_400, 86_400 * SECOND)
    for values in (
        {},
        {"count": "1"},
        {"perSeconds": "1"},
        {"count": "1000001", "perSeconds": "1"},
        {"count": "1", "perSeconds": "86401"},
        {"count": "1", "perSeconds": "0"},
        {"count": "1", "perSeconds": "1", "perMinutes": "1"},
    ):
        with pytest.raises(InvalidLimit):
            parse(values)
    for name, largest in (("count", 1_000_000), ("perSeconds", 86_400)):
        with pytest.raises(InvalidLimit, match=f"^{name} must be a whole number from 1 to {largest}$"):
            parse({"count": "1", "perSeconds": "1"} | {name: "0"})


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ([], None),
        ([NOW], None),
        ([NOW - SECOND + 1, NOW], Reason.MAX_ORDER_RATE),
        ([NOW - SECOND, NOW], None),
        ([NOW - 2, NOW - 1, NOW], Reason.MAX_ORDER_RATE),
    ],
)
def test_at_under_and_over(at: list[int], expected: Reason | None) -> None:
    assert reason(check(LIMIT, TWO_A_SECOND, case(order(), facts(messages=sent(*at))), rule())) is expected


def _windows() -> MessageWindows:
    windows = sent(NOW, strategy="other")
    windows.add("gone", EUR, NOW)
    windows.add("ema", JPY, NOW)
    return windows


def test_alone_and_together() -> None:
    judged = case(order(), facts(messages=_windows(), members=MEMBERS))
    total = rule(aggregate_total=True)
    assert check(LIMIT, Rate(2, 1, SECOND), judged, rule()) is None
    assert check(LIMIT, Rate(4, 1, SECOND), judged, total) is None
    refusal = check(LIMIT, Rate(3, 1, SECOND), judged, total)
    assert refusal is not None
    assert "3 order messages in 1 s" in refusal.text
    assert refusal.risk_limit == "desk"


def test_a_rule_for_symbols_counts_their_messages_alone() -> None:
    judged = case(order(), facts(messages=_windows(), members=MEMBERS))
    euro = rule(symbols=["EUR-USD"], aggregate_total=True)
    assert check(LIMIT, Rate(3, 1, SECOND), judged, euro) is None
    assert reason(check(LIMIT, Rate(2, 1, SECOND), judged, euro)) is Reason.MAX_ORDER_RATE


def test_a_count_above_10_000_is_enforced() -> None:
    rate = parse({"count": "12000", "perSeconds": "86400"})
    windows = sent(*range(NOW, NOW + 11_999))
    judged = case(order(), facts(messages=windows, now_ns=NOW + 80_000 * SECOND))
    assert check(LIMIT, rate, judged, rule()) is None
    windows.add("ema", EUR, NOW + 80_000 * SECOND)
    assert reason(check(LIMIT, rate, judged, rule())) is Reason.MAX_ORDER_RATE


def test_use_is_what_the_check_counts() -> None:
    sums = Sums(facts(messages=_windows(), members=MEMBERS))
    assert list(LIMIT.use(TWO_A_SECOND, sums, rule())) == [
        Use("desk", NAME, "ema", D(1), D(2)),
        Use("desk", NAME, "other", D(1), D(2)),
    ]
    assert list(LIMIT.use(TWO_A_SECOND, sums, rule(aggregate_total=True))) == [Use("desk", NAME, "", D(3), D(2))]
    assert list(LIMIT.use(TWO_A_SECOND, sums, rule(symbols=["USD-JPY"]))) == [Use("desk", NAME, "ema", D(1), D(2))]


def test_a_resting_order_was_sent_before_and_a_closing_one_counts_in_no_window() -> None:
    assert not LIMIT.judges_resting
    assert not LIMIT.judges_closing
