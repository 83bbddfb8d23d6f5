"""What the gate is asked and what it knows: all of it passed in, so that a decision can be repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.risk.rules import Rule


class TradingState(Enum):
    """Whether a strategy may send new orders."""

    ACTIVE = "Active"
    SUSPENDED = "Suspended"
    FLATTEN = "Flatten"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order that wants to leave. price None is a market order; quantity in base units and positive to be valid."""

    cl_ord_id: str
    strategy: str
    symbol: str
    buy: bool
    quantity: Decimal
    price: Decimal | None
    # True for the gateway's own reducing orders (Flatten): they pass the kill state, not the limits.
    closing: bool = False

    @property
    def signed(self) -> Decimal:
        """Quantity, negative for a sell."""
        return self.quantity if self.buy else -self.quantity


@dataclass(frozen=True, slots=True)
class Exposure:
    """Position and open orders of one strategy in one instrument, in base units; open quantities are positive."""

    position: Decimal = Decimal(0)
    open_buy: Decimal = Decimal(0)
    open_sell: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is in force. `bindings` None: nothing was received, so nothing may leave."""

    bindings: Mapping[str, TradingState] | None = None
    rules: Sequence[Rule] = ()
    halted: bool = False
    # The sentence that says why the configuration could not be read.
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the gateway knows at the moment of the decision."""

    now_ns: int
    limits: Limits
    instruments: Mapping[str, Instrument]
    book: TopOfBook | None
    session_ready: bool
    known_cl_ord_id: bool
    exposures: Mapping[tuple[str, str], Exposure] = field(default_factory=dict)
    # Wall-clock times of order messages by strategy, oldest first.
    messages: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def rules_for(self, request: OrderRequest) -> list[Rule]:
        """Rules that bind the order."""
        return [rule for rule in self.limits.rules if rule.binds(request.strategy, request.symbol)]
