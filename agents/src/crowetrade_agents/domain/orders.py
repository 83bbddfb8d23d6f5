"""Orders in the words of FIX 4.4."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from crowetrade_agents.domain.instrument import InstrumentId


class FixEnum(Enum):
    """Values of a FIX tag. Each member exists once, so its identity is its hash: the one of Enum is computed in Python,
    and the tables of the order path are keyed by these."""

    __hash__ = object.__hash__


class Side(FixEnum):
    """FIX tag 54."""

    BUY = "Buy"
    SELL = "Sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        """The side that it trades with."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrdType(FixEnum):
    """FIX tag 40."""

    MARKET = "Market"
    LIMIT = "Limit"


class TimeInForce(FixEnum):
    """FIX tag 59.

    DAY ends with the venue's trading day, GTD at `expire_ns`, GTC when it is canceled; IOC trades what it can at once
    and cancels the rest, FOK trades all at once or nothing.
    """

    DAY = "DAY"
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTD = "GTD"

    @property
    def is_immediate(self) -> bool:
        """True when the order never rests."""
        return self in (TimeInForce.IOC, TimeInForce.FOK)


class OrdStatus(FixEnum):
    """FIX tag 39; UNKNOWN while what became of the order is being asked for."""

    PENDING_NEW = "PendingNew"
    NEW = "New"
    PARTIALLY_FILLED = "PartiallyFilled"
    FILLED = "Filled"
    PENDING_CANCEL = "PendingCancel"
    PENDING_REPLACE = "PendingReplace"
    CANCELED = "Canceled"
    REJECTED = "Rejected"
    EXPIRED = "Expired"
    UNKNOWN = "Unknown"

    def __init__(self, value: str) -> None:
        # True when the order cannot trade any more.
        self.is_final = value in ("Filled", "Canceled", "Rejected", "Expired")


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """Everything that an order says; what the gate approves, the journal holds and the venue gets is this object.

    `quantity` is in the instrument's units and `price` in quote currency (None for a market order). `expire_ns` is
    venue time in nanoseconds since the Unix epoch and is set for GTD alone. `closing` marks the gateway's own order
    that closes a position of its owner.
    """

    cl_ord_id: str
    strategy: str
    instrument: InstrumentId
    side: Side
    quantity: Decimal
    ord_type: OrdType
    price: Decimal | None
    time_in_force: TimeInForce
    expire_ns: int | None = None
    post_only: bool = False
    closing: bool = False
