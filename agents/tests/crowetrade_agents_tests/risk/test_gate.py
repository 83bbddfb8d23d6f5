"""The gate as a whole: what it approves is what was asked, the order of its checks, and what only observes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.market import Mark
from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.orders import OrdType, Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk import gate
from crowetrade_agents.risk.approved import ApprovedCancel, ApprovedOrder, ApprovedReplace
from crowetrade_agents.risk.facts import Facts, Proposal
from crowetrade_agents.risk.limits.limit import Use
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.rules import Rule
from crowetrade_agents_tests.risk.values import (
    BOOK,
    EUR,
    LIMITS,
    NOW,
    SECOND,
    D,
    case,
    check,
    facts,
    held,
    market,
    new,
    only_limit,
    order,
    reason,
    rule,
    rules,
    sent,
)

HALTED = Refusal(Reason.VENUE_HALTED, "halted")


def test_what_is_approved_is_the_order_itself() -> None:
    terms = order()
    decision = gate.judge_order(new(terms), facts())
    assert isinstance(decision.outcome, ApprovedOrder)
    assert decision.outcome.terms is terms
    assert decision.observed == ()


def test_a_replacement_is_approved_with_what_it_replaces() -> None:
    terms = order(cl_ord_id="ema-run-2", quantity=D(9000))
    known = facts(exposures=held("2000", buy="3000"))
    decision = gate.judge_replace(Proposal(terms, D(7000), D(3000)), "ema-run-1", "venue-7", known)
    assert isinstance(decision.outcome, ApprovedReplace)
    assert decision.outcome.terms is terms
    assert (decision.outcome.orig_cl_ord_id, decision.outcome.order_id) == ("ema-run-1", "venue-7")


def test_a_replacement_is_judged_like_an_order() -> None:
    terms = order(cl_ord_id="ema-run-2", quantity=D(10_001_000))
    outcome = gate.judge_replace(Proposal(terms, D(1000), D(1000)), "ema-run-1", "", facts()).outcome
    assert reason(outcome) is Reason.MAX_ORDER_QUANTITY
    halted = facts(trading_state=TradingState.HALTED, control_refusal=HALTED)
    assert gate.judge_replace(new(order()), "ema-run-1", "", halted).outcome == HALTED


def test_a_cancel_always_may_leave() -> None:
    cancel = gate.approve_cancel("ema-run-2", "ema-run-1", "venue-7", EUR, Side.BUY, "CancelRequested")
    assert isinstance(cancel, ApprovedCancel)
    assert (cancel.cl_ord_id, cancel.orig_cl_ord_id, cancel.order_id) == ("ema-run-2", "ema-run-1", "venue-7")
    assert (cancel.instrument, cancel.side, cancel.reason) == (EUR, Side.BUY, "CancelRequested")


def test_the_first_refusal_stands() -> None:
    """Everything is wrong at first, and put right one after the other."""
    known = facts(
        instruments={},
        trading_state=TradingState.HALTED,
        control_refusal=HALTED,
        session_ready=False,
        rules=rules(),
        marks={},
        feed_alive_ns=0,
        exposures=held("20000"),
        messages=sent(NOW, NOW),
    )
    good = facts()
    steps: list[tuple[Reason, dict[str, Any]]] = [
        (Reason.UNKNOWN_INSTRUMENT, {"instruments": good.instruments}),
        (Reason.VENUE_HALTED, {"trading_state": TradingState.ACTIVE, "control_refusal": None}),
        (Reason.SESSION_NOT_ESTABLISHED, {"session_ready": True}),
        (Reason.NO_LIMIT_IN_FORCE, {"rules": good.rules}),
        (Reason.MISSING_MARKET_DATA, {"marks": good.marks}),
        (Reason.STALE_MARKET_DATA, {"feed_alive_ns": NOW}),
        (Reason.MAX_POSITION_QUANTITY, {"exposures": {}}),
        (Reason.MAX_ORDER_RATE, {"messages": good.messages}),
    ]
    for expected, put_right in steps:
        assert reason(gate.judge_order(new(order()), known).outcome) is expected
        known = replace(known, **put_right)
    assert isinstance(gate.judge_order(new(order()), known).outcome, ApprovedOrder)


def test_numbers_beyond_every_range_reach_no_other_check() -> None:
    for terms in (order(quantity=D("NaN")), order(quantity=D("1E999999")), order(price=D("1E-999999"))):
        close_only = facts(trading_state=TradingState.CLOSE_ONLY, control_refusal=HALTED)
        assert reason(gate.judge_order(new(terms), close_only).outcome) in (
            Reason.INVALID_QUANTITY,
            Reason.INVALID_PRICE,
        )


BREACHES: dict[Reason, tuple[str, dict[str, str]]] = {
    Reason.MAX_ORDER_QUANTITY: ("maxOrderQuantity", {"value": "4999"}),
    Reason.MAX_ORDER_NOTIONAL: ("maxOrderNotional", {"value": "5500.99"}),
    Reason.MAX_POSITION_QUANTITY: ("maxPositionQuantity", {"value": "5999"}),
    Reason.MAX_ORDER_RATE: ("maxOrderRate", {"count": "1", "perSeconds": "1"}),
    Reason.PRICE_COLLAR: ("priceCollarBps", {"value": "1"}),
    Reason.MAX_OPEN_ORDERS: ("maxOpenOrders", {"value": "1"}),
    Reason.MAX_GROSS_NOTIONAL: ("maxGrossNotional", {"value": "6600"}),
    Reason.MAX_NET_NOTIONAL: ("maxNetNotional", {"value": "6600"}),
    Reason.MAX_CONCENTRATION: ("maxConcentration", {"value": "0.66"}),
    Reason.STALE_MARKET_DATA: ("maxDataAgeSeconds", {"value": "1"}),
    Reason.DUPLICATE_ORDER: ("duplicateWindowMillis", {"value": "500"}),
    Reason.SELF_MATCH: ("selfMatchPrevention", {"value": "true"}),
    Reason.RESTRICTED_INSTRUMENT: ("restrictedInstruments", {"value": "EUR-USD"}),
    Reason.OUTSIDE_TRADING_HOURS: ("tradingHours", {"calendar": "XNYS"}),
}


@pytest.mark.parametrize("breached", BREACHES)
def test_a_rule_that_enforces_refuses_and_one_that_observes_tells(breached: Reason) -> None:
    name, values = BREACHES[breached]
    known = facts(
        exposures=held("1000"),
        messages=sent(NOW),
        marks={EUR: Mark(BOOK, NOW - 2 * SECOND)},
        capital={"ema": Money(D(10_000), "USD")},
    )
    judged = order(price=D("1.1004"))
    known.working.put("other-1", order(side=Side.SELL, price=D("1.1004")))
    known.recent.add(judged, NOW)
    known.rules = rules(rule({name: values}, risk_limit="tight"), rule())
    enforced = gate.judge_order(new(judged), known)
    assert isinstance(enforced.outcome, Refusal)
    assert (enforced.outcome.reason, enforced.outcome.risk_limit) == (breached, "tight")
    known.rules = rules(rule({name: values}, risk_limit="tight", enforce=False), rule())
    observed = gate.judge_order(new(judged), known)
    assert isinstance(observed.outcome, ApprovedOrder)
    assert [(refusal.reason, refusal.risk_limit) for refusal in observed.observed] == [(breached, "tight")]


def test_what_was_observed_before_a_refusal_is_returned_too() -> None:
    watch = only_limit("maxOrderQuantity", "1", risk_limit="watch", enforce=False)
    decision = gate.judge_order(new(order(quantity=D(11_000))), facts(rules=rules(watch, rule())))
    assert reason(decision.outcome) is Reason.MAX_ORDER_QUANTITY
    assert [refusal.risk_limit for refusal in decision.observed] == ["watch"]


def test_every_rule_that_binds_is_judged() -> None:
    known = facts(rules=rules(rule(), only_limit("maxOrderQuantity", "4999", risk_limit="second")))
    outcome = gate.judge_order(new(order()), known).outcome
    assert isinstance(outcome, Refusal)
    assert outcome.risk_limit == "second"
    known.rules = rules(rule(), only_limit("maxOrderQuantity", "4999", strategies=["other"]))
    assert isinstance(gate.judge_order(new(order()), known).outcome, ApprovedOrder)


def _naive(given: list[Rule], known: Facts) -> tuple[Refusal | None, tuple[Refusal, ...]]:
    """Every limit of every rule, in order."""
    observed: list[Refusal] = []
    for item in given:
        for limit, value in item.limits:
            refusal = check(limit, value, case(order(), known), item)
            if refusal is not None and item.enforce:
                return refusal, tuple(observed)
            if refusal is not None:
                observed.append(refusal)
    return None, tuple(observed)


amounts = st.sampled_from(["4999", "5000", "5500", "5501", "20000"]).map(lambda value: {"value": value})
some_limits = st.fixed_dictionaries(
    {},
    optional={
        "maxOrderQuantity": amounts,
        "maxOrderNotional": amounts,
        "maxPositionQuantity": amounts,
        "maxOrderRate": st.fixed_dictionaries(
            {"count": st.sampled_from(["1", "2", "3", "9"]), "perSeconds": st.sampled_from(["1", "60"])}
        ),
    },
).filter(bool)
some_rules = st.lists(st.tuples(some_limits, st.booleans(), st.booleans()), max_size=5)


@given(some_rules, st.sampled_from(["0", "15000", "-40000"]), st.integers(0, 3))
def test_the_tightest_limits_decide_as_all_of_them_do(
    drawn: list[tuple[dict[str, dict[str, str]], bool, bool]], position: str, messages: int
) -> None:
    given_rules = [rule(risk_limit="first")] + [
        rule(limits, risk_limit=f"rule-{number}", enforce=enforce, aggregate_total=total)
        for number, (limits, enforce, total) in enumerate(drawn)
    ]
    known = facts(
        rules=rules(*given_rules),
        exposures=held(position) | held("3000", owner="other"),
        messages=sent(*[NOW] * messages),
        members={"rule-0": frozenset({"ema", "other", "gone"}), "rule-1": frozenset({"ema"})},
    )
    decision = gate.judge_order(new(order()), known)
    refusal, observed = _naive(given_rules, known)
    assert decision.observed == observed
    assert (decision.outcome if isinstance(decision.outcome, Refusal) else None) == refusal


RESTING = Proposal(order(quantity=D(12_000)), D(5000), D(5000))
STAYS: dict[str, Facts] = {
    "its limits": facts(exposures=held("7000", buy="5000")),
    "the executed part does not count for its size": facts(
        exposures=held("7000", buy="5000"), rules=rules(rule(LIMITS | {"maxOrderQuantity": {"value": "5000"}}))
    ),
    "its notional at the touch": facts(
        exposures=held("0", buy="5000"), rules=rules(only_limit("maxOrderNotional", "5501"))
    ),
    "no session": facts(exposures=held("0", buy="5000"), session_ready=False),
    "a silent feed": facts(exposures=held("0", buy="5000"), feed_alive_ns=0),
    "a rate that is used up": facts(exposures=held("0", buy="5000"), messages=sent(NOW, NOW, NOW)),
    "no quote: it is worth its price": facts(
        exposures=held("0", buy="5000"), marks={}, rules=rules(only_limit("maxOrderNotional", "5500"))
    ),
    "exactly at the position": facts(exposures=held("15000", buy="5000")),
    "it reduces a position above the limit": facts(exposures=held("-90000", buy="5000")),
    "a rule that observes": facts(
        exposures=held("0", buy="5000"), rules=rules(rule(), only_limit("maxOrderQuantity", "1", enforce=False))
    ),
}
GOES: dict[str, tuple[Facts, Reason]] = {
    "the order quantity is tighter": (
        facts(exposures=held("0", buy="5000"), rules=rules(only_limit("maxOrderQuantity", "4999"))),
        Reason.MAX_ORDER_QUANTITY,
    ),
    "the notional is tighter": (
        facts(exposures=held("0", buy="5000"), rules=rules(only_limit("maxOrderNotional", "5500"))),
        Reason.MAX_ORDER_NOTIONAL,
    ),
    "the notional is tighter than its price": (
        facts(exposures=held("0", buy="5000"), marks={}, rules=rules(only_limit("maxOrderNotional", "5499"))),
        Reason.MAX_ORDER_NOTIONAL,
    ),
    "the position is tighter": (
        facts(exposures=held("15001", buy="5000")),
        Reason.MAX_POSITION_QUANTITY,
    ),
    "no limit is in force": (facts(exposures=held("0", buy="5000"), rules=rules()), Reason.NO_LIMIT_IN_FORCE),
    "a limit is unknown": (
        facts(exposures=held("0", buy="5000"), rules=rules(rule(), rule({"maxVega": {}}, enforce=False))),
        Reason.UNKNOWN_LIMIT,
    ),
    "a limit is unreadable": (
        facts(exposures=held("0", buy="5000"), rules=rules(rule({"maxOrderQuantity": {"value": "x"}}))),
        Reason.UNREADABLE_LIMIT,
    ),
    "halted": (facts(trading_state=TradingState.HALTED, control_refusal=HALTED), Reason.VENUE_HALTED),
    "close only, and it opens": (
        facts(trading_state=TradingState.CLOSE_ONLY, control_refusal=HALTED, exposures=held("1000", buy="5000")),
        Reason.VENUE_HALTED,
    ),
    "not listed any more": (facts(instruments={}), Reason.UNKNOWN_INSTRUMENT),
}


@pytest.mark.parametrize("what", STAYS)
def test_a_resting_order_stays(what: str) -> None:
    assert gate.judge_resting(RESTING, STAYS[what]) is None


@pytest.mark.parametrize("what", GOES)
def test_a_resting_order_goes(what: str) -> None:
    """Finding G8: a limit that is tightened, deleted or unreadable ends the orders that it does not admit."""
    known, expected = GOES[what]
    assert reason(gate.judge_resting(RESTING, known)) is expected


def test_a_market_order_of_unknown_fate_without_a_quote_goes_where_its_notional_counts() -> None:
    known = facts(marks={}, rules=rules(only_limit("maxOrderNotional", "100000")))
    terms = order(ord_type=OrdType.MARKET, price=None)
    assert reason(gate.judge_resting(Proposal(terms, D(5000), D(5000)), known)) is Reason.MISSING_MARKET_DATA


def test_a_closing_order_that_works_is_judged_as_one() -> None:
    closing = Proposal(market(Side.SELL, "5000", closing=True), D(5000), D(5000))
    known = facts(
        trading_state=TradingState.FLATTEN,
        control_refusal=HALTED,
        exposures=held("90000", sell="5000"),
        rules=rules(only_limit("maxPositionQuantity", "1")),
        messages=sent(NOW, NOW, NOW),
    )
    assert gate.judge_resting(closing, known) is None
    known.rules = rules()
    assert gate.judge_resting(closing, known) is None
    known.rules = rules(only_limit("maxOrderQuantity", "4999"))
    assert reason(gate.judge_resting(closing, known)) is Reason.MAX_ORDER_QUANTITY
    known.exposures = held("4999", sell="5000")
    assert reason(gate.judge_resting(closing, known)) is Reason.CLOSE_ONLY


def test_utilisation_is_over_all_rules_observing_ones_too() -> None:
    known = facts(
        rules=rules(rule(), only_limit("maxPositionQuantity", "100000", risk_limit="watch", enforce=False)),
        exposures=held("-5000", sell="2000"),
        messages=sent(NOW - SECOND, NOW),
    )
    assert list(gate.utilisation(known)) == [
        Use("desk", "maxPositionQuantity", "ema/sim-fx/EUR-USD", D(7000), D(20_000)),
        Use("desk", "maxOrderRate", "ema", D(1), D(2)),
        Use("watch", "maxPositionQuantity", "ema/sim-fx/EUR-USD", D(7000), D(100_000)),
    ]
    assert list(gate.utilisation(facts())) == []


CROSSED = BOOK._replace(bid_price=D("1.2"))
GATE: dict[str, tuple[Proposal, Facts, str, str]] = {
    # What is judged, what is known, what the refusal says, and the RiskLimit that it names.
    "an unknown instrument": (
        new(order()),
        facts(instruments={}),
        "the venue lists no instrument sim-fx/EUR-USD",
        "",
    ),
    "a quantity that is none": (
        new(order(quantity=D("NaN"))),
        facts(),
        "order quantity must be a number above 0 with at most 20 digits before the point and 18 after it",
        "",
    ),
    "a quantity off the grid": (
        new(order(quantity=D(2500))),
        facts(),
        "order quantity 2500 must be a multiple of lotSize 1000 and at least minQuantity 2000",
        "",
    ),
    "nothing stays open": (
        Proposal(order(), D(0)),
        facts(),
        "order quantity 5000 leaves nothing open after what is executed: send more, or cancel",
        "",
    ),
    "a price that is none": (
        new(order(price=D(0))),
        facts(),
        "price must be a number above 0 with at most 20 digits before the point and 18 after it",
        "",
    ),
    "a price off the grid": (
        new(order(price=D("1.10005"))),
        facts(),
        "price 1.10005 must be a multiple of tickSize 0.0001",
        "",
    ),
    "a state without a refusal": (
        new(order()),
        facts(trading_state=TradingState.HALTED),
        "strategy 'ema' may not send this order in state Halted",
        "",
    ),
    "no session": (
        new(order()),
        facts(session_ready=False),
        "the gateway is not logged on to its venue: wait until it is",
        "",
    ),
    "no limit": (
        new(order()),
        facts(rules=rules()),
        "no enforced RiskLimit selects strategy 'ema' and sim-fx/EUR-USD: apply one",
        "",
    ),
    "a limit that is not known": (
        new(order()),
        facts(rules=rules(rule({"maxVega": {}}))),
        "RiskLimit desk sets maxVega, which this gateway does not know, so it blocks every order that it binds",
        "desk",
    ),
    "no limit at all": (
        new(order()),
        facts(rules=rules(rule({}))),
        "RiskLimit desk sets no limit, so it blocks every order that it binds",
        "desk",
    ),
    "a value that cannot be read": (
        new(order()),
        facts(rules=rules(rule({"maxOrderRate": {"count": "0", "perSeconds": "1"}}))),
        "RiskLimit desk sets maxOrderRate to something that cannot be read (count must be a whole number from 1 to "
        "1000000), so it blocks every order that it binds",
        "desk",
    ),
    "a window that cannot be read": (
        new(order()),
        facts(rules=rules(rule({"maxOrderRate": {"count": "1", "perSeconds": "86401"}}))),
        "RiskLimit desk sets maxOrderRate to something that cannot be read (perSeconds must be a whole number from 1 "
        "to 86400), so it blocks every order that it binds",
        "desk",
    ),
    "no quote": (
        new(order()),
        facts(marks={}),
        "a quote of sim-fx/EUR-USD has not arrived yet: wait for the next one",
        "",
    ),
    "a crossed quote": (
        new(order()),
        facts(marks={EUR: Mark(CROSSED, NOW)}),
        "a quote of sim-fx/EUR-USD is not usable (crossed, not positive or not finite): wait for the next one",
        "",
    ),
    "a silent feed": (
        new(order()),
        facts(feed_alive_ns=NOW - 7 * SECOND - SECOND // 2),
        "the venue's market data has been silent for 7.5 s, longer than 5 s: wait until it is back",
        "",
    ),
    "the order quantity": (
        new(order(quantity=D(11_000))),
        facts(),
        "order quantity 11000 is above maxOrderQuantity 10000 of desk: send smaller orders",
        "desk",
    ),
    "the notional": (
        new(order(quantity=D(10_000))),
        facts(),
        "order notional 11002 is above maxOrderNotional 11000 of desk: send smaller orders",
        "desk",
    ),
    "the position": (
        new(order()),
        facts(exposures=held("15000", buy="1000")),
        "position with working orders would be 21000, beyond maxPositionQuantity 20000 of desk: reduce it or cancel "
        "working orders",
        "desk",
    ),
    "the rate": (
        new(order()),
        facts(messages=sent(NOW, NOW)),
        "2 order messages in 1 s were sent already, the most that maxOrderRate of desk admits: wait, and send fewer",
        "desk",
    ),
}


@pytest.mark.parametrize("what", GATE)
def test_a_refusal_says_what_is_wrong_and_what_to_do(what: str) -> None:
    proposal, known, text, risk_limit = GATE[what]

    outcome = gate.judge_order(proposal, known).outcome

    assert isinstance(outcome, Refusal)
    assert (outcome.text, outcome.risk_limit) == (text, risk_limit)


def test_a_refusal_of_what_closes_or_rests_says_what_is_wrong() -> None:
    flattened = facts(trading_state=TradingState.FLATTEN, control_refusal=HALTED)
    closing = gate.judge_closing(market(Side.SELL, "5000", closing=True), flattened).outcome
    unpriced = facts(marks={}, rules=rules(only_limit("maxOrderNotional", "100000")))
    resting = gate.judge_resting(new(order(ord_type=OrdType.MARKET, price=None)), unpriced)

    assert closing == Refusal(
        Reason.CLOSE_ONLY, "a closing order must reduce its owner's position, working orders counted"
    )
    assert resting == Refusal(
        Reason.MISSING_MARKET_DATA,
        "no usable quote of sim-fx/EUR-USD is known, so maxOrderNotional of desk cannot be judged",
        "desk",
    )
