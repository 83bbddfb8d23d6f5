"""What may happen to the engine. Every command is a frozen value; whoever has one puts it into the gateway's one queue.

Times are wall-clock nanoseconds since the Unix epoch. What a strategy sent has been decoded and bounded before
(order_entry/decode.py), so a command holds only values of their type and range.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.orders import OrderTerms
from crowetrade_agents.risk.reasons import Refusal
from crowetrade_agents.venues.port import VenueEvent, VenueSnapshot


@dataclass(frozen=True, slots=True)
class Logon:
    """A session of a strategy begins and wants its snapshot; `session` names it in the effects."""

    strategy: str
    session: int


@dataclass(frozen=True, slots=True)
class SessionLost:
    """A session is over, whatever ended it."""

    strategy: str
    session: int


@dataclass(frozen=True, slots=True)
class NewOrder:
    """FIX NewOrderSingle of an authenticated session. `origin_sequence`: the market data event that caused it."""

    terms: OrderTerms
    valid_until_ns: int
    origin_sequence: int
    received_ns: int


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """FIX OrderCancelRequest of an authenticated session."""

    strategy: str
    cl_ord_id: str
    orig_cl_ord_id: str


@dataclass(frozen=True, slots=True)
class ReplaceOrder:
    """FIX OrderCancelReplaceRequest of an authenticated session; quantity is the whole quantity."""

    strategy: str
    cl_ord_id: str
    orig_cl_ord_id: str
    quantity: Decimal
    price: Decimal
    valid_until_ns: int
    origin_sequence: int
    received_ns: int


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message of a session that could not be decoded; `cl_ord_id` is empty when not even that could be read.
    `answers` says how to refuse it: an order gets an ExecutionReport, a request a CancelReject."""

    strategy: str
    answers: str  # "NewOrder", "Cancel", "CancelReplace"
    cl_ord_id: str
    orig_cl_ord_id: str
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Configure:
    """A configuration arrived (or could not be read, or was deleted: then it says so)."""

    configuration: Configuration


@dataclass(frozen=True, slots=True)
class VenueConnected:
    """The venue logged us on and told what it knows."""

    snapshot: VenueSnapshot


@dataclass(frozen=True, slots=True)
class FromVenue:
    """The venue told something."""

    event: VenueEvent


@dataclass(frozen=True, slots=True)
class Leave:
    """The gateway was asked to stop: nothing new leaves, what is open is cancelled, what is to be closed is closed."""


@dataclass(frozen=True, slots=True)
class Timer:
    """Time has come for what engine.next_timer named."""


Command = (
    Logon
    | SessionLost
    | NewOrder
    | CancelOrder
    | ReplaceOrder
    | Malformed
    | Configure
    | VenueConnected
    | FromVenue
    | Leave
    | Timer
)
