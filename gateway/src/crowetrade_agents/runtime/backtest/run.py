"""A whole backtest: gateways and strategies, event by event in the order in which the events arrive.

The same input gives the same orders: nothing depends on the machine's clock or on chance. Of events at the same time
the venue that comes first in the manifests comes first, and strategies handle an event in the order of theirs. Each
decides alone, as in a cluster in lock step. Where strategies share a venue, what one takes of a quote the next one does
not get; there the order among them matters, which in a cluster is not fixed.

Time is the venue's: the clock stands at the arrival of the event that is being handled (its time and the venue's market
data latency). So limits that count per second count in recorded time.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.allowances.memory import MemoryLedgers
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.gateway.loop import Gateway
from crowetrade_agents.gateway.requests import REFUSALS_NS
from crowetrade_agents.runtime.backtest.gateway import BacktestGateway, History
from crowetrade_agents.runtime.backtest.strategy import BacktestStrategy
from crowetrade_agents.runtime.backtest.time import VirtualClock, at_once
from crowetrade_api.files import StrategyFile

MOST_ROUNDS = 20
"""Of gateways that move shares among them; after three or four nothing moves while demand stays."""


class Backtest:
    """`recorded` is called with everything that a gateway journals. Raises ConfigurationError."""

    def __init__(
        self,
        venues: Sequence[tuple[History, Configuration]],
        strategies: Sequence[StrategyFile],
        recorded: Callable[[Gateway, Sequence[journal_pb2.JournalEvent]], None],
        from_ns: int,
        to_ns: int,
    ) -> None:
        """Events of venue time `from_ns` on that arrive before `to_ns`."""
        self.clock = VirtualClock()
        self._to_ns = to_ns
        self.clock.advance(min(_first_ns(history, from_ns) for history, _ in venues))
        ledgers: dict[str, MemoryLedgers] = defaultdict(MemoryLedgers)  # by namespace
        self.gateways = {
            history.file.name: BacktestGateway(
                history, configuration, ledgers[history.file.namespace], self.clock, recorded
            )
            for history, configuration in venues
        }
        _share(self.gateways.values())
        self.strategies = [BacktestStrategy(file, self.gateways, self.clock) for file in strategies]
        for gateway in self.gateways.values():
            gateway.start(from_ns)
        for strategy in self.strategies:
            strategy.log_on()
        self._interested = _by_instrument(self.strategies)

    def run(self) -> Iterator[tuple[int, int]]:
        """Handles one event after the other; yields each time after all events that arrive at it, with how many these
        were: in between, some marks are of this time and others are not."""
        events = 0
        gateways, interested, clock = tuple(self.gateways.values()), self._interested, self.clock
        arrivals = [(at_ns, place) for place, one in enumerate(gateways) if (at_ns := one.next_ns) is not None]
        heapq.heapify(arrivals)
        while arrivals:
            at_ns, place = arrivals[0]
            if at_ns >= self._to_ns:
                break
            for gateway in gateways:
                gateway.timers(at_ns)
            clock.advance(at_ns)
            if len(gateways) > 1 and any(gateway.keeper.due for gateway in gateways):
                _share(gateways)
            published = gateways[place].move()
            next_ns = gateways[place].next_ns
            if next_ns is None:
                heapq.heappop(arrivals)
            else:
                heapq.heapreplace(arrivals, (next_ns, place))
            for event in published:
                for strategy in interested.get(event.instrument, ()):
                    strategy.handle(event)
            events += 1
            if not arrivals or arrivals[0][0] != at_ns:
                yield at_ns, events
                events = 0
        for gateway in gateways:
            # What is counted for a moment before it is journaled.
            gateway.timers(clock.now_ns() + REFUSALS_NS)


def _share(gateways: Iterable[BacktestGateway]) -> None:
    """Moves shares of limits that several gateways share, in the order of the venues, until nothing is to be moved. A
    gateway that is alone has all of everything from the first time on."""
    for _ in range(MOST_ROUNDS):
        moved = [at_once(gateway.keeper.round()) for gateway in gateways]
        if not any(moved):
            return


def _first_ns(history: History, from_ns: int) -> int:
    """Venue time of the first event from `from_ns` on."""
    sequence = history.replay.sequence_at(from_ns - 1) + 1
    return history.replay.event_ns(sequence) if history.replay.exists(sequence) else from_ns


def _by_instrument(strategies: Sequence[BacktestStrategy]) -> Mapping[InstrumentId, Sequence[BacktestStrategy]]:
    found: dict[InstrumentId, list[BacktestStrategy]] = {}
    for strategy in strategies:
        for name in sorted(strategy.instruments):
            found.setdefault(name, []).append(strategy)
    return found
