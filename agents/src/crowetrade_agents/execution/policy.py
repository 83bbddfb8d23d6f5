"""What the execution stage is told of one strategy."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from crowetrade.bus.v1 import orders_pb2 as pb


class Style(StrEnum):
    """How a child order is priced."""

    LIMIT = "Limit"
    MARKET = "Market"


@dataclass(frozen=True, slots=True)
class ExecutionPolicy:
    """Strategy.spec.policy.execution as numbers."""

    style: Style
    time_in_force: pb.TimeInForce.ValueType
    # How far beyond the opposite touch the limit may go, basis points of the touch.
    limit_offset_bps: Decimal
    # Share of the quantity quoted at the touch that one child order may take, 0 to 1; None: no cap.
    participation_cap: Decimal | None
