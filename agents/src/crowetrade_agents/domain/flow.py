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


class Signal(NamedTuple):
    """What the model expects: `mu` and `sigma` of the log return over its horizon, fractions; `prob_edge_pos` is
    Phi(mu / sigma). `reason` says why there is no forecast, and is empty when there is one."""

    origin: Origin
    mid: Decimal | None
    reason: str
    mu: float = 0.0
    sigma: float = 0.0
    prob_edge_pos: float = 0.0
    weights: tuple[Weight, ...] = ()

    @property
    def ready(self) -> bool:
        """False without a forecast."""
        return not self.reason


class TargetPosition(NamedTuple):
    """The positions to hold, signed, by instrument; those that are absent stay as they are. `hold_reason` says why
    there is no target, and is empty when there is one."""

    origin: Origin
    targets: Mapping[InstrumentId, Decimal] = {}
    hold_reason: str = ""
