"""What goes from role to role: one market data event, and what each stage makes of it. Every event gives exactly one
FeatureVector, Signal and TargetPosition. Over the bus they travel as the messages of the same names (flow_wire.py).

Prices are in the instrument's quote currency, quantities in its units, times in nanoseconds since the Unix epoch at the
venue. Tuples, because one of each is made for every event.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.market import Bar, TopOfBook, Trade


class MarketEvent(NamedTuple):
    """One event of a venue's market data stream. `sequence` starts at 1 and rises by 1; `event` is None when a number
    in it was missing, malformed or not positive."""

    sequence: int
    event_ns: int
    instrument: InstrumentId
    event: TopOfBook | Trade | Bar | None


class Origin(NamedTuple):
    """The market data event that caused something."""

    instrument: InstrumentId
    sequence: int
    event_ns: int


class FeatureVector(NamedTuple):
    """What the model's hook computed. `mid` is the last one of the event's instrument; `reason` says why it is not
    ready (a HoldReason), and is empty when it is."""

    origin: Origin
    mid: Decimal | None
    reason: str
    values: Mapping[str, float] = {}

    @property
    def ready(self) -> bool:
        """False while the model warms up, or has failed."""
        return not self.reason


class Weight(NamedTuple):
    """How much of a signal's position one instrument is, -1 to 1, and the mid price that it was computed with."""

    instrument: InstrumentId
    weight: float
    mid: Decimal | None


class InstrumentQuotes(NamedTuple):
    """How a model quotes one instrument, as sdk.QuoteTerms, and the mid price that it was computed with."""

    instrument: InstrumentId
    half_spread: float
    skew: float
    size: float
    shift: float
    mid: Decimal | None


class Signal(NamedTuple):
    """What the model expects: `mu` and `sigma` of the log return over its horizon, fractions; `prob_edge_pos` is
    Phi(mu / sigma). Of a model that quotes it is `quotes` alone. `reason` says why there is neither, and is empty when
    there is one."""

    origin: Origin
    mid: Decimal | None
    reason: str
    mu: float = 0.0
    sigma: float = 0.0
    prob_edge_pos: float = 0.0
    weights: tuple[Weight, ...] = ()
    quotes: tuple[InstrumentQuotes, ...] = ()

    @property
    def ready(self) -> bool:
        """False without a forecast."""
        return not self.reason


class TargetQuotes(NamedTuple):
    """Two orders to keep resting in one instrument. Where they rest depends on the position, which execution alone
    knows exactly: the reservation price is `fair` less `skew` times the position over `max_position`, and they rest
    `half_spread` below and above it. `quantity` is that of each; filled, they never bring the position beyond
    `max_position` on either side of zero."""

    fair: Decimal
    half_spread: Decimal
    skew: Decimal
    quantity: Decimal
    max_position: Decimal


class TargetPosition(NamedTuple):
    """The positions to hold, signed, by instrument; those that are absent stay as they are. A strategy that quotes has
    `quotes` instead: an instrument that is absent there is not quoted. `hold_reason` says why there is no target, and
    is empty when there is one."""

    origin: Origin
    targets: Mapping[InstrumentId, Decimal] = {}
    hold_reason: str = ""
    quotes: Mapping[InstrumentId, TargetQuotes] = {}
