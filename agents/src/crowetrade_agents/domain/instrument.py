"""An instrument as the venue trades it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Instrument:
    """Tick size in quote currency; lot size and least quantity in units of the base asset."""

    symbol: str
    currency: str
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal
