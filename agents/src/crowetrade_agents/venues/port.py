"""What the gateway asks of a venue, and what a venue tells. Adapters accept nothing but approved orders."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.risk.approved import ApprovedOrder


@dataclass(frozen=True, slots=True)
class Accepted:
    """The venue has the order (ExecType New)."""

    cl_ord_id: str
    order_id: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Executed:
    """An execution (ExecType Trade): quantity in base units, price and fee in quote currency."""

    cl_ord_id: str
    order_id: str
    exec_id: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    at_ns: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The order is over without being filled in full (ExecType Canceled)."""

    cl_ord_id: str
    order_id: str
    reason: str
    at_ns: int


OrderEvent = Accepted | Executed | Ended


@dataclass(frozen=True, slots=True)
class MarketEvent:
    """A quote with its place in the venue's stream; `sequence` starts at 1."""

    sequence: int
    book: TopOfBook


class LogonRefused(Exception):
    """The venue refused the credentials; the text is for people."""


class OrderPort(Protocol):
    """Order entry at a venue."""

    def submit(self, order: ApprovedOrder, *, immediate: bool, all_or_none: bool) -> list[OrderEvent]:
        """Sends an order and returns what is known of it at once."""
        ...

    def cancel(self, cl_ord_id: str, reason: str) -> list[OrderEvent]:
        """Cancels an open order; empty when the venue does not have it."""
        ...
