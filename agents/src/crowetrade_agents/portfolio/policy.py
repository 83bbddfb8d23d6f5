"""What the portfolio stage needs of one strategy: capital, entry gate, sizing and stand-down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from crowetrade_agents.domain.instrument import Instrument, InstrumentId


@dataclass(frozen=True, slots=True)
class PortfolioPolicy:
    """Strategy.spec.policy as numbers. None means that the manifest does not ask for the rule."""

    # Money that leverage 1 stands for, in the one currency of all instruments.
    capital: Decimal
    instruments: Mapping[InstrumentId, Instrument]
    # Lowest Phi(|mu| / sigma) at which there is a target.
    min_prob_edge: float
    # Highest sigma at which there is a target, a fraction.
    max_sigma: float | None
    # Share of the Kelly bet that is taken, 0 to 1.
    kelly_fraction: float
    # Highest sum of absolute notionals over capital.
    max_leverage: Decimal
    # Silence beyond the feed's usual interval that counts as a gap, nanoseconds of event time.
    data_gap_ns: int | None
    # Move of the mid price, in deviations of its usual move, that counts as a spike.
    spike_sigma: float | None
    # Whether signals say how to quote, instead of what to hold: then no gate and no Kelly bet apply.
    quoting: bool = False
