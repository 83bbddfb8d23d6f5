"""Messages that several test packages build."""

from __future__ import annotations

from decimal import Decimal

from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents.domain.instrument import Instrument

VENUE, EUR, BTC = "sim", "EUR-USD", "BTC-USD"
START_NS = 1_400_000_000_000_000_000
SECOND_NS = 1_000_000_000

EUR_USD = Instrument(EUR, "USD", Decimal("0.00001"), Decimal(1000), Decimal(1000))
BTC_USD = Instrument(BTC, "USD", Decimal("0.01"), Decimal("0.001"), Decimal("0.001"))


def origin(sequence: int = 1, symbol: str = EUR, at_seconds: float | None = None, venue: str = VENUE) -> pb.Origin:
    """Event `sequence`, one second after the one before unless told otherwise."""
    seconds = sequence if at_seconds is None else at_seconds
    return pb.Origin(venue=venue, symbol=symbol, sequence=sequence, event_unix_ns=START_NS + int(seconds * SECOND_NS))


def quote(
    sequence: int, bid: str, ask: str, *, symbol: str = EUR, quantity: str = "1000000", venue: str = VENUE
) -> pb.MarketData:
    """A quote, one second after the one before."""
    return pb.MarketData(
        sequence=sequence,
        event_unix_ns=START_NS + sequence * SECOND_NS,
        quote=pb.Quote(
            symbol=symbol, venue=venue, bid_price=bid, bid_quantity=quantity, ask_price=ask, ask_quantity=quantity
        ),
    )


def target(sequence: int, quantity: str, *, symbol: str = EUR, venue: str = VENUE) -> pb.TargetPosition:
    """A target for one instrument."""
    return pb.TargetPosition(
        origin=origin(sequence, symbol, venue=venue),
        targets=[pb.Target(symbol=symbol, venue=venue, quantity=quantity)],
    )
