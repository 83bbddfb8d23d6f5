"""A gateway's engine on a table: two instruments, two strategies, one generous rule, and short words to drive it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from crowetrade.bus.v1 import journal_pb2, orders_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import OrderTerms, OrdStatus, OrdType, Side, TimeInForce
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import batch, commands, effects
from crowetrade_agents.gateway.books import Books, recover
from crowetrade_agents.gateway.engine import handle
from crowetrade_agents.gateway.order import Order
from crowetrade_agents.gateway.state import GatewayState, Settings
from crowetrade_agents.risk.rule_reading import compile_rule
from crowetrade_agents.risk.rules import RuleSet
from crowetrade_agents.venues import port

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
VENUE = "sim-fx"
EUR = InstrumentId(VENUE, "EUR-USD")
GBP = InstrumentId(VENUE, "GBP-USD")
RUN = "1hg3k2m9p0ab"
INSTRUMENTS = {
    item: Instrument(item, "USD", Decimal(1), Decimal("0.00001"), Decimal(1000), Decimal(1000)) for item in (EUR, GBP)
}
SYMBOLS = frozenset({"EUR-USD", "GBP-USD", "USD-JPY", "USD-CHF", "NESN"})
"""What strategies trade, also at gateways that list other instruments."""


def cl_ord_id(number: int, strategy: str = "alpha") -> str:
    """A ClOrdID of a strategy's process."""
    return f"{strategy}-{RUN}-{number}"


def rule(
    name: str = "desk", *, strategies: Iterable[str] = ("alpha", "beta"), total: bool = False, **limits: str
) -> config_pb2.RiskRule:
    """A rule with limits by name, as rule_of takes them."""
    return rule_of(limits, name, strategies=strategies, total=total)


def rule_of(
    limits: Mapping[str, str],
    name: str = "desk",
    *,
    strategies: Iterable[str] = ("alpha", "beta"),
    total: bool = False,
) -> config_pb2.RiskRule:
    """A rule with decimal limits by name; a rate as {"maxOrderRate": "20/1"}."""
    message = config_pb2.RiskRule(
        risk_limit=name,
        uid=f"uid-{name}",
        strategies=strategies,
        aggregate_total=total,
        enforce=True,
        currency="USD",
    )
    for limit, text in (limits or {"maxOrderQuantity": "1000000"}).items():
        count, _, seconds = text.partition("/")
        values = {"count": count, "perSeconds": seconds} if seconds else {"value": text}
        message.limits.append(config_pb2.Limit(name=limit, values=values))
    return message


def configuration(
    bindings: Mapping[str, TradingState] | None = None,
    *rules: config_pb2.RiskRule,
    revision: str = "r1",
    **more: object,
) -> Configuration:
    """What the operator wants; both strategies are active unless it is said otherwise."""
    bound = dict(bindings) if bindings is not None else dict.fromkeys(("alpha", "beta"), TradingState.ACTIVE)
    compiled = RuleSet(tuple(compile_rule(item) for item in (rules or (rule(),))))
    tradable = dict.fromkeys(bound, SYMBOLS)
    return Configuration(revision, bound, rules=compiled, **{"tradable": tradable, **more})  # type: ignore[arg-type]


