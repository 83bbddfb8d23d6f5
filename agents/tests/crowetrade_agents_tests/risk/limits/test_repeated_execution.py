"""repeatedExecution: one strategy, instrument and side in a window."""

from __future__ import annotations

import pytest

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.limits.limit import Use
from crowetrade_agents.risk.limits.max_order_rate import parse
from crowetrade_agents.risk.limits.repeated_execution import LIMIT, NAME
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.limits.standings import standing
from crowetrade_agents_tests.risk.values import EUR, JPY, NOW, SECOND, D, case, check, held, order, reason, rule, sent

VALUES = {"count": "2", "perSeconds": "10"}
RATE = parse(VALUES)
RULE = rule({NAME: VALUES}, aggregate_total=True)


@pytest.mark.parametrize(
    ("seconds", "admitted"),
    [((9, 5), True), ((9, 5, 0), False), ((11, 5, 0), True), ((), True)],
    ids=["at the limit", "over the limit", "one has left the window", "none"],
)
def test_at_under_and_over_the_limit(seconds: tuple[int, ...], admitted: bool) -> None:
    known = standing(RULE)
    known.standing.buys = sent(*(NOW - ago * SECOND for ago in seconds))
    known.standing.sells = sent(NOW, NOW, NOW, strategy="other")
    assert reason(check(LIMIT, RATE, case(order(), known), RULE)) is (None if admitted else Reason.REPEATED_EXECUTION)
    assert LIMIT.breach is not None
    assert (LIMIT.breach(RATE, known, RULE, "ema") is None) is admitted
    known.exposures = held("10000")
    assert check(LIMIT, RATE, case(order(side=Side.SELL), known), RULE) is None


def test_sides_and_instruments_count_alone() -> None:
    known = standing(RULE)
    known.standing.buys = sent(NOW, NOW)
    known.standing.buys.add("ema", JPY, NOW)
    known.standing.sells = sent(NOW)
    assert LIMIT.breach is not None
    assert LIMIT.breach(RATE, known, RULE, "ema") is None
    assert list(LIMIT.use(RATE, Sums(known), RULE)) == [Use("desk", NAME, f"ema/{EUR}", D(2), D(2))]


def test_symbols_of_the_rule_are_all_that_it_counts() -> None:
    narrow = rule({NAME: VALUES}, symbols=[JPY.symbol])
    known = standing(narrow)
    known.standing.buys = sent(NOW, NOW, NOW)
    assert LIMIT.breach is not None
    assert LIMIT.breach(RATE, known, narrow, "ema") is None
