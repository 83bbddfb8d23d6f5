"""What is traded, and on which grid."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple


class InstrumentId(NamedTuple):
    """An instrument everywhere: `venue` is the name of a VenueConnection, `symbol` is one that it declares.

    A named tuple, because it is the key of every table on the order path and tuples hash and compare in C.
    """

    venue: str
    symbol: str

    def __str__(self) -> str:
        return f"{self.venue}/{self.symbol}"


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument as its venue declares it.

    `tick_size` is in quote currency per unit; `lot_size` and `min_quantity` are in units. A unit is one contract:
    notional in quote currency = quantity x price x `multiplier` (FIX tag 231, ContractMultiplier).
    """

    id: InstrumentId
    currency: str
    multiplier: Decimal
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal
    # Of a currency pair: what one unit is an amount of, EUR for EUR-USD. Empty for anything else.
    base_currency: str = ""
    # Whether its venue refuses short sales. Known to strategies; gateways leave the rule to the venue.
    long_only: bool = False
