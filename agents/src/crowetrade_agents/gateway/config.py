"""From venue.json to what the gateway and its simulated venue are made from. Pure."""

from __future__ import annotations

from decimal import Decimal

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.numbers import parse
from crowetrade_agents.venues.adapters.simulated.matching import Fees
from crowetrade_agents.venues.adapters.simulated.recording import QuoteMaking
from crowetrade_api.files import VenueFile

_SECOND_NS = 1_000_000_000
_MILLI_NS = 1_000_000


def instrument(file: VenueFile) -> Instrument:
    """The one instrument of the recording."""
    one = file.spec.instruments[0]
    return Instrument(one.symbol, one.currency, parse(one.tick_size), parse(one.lot_size), parse(one.min_quantity))


def quote_making(file: VenueFile) -> QuoteMaking:
    """How bars and trades become quotes."""
    data = file.simulated.data
    # The EUR/USD sample records hourly offers; every other source is taken as mid or trade prices.
    return QuoteMaking(parse(data.spread_bps), parse(data.quote_quantity), price_is_ask=data.sample == "eurusd-1h")


def speed(file: VenueFile) -> Decimal | None:
    """Recorded seconds for each second of the clock; None: lock step."""
    text = file.simulated.replay.speed
    return None if text == "max" else parse(text)


def max_gap_ns(file: VenueFile) -> int:
    """Longest pause in recorded time; 0: as recorded."""
    seconds = file.simulated.replay.max_gap_seconds
    return 0 if seconds is None else int(parse(seconds) * _SECOND_NS)


def fees(file: VenueFile) -> Fees:
    """Fees of the simulated venue."""
    return Fees(parse(file.simulated.fees.maker_bps), parse(file.simulated.fees.taker_bps))


def latency_ns(file: VenueFile) -> int:
    """From an order's arrival to its place in the market."""
    return file.simulated.latency.order_millis * _MILLI_NS
