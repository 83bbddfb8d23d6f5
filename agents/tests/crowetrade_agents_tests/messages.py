"""Messages that several test packages build."""

from __future__ import annotations

from decimal import Decimal

from crowetrade.bus.v1 import instrument_pb2
from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents.domain import flow_wire
from crowetrade_agents.domain.flow import MarketEvent, TargetPosition
from crowetrade_agents.domain.flow_wire import market_event
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.wire import instrument_to_wire

NAMESPACE, STRATEGY = "desk", "ema"
VENUE, OTHER_VENUE = "sim", "sim-b"
EUR, BTC = InstrumentId(VENUE, "EUR-USD"), InstrumentId(VENUE, "BTC-USD")
EUR_B = InstrumentId(OTHER_VENUE, "EUR-USD")
START_NS = 1_400_000_000_000_000_000
SECOND_NS = 1_000_000_000


def instrument(
    name: InstrumentId, tick: str = "0.00001", lot: str = "1000", minimum: str = "1000", multiplier: str = "1"
) -> Instrument:
    """An instrument quoted in USD."""
    return Instrument(name, "USD", Decimal(multiplier), Decimal(tick), Decimal(lot), Decimal(minimum))


EUR_USD = instrument(EUR)
EUR_USD_B = instrument(EUR_B)
BTC_USD = instrument(BTC, "0.01", "0.001", "0.001")


def wire(name: InstrumentId) -> instrument_pb2.InstrumentId:
    """The message of an instrument."""
    return instrument_to_wire(name)


def origin(sequence: int = 1, name: InstrumentId = EUR, at_seconds: float | None = None) -> pb.Origin:
    """Event `sequence`, one second after the one before unless the test says otherwise."""
    seconds = sequence if at_seconds is None else at_seconds
    return pb.Origin(instrument=wire(name), sequence=sequence, event_unix_ns=START_NS + int(seconds * SECOND_NS))


def quote(
    sequence: int,
    bid: str,
    ask: str,
    *,
    name: InstrumentId = EUR,
    quantity: str = "1000000",
    at_seconds: float | None = None,
) -> pb.MarketData:
    """A quote, one second after the one before unless the test says otherwise."""
    return pb.MarketData(
        sequence=sequence,
        event_unix_ns=origin(sequence, name, at_seconds).event_unix_ns,
        quote=pb.Quote(
            instrument=wire(name), bid_price=bid, bid_quantity=quantity, ask_price=ask, ask_quantity=quantity
        ),
    )


def event(
    sequence: int,
    bid: str,
    ask: str,
    *,
    name: InstrumentId = EUR,
    quantity: str = "1000000",
    at_seconds: float | None = None,
) -> MarketEvent:
    """The same quote as the roles hand it on."""
    return market_event(quote(sequence, bid, ask, name=name, quantity=quantity, at_seconds=at_seconds))


def target(sequence: int, quantity: str, *, name: InstrumentId = EUR) -> TargetPosition:
    """A target for one instrument, caused by an event of it."""
    return TargetPosition(flow_wire.origin(origin(sequence, name)), {name: Decimal(quantity)})
