"""Prices of the account's open orders, so that an order that would trade with one of them is recognised."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from decimal import Decimal

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import OrderTerms, Side

_ANY_PRICE = {Side.BUY: Decimal("Infinity"), Side.SELL: Decimal(0)}
"""What a market order pays at most, or takes at least."""


def _limit(side: Side, price: Decimal | None) -> Decimal:
    return _ANY_PRICE[side] if price is None else price


@dataclass(slots=True)
class WorkingOrders:
    """Open orders of every owner. One whose replacement is under way has the price that trades more easily."""

    # In ascending order.
    _prices: dict[tuple[InstrumentId, Side], list[Decimal]] = field(default_factory=dict)
    _of: dict[str, tuple[tuple[InstrumentId, Side], Decimal]] = field(default_factory=dict)

    def put(self, cl_ord_id: str, terms: OrderTerms) -> None:
        """The order works by these terms from now on; `cl_ord_id` is the one under which it was first sent."""
        self.remove(cl_ord_id)
        key = (terms.instrument, terms.side)
        price = _limit(terms.side, terms.price)
        insort(self._prices.setdefault(key, []), price)
        self._of[cl_ord_id] = (key, price)

    def remove(self, cl_ord_id: str) -> None:
        """The order is over."""
        known = self._of.pop(cl_ord_id, None)
        if known is not None:
            key, price = known
            prices = self._prices[key]
            del prices[bisect_left(prices, price)]
            if not prices:
                del self._prices[key]

    def would_match(self, terms: OrderTerms) -> bool:
        """Whether some order of the other side could trade with one of these terms."""
        prices = self._prices.get((terms.instrument, terms.side.opposite))
        if not prices:
            return False
        price = _limit(terms.side, terms.price)
        return prices[0] <= price if terms.side is Side.BUY else prices[-1] >= price
