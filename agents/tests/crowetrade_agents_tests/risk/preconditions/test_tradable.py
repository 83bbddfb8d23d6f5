"""In what a strategy does not trade its orders only reduce."""

from __future__ import annotations

import pytest

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk.preconditions.tradable import check
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.values import EUR, JPY, facts, held, market, new, order, reason

OPENING = new(order())
REDUCING = new(market(Side.SELL, "5000"))
FLIPPING = new(market(Side.SELL, "6000"))
TRADES = {
    "it": (facts(tradable={"ema": frozenset({EUR.symbol})}, exposures=held("5000")), True),
    "another instrument": (facts(tradable={"ema": frozenset({JPY.symbol})}, exposures=held("5000")), False),
    "nothing": (facts(tradable={"ema": frozenset()}, exposures=held("5000")), False),
    "what nobody has said": (facts(tradable={}, exposures=held("5000")), False),
    "what another strategy trades": (facts(tradable={"other": frozenset({EUR.symbol})}, exposures=held("5000")), False),
}


@pytest.mark.parametrize("what", TRADES)
def test_a_strategy_that_trades(what: str) -> None:
    known, opens = TRADES[what]
    assert [check(item, known) is None for item in (OPENING, REDUCING, FLIPPING)] == [opens, True, opens]


def test_the_refusal_names_the_instrument() -> None:
    refusal = check(OPENING, facts(tradable={}))
    assert reason(refusal) is Reason.CLOSE_ONLY
    assert refusal is not None
    assert "does not name sim-fx/EUR-USD" in refusal.text
