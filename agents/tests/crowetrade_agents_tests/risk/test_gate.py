"""Every refusal of the gate, one row each, and what no order can get past."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade.config.v1 import config_pb2
from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.errors import InvalidNumber
from crowetrade_agents.risk.approved import ApprovedOrder
from crowetrade_agents.risk.gate import decide
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.request import Exposure, Facts, Limits, OrderRequest, TradingState
from crowetrade_agents.risk.rules import Rate, Rule, parse_rule

D = Decimal
NOW = 10_000_000_000
RULE = Rule(
    name="desk",
    generation=1,
    strategies=frozenset({"ema", "other"}),
    instruments=frozenset(),
    total=False,
    enforce=True,
    max_order_quantity=D(10_000),
    max_order_notional=D(11_000),
    max_position_quantity=D(20_000),
    max_order_rate=Rate(2, 1_000_000_000),
)
BOOK = TopOfBook("EUR-USD", D("1.1000"), D(10**6), D("1.1002"), D(10**6), NOW)
FACTS = Facts(
    now_ns=NOW,
    limits=Limits(bindings={"ema": TradingState.ACTIVE, "other": TradingState.ACTIVE}, rules=(RULE,)),
    instruments={"EUR-USD": Instrument("EUR-USD", "USD", D("0.0001"), D(1000), D(2000))},
    book=BOOK,
    session_ready=True,
    known_cl_ord_id=False,
)
ORDER = OrderRequest("id-1", "ema", "EUR-USD", buy=True, quantity=D(5000), price=D("1.1000"))
HELD = {("ema", "EUR-USD"): Exposure(D(17_000))}


def limits(**changes: object) -> Facts:
    return replace(FACTS, limits=replace(FACTS.limits, **changes))  # type: ignore[arg-type]


def rule(**changes: object) -> Facts:
    return limits(rules=(replace(RULE, **changes),))  # type: ignore[arg-type]


REFUSED: dict[str, tuple[OrderRequest, Facts, Reason]] = {
    "nothing was configured": (ORDER, limits(bindings=None), Reason.NO_CONFIGURATION),
    "the configuration is unreadable": (ORDER, limits(unreadable="broken"), Reason.UNREADABLE_LIMIT),
    "a stranger": (replace(ORDER, strategy="stranger"), FACTS, Reason.UNKNOWN_STRATEGY),
    "an id used before": (ORDER, replace(FACTS, known_cl_ord_id=True), Reason.DUPLICATE_CL_ORD_ID),
    "an instrument the venue does not list": (replace(ORDER, symbol="X"), FACTS, Reason.UNKNOWN_INSTRUMENT),
    "quantity NaN": (replace(ORDER, quantity=D("NaN")), FACTS, Reason.INVALID_QUANTITY),
    "quantity 0": (replace(ORDER, quantity=D(0)), FACTS, Reason.INVALID_QUANTITY),
    "a negative quantity": (replace(ORDER, quantity=D(-5000)), FACTS, Reason.INVALID_QUANTITY),
    "half a lot": (replace(ORDER, quantity=D(5500)), FACTS, Reason.INVALID_QUANTITY),
    "less than the least": (replace(ORDER, quantity=D(1000)), FACTS, Reason.INVALID_QUANTITY),
    "price NaN": (replace(ORDER, price=D("NaN")), FACTS, Reason.INVALID_PRICE),
    "price infinite": (replace(ORDER, price=D("Infinity")), FACTS, Reason.INVALID_PRICE),
    "price 0": (replace(ORDER, price=D(0)), FACTS, Reason.INVALID_PRICE),
    "half a tick": (replace(ORDER, price=D("1.10005")), FACTS, Reason.INVALID_PRICE),
    "the venue is halted": (ORDER, limits(halted=True), Reason.VENUE_HALTED),
    "the strategy is suspended": (
        ORDER,
        limits(bindings={"ema": TradingState.SUSPENDED}),
        Reason.STRATEGY_SUSPENDED,
    ),
    "a strategy's own order while it is flattened": (
        ORDER,
        limits(bindings={"ema": TradingState.FLATTEN}),
        Reason.STRATEGY_SUSPENDED,
    ),
    "a closing order while nothing is flattened": (
        replace(ORDER, closing=True),
        limits(bindings={"ema": TradingState.SUSPENDED}),
        Reason.STRATEGY_SUSPENDED,
    ),
    "no session with the venue": (ORDER, replace(FACTS, session_ready=False), Reason.SESSION_NOT_ESTABLISHED),
    "no quote": (ORDER, replace(FACTS, book=None), Reason.MISSING_MARKET_DATA),
    "a crossed quote": (ORDER, replace(FACTS, book=replace(BOOK, bid_price=D(2))), Reason.MISSING_MARKET_DATA),
    "a quote of NaN": (ORDER, replace(FACTS, book=replace(BOOK, ask_price=D("NaN"))), Reason.MISSING_MARKET_DATA),
    "no rule": (ORDER, limits(rules=()), Reason.NO_LIMIT_IN_FORCE),
    "only a rule that observes": (ORDER, rule(enforce=False), Reason.NO_LIMIT_IN_FORCE),
    "only a rule for another instrument": (ORDER, rule(instruments=frozenset({"X"})), Reason.NO_LIMIT_IN_FORCE),
    "above the order quantity": (replace(ORDER, quantity=D(11_000)), FACTS, Reason.MAX_ORDER_QUANTITY),
    "above the notional at its price": (
        replace(ORDER, quantity=D(9000), price=D("1.3000")),
        FACTS,
        Reason.MAX_ORDER_NOTIONAL,
    ),
    "above the notional at market": (
        replace(ORDER, quantity=D(10_000), price=None),
        FACTS,
        Reason.MAX_ORDER_NOTIONAL,
    ),
    "above the position": (ORDER, replace(FACTS, exposures=HELD), Reason.MAX_POSITION_QUANTITY),
    "above the position with working orders": (
        ORDER,
        replace(FACTS, exposures={("ema", "EUR-USD"): Exposure(D(0), open_buy=D(16_000))}),
        Reason.MAX_POSITION_QUANTITY,
    ),
    "above the position of all together": (
        ORDER,
        replace(rule(total=True), exposures={("other", "EUR-USD"): Exposure(D(17_000))}),
        Reason.MAX_POSITION_QUANTITY,
    ),
    "a sell that passes through zero to beyond the limit": (
        replace(ORDER, buy=False),
        replace(rule(max_position_quantity=D(2000)), exposures={("ema", "EUR-USD"): Exposure(D(2000))}),
        Reason.MAX_POSITION_QUANTITY,
    ),
    "above the rate": (ORDER, replace(FACTS, messages={"ema": [NOW - 1, NOW - 2]}), Reason.MAX_ORDER_RATE),
    "above the rate of all together": (
        ORDER,
        replace(rule(total=True), messages={"ema": [NOW - 1], "other": [NOW - 2]}),
        Reason.MAX_ORDER_RATE,
    ),
}
ALLOWED: dict[str, tuple[OrderRequest, Facts]] = {
    "an ordinary order": (ORDER, FACTS),
    "a market order": (replace(ORDER, price=None), FACTS),
    "exactly at the quantity limit": (replace(ORDER, quantity=D(10_000), buy=False, price=D("1.1000")), FACTS),
    "exactly at the position limit": (
        ORDER,
        replace(FACTS, exposures={("ema", "EUR-USD"): Exposure(D(15_000))}),
    ),
    "a reducing order above the position limit": (
        replace(ORDER, buy=False),
        replace(FACTS, exposures={("ema", "EUR-USD"): Exposure(D(50_000))}),
    ),
    "another strategy's position when each counts alone": (
        ORDER,
        replace(FACTS, exposures={("other", "EUR-USD"): Exposure(D(17_000))}),
    ),
    "messages older than the window": (ORDER, replace(FACTS, messages={"ema": [NOW - 2 * 10**9, NOW - 10**9]})),
    "a closing order while flattening": (
        replace(ORDER, closing=True),
        limits(bindings={"ema": TradingState.FLATTEN}),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    request, facts, reason = REFUSED[case]
    outcome = decide(request, facts).outcome
    assert isinstance(outcome, Refusal)
    assert outcome.reason is reason
    assert outcome.text


@pytest.mark.parametrize("case", ALLOWED)
def test_allowed(case: str) -> None:
    request, facts = ALLOWED[case]
    outcome = decide(request, facts).outcome
    assert isinstance(outcome, ApprovedOrder)
    assert outcome.request == request


def test_a_rule_that_observes_tells_and_lets_pass() -> None:
    observing = replace(RULE, name="watch", enforce=False, max_order_quantity=D(1000))
    decision = decide(ORDER, limits(rules=(observing, RULE)))
    assert isinstance(decision.outcome, ApprovedOrder)
    assert [refusal.reason for refusal in decision.observed] == [Reason.MAX_ORDER_QUANTITY]


def test_only_the_gate_approves() -> None:
    with pytest.raises(TypeError, match="only the risk gate"):
        ApprovedOrder(ORDER)


@given(st.lists(st.tuples(st.booleans(), st.integers(2, 20)), max_size=60), st.booleans())
def test_no_sequence_of_approved_orders_can_pass_the_position_limit(
    orders: list[tuple[bool, int]], filled_at_once: bool
) -> None:
    exposure = Exposure()
    for number, (buy, lots) in enumerate(orders):
        facts = replace(rule(max_order_rate=None), exposures={("ema", "EUR-USD"): exposure})
        request = replace(ORDER, cl_ord_id=str(number), buy=buy, quantity=D(lots * 1000))
        if isinstance(decide(request, facts).outcome, Refusal):
            continue
        if filled_at_once:
            exposure = replace(exposure, position=exposure.position + request.signed)
        elif buy:
            exposure = replace(exposure, open_buy=exposure.open_buy + request.quantity)
        else:
            exposure = replace(exposure, open_sell=exposure.open_sell + request.quantity)
        assert abs(exposure.position + exposure.open_buy) <= 20_000
        assert abs(exposure.position - exposure.open_sell) <= 20_000


@pytest.mark.parametrize(
    "message",
    [
        config_pb2.RiskRule(max_order_quantity="NaN"),
        config_pb2.RiskRule(max_order_notional="-1"),
        config_pb2.RiskRule(max_position_quantity="lots"),
        config_pb2.RiskRule(max_order_rate=config_pb2.OrderRate(count=0, window_ns=1)),
        config_pb2.RiskRule(max_order_rate=config_pb2.OrderRate(count=1, window_ns=0)),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(message: config_pb2.RiskRule) -> None:
    with pytest.raises(InvalidNumber):
        parse_rule(message)
