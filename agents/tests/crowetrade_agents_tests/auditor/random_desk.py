"""The real engine under every limit and whatever may happen, from one seed: a journal in which nothing is wrong, with
the market data that an auditor would have heard."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade.config.v1 import config_pb2, kill_pb2
from crowetrade_agents.auditor.fleet import Fleet
from crowetrade_agents.auditor.ledger import Ledger
from crowetrade_agents.auditor.marks import Quote
from crowetrade_agents.control.kills import Channel, Kill, Rearm
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.orders import OrderTerms, OrdStatus, OrdType, Side, TimeInForce
from crowetrade_agents.gateway import commands
from crowetrade_agents.gateway.order import Order
from crowetrade_agents.gateway.state import Settings
from crowetrade_agents.venues import port
from crowetrade_agents_tests.auditor.forging import NAME, NAMESPACE, configuration, configure, rule
from crowetrade_agents_tests.gateway.scenario import SECOND, VENUE, Scenario, book, cl_ord_id

STRATEGIES = ("alpha", "beta")
PRICES = {"EUR-USD": Decimal("1.1"), "GBP-USD": Decimal("1.3"), "GILT": Decimal("95")}
LISTED = {
    InstrumentId(VENUE, symbol): Instrument(
        InstrumentId(VENUE, symbol), currency, multiplier, Decimal("0.00001"), Decimal(1), Decimal(1), base
    )
    for symbol, currency, multiplier, base in (
        ("EUR-USD", "USD", Decimal(1), "EUR"),
        ("GBP-USD", "USD", Decimal(1), "GBP"),
        ("GILT", "GBP", Decimal(10), ""),
    )
}
VALUES: dict[str, list[dict[str, str]]] = {
    "maxOrderQuantity": [{"value": "400"}, {"value": "900"}],
    "maxOrderNotional": [{"value": "300000"}, {"value": "1500"}],
    "priceCollarBps": [{"value": "40"}, {"value": "200"}],
    "maxOrderRate": [{"count": "6", "perSeconds": "10"}, {"count": "40", "perSeconds": "120"}],
    "maxOpenOrders": [{"value": "3"}, {"value": "8"}],
    "maxPositionQuantity": [{"value": "800"}, {"value": "1500"}],
    "maxGrossNotional": [{"value": "600000"}, {"value": "2000"}],
    "maxNetNotional": [{"value": "500000"}, {"value": "1500"}],
    "maxConcentration": [{"value": "1"}, {"value": "0.01"}],
    "maxDailyLoss": [{"value": "5000"}, {"value": "20"}],
    "maxDrawdown": [{"value": "0.2"}, {"value": "0.0005"}],
    "maxLossPerMinute": [{"value": "0.2"}, {"value": "0.0005"}],
    "maxConsecutiveRejects": [{"value": "4"}, {"value": "12"}],
    "maxDataAgeSeconds": [{"value": "4"}, {"value": "30"}],
    "duplicateWindowMillis": [{"value": "400"}, {"value": "5000"}],
    "repeatedExecution": [{"count": "4", "perSeconds": "20"}],
    "maxOrderToTradeRatio": [{"value": "2"}],
    "selfMatchPrevention": [{"value": "true"}],
    "restrictedInstruments": [{"value": "GILT"}, {"value": ""}],
    "tradingHours": [{"calendar": "24x7"}, {"calendar": "XNYS"}],
}
DAYS = (None, ("UTC", "22:15"), ("Europe/Zurich", "23:17"), ("America/New_York", "17:20"))
"""Some begin while it runs: from 22:13 UTC on."""
ACTIONS = ("Alert", "Slow", "Block", "CloseOnly", "Cancel", "Flatten")


class RandomDesk(Scenario):
    """See the module. `only` names the limits that may be set."""

    def __init__(self, seed: int, only: tuple[str, ...] = tuple(VALUES)) -> None:
        self.random, self.days = Random(seed), Random(seed)
        self.only = only
        self.numbers = dict.fromkeys(STRATEGIES, 0)
        self.sequence = self.executions = 0
        self.mids = dict(PRICES)
        self.heard: list[tuple[int, int, str, Quote]] = []
        self.kill = 0
        settings = Settings(NAMESPACE, VENUE, "pod-1", LISTED, orders_per_second=1000, order_burst=1000)
        super().__init__(settings, ready=False)
        self.apply()
        self.do(commands.VenueConnected(port.VenueSnapshot()))
        for symbol in PRICES:
            self.quote(symbol)
        for session, strategy in enumerate(STRATEGIES, start=1):
            self.do(commands.Logon(strategy, session))

    def run(self, steps: int) -> None:
        """So many things happen."""
        what: list[tuple[Callable[[], object], int]] = [
            (self.some_order, 50),
            (self.some_quote, 30),
            (self.some_time, 30),
            (self.some_answer, 45),
            (self.some_cancel, 8),
            (self.some_replace, 10),
            (self.apply, 2),
            (self.clear, 3),
            (self.some_kill, 1),
        ]
        for _ in range(steps):
            (do,) = self.random.choices([item for item, _ in what], [weight for _, weight in what])
            do()

    # --- What may happen --------------------------------------------------------------------------------------------

    def apply(self) -> None:
        """Another configuration: a few rules with a few limits each."""
        self.message = self._drawn()
        self.do(configure(self.message))

    def _drawn(self, cleared: list[config_pb2.ClearedBreach] | None = None) -> config_pb2.GatewayConfig:
        random = self.random
        rules = [rule({"maxOrderQuantity": {"value": "900"}}, "base")]
        for number in range(random.randrange(0, 4)):
            names = random.sample(self.only, min(len(self.only), random.randrange(1, 5)))
            made = rule(
                {name: random.choice(VALUES[name]) for name in sorted(names)},
                f"rule-{number}",
                total=random.random() < 0.4,
                enforce=random.random() < 0.85,
                symbols=random.choice(([], [], ["EUR-USD"], ["EUR-USD", "GILT"])),
                day=self.days.choice(DAYS),
            )
            made.on_breach = random.choice(ACTIONS)
            rules.append(made)
        required = random.choice(([], [], [], ["OrderSize"]))
        return configuration(*rules, required_limits=required, cleared_breaches=cleared or [])

    def clear(self) -> None:
        """A person clears what is latched."""
        cleared = [
            config_pb2.ClearedBreach(breach=name, reason="seen", risk_limit=body.risk_limit)
            for name, body in self.books.breaches.items()
        ]
        message = config_pb2.GatewayConfig.FromString(self.message.SerializeToString())
        del message.cleared_breaches[:]
        self.message = configuration(*message.rules, required_limits=message.required_limits, cleared_breaches=cleared)
        self.do(configure(self.message))

    def some_kill(self) -> None:
        """A KillSwitch is engaged, and re-armed a little later."""
        self.kill += 1
        modes = (
            kill_pb2.KILL_MODE_BLOCK,
            kill_pb2.KILL_MODE_CLOSE_ONLY,
            kill_pb2.KILL_MODE_CANCEL,
            kill_pb2.KILL_MODE_FLATTEN,
        )
        name = f"stop-{self.kill}"
        order = kill_pb2.KillOrder(
            namespace="ops", name=name, uid=name, generation=1, mode=self.random.choice(modes), reason="a test"
        )
        order.scope.namespaces_from = "All"
        order.scope.strategy_selector.match_labels["desk"] = self.random.choice(("fx", "fx", "bonds"))
        self.do(Kill(order, Channel.API))
        for _ in range(self.random.randrange(12)):
            self.random.choice((self.some_order, self.some_answer, self.some_time))()
        self.do(Rearm("ops", name, name, 2))

    def quote(self, symbol: str) -> None:
        """A quote, which the auditor hears at the same time."""
        self.sequence += 1
        mid = self.mids[symbol] = self.mids[symbol] * (1 + Decimal(self.random.randrange(-8, 9)) / 10_000)
        bid = round(mid * Decimal("0.9999"), 5)
        ask = round(mid * Decimal("1.0001"), 5)
        self.venue(port.QuoteChanged(self.sequence, book(InstrumentId(VENUE, symbol), str(bid), str(ask))))
        self.heard.append((self.now, self.sequence, symbol, Quote(self.now, bid, ask)))

    def some_quote(self) -> None:
        """A quote of one instrument."""
        self.quote(self.random.choice(tuple(PRICES)))

    def some_time(self) -> None:
        """Time passes, sometimes much."""
        self.later(self.random.choice((0.05, 0.2, 0.5, 1.0, 1.5, 3.0, 8.0, 65.0)))

    def _number(self, strategy: str) -> int:
        self.numbers[strategy] += 1
        return self.numbers[strategy]

    def _price(self, symbol: str) -> Decimal:
        return round(self.mids[symbol] * (1 + Decimal(self.random.randrange(-60, 61)) / 10_000), 5)

    def some_order(self) -> None:
        """An order; sometimes the same again."""
        random = self.random
        strategy, symbol = random.choice(STRATEGIES), random.choice(tuple(PRICES))
        market = random.random() < 0.2
        price = None if market else self._price(symbol)
        if random.random() < 0.2:
            price = None if market else round(PRICES[symbol], 5)
        self.order(
            OrderTerms(
                cl_ord_id(self._number(strategy), strategy),
                strategy,
                InstrumentId(VENUE, symbol),
                random.choice(tuple(Side)),
                Decimal(random.choice((50, 100, 100, 300, 450, 800))),
                OrdType.MARKET if market else OrdType.LIMIT,
                price,
                TimeInForce.IOC if market else TimeInForce.GTC,
            )
        )

    def _some_open(self) -> Order | None:
        found = list(self.books.open.values())
        return self.random.choice(found) if found else None

    def some_answer(self) -> None:
        """The venue says something about an order."""
        order = self._some_open()
        if order is None:
            return
        choice = self.random.random()
        if order.replace is not None and choice < 0.4:
            self.venue(port.Replaced(order.replace.cl_ord_id, order.cl_ord_id, "v", self.now))
        elif choice < 0.25:
            self.venue(port.Accepted(order.cl_ord_id, "v", self.now))
        elif choice < 0.7:
            self._execute(order)
        else:
            status = self.random.choice((OrdStatus.CANCELED, OrdStatus.REJECTED))
            self.venue(port.Ended(order.cl_ord_id, "v", status, "Venue", "", self.now))

    def _execute(self, order: Order) -> None:
        self.executions += 1
        quantity = min(order.leaves, Decimal(self.random.choice((10, 50, 100, 400))))
        if quantity <= 0:
            return
        terms = order.terms
        price = round(self.mids[terms.instrument.symbol], 5)
        fee = Decimal(self.random.choice(("0", "0.5")))
        event = port.Executed(
            order.cl_ord_id, "v", f"x{self.executions}", terms.instrument, terms.side, quantity, price, fee, self.now
        )
        self.venue(event)

    def some_cancel(self) -> None:
        """A strategy cancels an order of its own."""
        order = self._some_open()
        if order is not None and not order.terms.closing:
            strategy = order.terms.strategy
            request = cl_ord_id(self._number(strategy), strategy)
            self.do(commands.CancelOrder(strategy, request, order.cl_ord_id))

    def some_replace(self) -> None:
        """A strategy replaces an order of its own."""
        order = self._some_open()
        if order is None or order.terms.closing or order.terms.price is None:
            return
        strategy = order.terms.strategy
        self.do(
            commands.ReplaceOrder(
                strategy,
                cl_ord_id(self._number(strategy), strategy),
                order.cl_ord_id,
                Decimal(self.random.choice((60, 200, 500))),
                self._price(order.terms.instrument.symbol),
                self.now + SECOND,
                0,
                self.now,
            )
        )

    # --- What the auditor says --------------------------------------------------------------------------------------

    def audited(self, events: list[pb.JournalEvent] | None = None) -> Fleet:
        """The journal judged, with every quote heard before what came a second later."""
        fleet = Fleet()
        ledger = Ledger(*NAME)
        fleet.follow(ledger)
        heard = iter(self.heard)
        waiting = next(heard, None)
        for sequence, event in enumerate(events or self.events, start=1):
            while waiting is not None and waiting[0] <= event.at_unix_ns + 2 * SECOND:
                _, number, symbol, quote = waiting
                ledger.marks.heard(number)
                ledger.marks.add(symbol, quote)
                waiting = next(heard, None)
            fleet.take(NAME, sequence, event)
        return fleet