def terms(number: int = 1, **changes: object) -> OrderTerms:
    """A GTC limit order to buy 10,000 EUR-USD at 1.1."""
    strategy = str(changes.get("strategy", "alpha"))
    made = OrderTerms(
        cl_ord_id=cl_ord_id(number, strategy),
        strategy=strategy,
        instrument=EUR,
        side=Side.BUY,
        quantity=Decimal(10_000),
        ord_type=OrdType.LIMIT,
        price=Decimal("1.1"),
        time_in_force=TimeInForce.GTC,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def book(instrument: InstrumentId = EUR, bid: str = "1.1", ask: str = "1.1001") -> TopOfBook:
    """A quote of a million on each side."""
    return TopOfBook(instrument, Decimal(bid), Decimal(1_000_000), Decimal(ask), Decimal(1_000_000), START)


class Scenario:
    """The engine with its clock. Everything that it asked for is in `effects`, the last command's in `last`."""

    def __init__(self, settings: Settings | None = None, books: Books | None = None, *, ready: bool = True) -> None:
        self.settings = settings or Settings(
            "cl-research", VENUE, "pod-1", INSTRUMENTS, orders_per_second=1000, order_burst=1000
        )
        self.now = START
        books = books or Books(VENUE)
        start = getattr(books, "sequence", 0)
        session = journal_pb2.SessionStarted(pod="pod-1", fencing_token=books.fencing_token + 1)
        self.events: list[journal_pb2.JournalEvent] = [
            journal_pb2.JournalEvent(at_unix_ns=self.now, session_started=session)
        ]
        books.apply(self.events[0])
        self.state = GatewayState.start(self.settings, books, start)
        self.effects: list[effects.Effect] = []
        self.last: list[effects.Effect] = []
        if ready:
            self.make_ready()

    def make_ready(self, snapshot: port.VenueSnapshot | None = None) -> None:
        """Configured, logged on, quoted; both strategies have a session."""
        self.do(commands.Configure(configuration()))
        self.do(commands.VenueConnected(snapshot or port.VenueSnapshot()))
        for sequence, instrument in enumerate((EUR, GBP), start=1):
            self.venue(port.QuoteChanged(sequence, book(instrument)))
        for session, strategy in enumerate(("alpha", "beta"), start=1):
            self.do(commands.Logon(strategy, session))

    @property
    def books(self) -> Books:
        """What is booked."""
        return self.state.books

    def do(self, command: commands.Command) -> list[effects.Effect]:
        """One command now."""
        self.last = handle(self.state, command, self.now)
        self.events += [effect.event for effect in self.last if isinstance(effect, effects.Append)]
        self.effects += self.last
        return self.last

    def order(self, *args: object, valid_for: int = SECOND, **changes: object) -> list[effects.Effect]:
        """A new order of a strategy."""
        made = args[0] if args and isinstance(args[0], OrderTerms) else terms(*args, **changes)  # type: ignore[arg-type]
        return self.do(commands.NewOrder(made, self.now + valid_for, 0, self.now))

    def cancel(self, number: int, request: int, strategy: str = "alpha") -> list[effects.Effect]:
        """A cancel of a strategy."""
        return self.do(commands.CancelOrder(strategy, cl_ord_id(request, strategy), cl_ord_id(number, strategy)))

    def replace(self, number: int, request: int, quantity: str = "20000", price: str = "1.09") -> list[effects.Effect]:
        """A cancel/replace of alpha."""
        command = commands.ReplaceOrder(
            "alpha",
            cl_ord_id(request),
            cl_ord_id(number),
            Decimal(quantity),
            Decimal(price),
            self.now + SECOND,
            0,
            self.now,
        )
        return self.do(command)

    def venue(self, event: port.VenueEvent) -> list[effects.Effect]:
        """The venue reports something."""
        return self.do(commands.FromVenue(event))

    def later(self, seconds: float) -> list[effects.Effect]:
        """Time passes, the feed stays alive, and timers go off."""
        self.now += int(seconds * SECOND)
        self.venue(port.FeedAlive(self.now))
        return self.do(commands.Timer())

    def accepted(self, number: int = 1, strategy: str = "alpha") -> list[effects.Effect]:
        """The venue has the order."""
        return self.venue(port.Accepted(cl_ord_id(number, strategy), f"v{number}", self.now))

    def executed(
        self, number: int = 1, quantity: str = "4000", exec_id: str = "e1", price: str = "1.1", **changes: object
    ) -> list[effects.Effect]:
        """The venue executes a buy of alpha in EUR-USD, unless it is said otherwise."""
        event = port.Executed(
            cl_ord_id(number),
            f"v{number}",
            exec_id,
            EUR,
            Side.BUY,
            Decimal(quantity),
            Decimal(price),
            Decimal(0),
            self.now,
        )
        return self.venue(replace(event, **changes))  # type: ignore[arg-type]

    def ended(self, number: int = 1, status: OrdStatus = OrdStatus.CANCELED, reason: str = "") -> list[effects.Effect]:
        """The venue says that the order is over."""
        return self.venue(port.Ended(cl_ord_id(number), f"v{number}", status, reason, "", self.now))

    def folded(self) -> Books:
        """The books that the journal alone gives."""
        return recover(VENUE, None, self.events)

    def find(self, number: int = 1, strategy: str = "alpha") -> Order | None:
        """The order in the books."""
        return self.books.find(cl_ord_id(number, strategy))

    def position(self, strategy: str = "alpha", instrument: InstrumentId = EUR) -> Decimal:
        """What the strategy holds."""
        return self.books.exposure((strategy, instrument)).position


def kinds(done: Iterable[effects.Effect]) -> list[str]:
    """What was recorded, sent and reported, in order, in short words; counts and log lines are left out."""
    words: list[str] = []
    for effect in done:
        match effect:
            case effects.Append(event):
                words.append(event.WhichOneof("event") or "")
            case effects.SendOrder():
                words.append("> order")
            case effects.SendCancel(urgent=urgent):
                words.append("> urgent cancel" if urgent else "> cancel")
            case effects.SendReplace():
                words.append("> replace")
            case effects.SendQuery():
                words.append("> query")
            case effects.SendRecall():
                words.append("> recall")
            case effects.Report(message=orders_pb2.ExecutionReport() as report):
                name = orders_pb2.ExecType.Name(report.exec_type).removeprefix("EXEC_TYPE_")
                words.append(f"< {name}" + (f" {report.reason}" if report.reason else ""))
            case effects.Report(message=orders_pb2.CancelReject() as reject):
                words.append(f"< CANCEL_REJECT {reject.reason}")
    return words


def take(state: GatewayState, *what: commands.Command, now: int) -> batch.Batch:
    """One batch."""
    return batch.take(state, what, now)
