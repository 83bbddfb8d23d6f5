"""Settings of a simulated venue, as VenueConnection.spec.simulated has them; the runtime makes them out of the
resource."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from crowetrade_agents.domain.numbers import ZERO
from crowetrade_agents.risk.calendars import ALWAYS_OPEN
from crowetrade_agents.venues.adapters.simulated.faults import Fault, FaultRate
from crowetrade_agents.venues.adapters.simulated.queue import QueueModel
from crowetrade_agents.venues.port import VenueFeatures

TYPE = "Simulated"
API_KEY = "apiKey"
"""Name of the credential that the venue asks for."""
_MILLI_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class QuoteMaking:
    """How what a recording lacks is made up.

    `spread_bps`: spread around the price of a bar or trade, in basis points of the price. `quantity`: what is assumed
    at the best bid and offer where the recording has no size, in units (`quoteQuantity` in the manifest); a recorded
    size of 0 is not unknown, it says that nothing is there. `price_is_ask`: the recorded price is the offer.
    """

    spread_bps: Decimal = Decimal(1)
    quantity: Decimal = Decimal(1_000_000)
    price_is_ask: bool = False


@dataclass(frozen=True, slots=True)
class Recording:
    """One file: of one instrument, or, with an empty `symbol`, of those that its symbol column names. Links may not
    lead out of `volume`; None: they may lead anywhere."""

    path: Path
    symbol: str = ""
    making: QuoteMaking = QuoteMaking()
    volume: Path | None = None


@dataclass(frozen=True, slots=True)
class FeeTier:
    """Fees in basis points of notional for an account that has traded this much, in quote currency (costs.py)."""

    from_notional: Decimal
    maker_bps: Decimal
    taker_bps: Decimal


@dataclass(frozen=True, slots=True)
class Fees:
    """Fees in basis points of notional, below the first tier; negative is a rebate."""

    maker_bps: Decimal = ZERO
    taker_bps: Decimal = ZERO
    tiers: tuple[FeeTier, ...] = ()


@dataclass(frozen=True, slots=True)
class Funding:
    """What a perpetual pays: a long position `rate_bps` of its notional at every multiple of `every_hours` since
    midnight UTC, a short one receives it; the other way round when it is negative."""

    symbol: str
    rate_bps: Decimal
    every_hours: int


@dataclass(frozen=True, slots=True)
class Rollover:
    """What a position that is held over the end of the day pays, in basis points of its notional; negative is received.
    `at` is HH:MM in `time_zone` (IANA), from Monday to Friday; on Wednesday three days are charged, because what is
    rolled over then settles after the weekend."""

    symbol: str
    long_bps: Decimal
    short_bps: Decimal
    at: str = "17:00"
    time_zone: str = "America/New_York"


class ShortSelling(StrEnum):
    """Whether an account may sell what it does not hold."""

    ALLOWED = "Allowed"
    FORBIDDEN = "Forbidden"


NO_FEES = Fees()


@dataclass(frozen=True, slots=True)
class SimulatedSpec:
    """`speed`: recorded seconds per second of the clock, None for lock step ("max" in the manifest). `max_gap_ns`:
    longest pause in recorded time, 0 for as recorded. Latencies are venue time. `api_key_sha256` is empty when no key
    is asked for; the previous one is accepted too. `seed` belongs to `fault_rates`."""

    recordings: tuple[Recording, ...]
    speed: Decimal | None = Decimal(1)
    loop: bool = False
    max_gap_ns: int = 0
    fees: Fees = NO_FEES
    order_latency_millis: int = 0
    market_data_latency_millis: int = 0
    api_key_sha256: str = ""
    calendar: str = ALWAYS_OPEN
    seed: int = 0
    faults: tuple[Fault, ...] = ()
    fault_rates: tuple[FaultRate, ...] = ()
    queue_model: QueueModel = QueueModel.NONE
    short_selling: ShortSelling = ShortSelling.ALLOWED
    funding: tuple[Funding, ...] = ()
    rollovers: tuple[Rollover, ...] = ()
    previous_api_key_sha256: str = ""

    @property
    def order_latency_ns(self) -> int:
        """From an order's leaving to its arrival, in ns of venue time."""
        return self.order_latency_millis * _MILLI_NS

    @property
    def market_data_latency_ns(self) -> int:
        """From a quote at the venue to its arrival, in ns of venue time."""
        return self.market_data_latency_millis * _MILLI_NS


def features(speed: Decimal | None, *, positions: bool) -> VenueFeatures:
    """What the venue can do when it replays at this speed; `positions`: it knows the account's."""
    return VenueFeatures(positions=positions, lock_step=speed is None, replay_speed=speed or Decimal(1))
