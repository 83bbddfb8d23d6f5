"""One run of the simulation: a heap of events on virtual time, everything random from one seed.

`now` is the world's time, in which the venue lives; the gateway's wall clock differs from it and steps. A run goes
through `steps` events with faults, then through a calm time without any, at whose end everything must have come right.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.control.state import OnRecord
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import OrderTerms
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import batch, commands, forgetting
from crowetrade_agents.gateway import order as orders
from crowetrade_agents.gateway.state import Settings
from crowetrade_agents.journal.memory import MemoryLog
from crowetrade_agents.venues import port
from crowetrade_agents.venues.adapters.simulated.requests import NewOrder, Replace
from crowetrade_agents.venues.port import VenueFeatures
from tests.simulation import invariants, statuses
from tests.simulation.accounts import Accounts, NotSent
from tests.simulation.broken import expect
from tests.simulation.gateway import GatewayProcess
from tests.simulation.hours import BOUNDARIES, DAY, DAYS, HOUR
from tests.simulation.kills import Kills
from tests.simulation.limits import HARDNESS, SECOND, ConfigSpec, KillSpec, RuleSpec, compiled
from tests.simulation.market import Seen
from tests.simulation.traders import Trader
from tests.simulation.venue import RECALL_NS, Venue

START = 1_700_000_000 * SECOND
VENUE = "sim-fx"
NAMES = ("alpha", "alpha-2", "beta", "beta-gamma", "x")
SYMBOLS = ("EUR-USD", "GBP-USD", "BTC.X", "A")
TRACE = 60
CALM_NS = 45 * SECOND
MOST_AHEAD_NS = 7 * DAY * SECOND
"""hours.py knows no later day."""
EXECUTIONS_KEPT = (orders.EXECUTIONS_KEPT, 2)
MARKS_KEPT_DAYS = (forgetting.MARKS_KEPT_DAYS, 1)
"""By the seed, even or odd: little enough that a run goes beyond it."""
STATUS_EVERY = 40
"""Batches between two looks at what is published."""
CALM_RECORDS = 500
"""More than any calm time needs."""


@dataclass(frozen=True)
class Wanted:
    """What a run should be like. `faults` False: nothing goes wrong. `garbage`: strategies that send nothing but that.
    `apart`: each strategy has instruments of its own, no limit is shared, and the venue's rates do not bind."""

    steps: int = 3000
    faults: bool = True
    garbage: frozenset[str] = frozenset()
    apart: bool = False
    names: int | None = None


