"""One order with what is known of it, and the counters of one strategy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.domain.orders import OrderTerms, OrdStatus, Side

FORMER_KEPT = 16
"""How many earlier ClOrdIDs of an order that is replaced again and again are remembered: its first one, by which it is
kept, and the last ones. Reports under one that was replaced before these are not ordinary (a venue reports what was on
its way before the replacement, and a strategy replaces only what is answered); Books.find_reported finds their order.
"""

EXECUTIONS_KEPT = 64
"""How many executions of an order are remembered, the last ones: one that rests for months may be executed a million
times. How an earlier one is recognised then, repeated.py says.
"""

OWN_RUN = "g"
"""With the fencing token behind it the run of the gateway's own ClOrdIDs: too short to be one of a strategy."""
Key = tuple[str, InstrumentId]
"""Owner and instrument."""


class ClOrdId(NamedTuple):
    """STRATEGY-RUN-NUMBER, taken apart. Base 36 text of equal length sorts as its number does."""

    strategy: str
    run: str
    number: int

    @classmethod
    def of(cls, text: str) -> ClOrdId:
        """Takes apart what order_entry.decode has let pass or the gateway has made."""
        prefix, _, number = text.rpartition("-")
        strategy, _, run = prefix.rpartition("-")
        return cls(strategy, run, int(number))

    def __str__(self) -> str:
        return f"{self.strategy}-{self.run}-{self.number}"


class Execution(NamedTuple):
    """One execution: quantity in units, price and fee in quote currency; `busted` when the venue took it back."""

    quantity: Decimal
    price: Decimal
    fee: Decimal
    busted: bool = False


class PendingCancel(NamedTuple):
    """A cancel on its way; `since_ns` is wall clock."""

    cl_ord_id: str
    reason: str
    since_ns: int


class PendingReplace(NamedTuple):
    """A cancel/replace on its way."""

    cl_ord_id: str
    quantity: Decimal
    price: Decimal
    since_ns: int


@dataclass(slots=True)
class Order:
    """One order. `base` is its status without what is pending; `unknown` while its fate is being asked for. `busted` is
    what was executed and taken back: it is not in `cum`, and does not work again."""

    terms: OrderTerms
    base: OrdStatus = OrdStatus.PENDING_NEW
    order_id: str = ""
    cum: Decimal = ZERO
    busted: Decimal = ZERO
    # By the venue's identifier, those that were booked last: EXECUTIONS_KEPT at most.
    executions: dict[str, Execution] = field(default_factory=dict)
    # ClOrdIDs that it had before, oldest first: the first of all and the last ones, FORMER_KEPT together.
    former: tuple[str, ...] = ()
    cancel: PendingCancel | None = None
    replace: PendingReplace | None = None
    unknown: bool = False
    reason: str = ""
    text: str = ""
    changed_ns: int = 0
    # When the venue was last asked for it; not journaled.
    asked_ns: int = 0

    @property
    def cl_ord_id(self) -> str:
        """The ClOrdID that it has now."""
        return self.terms.cl_ord_id

    @property
    def first_id(self) -> str:
        """The ClOrdID under which it was first sent."""
        return self.former[0] if self.former else self.terms.cl_ord_id

    @property
    def key(self) -> Key:
        """Owner and instrument."""
        return self.terms.strategy, self.terms.instrument

    @property
    def is_open(self) -> bool:
        """Whether it may still trade."""
        return not self.base.is_final

    @property
    def status(self) -> OrdStatus:
        """FIX tag 39 with what is pending (FIX 4.4, order state changes: the highest precedence is reported)."""
        if self.base.is_final:
            return self.base
        if self.unknown:
            return OrdStatus.UNKNOWN
        if self.cancel is not None:
            return OrdStatus.PENDING_CANCEL
        if self.replace is not None:
            return OrdStatus.PENDING_REPLACE
        return self.base

    @property
    def worked(self) -> Decimal:
        """What was executed, taken back or not."""
        return CONTEXT.add(self.cum, self.busted) if self.busted else self.cum

    @property
    def leaves(self) -> Decimal:
        """FIX tag 151: 0 once it is over."""
        return max(CONTEXT.subtract(self.terms.quantity, self.worked), ZERO) if self.is_open else ZERO

    @property
    def forgets_executions(self) -> bool:
        """Whether it may have had executions that are not remembered."""
        return len(self.executions) >= EXECUTIONS_KEPT

    def remember(self, exec_id: str, execution: Execution) -> None:
        """The execution is booked, or taken back."""
        self.executions[exec_id] = execution
        while len(self.executions) > EXECUTIONS_KEPT:
            del self.executions[next(iter(self.executions))]

    @property
    def counted_leaves(self) -> Decimal:
        """What it counts as open: with a replacement under way, the larger of both, because every sent order counts at
        once (RTS 6 Article 15(2))."""
        if not self.is_open:
            return ZERO
        quantity = max(self.terms.quantity, self.replace.quantity) if self.replace else self.terms.quantity
        return max(CONTEXT.subtract(quantity, self.worked), ZERO)

    @property
    def largest_terms(self) -> OrderTerms:
        """The terms by which it is judged: with a replacement under way, the larger quantity and the worse price."""
        pending = self.replace
        if pending is None:
            return self.terms
        worse = max if self.terms.side is Side.BUY else min
        price = None if self.terms.price is None else worse(self.terms.price, pending.price)
        return replace(self.terms, quantity=max(self.terms.quantity, pending.quantity), price=price)


@dataclass(slots=True)
class LastReject:
    """The last refusal of a strategy's requests, and how many in a row were for the same reason and limit."""

    reason: str = ""
    risk_limit: str = ""
    text: str = ""
    count: int = 0
    since_ns: int = 0
    last_ns: int = 0


@dataclass(slots=True)
class Counters:
    """Totals of one strategy since the journal began."""

    sent: int = 0
    filled: int = 0
    rejected: int = 0
    last_reject: LastReject = field(default_factory=LastReject)
