"""maxConsecutiveRejects: at, under and over, alone and together."""

from __future__ import annotations

import pytest

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.limits.limit import Use
from crowetrade_agents.risk.limits.max_consecutive_rejects import LIMIT, NAME, parse
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.standing import Tally
from crowetrade_agents_tests.risk.limits.standings import standing
from crowetrade_agents_tests.risk.values import D, case, check, held, only_limit, order, reason

RULE, TOTAL = only_limit(NAME, "3"), only_limit(NAME, "3", aggregate_total=True)


@pytest.mark.parametrize(("rejects", "admitted"), [(0, True), (3, True), (4, False)])
def test_at_under_and_over_the_limit(rejects: int, admitted: bool) -> None:
    known = standing(RULE, ema=Tally(rejects=rejects), other=Tally(rejects=9))
    assert reason(check(LIMIT, 3, case(order(), known), RULE)) is (None if admitted else Reason.MAX_CONSECUTIVE_REJECTS)
    known.exposures = held("10000")
    assert check(LIMIT, 3, case(order(side=Side.SELL), known), RULE) is None


@pytest.mark.parametrize(("others", "admitted"), [(1, True), (2, False)])
def test_together_they_are_added(others: int, admitted: bool) -> None:
    known = standing(TOTAL, ema=Tally(rejects=2), other=Tally(rejects=others))
    assert reason(check(LIMIT, 3, case(order(), known), TOTAL)) is (
        None if admitted else Reason.MAX_CONSECUTIVE_REJECTS
    )


def test_use() -> None:
    known = standing(RULE, ema=Tally(rejects=2))
    assert list(LIMIT.use(3, Sums(known), RULE)) == [Use("desk", NAME, "ema", D(2), D(3))]


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1000001", "many"])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(InvalidLimit):
        parse({"value": text})
