"""selfMatchPrevention: which working orders an order could trade with."""

from __future__ import annotations

import pytest

from crowetrade_agents.domain.orders import OrderTerms, Side
from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk.limits.self_match_prevention import LIMIT, parse
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.working import WorkingOrders
from crowetrade_agents_tests.risk.values import JPY, D, case, check, facts, market, order, reason, rule

BUY, SELL = Side.BUY, Side.SELL
REFUSED = Reason.SELF_MATCH


def working(*terms: OrderTerms) -> WorkingOrders:
    """Orders at the venue."""
    found = WorkingOrders()
    for number, item in enumerate(terms):
        found.put(f"w-{number}", item)
    return found


def test_values() -> None:
    assert [parse({"value": text}) for text in ("true", "false")] == [True, False]
    for values in ({}, {"value": "True"}, {"value": "1"}, {"value": ""}):
        with pytest.raises(InvalidLimit):
            parse(values)


def at(side: Side, price: str, owner: str = "other") -> OrderTerms:
    """A limit order."""
    return order(side=side, price=D(price), strategy=owner)


ROWS: dict[str, tuple[OrderTerms, WorkingOrders, bool]] = {
    "nothing works": (order(), working(), False),
    "a buy below the sell": (at(BUY, "1.0999"), working(at(SELL, "1.1")), False),
    "a buy at the sell": (at(BUY, "1.1"), working(at(SELL, "1.1")), True),
    "a buy above the sell": (at(BUY, "1.1001"), working(at(SELL, "1.1")), True),
    "a sell above the buy": (at(SELL, "1.1001"), working(at(BUY, "1.1")), False),
    "a sell at the buy": (at(SELL, "1.1"), working(at(BUY, "1.1")), True),
    "a sell below the buy": (at(SELL, "1.0999"), working(at(BUY, "1.1")), True),
    "the best of several buys": (at(SELL, "1.1"), working(at(BUY, "1.0"), at(BUY, "1.2"), at(BUY, "0.9")), True),
    "the best of several sells": (at(BUY, "1.1"), working(at(SELL, "1.2"), at(SELL, "1.05"), at(SELL, "1.3")), True),
    "the same side": (at(BUY, "1.1"), working(at(BUY, "1.1"), at(BUY, "1.2")), False),
    "a market order and a sell at any price": (market(BUY, "5000"), working(at(SELL, "99")), True),
    "a market order and nothing on the other side": (market(BUY, "5000"), working(at(BUY, "99")), False),
    "a limit order and a market order under way": (at(BUY, "0.0001"), working(market(SELL, "5000")), True),
    "a limit order to sell and a market order under way": (at(SELL, "99"), working(market(BUY, "5000")), True),
    "another instrument": (at(BUY, "1.1"), working(order(side=SELL, price=D("1.1"), instrument=JPY)), False),
    "its own strategy's": (at(BUY, "1.1", "ema"), working(at(SELL, "1.1", "ema")), True),
}


@pytest.mark.parametrize("total", [False, True])
@pytest.mark.parametrize("what", ROWS)
def test_which_orders_match(what: str, total: bool) -> None:
    terms, orders, matches = ROWS[what]
    refusal = check(LIMIT, True, case(terms, facts(working=orders)), rule(aggregate_total=total))
    assert reason(refusal) is (REFUSED if matches else None)
    assert check(LIMIT, False, case(terms, facts(working=orders)), rule()) is None


def test_a_replacement_is_judged_by_its_new_price() -> None:
    """The order that it replaces works on the same side, so it does not match itself."""
    orders = working(at(BUY, "1.0"), at(SELL, "1.1"))
    assert check(LIMIT, True, case(at(BUY, "1.0999"), facts(working=orders), "5000", "5000"), rule()) is None
    refused = check(LIMIT, True, case(at(BUY, "1.1"), facts(working=orders), "5000", "5000"), rule())
    assert reason(refused) is REFUSED


def test_what_is_over_or_priced_anew_matches_no_more() -> None:
    orders = working(at(SELL, "1.1"), at(SELL, "1.1"))
    judged = case(at(BUY, "1.1"), facts(working=orders))
    orders.remove("w-0")
    assert reason(check(LIMIT, True, judged, rule())) is REFUSED
    orders.put("w-1", at(SELL, "1.2"))
    assert check(LIMIT, True, judged, rule()) is None
    orders.remove("w-1")
    orders.remove("w-1")
    assert orders == WorkingOrders()


def test_on_is_tighter_than_off_and_it_judges_what_is_sent_by_a_strategy() -> None:
    assert LIMIT.bound(True) < LIMIT.bound(False)
    assert (LIMIT.judges_resting, LIMIT.judges_closing) == (False, False)
