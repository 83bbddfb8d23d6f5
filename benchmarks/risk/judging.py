"""The gate and the engine under every limit, without any I/O."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from benchmarks.figures import Figure, durations
from benchmarks.gateway.engine import OPEN_ORDERS, Trading
from benchmarks.gateway.workload import ASK, BID, INSTRUMENTS, new_order, trading_state
from benchmarks.risk.workload import LIMITS, LOSSES, OPEN_NS, configured, half
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import OrderTerms, Side
from crowetrade_agents.gateway import commands
from crowetrade_agents.gateway.engine import handle, next_timer_ns
from crowetrade_agents.gateway.state import GatewayState
from crowetrade_agents.risk import gate
from crowetrade_agents.risk.approved import ApprovedOrder
from crowetrade_agents.risk.facts import Proposal
from crowetrade_agents.venues import port
from crowetrade_process.memory import give_back_memory

TICK = Decimal("0.00001")
PRICES = 97
"""So many prices one tick apart: no order is a duplicate of one that was sent shortly before."""
WARM_UP = 2_000
ORDERS = 10_000
HOLDERS = 200
QUOTES = 5_000
QUOTE_NS = 10_000_000


def order() -> Iterator[Figure]:
    """risk.all: the facts of one new order are looked up and the gate approves it, with every limit of two RiskLimits;
    risk.all_cpu: the same by CPU time. Between two orders the engine sends, the venue accepts, executes and ends, the
    instrument's quote moves, and the engine takes in what has moved, as it does when a batch is on its way.
    risk.engine_order: all that the engine does with one new order then."""
    state = trading_state(OPEN_NS)
    handle(state, commands.Configure(configured()), OPEN_NS)
    handle(state, half(), OPEN_NS)
    trading = Trading(state, OPEN_NS)
    # As a gateway's process does once it has started.
    give_back_memory()
    judged, by_cpu, handled = list[int](), list[int](), list[int]()
    for number in range(WARM_UP + ORDERS):
        command = trading.order()
        terms = _priced(command.terms, number)
        _timers(state, trading.now_ns)
        handle(state, _quote(terms.instrument, number, trading.now_ns), trading.now_ns)
        state.settle()
        begin_cpu, begin = time.thread_time_ns(), time.perf_counter_ns()
        decision = gate.judge_order(Proposal(terms, terms.quantity), state.facts(terms.strategy, trading.now_ns))
        judged.append(time.perf_counter_ns() - begin)
        by_cpu.append(time.thread_time_ns() - begin_cpu)
        assert isinstance(decision.outcome, ApprovedOrder), decision.outcome
        begin = time.perf_counter_ns()
        handle(state, replace(command, terms=terms), trading.now_ns)
        handled.append(time.perf_counter_ns() - begin)
        for answer in trading.answers():
            handle(state, answer, trading.now_ns)
        state.settle()
    assert len(state.books.open) == OPEN_ORDERS, "orders were refused"
    notes = {"limits": len(LIMITS), "risk_limits": 2, "open_orders": OPEN_ORDERS}
    yield durations("risk.all", "us", judged[WARM_UP:], **notes)
    yield durations("risk.all_cpu", "us", by_cpu[WARM_UP:], **notes)
    yield durations("risk.engine_order", "us", handled[WARM_UP:], **notes)


def revaluation() -> Iterator[Figure]:
    """risk.revalue: `handle` for a quote of an instrument in which each of 200 strategies holds a position, under the
    three limits on losses of two RiskLimits; risk.revalue_cpu: the same by CPU time. risk.revalue_timer: what the
    engine does later because something has moved, in pieces within a second."""
    strategies = [f"holder-{number:03d}" for number in range(HOLDERS)]
    state = trading_state(OPEN_NS)
    handle(state, commands.Configure(configured(strategies, LOSSES)), OPEN_NS)
    handle(state, half(), OPEN_NS)
    for number, strategy in enumerate(strategies):
        _hold(state, strategy, number)
    give_back_memory()
    quoted, by_cpu, timed = list[int](), list[int](), list[int]()
    now_ns = OPEN_NS
    for number in range(QUOTES):
        now_ns += QUOTE_NS
        while (due_ns := next_timer_ns(state)) is not None and due_ns <= now_ns:
            begin = time.perf_counter_ns()
            handle(state, commands.Timer(), due_ns)
            state.settle()
            timed.append(time.perf_counter_ns() - begin)
        command = _quote(INSTRUMENTS[0], number, now_ns)
        begin_cpu, begin = time.thread_time_ns(), time.perf_counter_ns()
        handle(state, command, now_ns)
        state.settle()
        quoted.append(time.perf_counter_ns() - begin)
        by_cpu.append(time.thread_time_ns() - begin_cpu)
    assert state.live.standing.ledgers is not None
    assert len(state.live.standing.ledgers) == HOLDERS + 1
    assert not state.books.breaches
    yield durations("risk.revalue", "us", quoted, positions=HOLDERS)
    yield durations("risk.revalue_cpu", "us", by_cpu, positions=HOLDERS)
    yield durations("risk.revalue_timer", "us", timed, positions=HOLDERS)


def _priced(terms: OrderTerms, number: int) -> OrderTerms:
    away = TICK * (number % PRICES)
    return replace(terms, price=BID - away if terms.side is Side.BUY else ASK + away)


def _quote(instrument: InstrumentId, number: int, now_ns: int) -> commands.FromVenue:
    """One tick up, and at the next quote down again."""
    move = TICK * (number % 2)
    size = Decimal(10**9)
    book = TopOfBook(instrument, BID - move, size, ASK - move, size, now_ns)
    return commands.FromVenue(port.QuoteChanged(len(INSTRUMENTS) + 1 + number, book))


def _timers(state: GatewayState, now_ns: int) -> None:
    while (due_ns := next_timer_ns(state)) is not None and due_ns <= now_ns:
        handle(state, commands.Timer(), due_ns)


def _hold(state: GatewayState, strategy: str, number: int) -> None:
    """Buys at the offer."""
    instrument = INSTRUMENTS[0]
    order = new_order(number, strategy, instrument, Side.BUY, OPEN_NS)
    handle(state, order, OPEN_NS)
    name, quantity = order.terms.cl_ord_id, order.terms.quantity
    fill = port.Executed(name, f"v-{name}", f"e-{name}", instrument, Side.BUY, quantity, ASK, Decimal(0), OPEN_NS)
    handle(state, commands.FromVenue(fill), OPEN_NS)
    assert state.books.positions[strategy, instrument].quantity == quantity
