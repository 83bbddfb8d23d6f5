"""maxOrderQuantity: at, under and over."""

from __future__ import annotations

import pytest

from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.limits.max_order_quantity import LIMIT
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.values import D, case, check, facts, order, reason, rule


@pytest.mark.parametrize(
    ("quantity", "limit", "expected"),
    [
        ("9999", "10000", None),
        ("10000", "10000", None),
        ("10000.000000000000000001", "10000", Reason.MAX_ORDER_QUANTITY),
        ("1", "0", Reason.MAX_ORDER_QUANTITY),
        ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678", None),
        (
            "12345678901234567890.123456789012345679",
            "12345678901234567890.123456789012345678",
            Reason.MAX_ORDER_QUANTITY,
        ),
    ],
)
def test_quantity(quantity: str, limit: str, expected: Reason | None) -> None:
    assert reason(check(LIMIT, D(limit), case(order(quantity=D(quantity)), facts()), rule())) is expected


def test_a_replacement_counts_what_is_executed_already() -> None:
    replacement = case(order(quantity=D(11_000)), facts(), leaves="1000", counted="5000")
    refusal = check(LIMIT, D(10_000), replacement, rule())
    assert refusal is not None
    assert refusal.risk_limit == "desk"
    assert "11000 is above maxOrderQuantity 10000 of desk" in refusal.text


def test_the_largest_slice_is_the_limit_and_nothing_accumulates() -> None:
    assert LIMIT.admissible(D(10_000), case(order(), facts()), rule()) == D(10_000)
    assert list(LIMIT.use(D(10_000), Sums(facts()), rule())) == []
