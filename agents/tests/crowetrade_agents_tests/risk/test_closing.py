"""Flatten is sliced to the limits, and says why nothing can leave (finding G7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk.approved import ApprovedOrder
from crowetrade_agents.risk.facts import Exposure, Facts
from crowetrade_agents.risk.gate import closing_obstacle, closing_quantity, judge_closing
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents_tests.risk.values import (
    EUR,
    LIMITS,
    NOW,
    SECOND,
    D,
    facts,
    held,
    market,
    only_limit,
    order,
    reason,
    rule,
    rules,
    sent,
)

SUSPENDED = Refusal(Reason.STRATEGY_SUSPENDED, "suspended")


def flattening(position: str, buy: str = "0", sell: str = "0", **changes: Any) -> Facts:
    """Strategy ema is flattened and holds this."""
    given: dict[str, Any] = {"exposures": held(position, buy, sell), **changes}
    return facts(trading_state=TradingState.FLATTEN, control_refusal=SUSPENDED, **given)


def quantity(position: str, known: Facts) -> str:
    """Slice or reason."""
    obstacle = closing_obstacle("ema", EUR, D(position), known)
    sliced = closing_quantity("ema", EUR, D(position), known)
    assert (obstacle is None) == (sliced > 0 or not D(position))
    return obstacle.reason.value if obstacle else str(sliced)


NO_MINIMUM = {EUR: Instrument(EUR, "USD", D(1), D("0.0001"), D(1000), D(0))}

SMALL = {EUR: Instrument(EUR, "USD", D(1), D("0.0001"), D("0.1"), D("0.1"))}

EXACT = {EUR: Instrument(EUR, "USD", D(1), D("0.0001"), D("1E-18"), D("1E-18"))}


def with_limits(*given: tuple[str, str, bool]) -> Facts:
    """Rules with one limit each: name, value, enforced."""
    return flattening("0", rules=rules(*(only_limit(name, value, enforce=enforce) for name, value, enforce in given)))


QUANTITY, NOTIONAL = "maxOrderQuantity", "maxOrderNotional"
SLICES: dict[str, tuple[str, Facts, str]] = {
    "nothing held": ("0", with_limits(), "0"),
    "no limit: all of it": ("50000", with_limits(), "50000"),
    "a short position": ("-50000", with_limits(), "50000"),
    "whole lots": ("50999", with_limits(), "50000"),
    "at the limit": ("10000", with_limits((QUANTITY, "10000", True)), "10000"),
    "above the limit": ("50000", with_limits((QUANTITY, "10000", True)), "10000"),
    "the limit is no whole lot": ("50000", with_limits((QUANTITY, "10999", True)), "10000"),
    "the smallest limit counts": (
        "50000",
        with_limits((QUANTITY, "9000", True), (QUANTITY, "7000", True), (QUANTITY, "8000", True)),
        "7000",
    ),
    "a rule that observes does not slice": ("50000", with_limits((QUANTITY, "10000", False)), "50000"),
    "notional of a sell, at the bid of 1.1000": ("50000", with_limits((NOTIONAL, "11000", True)), "10000"),
    "notional of a buy, at the offer of 1.1002": ("-50000", with_limits((NOTIONAL, "11000", True)), "9000"),
    "a limit on the position does not slice": ("50000", with_limits(("maxPositionQuantity", "5000", True)), "50000"),
    "less than a unit is sold at the bid": (
        "0.5",
        flattening("0", instruments=SMALL, rules=rules(only_limit(NOTIONAL, "0.22"))),
        "0.2",
    ),
    "a limit of many digits": (
        "-99999999999999999999",
        flattening(
            "0", instruments=EXACT, rules=rules(only_limit(QUANTITY, "12345678901234567890.123456789012345678"))
        ),
        "12345678901234567890.123456789012345678",
    ),
    "no dust is left: 2,000 stay instead of 1,000": ("11000", with_limits((QUANTITY, "10000", True)), "9000"),
    "no dust is left: the minimum twice": ("4000", with_limits((QUANTITY, "3000", True)), "2000"),
    "dust that cannot be avoided": ("3000", with_limits((QUANTITY, "2000", True)), "2000"),
    "below the minimum": ("1000", with_limits(), "InvalidQuantity"),
    "below a lot": ("-900", with_limits(), "InvalidQuantity"),
    "a limit below the minimum": ("50000", with_limits((QUANTITY, "1999", True)), "MaxOrderQuantity"),
    "a limit of 0": ("50000", with_limits((QUANTITY, "0", True)), "MaxOrderQuantity"),
    "a notional below the minimum": ("50000", with_limits((NOTIONAL, "2199", True)), "MaxOrderNotional"),
    "below a lot, without a minimum": ("900", flattening("0", instruments=NO_MINIMUM), "InvalidQuantity"),
    "a limit below a lot, without a minimum": (
        "50000",
        flattening("0", instruments=NO_MINIMUM, rules=rules(only_limit(QUANTITY, "999"))),
        "MaxOrderQuantity",
    ),
    "no quote": ("50000", flattening("0", marks={}), "MissingMarketData"),
    "an unknown instrument": ("50000", flattening("0", instruments={}), "UnknownInstrument"),
}


@pytest.mark.parametrize("what", SLICES)
def test_slices(what: str) -> None:
    position, known, expected = SLICES[what]
    assert quantity(position, known) == expected


def test_an_obstacle_names_the_limit_the_resource_and_what_stays() -> None:
    refusal = closing_obstacle("ema", EUR, D(50_000), with_limits((QUANTITY, "1999", True)))
    assert refusal is not None
    assert refusal.risk_limit == "desk"
    assert "maxOrderQuantity of desk" in refusal.text
    dust = closing_obstacle("ema", EUR, D(-900), with_limits())
    assert dust is not None
    assert "-900" in dust.text
    assert "minQuantity 2000" in dust.text


OBSTACLES: dict[str, tuple[str, Facts, Refusal]] = {
    "an unknown instrument": (
        "50000",
        flattening("0", instruments={}),
        Refusal(Reason.UNKNOWN_INSTRUMENT, "the venue lists no instrument sim-fx/EUR-USD: 50000 stays"),
    ),
    "no quote": (
        "-50000",
        flattening("0", marks={}),
        Refusal(Reason.MISSING_MARKET_DATA, "no usable quote of sim-fx/EUR-USD is known: -50000 waits"),
    ),
    "dust": (
        "-1900",
        with_limits(),
        Refusal(
            Reason.INVALID_QUANTITY,
            "-1900 is less than one order may have (lotSize 1000, minQuantity 2000) and stays: close it at the venue",
        ),
    ),
    "a limit": (
        "50000",
        with_limits((NOTIONAL, "2199", True)),
        Refusal(
            Reason.MAX_ORDER_NOTIONAL,
            "maxOrderNotional of desk admits no order of the minimum size: raise it, or close at the venue",
            "desk",
        ),
    ),
}


@pytest.mark.parametrize("what", OBSTACLES)
def test_an_obstacle_says_what_to_do(what: str) -> None:
    position, known, expected = OBSTACLES[what]
    assert closing_obstacle("ema", EUR, D(position), known) == expected


def test_a_limit_for_another_symbol_or_strategy_does_not_slice() -> None:
    for changes in ({"symbols": ["USD-JPY"]}, {"strategies": ["other"]}):
        known = flattening("0", rules=rules(only_limit(QUANTITY, "3000", **changes)))
        assert quantity("50000", known) == "50000"
    known = flattening("0", rules=rules(only_limit(QUANTITY, "3000", symbols=["EUR-USD"])))
    assert quantity("50000", known) == "3000"


def test_a_rule_with_a_problem_still_slices_by_what_can_be_read() -> None:
    broken = rule({QUANTITY: {"value": "5000"}, "maxVega": {"value": "1"}})
    known = flattening("50000", rules=rules(broken))
    assert quantity("50000", known) == "5000"
    assert isinstance(judge_closing(market(Side.SELL, "5000", closing=True), known).outcome, ApprovedOrder)


CLOSE = market(Side.SELL, "5000", closing=True)
ADMITTED: dict[str, Facts] = {
    "a slice": flattening("50000"),
    "all of it": flattening("5000"),
    "the rate is used up": flattening("5000", messages=sent(NOW, NOW)),
    "another closing order works, together they close all": flattening("10000", sell="5000"),
    "the position is far above its limit": flattening("1000000"),
    "all together it moves away from zero, beyond their limit": flattening(
        "0",
        exposures={**held("5000"), **held("-50000", owner="other")},
        rules=rules(rule(aggregate_total=True)),
        members={"desk": frozenset({"ema", "other"})},
    ),
    "no limit is in force": flattening("5000", rules=rules()),
    "a rule cannot be read": flattening("5000", rules=rules(rule({}))),
    "the feed is silent": flattening("5000", feed_alive_ns=NOW - 3_600 * SECOND),
    "a rule that observes would refuse": flattening(
        "5000", rules=rules(rule(), only_limit(QUANTITY, "1", enforce=False))
    ),
    "one message fits in the rate": flattening("5000", messages=sent(NOW)),
}
NOT_ADMITTED: dict[str, tuple[Facts, Reason]] = {
    "it would flip": (flattening("4000"), Reason.CLOSE_ONLY),
    "it would flip with what works": (flattening("9000", sell="5000"), Reason.CLOSE_ONLY),
    "the position is on the other side": (flattening("-5000"), Reason.CLOSE_ONLY),
    "nothing is held": (flattening("0"), Reason.CLOSE_ONLY),
    "somebody else holds it": (flattening("0", exposures=held("5000", owner="other")), Reason.CLOSE_ONLY),
    "the strategy is not flattened": (facts(exposures=held("5000")), Reason.STRATEGY_SUSPENDED),
    "no session": (flattening("5000", session_ready=False), Reason.SESSION_NOT_ESTABLISHED),
    "no quote": (flattening("5000", marks={}), Reason.MISSING_MARKET_DATA),
    "not listed any more": (flattening("5000", instruments={}), Reason.UNKNOWN_INSTRUMENT),
    "above the order quantity": (
        flattening("5000", rules=rules(only_limit(QUANTITY, "4999"))),
        Reason.MAX_ORDER_QUANTITY,
    ),
    "above the notional": (flattening("5000", rules=rules(only_limit(NOTIONAL, "5499"))), Reason.MAX_ORDER_NOTIONAL),
}


@pytest.mark.parametrize("what", ADMITTED)
def test_admitted(what: str) -> None:
    outcome = judge_closing(CLOSE, ADMITTED[what]).outcome
    assert isinstance(outcome, ApprovedOrder)
    assert outcome.terms is CLOSE


@pytest.mark.parametrize("what", NOT_ADMITTED)
def test_not_admitted(what: str) -> None:
    known, expected = NOT_ADMITTED[what]
    assert reason(judge_closing(CLOSE, known).outcome) is expected


def test_an_order_that_is_not_marked_as_closing_is_not_judged_as_one() -> None:
    assert reason(judge_closing(replace(CLOSE, closing=False), flattening("5000")).outcome) is not None
    active = facts(exposures=held("5000"))
    assert reason(judge_closing(replace(CLOSE, closing=False), active).outcome) is Reason.CLOSE_ONLY


def test_what_a_closing_order_breaches_where_a_rule_observes_is_returned() -> None:
    observed = judge_closing(CLOSE, ADMITTED["a rule that observes would refuse"]).observed
    assert [refusal.reason for refusal in observed] == [Reason.MAX_ORDER_QUANTITY]


@settings(deadline=None)
@given(
    st.integers(-500, 500),
    st.integers(1, 20),
    st.integers(1, 30),
    st.integers(0, 60),
    st.integers(0, 60_000),
)
def test_slices_close_everything_that_can_be_closed(
    position: int, lot: int, lots_in_minimum: int, largest: int, notional: int
) -> None:
    """Each slice is approved as it is, and in the end nothing is left, or dust, or a limit is named."""
    minimum = D(lot * lots_in_minimum)
    listed = Instrument(EUR, "USD", D(100), D("0.0001"), D(lot), minimum)
    limits = rule(LIMITS | {QUANTITY: {"value": str(largest)}, NOTIONAL: {"value": str(notional)}}, strategies=["ema"])
    known = flattening("0", instruments={EUR: listed}, rules=rules(limits))
    left = D(position)
    for _ in range(1_100):
        known.exposures = {("ema", EUR): Exposure(left)}
        size = closing_quantity("ema", EUR, left, known)
        if not size:
            break
        assert size % lot == 0
        terms = market(Side.SELL if left > 0 else Side.BUY, str(size), closing=True)
        assert isinstance(judge_closing(terms, known).outcome, ApprovedOrder)
        left += terms.side.sign * terms.quantity
    obstacle = closing_obstacle("ema", EUR, left, known)
    if left == 0:
        assert obstacle is None
    elif abs(left) < minimum:
        assert reason(obstacle) is Reason.INVALID_QUANTITY
    else:
        assert reason(obstacle) in (Reason.MAX_ORDER_QUANTITY, Reason.MAX_ORDER_NOTIONAL)
        assert left == position


def test_the_terms_of_a_test_are_those_of_a_strategy() -> None:
    assert not order().closing
