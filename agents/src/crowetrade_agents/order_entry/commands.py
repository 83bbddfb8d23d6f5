"""What sessions put into the gateway's queue. gateway/commands.py adds what comes from elsewhere.

Times are wall-clock nanoseconds since the Unix epoch. What a strategy sent has been decoded and bounded before
(order_entry/decode.py), so a command holds only values of their type and range.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from crowetrade_agents.domain.orders import OrderTerms
from crowetrade_agents.risk.reasons import Refusal


@dataclass(frozen=True, slots=True)
class Logon:
    """A session of a strategy begins and wants its snapshot; `session` names it in the effects and rises."""

    strategy: str
    session: int


@dataclass(frozen=True, slots=True)
class SessionLost:
    """A session is over, whatever ended it. One that was taken over comes after the Logon of the newer one."""

    strategy: str
    session: int


@dataclass(frozen=True, slots=True)
class NewOrder:
    """FIX NewOrderSingle of an authenticated session. `origin_sequence`: the market data event of this venue that
    caused it, 0 when none did."""

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
    """A message of a session that could not be decoded; a ClOrdID that is unusable (not of the grammar, or not the
    strategy's own) is empty. `answers` says how to refuse it: an order gets an ExecutionReport, a request a
    CancelReject."""

    strategy: str
    answers: str  # "NewOrder", "Cancel", "CancelReplace"
    cl_ord_id: str
    orig_cl_ord_id: str
    refusal: Refusal


StrategyCommand = NewOrder | CancelOrder | ReplaceOrder | Malformed
"""What a strategy asked for."""

SessionCommand = Logon | SessionLost | StrategyCommand
"""Everything that a SessionHub puts into the gateway's queue."""
