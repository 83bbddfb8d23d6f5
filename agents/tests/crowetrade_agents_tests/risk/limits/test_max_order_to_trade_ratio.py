"""maxOrderToTradeRatio: messages for each execution of the trading day, from the hundredth message on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.limits.limit import Use
from crowetrade_agents.risk.limits.max_order_to_trade_ratio import JUDGED_FROM, LIMIT, NAME, Traffic
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.standing import Baseline, Tally
from crowetrade_agents_tests.risk.limits.standings import standing
from crowetrade_agents_tests.risk.values import D, case, check, held, only_limit, order, reason

RULE, TOTAL = only_limit(NAME, "50"), only_limit(NAME, "50", aggregate_total=True)
BEFORE = Baseline("2023-11-14", D(0), D(0), messages=1000, executions=20)


@pytest.mark.parametrize(
    ("messages", "executions", "admitted"),
    [(99, 0, True), (100, 0, False), (100, 1, False), (100, 2, True), (150, 3, True), (151, 3, False)],
)
def test_at_under_and_over_the_limit(messages: int, executions: int, admitted: bool) -> None:
    known = standing(RULE, baseline=BEFORE, ema=Tally(1000 + messages, 20 + executions))
    assert reason(check(LIMIT, D(50), case(order(), known), RULE)) is (
        None if admitted else Reason.MAX_ORDER_TO_TRADE_RATIO
    )
    known.exposures = held("10000")
    assert check(LIMIT, D(50), case(order(side=Side.SELL), known), RULE) is None


def test_together_messages_and_executions_are_added() -> None:
    known = standing(TOTAL, baseline=Baseline("2023-11-14"), ema=Tally(200, 0), other=Tally(0, 4))
    assert check(LIMIT, D(50), case(order(), known), TOTAL) is None
    assert list(LIMIT.use(D(50), Sums(known), TOTAL)) == [Use("desk", NAME, "", D(50), D(50))]


def test_without_a_day_nothing_is_known() -> None:
    known = standing(RULE, baseline=Baseline())
    assert reason(check(LIMIT, D(50), case(order(), known), RULE)) is Reason.MAX_ORDER_TO_TRADE_RATIO
    assert list(LIMIT.use(D(50), Sums(known), RULE)) == []


@pytest.mark.parametrize(
    ("messages", "executions", "admitted"),
    [(24, 0, True), (25, 0, False), (49, 1, True), (50, 1, True), (51, 1, False), (100, 2, True), (101, 2, False)],
)
def test_at_one_of_four_gateways(messages: int, executions: int, admitted: bool) -> None:
    rule = only_limit(NAME, "50", aggregate_total=True, gateways=["a", "b", "c", "d"])
    known = standing(rule, baseline=BEFORE, ema=Tally(1000 + messages, 20 + executions))
    assert reason(check(LIMIT, D(50), case(order(), known), rule)) is (
        None if admitted else Reason.MAX_ORDER_TO_TRADE_RATIO
    )


@given(
    st.integers(1, 300),
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 20)), min_size=1, max_size=8),
)
def test_gateways_together_are_not_above_the_ratio(most: int, done: list[tuple[int, int]]) -> None:
    """But for what is free: messages before the hundredth, and one execution."""
    within = [item for item in done if not Traffic(*item, len(done)).is_above(D(most))]
    messages, executions = (sum(column) for column in zip(*within, strict=True)) if within else (0, 0)
    assert messages <= most * (executions + 1) + JUDGED_FROM
    judged = [item for item in within if item[1] and Traffic(*item, len(done)).is_judged]
    assert sum(item[0] for item in judged) <= most * sum(item[1] for item in judged)
