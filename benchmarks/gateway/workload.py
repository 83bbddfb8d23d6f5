"""One venue as all benchmarks of the order path have it: 50 strategies, 20 instruments, 8 RiskLimits with
four limits each (benchmarks.risk has every limit)."""

from __future__ import annotations

from decimal import Decimal

from crowetrade.config.v1 import config_pb2
from crowetrade_agents.control.gateway_config import decode
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import OrderTerms, OrdType, Side, TimeInForce
from crowetrade_agents.gateway import commands
from crowetrade_agents.gateway.books import Books
from crowetrade_agents.gateway.engine import handle
from crowetrade_agents.gateway.state import GatewayState, Settings
from crowetrade_agents.venues import port
from crowetrade_api.gateway_config import revision_of

NAMESPACE, VENUE, RUN = "bench", "sim", "1hg3k2m9p0ab"
SECOND_NS = 1_000_000_000
START_NS = 1_767_225_600 * SECOND_NS
STRATEGIES = tuple(f"strategy-{number:02d}" for number in range(50))
INSTRUMENTS = tuple(InstrumentId(VENUE, f"FX{number:02d}-USD") for number in range(20))
LISTED = {
    item: Instrument(item, "USD", Decimal(1), Decimal("0.00001"), Decimal(1000), Decimal(1000)) for item in INSTRUMENTS
}
BID, ASK = Decimal("1.10000"), Decimal("1.10010")
RATES = ((1_000_000, 1), (1_000_000, 10), (1_000_000, 60), (1_000_000, 600))
FAR_NS = 3600 * SECOND_NS


def configuration_message() -> config_pb2.GatewayConfig:
    """Four RiskLimits count each strategy alone and four count all together; each sets four limits and binds every
    order."""
    message = config_pb2.GatewayConfig()
    for strategy in STRATEGIES:
        symbols = [item.symbol for item in INSTRUMENTS]
        message.strategies.add(strategy=strategy, state=config_pb2.TRADING_STATE_ACTIVE, symbols=symbols)
    for number in range(8):
        total = number % 2 == 1
        count, seconds = RATES[number // 2]
        rule = message.rules.add(
            risk_limit=f"limit-{number}", uid=f"uid-{number}", generation=1, strategies=STRATEGIES, enforce=True
        )
        rule.currency = "USD"
        rule.aggregate_total = total
        for name in ("maxOrderQuantity", "maxOrderNotional", "maxPositionQuantity"):
            rule.limits.add(name=name, values={"value": str(10**12)})
        rule.limits.add(name="maxOrderRate", values={"count": str(count), "perSeconds": str(seconds)})
    message.revision = revision_of(message)
    return message


def configuration() -> Configuration:
    """The same as the gateway reads it."""
    read = decode(configuration_message().SerializeToString())
    assert not read.unreadable, read.unreadable
    return read


def cl_ord_id(strategy: str, number: int) -> str:
    """A ClOrdID of a strategy's process."""
    return f"{strategy}-{RUN}-{number}"


def new_order(number: int, strategy: str, instrument: InstrumentId, side: Side, now_ns: int) -> commands.NewOrder:
    """A limit order that rests."""
    terms = OrderTerms(
        cl_ord_id=cl_ord_id(strategy, number),
        strategy=strategy,
        instrument=instrument,
        side=side,
        quantity=Decimal(3000),
        ord_type=OrdType.LIMIT,
        price=BID if side is Side.BUY else ASK,
        time_in_force=TimeInForce.GTC,
    )
    return commands.NewOrder(terms, now_ns + FAR_NS, number, now_ns)


def trading_state(now_ns: int = START_NS) -> GatewayState:
    """An engine that is logged on, configured, quoted, and has a session of every strategy."""
    settings = Settings(
        NAMESPACE,
        VENUE,
        "pod-0",
        LISTED,
        orders_per_second=10**9,
        order_burst=10**9,
        cancels_per_second=10**9,
    )
    state = GatewayState.start(settings, Books(VENUE), 0)
    state.books.fencing_token = 1
    handle(state, commands.Configure(configuration()), now_ns)
    handle(state, commands.VenueConnected(port.VenueSnapshot()), now_ns)
    for session, strategy in enumerate(STRATEGIES, 1):
        handle(state, commands.Logon(strategy, session), now_ns)
    for sequence, instrument in enumerate(INSTRUMENTS, 1):
        book = TopOfBook(instrument, BID, Decimal(10**9), ASK, Decimal(10**9), now_ns)
        handle(state, commands.FromVenue(port.QuoteChanged(sequence, book)), now_ns)
    return state
