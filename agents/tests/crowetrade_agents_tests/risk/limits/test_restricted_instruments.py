"""restrictedInstruments: nothing but what reduces."""

from __future__ import annotations

import pytest

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk import gate
from crowetrade_agents.risk.facts import Proposal
from crowetrade_agents.risk.limits.restricted_instruments import LIMIT, parse
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents_tests.risk.values import D, case, check, facts, held, only_limit, order, reason, rule, rules

REFUSED = Reason.RESTRICTED_INSTRUMENT
EURO = frozenset({"EUR-USD"})


def test_values() -> None:
    assert parse({"value": "EUR-USD,BTC/USD"}) == frozenset({"EUR-USD", "BTC/USD"})
    assert parse({"value": ""}) == frozenset()
    with pytest.raises(InvalidLimit):
        parse({})


@pytest.mark.parametrize(
    ("position", "side", "expected"),
    [
        ("0", Side.BUY, REFUSED),
        ("0", Side.SELL, REFUSED),
        ("5000", Side.BUY, REFUSED),
        ("5000", Side.SELL, None),
        ("4000", Side.SELL, REFUSED),
        ("-5000", Side.BUY, None),
        ("-5000", Side.SELL, REFUSED),
    ],
)
@pytest.mark.parametrize("total", [False, True])
def test_an_order_of_5000(position: str, side: Side, expected: Reason | None, total: bool) -> None:
    judged = case(order(side=side), facts(exposures=held(position)))
    assert reason(check(LIMIT, EURO, judged, rule(aggregate_total=total))) is expected
    assert check(LIMIT, frozenset({"USD-JPY"}), judged, rule()) is None
    assert check(LIMIT, frozenset(), judged, rule()) is None


def test_what_another_strategy_holds_is_no_reason_to_sell() -> None:
    judged = case(order(side=Side.SELL), facts(exposures=held("5000", owner="other")))
    assert reason(check(LIMIT, EURO, judged, rule())) is REFUSED


def test_a_replacement_may_not_grow_beyond_the_position() -> None:
    known = facts(exposures=held("5000", sell="2000"))
    for leaves, expected in (("5000", None), ("5001", REFUSED)):
        judged = case(order(side=Side.SELL), known, leaves=leaves, counted="2000")
        assert reason(check(LIMIT, EURO, judged, rule())) is expected


def test_an_order_that_rests_in_it_goes_and_one_that_reduces_stays() -> None:
    limits = rules(rule(), only_limit("restrictedInstruments", "EUR-USD"))
    buying = facts(exposures=held("5000", buy="5000"), rules=limits)
    selling = facts(exposures=held("5000", sell="5000"), rules=limits)
    assert reason(gate.judge_resting(Proposal(order(), D(5000), D(5000)), buying)) is REFUSED
    assert gate.judge_resting(Proposal(order(side=Side.SELL), D(5000), D(5000)), selling) is None
    assert not LIMIT.judges_closing
