"""What the exchange remembers, out of the log that it wrote before: a venue outlives the process that runs it.

The log holds what arrived and what the exchange reported, in order, and is written before anything is sent. So what it
does not hold nobody has seen: a request whose outcome is missing did not happen. What the exchange does with an order
in one go may have been cut off in the middle; an immediate order that is open then has its remainder canceled.

Not remembered: which orders a fault made the venue forget, and requests that had not arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.domain.orders import OrderTerms, OrdStatus
from crowetrade_agents.venues.adapters.simulated.codec import decode
from crowetrade_agents.venues.adapters.simulated.ledger import Ledger, VenueOrder
from crowetrade_agents.venues.adapters.simulated.requests import NewOrder, Replace, Request
from crowetrade_agents.venues.port import (
    DUPLICATE_CL_ORD_ID,
    Accepted,
    Busted,
    Charged,
    Ended,
    Executed,
    OrderEvent,
    Replaced,
)

_KINDS = (NewOrder, Replace, Accepted, Busted, Charged, Ended, Executed, Replaced)
_BY_NAME = {kind.__name__: kind for kind in _KINDS}


class Memory:
    """Folds log lines into a ledger. `orders` and `executions` are how many identifiers were given out; busts and
    charges have some of the executions'."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.now_ns = 0
        self.orders = 0
        self.executions = 0
        # Venue time at which an order was taken, by OrderID: its trading day.
        self.taken_ns: dict[str, int] = {}
        self._asked: dict[str, OrderTerms] = {}

    def read(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Takes the lines of a log in, oldest first."""
        for entry in entries:
            kind = _BY_NAME.get(entry["message"]["_"])
            if kind is not None:
                self.now_ns = max(self.now_ns, entry["at"])
                self._take(entry["at"], decode(kind, entry["message"]))

    def _take(self, at_ns: int, message: Request | OrderEvent) -> None:
        match message:
            case NewOrder(terms) | Replace(terms):
                if not self.ledger.knows(terms.cl_ord_id):
                    self._asked[terms.cl_ord_id] = terms
            case Accepted():
                self.orders += 1
                self.taken_ns[message.order_id] = at_ns
                terms = self._asked[message.cl_ord_id]
                self.ledger.add(VenueOrder(terms, message.order_id, [terms.cl_ord_id], terms.quantity))
            case Executed():
                self._executed(message)
            case Ended():
                self._ended(message)
            case Replaced():
                self._replaced(message)
            case Busted():
                self.executions += 1
                self.ledger.bust(message)
            case Charged():
                self.executions += 1
                self.ledger.charge(message)

    def _executed(self, event: Executed) -> None:
        self.executions += 1
        order = self.ledger.order(event.cl_ord_id)
        over = order is not None and order.status.is_final
        status = order.status if order is not None else OrdStatus.NEW
        self.ledger.execute(event, order)
        if order is None:
            return
        if over:
            # It came after the report of the end: it was part of what counted as canceled.
            order.status, order.leaves = status, ZERO
            order.canceled = CONTEXT.subtract(order.canceled, event.quantity)
        elif not order.leaves:
            self.ledger.end(order, OrdStatus.FILLED)

    def _ended(self, event: Ended) -> None:
        if event.reason == DUPLICATE_CL_ORD_ID:
            return
        order = self.ledger.order(event.cl_ord_id)
        if order is None:
            terms = self._asked[event.cl_ord_id]
            refused = VenueOrder(terms, "", [terms.cl_ord_id], ZERO, canceled=terms.quantity)
            refused.status, refused.reason = event.status, event.reason
            self.ledger.add(refused)
        elif not order.status.is_final:
            self.ledger.end(order, event.status, event.reason)

    def _replaced(self, event: Replaced) -> None:
        order = self.ledger.order(event.orig_cl_ord_id)
        assert order is not None, f"the log replaces order {event.orig_cl_ord_id}, which it does not hold"
        terms, old = self._asked[event.cl_ord_id], order.terms
        if terms.quantity <= order.worked:
            self.ledger.rename(order, replace(terms, quantity=order.worked), keeps_priority=True)
            order.leaves = ZERO
            self.ledger.end(order, OrdStatus.FILLED)
            return
        self.ledger.rename(order, terms, keeps_priority=terms.price == old.price and terms.quantity <= old.quantity)
        order.leaves = CONTEXT.subtract(terms.quantity, order.worked)
