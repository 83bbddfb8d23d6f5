"""The engine without any I/O: the time of one order, and what 100,000 orders leave in memory."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from random import Random

from benchmarks.figures import Figure, durations, figure, rss_mib
from benchmarks.gateway.workload import INSTRUMENTS, START_NS, STRATEGIES, new_order, trading_state
from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.gateway import batch, commands
from crowetrade_agents.gateway.engine import handle
from crowetrade_agents.gateway.state import GatewayState
from crowetrade_agents.journal.memory import MemoryLog, MemoryWriter
from crowetrade_agents.venues import port
from crowetrade_process.memory import give_back_memory

OPEN_ORDERS = 500
WARM_UP = 2_000
RUNS = 20_000
STEP_NS = 1_000_000
GROWTH_WARM_UP = 30_000
GROWTH_ORDERS = 100_000
# The warm-up lasts longer than the longest window (24 hours), so that what the windows hold has come and gone.
GROWTH_STEP_NS = 3_000_000_000
SNAPSHOT_EVENTS = 10_000


class Trading:
    """Orders of all strategies in all instruments, one after the other, of which the oldest ones end: every second one
    is filled, in two executions, and the others are cancelled."""

    def __init__(self, state: GatewayState, now_ns: int, step_ns: int = STEP_NS) -> None:
        self.state = state
        self.now_ns = now_ns
        self._step_ns = step_ns
        self._number = 0
        self._random = Random(1)
        self._resting: deque[commands.NewOrder] = deque()

    def order(self) -> commands.NewOrder:
        """The next order."""
        self._number += 1
        self.now_ns += self._step_ns
        number = self._number
        strategy = STRATEGIES[number % len(STRATEGIES)]
        instrument, side = self._random.choice(INSTRUMENTS), self._random.choice((Side.BUY, Side.SELL))
        order = new_order(number, strategy, instrument, side, self.now_ns)
        self._resting.append(order)
        return order

    def answers(self) -> Iterator[commands.Command]:
        """What the venue reports next: the newest order is accepted, the oldest ends, the feed is alive."""
        now, newest = self.now_ns, self._resting[-1]
        yield commands.FromVenue(port.Accepted(newest.terms.cl_ord_id, f"v-{newest.terms.cl_ord_id}", now))
        if len(self._resting) > OPEN_ORDERS:
            yield from self._ending(self._resting.popleft())
        yield commands.FromVenue(port.FeedAlive(now))
        yield commands.Timer()

    def _ending(self, order: commands.NewOrder) -> Iterator[commands.Command]:
        terms, order_id = order.terms, f"v-{order.terms.cl_ord_id}"
        if int(terms.cl_ord_id.rpartition("-")[2]) % 2:
            yield commands.FromVenue(
                port.Ended(terms.cl_ord_id, order_id, OrdStatus.CANCELED, "Expired", "", self.now_ns)
            )
            return
        for execution, quantity in enumerate((Decimal(1000), Decimal(2000))):
            yield commands.FromVenue(
                port.Executed(
                    terms.cl_ord_id,
                    order_id,
                    f"e-{terms.cl_ord_id}-{execution}",
                    terms.instrument,
                    terms.side,
                    quantity,
                    terms.price or Decimal(1),
                    Decimal("0.0221"),
                    self.now_ns,
                )
            )


def order() -> Iterator[Figure]:
    """engine.order: `handle` for one new order that is approved; engine.order_cpu: the same by CPU time, which knows
    nothing of other processes' turns; engine.settle: what the loop lets the engine do once the order is on its way;
    engine.venue_event: `handle` for what follows an order, and the same after it."""
    trading = Trading(trading_state(), START_NS)
    # As a gateway's process does once it has started.
    give_back_memory()
    taken, by_cpu, settled, answered = [], [], [], []
    for _ in range(WARM_UP + RUNS):
        command = trading.order()
        begin_cpu, begin = time.thread_time_ns(), time.perf_counter_ns()
        handle(trading.state, command, trading.now_ns)
        taken.append(time.perf_counter_ns() - begin)
        by_cpu.append(time.thread_time_ns() - begin_cpu)
        begin = time.perf_counter_ns()
        trading.state.settle()
        settled.append(time.perf_counter_ns() - begin)
        for answer in trading.answers():
            begin = time.perf_counter_ns()
            handle(trading.state, answer, trading.now_ns)
            trading.state.settle()
            answered.append(time.perf_counter_ns() - begin)
    assert len(trading.state.books.open) == OPEN_ORDERS, "orders were refused"
    yield durations("engine.order", "us", taken[WARM_UP:], open_orders=OPEN_ORDERS)
    yield durations("engine.order_cpu", "us", by_cpu[WARM_UP:], open_orders=OPEN_ORDERS)
    yield durations("engine.settle", "us", settled[WARM_UP:], open_orders=OPEN_ORDERS)
    yield durations("engine.venue_event", "us", answered[WARM_UP:], open_orders=OPEN_ORDERS)


def growth() -> Iterator[Figure]:
    """gateway.growth_mib: engine, journal and snapshots; the journal in memory is trimmed after each snapshot, because
    the records of a real one lie at the bus."""
    log = MemoryLog()
    journal = MemoryWriter(log)
    journal.recover()
    trading = Trading(trading_state(), START_NS, GROWTH_STEP_NS)
    snapshot_at = 0

    def run(orders: int) -> None:
        nonlocal snapshot_at
        for _ in range(orders):
            todo = batch.take(trading.state, [trading.order(), *trading.answers()], trading.now_ns)
            head = journal.append(todo.events, trading.now_ns, 1)
            if head.sequence - snapshot_at >= SNAPSHOT_EVENTS:
                journal.write_snapshot(trading.state.books.to_message(), head)
                snapshot_at = head.sequence
                log.parts.clear()
                log.records[:-1] = [b""] * (len(log.records) - 1)

    run(GROWTH_WARM_UP)
    gc.collect()
    before = rss_mib()
    run(GROWTH_ORDERS)
    gc.collect()
    yield figure("gateway.growth_mib", "MiB", [max(rss_mib() - before, 0.0)], orders=GROWTH_ORDERS)