class World:
    """See the module."""

    def __init__(self, seed: int, wanted: Wanted = Wanted()) -> None:
        self.seed, self.wanted = seed, wanted
        random = self.random = Random(f"{seed}/world")
        orders.EXECUTIONS_KEPT = EXECUTIONS_KEPT[seed % 2]
        forgetting.MARKS_KEPT_DAYS = MARKS_KEPT_DAYS[seed % 2]
        self.now = START
        self.skew = 0
        if not wanted.apart and random.random() < 0.5:
            self.skew = self._until_boundary()
        self.largest_skew = self.skew
        self.faults = wanted.faults
        self.trading = True
        self.silent_until = 0
        # Instruments in which nobody trades any more.
        self._dry: set[str] = set()
        self.steps = self.commands = 0
        # By the metric and its last label.
        self.counts: Counter[tuple[str, str]] = Counter()
        self.quote_ns = SECOND // 5
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = 0
        self._trace: deque[tuple[int, object, object]] = deque(maxlen=TRACE)
        self.venue_name = VENUE
        self.names = NAMES[: wanted.names or random.randrange(2, 6)]
        count = len(self.names) if wanted.apart else random.randrange(1, 5)
        symbols = SYMBOLS[:count] if count <= len(SYMBOLS) else (*SYMBOLS, "EXTRA")
        self.instruments = {item.id: item for item in (self._instrument(symbol) for symbol in symbols)}
        self._mids = {
            item.id.symbol: item.tick_size * random.randrange(900, 1100) for item in self.instruments.values()
        }
        self.features = VenueFeatures(positions=random.random() < 0.5)
        self._settings = self._draw_settings()
        self.specs: dict[str, ConfigSpec] = {}
        said: dict[tuple[str, int], KillSpec | None] = {}
        multipliers = {item.id.symbol: item.multiplier for item in self.instruments.values()}
        self.accounts = Accounts(self.specs, said, multipliers)
        self.kills = Kills(self, Random(f"{seed}/kills"), said)
        self.log = MemoryLog()
        self._read = 0
        self.venue = Venue(self, Random(f"{seed}/venue"))
        self.traders = {
            name: Trader(self, name, Random(f"{seed}/{name}"), garbage=name in wanted.garbage) for name in self.names
        }
        self.processes: list[GatewayProcess] = []
        self._started = 0
        self.wanted_config = self._draw_config()
        self._begin()

    # --- Time -------------------------------------------------------------------------------------------------------

    def at(self, at_ns: int, what: Callable[..., None], *arguments: Any) -> None:
        """Something happens at a time of the world."""
        self._serial += 1
        heapq.heappush(self._heap, (max(at_ns, self.now), self._serial, what, arguments))

    def after(self, wait_ns: int, what: Callable[..., None], *arguments: Any) -> None:
        """Something happens after a while."""
        self.at(self.now + wait_ns, what, *arguments)

    def wall(self) -> int:
        """The gateway's and the strategies' clock."""
        return self.now + self.skew

    def latency(self) -> int:
        """Of one message, in nanoseconds."""
        return 200_000 if self.wanted.apart else 50_000 + int(self.random.random() * 2_000_000)

    # --- What there is ----------------------------------------------------------------------------------------------

    def _instrument(self, symbol: str) -> Instrument:
        lot = self.random.choice((Decimal(10), Decimal("0.5"), Decimal(1000)))
        minimum = lot * self.random.choice((1, 1, 3))
        tick = self.random.choice((Decimal("0.01"), Decimal("0.00025"), Decimal(5)))
        multiplier = self.random.choice((Decimal(1), Decimal(1), Decimal("0.1"), Decimal(50)))
        return Instrument(InstrumentId(VENUE, symbol), "USD", multiplier, tick, lot, minimum)

    def _draw_settings(self) -> dict[str, Any]:
        random = self.random
        often = 100_000 if self.wanted.apart else random.choice((5, 50, 1000))
        return {
            "features": self.features,
            "orders_per_second": often,
            "order_burst": often * 2,
            "cancels_per_second": often * 2,
            "recall_after_ns": RECALL_NS,
            "cancel_after_ns": random.randrange(1, 5) * SECOND,
            "answer_after_ns": random.randrange(2, 8) * SECOND,
        }

    def settings(self, pod: str) -> Settings:
        """Of a gateway process."""
        return Settings(namespace="trading", venue=VENUE, pod=pod, instruments=self.instruments, **self._settings)

    def tradable(self, name: str) -> list[Instrument]:
        """The instruments that a strategy trades."""
        every = list(self.instruments.values())
        return [every[self.names.index(name)]] if self.wanted.apart else every

    def mid(self, symbol: str) -> Decimal:
        """Where the market is."""
        return self._mids[symbol]

    def trader_of(self, name: str) -> Trader:
        """The strategy of this name."""
        return self.traders[name]

    def serving(self) -> GatewayProcess | None:
        """The gateway process that strategies find."""
        running = [item for item in self.processes if item.alive and item.ready]
        return running[-1] if running else None

    def newest_token(self) -> int:
        """The fencing token of the last session in the journal."""
        return self.accounts.tokens[-1] if self.accounts.tokens else 0

    # --- The run ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        for instrument in self.instruments.values():
            self.after(self.random.randrange(self.quote_ns), self._quote, instrument)
        self.after(SECOND, self._alive)
        self.start_process()
        for trader in self.traders.values():
            self.after(trader.random.randrange(SECOND), trader.act)
        if self.faults:
            self.after(SECOND, self._chaos)

    def run(self) -> None:
        """All of it; raises Broken, or whatever the engine raises."""
        while self.steps < self.wanted.steps:
            self.step()
        self._calm()

    def step(self) -> None:
        """The next event, and every invariant after it."""
        at_ns, _, what, arguments = heapq.heappop(self._heap)
        self.now = at_ns
        self.steps += 1
        what(*arguments)

    def run_for(self, wait_ns: int) -> None:
        """Everything that happens within a time."""
        until = self.now + wait_ns
        records = len(self.log.records)
        while self._heap and self._heap[0][0] <= until:
            self.step()
            if not self.trading:
                grown = len(self.log.records) - records
                expect(grown < CALM_RECORDS, "I8", f"the journal grows by {grown} records while nobody sends anything")
        self.now = until

    def trace(self, who: object, what: object) -> None:
        """Remembers a line of what happened last."""
        self._trace.append((self.now, who, what))

    def lines(self) -> list[str]:
        """The last lines."""
        return [f"{(at_ns - START) / SECOND:10.4f} {who}: {what}" for at_ns, who, what in self._trace]

    def _quote(self, instrument: Instrument) -> None:
        random = self.venue.random
        symbol, tick = instrument.id.symbol, instrument.tick_size
        mid = self._mids[symbol] = max(self._mids[symbol] + tick * random.randrange(-3, 4), tick * 20)
        shown = [instrument.lot_size * (10_000 if self.wanted.apart else random.randrange(0, 15)) for _ in range(2)]
        if symbol in self._dry:
            shown = [instrument.lot_size * 0] * 2
        self.venue.quote(TopOfBook(instrument.id, mid - tick, shown[0], mid + tick, shown[1], self.now))
        if self.faults and random.random() < 0.01:
            self.venue.odd_quote(instrument)
        self.after(random.randrange(2 * self.quote_ns) + 1, self._quote, instrument)

    def _alive(self) -> None:
        self.venue.alive()
        for process in self.processes:
            process.clock_is_looked_at()
        self.after(SECOND, self._alive)

    # --- Processes --------------------------------------------------------------------------------------------------

    def start_process(self) -> None:
        """A gateway process starts, whether another one runs or not."""
        self._started += 1
        process = GatewayProcess(self, Random(f"{self.seed}/gateway/{self._started}"), self._started)
        self.processes.append(process)
        self.trace(process.name, f"starts with token {process.token}")
        if process.alive:
            self.after(process.starts_after_ns, self._started_up, process)
        else:
            self.process_ended(process)

    def _started_up(self, process: GatewayProcess) -> None:
        """The process is told what it needs to know, once its clock has passed the journal."""
        if process.alive and not process.ready:
            self.after(SECOND // 10, self._started_up, process)
        elif process.alive:
            self.after(self.random.randrange(SECOND // 5), self._tell_config, process)
            self.after(self.random.randrange(SECOND // 5), process.connect)
            self.kills.started(process)

    def process_ended(self, process: GatewayProcess) -> None:
        """Another one starts after a while if none is left."""
        if process in self.processes:
            self.processes.remove(process)
        for trader in self.traders.values():
            trader.gateway_ended(process)
        self.after(self.random.randrange(SECOND), self._replace_process)

    def _replace_process(self) -> None:
        if not any(item.alive for item in self.processes):
            self.start_process()

    def read_journal(self) -> None:
        """The accounts take in what is stored."""
        for payload in self.log.records[self._read :]:
            self._read += 1
            self.accounts.take(payload)

    def deliver_delayed(self) -> None:
        """Appends that were on their way arrive."""
        self.log.deliver()
        self.read_journal()

    # --- What processes say -----------------------------------------------------------------------------------------

    def batch_taken(
        self, process: GatewayProcess, taken: list[tuple[commands.Command, int]], todo: batch.Batch
    ) -> None:
        """The engine has handled a batch; each command comes with how many events were recorded before it. Requests
        that were refused count against rates."""
        if process.token != self.newest_token():
            return
        at_ns = process.engine_ns = max(process.engine_ns, process.wall(), process.state.books.at_ns)
        ends = [*(after for _, after in taken[1:]), len(todo.events)]
        found = (
            _not_sent(command, after, at_ns, todo.events[:end])
            for (command, after), end in zip(taken, ends, strict=True)
        )
        seen = (_seen(command, after, at_ns) for command, after in taken)
        self.accounts.market.handled((item for item in seen if item is not None), len(todo.events))
        self.accounts.handled((item for item in found if item is not None), len(todo.events))

    def batch_done(self, process: GatewayProcess, *, quiet: bool) -> None:
        """A batch is carried out; a `quiet` one held nothing but market data that changed nothing."""
        if quiet:
            return
        if process.token == self.newest_token():
            self._reported = OnRecord(process.token, process.head.sequence, process.name)
        invariants.accounts_equal_books(self, process)
        invariants.books_equal_venue(self, process)
        invariants.nothing_stays_lost(self, process)
        if process.state.books.kills or self.accounts.kills:
            self.kills.look(process)
        invariants.breaches_stay(self, process)
        if process.token == self.newest_token() and process.quiet:
            self.accounts.losses.check(process.engine_ns)
            if process.state.live.configuration.revision == self.accounts.revision:
                watches = process.state.live.standing.watches.values()
                pending = {(watch.rule.name, watch.subject) for watch in watches if watch.pending is not None}
                self.accounts.losses.day_is_marked(process.engine_ns, pending)
        self._batches += 1
        if self._batches % STATUS_EVERY == 0 and process.quiet and process.token == self.newest_token():
            statuses.check(self, process)
        if self._batches % 16 == 0:
            invariants.is_being_asked_for(process)
        if self._batches % 256 == 0:
            invariants.recovered_equals_live(self, process)

    def check_sent(self, process: GatewayProcess, terms: OrderTerms) -> None:
        """A process sends an order."""
        invariants.stands_in_journal(self, terms, "sent")
        expect(not process.leaving or terms.closing, "I5", f"{terms.cl_ord_id} is sent by a gateway that leaves")

    def check_arrival(self, request: NewOrder | Replace) -> None:
        """An order reaches the exchange."""
        invariants.stands_in_journal(self, request.terms, "at the venue")
        self.kills.arrives(request.terms)

    # --- The operator -----------------------------------------------------------------------------------------------

    _reported = OnRecord()
    _batches = 0

    def _tell_config(self, process: GatewayProcess) -> None:
        if process.ready:
            process.put(commands.Configure(compiled(self.wanted_config, self._reported)))

    def configure(self, spec: ConfigSpec) -> None:
        """The operator wants something else from now on."""
        self.wanted_config = spec
        self.trace("operator", spec)
        for process in self.processes:
            self.after(self.latency(), self._tell_config, process)

    def _draw_config(self, *, calm: bool = False) -> ConfigSpec:
        random = self.random
        states = [TradingState.ACTIVE] * (2 if calm else 12) + [
            TradingState.HALTED,
            TradingState.FLATTEN,
        ] * (2 if calm else 1)
        if self.wanted.apart:
            states = [TradingState.ACTIVE]
        bindings = {name: random.choice(states) for name in self.names if self.wanted.apart or random.random() < 0.92}
        rules = tuple(self._draw_rule(number, calm) for number in range(1 if calm else random.randrange(1, 4)))
        if self.wanted.apart:
            rules = tuple(self._own_rule(name) for name in self.names)
        chance = 1.0 if calm or self.wanted.apart else random.random()
        halted = random.choice(("VenueSuspended", "VenueDeleted")) if chance < 0.04 else ""
        clears = calm or random.random() < 0.6
        spec = ConfigSpec(
            f"r{len(self.specs) + 1}",
            bindings,
            rules,
            halted_reason=halted,
            unreadable="a word that nobody knows" if 0.04 <= chance < 0.06 else "",
            cleared_halts=frozenset(self.accounts.halts if clears else ()),
            cleared_breaches=self._cleared_breaches(by_right=clears),
            capital=self._capital(),
            tradable={name: self._draw_tradable() for name in bindings},
        )
        self.specs[spec.revision] = spec
        return spec

    def _draw_tradable(self) -> frozenset[str]:
        """Mostly all; a strategy that has moved may only reduce in some."""
        if self.wanted.apart or self.random.random() < 0.95:
            return frozenset(item.symbol for item in self.instruments)
        return frozenset(item.symbol for item in self.instruments if self.random.random() < 0.5)

    def _cleared_breaches(self, *, by_right: bool) -> frozenset[tuple[str, str]]:
        """Each breach at another RiskLimit, which clears nothing, and when it is `by_right` at its own."""
        latched = self.accounts.breaches
        own = {(found.rule, name) for name, found in latched.items()}
        return frozenset({("limit-elsewhere", name) for name in latched} | (own if by_right else set()))

    def _capital(self) -> Decimal:
        """Of a strategy: what limits that are shares of it are reached by."""
        worths = (item.lot_size * self._mids[item.id.symbol] * item.multiplier for item in self.instruments.values())
        return max(worths) * 20

    def _risked(self) -> Decimal:
        """What one lot of the largest instrument makes or loses with one tick."""
        return max(item.lot_size * item.tick_size * item.multiplier for item in self.instruments.values())

    def _draw_rule(self, number: int, calm: bool) -> RuleSpec:
        random, lot = self.random, max(item.lot_size for item in self.instruments.values())
        every = calm or number == 0
        symbols = [item.symbol for item in self.instruments]

        def some(chance: float, value: Any) -> Any:
            return value if random.random() < chance else None

        return RuleSpec(
            f"limit-{number}",
            frozenset(name for name in self.names if every or random.random() < 0.7),
            frozenset() if every or random.random() < 0.6 else frozenset(random.sample(symbols, 1)),
            total=random.random() < 0.5,
            enforce=every or random.random() < 0.9,
            order_quantity=lot * random.randrange(4, 30) if every else some(0.6, lot * random.randrange(1, 30)),
            order_notional=some(0.1, lot * random.randrange(1000, 100_000)),
            position=some(0.7, lot * random.randrange(3, 60)),
            rate=some(0.4, (random.randrange(3, 100), random.choice((1, 1, 5, 60)))),
            unknown=not calm and random.random() < 0.03,
            daily_loss=some(0 if calm else 0.3, self._risked() * random.randrange(5, 200)),
            drawdown=some(0 if calm else 0.2, Decimal(random.randrange(1, 20)) / 2000),
            on_breach=random.choice(("Alert", "Slow", *HARDNESS)),
            open_orders=some(0.3, random.randrange(1, 20)),
            **self._draw_more(calm),
        )

    def _draw_more(self, calm: bool) -> dict[str, Any]:
        """Limits that only some rules have; none while all must come right."""
        random = self.random
        lot = max(item.lot_size * self._mids[item.id.symbol] * item.multiplier for item in self.instruments.values())
        drawn: dict[str, Any] = {
            "collar": Decimal(random.randrange(1, 100)),
            "data_age": Decimal(random.randrange(1, 40)) / 10,
            "gross": lot * random.randrange(5, 80),
            "net": lot * random.randrange(3, 40),
            "concentration": Decimal(random.randrange(1, 20)) / 10,
            "loss_per_minute": Decimal(random.randrange(1, 20)) / 4000,
            "duplicate_ms": random.choice((200, 2000, 60_000)),
            "order_to_trade": Decimal(random.randrange(1, 30)),
            "rejects": random.randrange(1, 12),
            "repeated": (random.randrange(1, 8), random.choice((1, 10, 60))),
            "self_match": True,
            "restricted": frozenset(random.sample([item.symbol for item in self.instruments], 1)),
            "hours": random.choice(("XNYS", "XTKS")),
            "day": random.choice(DAYS),
        }
        chances = dict.fromkeys(drawn, 0.12) | {"restricted": 0.06, "hours": 0.06, "day": 0.3, "duplicate_ms": 0.3}
        chances |= {"rejects": 0.06, "repeated": 0.06}
        return {name: value for name, value in drawn.items() if random.random() < chances[name] and not calm}

    def _own_rule(self, name: str) -> RuleSpec:
        """Limits of one strategy that depend on nothing but its name."""
        random = Random(f"{self.seed}/limits/{name}")
        lot = self.tradable(name)[0].lot_size
        return RuleSpec(
            f"limit-{name}",
            frozenset({name}),
            order_quantity=lot * random.randrange(4, 30),
            position=lot * random.randrange(10, 60),
            rate=(random.randrange(3, 40), random.choice((1, 5))),
        )

    # --- What goes wrong --------------------------------------------------------------------------------------------

    def _chaos(self) -> None:
        if not self.faults:
            return
        random = self.random
        choice = random.choices(CHAOS, CHAOS_WEIGHTS)[0]
        choice(self)
        self.after(random.randrange(SECOND // 10, 2 * SECOND), self._chaos)

    def _reconfigure(self) -> None:
        self.configure(self._draw_config())

    def _kill(self) -> None:
        process = self.serving()
        if process is not None:
            process.end("killed")

    def _second(self) -> None:
        if sum(item.alive for item in self.processes) < 2:
            self.start_process()

    def _clock_steps(self) -> None:
        """By seconds either way, by hours, or to where a session or a day begins or ends. A clock that is set back by
        more than a moment is put right again: until then no gateway starts."""
        random = self.random
        step = random.choice((-20, -3, -1, 1, 3, 20)) * SECOND + random.randrange(SECOND)
        chance = random.random()
        if chance < 0.3:
            far = random.choice((HOUR, DAY)) * SECOND
            step = random.choice((-far, far, self._until_boundary(), self._until_boundary()))
            if self.seed % 2 and chance < 0.1:
                step = 2 * DAY * SECOND  # longer than what is gone is kept
            if self.skew + step > MOST_AHEAD_NS:
                return
            if step < 0:
                self.after(random.randrange(SECOND, 6 * SECOND), self._step, -step)
        self._step(step)

    def _step(self, step: int) -> None:
        self.skew = max(self.skew + step, -START // 2)
        self.largest_skew = max(self.largest_skew, self.skew)
        self.trace("clock", f"steps by {step / SECOND:.3f} s")

    def _until_boundary(self) -> int:
        """Until shortly before the next time at which a session or a day may begin or end."""
        wall, midnight = self.wall(), self.wall() // (DAY * SECOND) * DAY
        next_ones = (edge * SECOND - wall for edge in (*(midnight + edge for edge in BOUNDARIES), midnight + DAY))
        later = [wait for wait in next_ones if wait > 5 * SECOND]
        return self.random.choice(later) - self.random.randrange(5 * SECOND) if later else SECOND

    def _silence(self) -> None:
        self.silent_until = self.now + self.random.randrange(8 * SECOND)

    def _snapshot(self) -> None:
        process = self.serving()
        if process is not None and process.token == self.newest_token():
            process.snapshot()

    def _leave(self) -> None:
        process = self.serving()
        if process is not None:
            process.leave()

    def _calm(self) -> None:
        """Nothing goes wrong any more, nobody sends anything, the venue is logged on to again: all comes right."""
        self.faults = self.trading = False
        self.silent_until = 0
        self._dry = {item.symbol for item in self.instruments if self.random.random() < 0.3}
        self.skew = self.largest_skew
        self.quote_ns = 3 * SECOND
        self.log.delayed.clear()
        self.run_for(6 * SECOND)
        self._replace_process()
        self.configure(self._draw_config(calm=True))
        self.venue.disconnect()
        self.kills.settle()
        self.run_for(CALM_NS)
        strays = self.kills.engage_strays()
        for _ in range(2):
            cleared = self._again(self.wanted_config)
            self.configure(cleared)
            self.run_for(CALM_NS)
            self.kills.rearm_strays(strays)
            strays = []
        self._check_end()

    def _again(self, spec: ConfigSpec) -> ConfigSpec:
        """The same once more, with every halt and breach cleared."""
        again = ConfigSpec(
            f"r{len(self.specs) + 1}",
            spec.bindings,
            spec.rules,
            cleared_halts=frozenset(self.accounts.halts),
            cleared_breaches=self._cleared_breaches(by_right=True),
            tradable=spec.tradable,
        )
        self.specs[again.revision] = again
        return again

    def _check_end(self) -> None:
        process = self.serving()
        assert process is not None
        records = len(self.log.records)
        self.run_for(20 * SECOND)
        process.expect_alive()
        self.kills.check_end(process)
        expect(process.state.live.configuration.revision == self.wanted_config.revision, "I9", "configuration in force")
        self.venue.check_itself()
        invariants.accounts_equal_books(self, process)
        invariants.books_equal_venue(self, process)
        invariants.nothing_stays_unknown(self, process)
        invariants.nothing_is_lost(self)
        statuses.check(self, process)
        invariants.executions_are_the_venues(self)
        invariants.recovered_equals_live(self, process)
        invariants.flatten_ends(self, process)
        # One order that closes a position is sent, accepted and ended. What is held is charged besides.
        grown = sum(not _charges_alone(payload) for payload in self.log.records[records:])
        expect(grown <= 3 * len(process.state.books.positions), "I8", f"the journal grows by {grown} records in 20 s")


def _charges_alone(payload: bytes) -> bool:
    events = journal_pb2.JournalRecord.FromString(payload).events
    return all(event.HasField("position_charged") for event in events)


def _not_sent(
    command: commands.Command, after: int, at_ns: int, events: list[journal_pb2.JournalEvent]
) -> NotSent | None:
    """None when the command is no request, or was sent: the first event that it recorded says so. `events` are those of
    the batch up to the last that it recorded."""
    if isinstance(command, commands.Malformed):
        return NotSent(after, at_ns, command.strategy)
    if isinstance(command, commands.NewOrder):
        terms = command.terms
        if _sent_id(after, events) == terms.cl_ord_id:
            return None
        return NotSent(after, at_ns, terms.strategy, terms.instrument.symbol, terms.cl_ord_id)
    if isinstance(command, commands.CancelOrder | commands.ReplaceOrder):
        if _sent_id(after, events) == command.cl_ord_id:
            return None
        return NotSent(after, at_ns, command.strategy, orig_cl_ord_id=command.orig_cl_ord_id)
    return None


def _seen(command: commands.Command, after: int, at_ns: int) -> Seen | None:
    """What the command says of the market."""
    event = command.event if isinstance(command, commands.FromVenue) else None
    if isinstance(event, port.QuoteChanged):
        book = event.book
        return Seen(after, at_ns, book.instrument.symbol, book.bid_price, book.ask_price)
    return Seen(after, at_ns) if isinstance(event, port.FeedAlive) else None


def _sent_id(place: int, events: list[journal_pb2.JournalEvent]) -> str:
    """The ClOrdID of the request that this event sends; empty when it sends none."""
    kind = events[place].WhichOneof("event") if place < len(events) else None
    return getattr(events[place], kind).cl_ord_id if kind in SENDING else ""


SENDING = frozenset({"order_submitted", "cancel_submitted", "replace_submitted"})
CHAOS: tuple[Callable[[World], None], ...] = (
    World._reconfigure,
    World._kill,
    World._second,
    World._clock_steps,
    World._silence,
    World._snapshot,
    World._leave,
    lambda world: world.venue.disconnect(),
    lambda world: world.venue.bust(),
    lambda world: world.venue.foreign(),
    lambda world: world.trader_of(world.random.choice(world.names)).lose(),
    lambda world: world.kills.engage(),
    lambda world: world.kills.rearm(),
)
CHAOS_WEIGHTS = (30, 6, 4, 8, 4, 10, 3, 10, 8, 2, 5, 10, 16)
