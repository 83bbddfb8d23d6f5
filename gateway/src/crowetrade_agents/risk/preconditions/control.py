"""The joined state of everything that may stop trading (control/state.py) admits the order."""

from __future__ import annotations

from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk.facts import Facts, Proposal
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.reducing import reduces


def check(proposal: Proposal, facts: Facts) -> Refusal | None:
    """ACTIVE admits every order, CLOSE_ONLY those that reduce, FLATTEN the gateway's own closing orders, HALTED none.

    A closing order is admitted in FLATTEN alone. Facts that contradict each other (a refusal while ACTIVE, none
    otherwise) refuse.
    """
    if _admitted(proposal, facts):
        return None
    state = facts.trading_state
    text = f"strategy {proposal.terms.strategy!r} may not send this order in state {state.value}"
    return facts.control_refusal or Refusal(Reason.STRATEGY_SUSPENDED, text)


def _admitted(proposal: Proposal, facts: Facts) -> bool:
    state = facts.trading_state
    if proposal.terms.closing:
        return state is TradingState.FLATTEN
    if state is TradingState.ACTIVE:
        return facts.control_refusal is None
    return state is TradingState.CLOSE_ONLY and reduces(proposal, facts)
