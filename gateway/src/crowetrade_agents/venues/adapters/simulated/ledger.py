"""The venue's own truth: every order that reached it, every execution, every position of the account. Pure.

Tests compare the gateway's books with it. How many ended orders and executions stay is bounded (`retain`), so that a
venue may run for any time; an order that is no longer remembered is unknown, as at a venue that answers for one day.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from decimal import Decimal

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.domain.orders import OrderTerms, OrdStatus
from crowetrade_agents.venues.port import Busted, Charged, Executed, OpenOrder

RETAIN = 10_000
IDS_KEPT = 64
"""ClOrdIDs of one order that stay where the history is bounded: its first one and the last ones. More than a gateway
keeps (FORMER_KEPT), so whatever it can still name is known."""


@dataclass(slots=True)
class VenueOrder:
    """An order at the venue. quantity of `terms` = cum + busted + leaves + canceled, always.

    `ids` are the ClOrdIDs that it has or had and that are remembered, oldest first. `expire_ns` is venue time, None for
    an order without end. `forgotten`: the venue denies that it knows the order (a fault). `ahead`: what stands before
    it in the market's queue at its price (queue.py), in steps of the recorded depth; None while that is not known, and
    where it is not modelled.
    """

    terms: OrderTerms
    order_id: str
    ids: list[str]
    leaves: Decimal
    expire_ns: int | None = None
    cum: Decimal = ZERO
    busted: Decimal = ZERO
    canceled: Decimal = ZERO
    status: OrdStatus = OrdStatus.NEW
    reason: str = ""
    forgotten: bool = False
    ahead: int | None = None

    @property
    def worked(self) -> Decimal:
        """What was executed, taken back or not."""
        return CONTEXT.add(self.cum, self.busted)

    def as_open(self) -> OpenOrder:
        """As it stands in a snapshot."""
        terms = self.terms
        return OpenOrder(
            terms.cl_ord_id,
            self.order_id,
            terms.instrument,
            terms.side,
            terms.quantity,
            terms.price,
            self.cum,
            self.status,
        )


@dataclass(slots=True)
class Ledger:
    """Orders by ClOrdID, open orders per instrument in the order of their priority."""

    retain: int | None = RETAIN
    open: dict[InstrumentId, dict[str, VenueOrder]] = field(default_factory=dict)
    positions: dict[InstrumentId, Decimal] = field(default_factory=dict)
    executions: OrderedDict[str, Executed] = field(default_factory=OrderedDict)
    busts: dict[str, Busted] = field(default_factory=dict)
    charges: deque[Charged] = field(default_factory=deque)
    _orders: dict[str, VenueOrder] = field(default_factory=dict)
    _ended: deque[VenueOrder] = field(default_factory=deque)

    def knows(self, cl_ord_id: str) -> bool:
        """Whether an order or a replacement of this ClOrdID was taken or refused before."""
        return cl_ord_id in self._orders

    def order(self, cl_ord_id: str) -> VenueOrder | None:
        """The order that has or had this ClOrdID."""
        return self._orders.get(cl_ord_id)

    def orders(self) -> list[VenueOrder]:
        """Every order that is remembered, oldest first."""
        return list({id(order): order for order in self._orders.values()}.values())

    def open_orders(self) -> list[VenueOrder]:
        """Open orders, by instrument and priority."""
        return [order for orders in self.open.values() for order in orders.values()]

    def add(self, order: VenueOrder) -> None:
        """A new open order, or a refused one."""
        self._orders[order.terms.cl_ord_id] = order
        if order.status.is_final:
            self._remember_ended(order)
        else:
            self.open.setdefault(order.terms.instrument, {})[order.order_id] = order

    def rename(self, order: VenueOrder, terms: OrderTerms, *, keeps_priority: bool) -> None:
        """An open order goes on under other terms."""
        order.terms = terms
        order.ids.append(terms.cl_ord_id)
        if self.retain is not None and len(order.ids) > IDS_KEPT:
            del self._orders[order.ids.pop(1)]
        self._orders[terms.cl_ord_id] = order
        if not keeps_priority:
            opened = self.open[terms.instrument]
            opened[order.order_id] = opened.pop(order.order_id)

    def end(self, order: VenueOrder, status: OrdStatus, reason: str = "") -> None:
        """An open order is over; what was left of it counts as canceled."""
        order.status, order.reason = status, reason
        order.canceled, order.leaves = CONTEXT.add(order.canceled, order.leaves), ZERO
        opened = self.open[order.terms.instrument]
        del opened[order.order_id]
        if not opened:
            del self.open[order.terms.instrument]
        self._remember_ended(order)

    def execute(self, executed: Executed, order: VenueOrder | None) -> None:
        """An execution, of an order of this ledger or of somebody else's."""
        self.executions[executed.exec_id] = executed
        self._move(executed.instrument, CONTEXT.multiply(executed.quantity, executed.side.sign))
        if order is not None:
            order.cum = CONTEXT.add(order.cum, executed.quantity)
            order.leaves = CONTEXT.subtract(order.leaves, executed.quantity)
            order.status = OrdStatus.PARTIALLY_FILLED
        if self.retain is not None and len(self.executions) > self.retain:
            # An OrderedDict, because a dict finds its first key ever more slowly after many were deleted.
            oldest, _ = self.executions.popitem(last=False)
            self.busts.pop(oldest, None)

    def bust(self, busted: Busted) -> None:
        """An execution is taken back; its quantity does not work again."""
        self.busts[busted.exec_ref_id] = busted
        self._move(busted.instrument, CONTEXT.multiply(busted.quantity, -busted.side.sign))
        order = self._orders.get(busted.cl_ord_id)
        if order is not None:
            order.cum = CONTEXT.subtract(order.cum, busted.quantity)
            order.busted = CONTEXT.add(order.busted, busted.quantity)

    def charge(self, charged: Charged) -> None:
        """A position is charged."""
        self.charges.append(charged)
        if self.retain is not None and len(self.charges) > self.retain:
            self.charges.popleft()

    def _move(self, instrument: InstrumentId, quantity: Decimal) -> None:
        self.positions[instrument] = CONTEXT.add(self.positions.get(instrument, ZERO), quantity)

    def _remember_ended(self, order: VenueOrder) -> None:
        self._ended.append(order)
        if self.retain is not None and len(self._ended) > self.retain:
            for cl_ord_id in self._ended.popleft().ids:
                del self._orders[cl_ord_id]
