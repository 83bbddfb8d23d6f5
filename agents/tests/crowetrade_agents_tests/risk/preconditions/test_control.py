"""Each trading state with each kind of order."""

from __future__ import annotations

import pytest

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk.facts import Proposal
from crowetrade_agents.risk.preconditions.control import check
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents_tests.risk.values import D, facts, held, market, new, order, reason

STOPPED = Refusal(Reason.STRATEGY_SUSPENDED, "stopped")
OPENING = new(order())
REDUCING = new(market(Side.SELL, "5000"))
CLOSING = new(market(Side.SELL, "5000", closing=True))


@pytest.mark.parametrize(
    ("state", "opening", "reducing", "closing"),
    [
        (TradingState.ACTIVE, True, True, False),
        (TradingState.CLOSE_ONLY, False, True, False),
        (TradingState.HALTED, False, False, False),
        (TradingState.FLATTEN, False, False, True),
    ],
)
def test_states(state: TradingState, opening: bool, reducing: bool, closing: bool) -> None:
    refusal = None if state is TradingState.ACTIVE else STOPPED
    known = facts(trading_state=state, control_refusal=refusal, exposures=held("5000"))
    admitted = [check(proposal, known) is None for proposal in (OPENING, REDUCING, CLOSING)]
    assert admitted == [opening, reducing, closing]
    if refusal and not opening:
        assert check(OPENING, known) == STOPPED


@pytest.mark.parametrize("state", [TradingState.CLOSE_ONLY, TradingState.HALTED, TradingState.FLATTEN])
def test_a_state_without_a_refusal_refuses_all_the_same(state: TradingState) -> None:
    refusal = check(OPENING, facts(trading_state=state))
    assert reason(refusal) is Reason.STRATEGY_SUSPENDED
    assert refusal is not None
    assert state.value in refusal.text


def test_a_refusal_refuses_although_the_state_is_active() -> None:
    assert check(OPENING, facts(control_refusal=STOPPED)) == STOPPED


REDUCES = {
    "long, all of it": ("5000", "0", "0", Side.SELL, True),
    "long, more than there is": ("4000", "0", "0", Side.SELL, False),
    "long, working sells leave enough": ("9000", "0", "4000", Side.SELL, True),
    "long, working sells leave too little": ("9000", "0", "4001", Side.SELL, False),
    "long, working buys do not count": ("4000", "9000", "0", Side.SELL, False),
    "long, buying": ("5000", "0", "0", Side.BUY, False),
    "short, all of it": ("-5000", "0", "0", Side.BUY, True),
    "short, more than there is": ("-4000", "0", "0", Side.BUY, False),
    "short, working buys leave enough": ("-9000", "4000", "0", Side.BUY, True),
    "short, working buys leave too little": ("-9000", "4001", "0", Side.BUY, False),
    "short, selling": ("-5000", "0", "0", Side.SELL, False),
    "nothing held": ("0", "0", "0", Side.SELL, False),
}


@pytest.mark.parametrize("what", REDUCES)
def test_close_only_admits_what_cannot_flip_or_grow(what: str) -> None:
    position, buys, sells, side, admitted = REDUCES[what]
    known = facts(trading_state=TradingState.CLOSE_ONLY, control_refusal=STOPPED, exposures=held(position, buys, sells))
    assert (check(new(order(side=side)), known) is None) is admitted


def test_another_owner_s_position_cannot_be_reduced() -> None:
    known = facts(trading_state=TradingState.CLOSE_ONLY, control_refusal=STOPPED, exposures=held("5000", owner="other"))
    assert check(REDUCING, known) == STOPPED


@pytest.mark.parametrize(("leaves", "admitted"), [("5000", True), ("5001", False)])
def test_a_replacement_does_not_count_twice(leaves: str, admitted: bool) -> None:
    known = facts(trading_state=TradingState.CLOSE_ONLY, control_refusal=STOPPED, exposures=held("5000", "0", "3000"))
    proposal = Proposal(order(side=Side.SELL, quantity=D(9000)), D(leaves), D(3000))
    assert (check(proposal, known) is None) is admitted
