"""Closes what strategies in state FLATTEN hold, by reducing market orders that the gate approves like any other.

A position is pursued when something changed that may help: the state, the end of the order before, a first quote, or
the time to try again. What cannot be closed is named with its reason; nothing is journaled for it, and tries become
rarer.
"""

from __future__ import annotations

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import render
from crowetrade_agents.domain.orders import OrderTerms, OrdType, Side, TimeInForce
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import requests, shares
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.gateway.order import Key, Order
from crowetrade_agents.gateway.state import Closing, Turn
from crowetrade_agents.risk import gate
from crowetrade_agents.risk.approved import ApprovedOrder
from crowetrade_agents.risk.facts import Proposal
from crowetrade_agents.risk.reasons import Reason, Refusal

FIRST_RETRY_NS = SECOND_NS
LAST_RETRY_NS = 30 * SECOND_NS


def pursue_all(turn: Turn) -> None:
    """Goes on wherever Flatten is asked for, and forgets what is not asked for any more."""
    wanted = {key for key, position in turn.books.positions.items() if position.quantity and _flattens(turn, key[0])}
    for key in list(turn.live.closing):
        if key not in wanted:
            del turn.live.closing[key]
    for key in sorted(wanted):
        pursue(turn, key)


def pursue(turn: Turn, key: Key) -> None:
    """Sends the next closing order of a position, or says why there is none."""
    strategy, instrument = key
    if not _flattens(turn, strategy):
        return
    state = turn.live.closing.setdefault(key, Closing())
    held = turn.books.exposure(key).position
    if not held:
        del turn.live.closing[key]
        return
    if any(order.terms.instrument == instrument for order in turn.books.open_of(strategy)):
        _wait(state, Refusal(Reason.ORDER_PENDING, "an order of the strategy is not over yet"))
        return
    facts = turn.state.facts(strategy, turn.now_ns)
    quantity = gate.closing_quantity(strategy, instrument, held, facts)
    obstacle = None if quantity else gate.closing_obstacle(strategy, instrument, held, facts)
    if obstacle is not None:
        # Less than the venue trades: no later try can close it.
        state.reason, state.text, state.final = str(obstacle.reason), obstacle.text, _is_dust(turn, key)
        if not state.final:
            _later(turn, key, state)
        return
    terms = OrderTerms(
        cl_ord_id=turn.state.own_id(strategy),
        strategy=strategy,
        instrument=instrument,
        side=Side.SELL if held > 0 else Side.BUY,
        quantity=quantity,
        ord_type=OrdType.MARKET,
        price=None,
        time_in_force=TimeInForce.IOC,
        closing=True,
    )
    decision = gate.judge_closing(terms, facts)
    outcome = decision.outcome
    shares.note(turn, Proposal(terms, terms.quantity), facts, decision)
    if isinstance(outcome, Refusal):
        _wait(state, outcome)
        _later(turn, key, state)
    elif not turn.live.order_budget.take(turn.now_ns):
        _wait(state, Refusal(Reason.VENUE_RATE_LIMIT, "the venue's ordersPerSecond is reached"))
        _later(turn, key, state)
    elif isinstance(outcome, ApprovedOrder):
        requests.submit(turn, outcome, 0, turn.now_ns)
        _wait(state, Refusal(Reason.ORDER_PENDING, f"an order that closes {render(quantity)} is under way"))


def ended(turn: Turn, order: Order) -> None:
    """An order of a strategy is over: the next one may leave, later when the one before closed nothing."""
    key = order.key
    if not _flattens(turn, key[0]) or not turn.books.exposure(key).position:
        turn.live.closing.pop(key, None)
        return
    state = turn.live.closing.setdefault(key, Closing())
    if order.terms.closing and not order.cum:
        state.reason = order.reason or str(Reason.NOT_FILLED)
        state.text = order.text or "the venue had nothing to trade with"
        _later(turn, key, state)
        return
    state.attempts = 0
    pursue(turn, key)


def quoted(turn: Turn, instrument: InstrumentId) -> None:
    """A quote came: it helps what waited for one, and nothing else."""
    for key, state in list(turn.live.closing.items()):
        if key[1] == instrument and state.reason == Reason.MISSING_MARKET_DATA:
            pursue(turn, key)


def retry(turn: Turn, name: str) -> None:
    """Time has come to try again; `name` is STRATEGY SYMBOL."""
    strategy, _, symbol = name.partition(" ")
    key = (strategy, InstrumentId(turn.settings.venue, symbol))
    state = turn.live.closing.get(key)
    if state is not None and not state.final and turn.now_ns >= state.retry_ns:
        pursue(turn, key)


def _flattens(turn: Turn, strategy: str) -> bool:
    return turn.state.control(strategy).state is TradingState.FLATTEN


def _is_dust(turn: Turn, key: Key) -> bool:
    instrument = turn.settings.instruments.get(key[1])
    return instrument is None or turn.books.exposure(key).position.copy_abs() < max(
        instrument.min_quantity, instrument.lot_size
    )


def _wait(state: Closing, refusal: Refusal) -> None:
    state.reason, state.text, state.final = str(refusal.reason), refusal.text, False


def _later(turn: Turn, key: Key, state: Closing) -> None:
    wait = min(FIRST_RETRY_NS << min(state.attempts, 10), LAST_RETRY_NS)
    state.attempts += 1
    state.retry_ns = turn.now_ns + wait
    turn.wake(state.retry_ns, "closing", f"{key[0]} {key[1].symbol}")
