"""What the execution stage needs of one strategy."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from crowetrade_agents.domain.orders import TimeInForce

ORDER_VALIDITY_NS = 5_000_000_000
"""How long after it was decided an order may still reach the venue, wall clock."""


class Style(StrEnum):
    """How a child order is priced."""

    LIMIT = "Limit"
    MARKET = "Market"
    # Two post-only limit orders per instrument (quote_plan.py).
    QUOTE = "Quote"


@dataclass(frozen=True, slots=True)
class ExecutionPolicy:
    """Strategy.spec.policy.execution as numbers, and the part of standDown that execution watches."""

    style: Style
    time_in_force: TimeInForce
    # How far beyond the opposite touch the limit may go, basis points of the touch.
    limit_offset_bps: Decimal
    # Share of the quantity quoted at the touch that one child order may take, 0 to 1; None: no cap.
    participation_cap: Decimal | None
    # Whether an order that is too large for a limit is cut to it.
    slice_to_limits: bool = False
    # Move of the price to quote that replaces a resting quote, ticks, 1 or above.
    requote_ticks: int = 1
    # As PortfolioPolicy.data_gap_ns; None: silence is not watched.
    data_gap_ns: int | None = None
