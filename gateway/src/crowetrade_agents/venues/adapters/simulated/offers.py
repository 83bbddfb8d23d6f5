"""What the recorded quote of one instrument still offers to the account. Pure.

An order takes the touch, up to the quantity that the quote still shows: what it took of a quote is gone until the next
quote, which shows its quantity afresh. A size of 0 offers nothing. So does a size that is missing here: recording.py
has put the assumed quantity in its place before.
"""

from __future__ import annotations

from decimal import Decimal

from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.domain.orders import Side


class Offers:
    """The best bid and offer with what is left of them."""

    def __init__(self, book: TopOfBook) -> None:
        self.book = book
        self._left = {Side.BUY: book.ask_quantity or ZERO, Side.SELL: book.bid_quantity or ZERO}

    def touch(self, side: Side) -> Decimal:
        """Price at which an order of this side would trade."""
        return self.book.ask_price if side is Side.BUY else self.book.bid_price

    def reaches(self, side: Side, limit: Decimal | None) -> bool:
        """Whether the touch is at the limit or better; always without a limit."""
        if limit is None:
            return True
        touch = self.touch(side)
        return limit >= touch if side is Side.BUY else limit <= touch

    def would_trade(self, side: Side, limit: Decimal | None) -> bool:
        """Whether the quote, as it was recorded, would trade with such an order at once."""
        shown = self.book.ask_quantity if side is Side.BUY else self.book.bid_quantity
        return bool(shown) and self.reaches(side, limit)

    def available(self, side: Side, limit: Decimal | None) -> Decimal:
        """Quantity that an order of this side and limit can take now."""
        return self._left[side] if self.reaches(side, limit) else ZERO

    def take(self, side: Side, limit: Decimal | None, quantity: Decimal) -> list[tuple[Decimal, Decimal]]:
        """Takes up to a quantity; its price and how much it is, nothing when there is none."""
        taken = min(self.available(side, limit), quantity)
        if taken <= 0:
            return []
        self._left[side] = CONTEXT.subtract(self._left[side], taken)
        return [(self.touch(side), taken)]
