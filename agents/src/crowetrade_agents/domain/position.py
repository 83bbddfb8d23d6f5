"""Position and profit of one strategy in one instrument, by average cost.

Average cost: a fill that adds to the position moves the average price; one that reduces it realises
(price - average) x quantity closed and leaves the average; one that crosses zero does both. Fees are kept apart; what
a position costs while it is held (funding, rollover) is among them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from crowetrade_agents.domain.numbers import CONTEXT, ZERO


@dataclass(frozen=True, slots=True)
class Position:
    """Quantity signed in the instrument's units; fees in quote currency, profit in it for a multiplier of 1.
    Arithmetic has 38 digits."""

    quantity: Decimal = ZERO
    average_price: Decimal = ZERO
    realized: Decimal = ZERO
    fees: Decimal = ZERO

    def filled(self, signed_quantity: Decimal, price: Decimal, fee: Decimal) -> Position:
        """The position after an execution; signed_quantity is positive for a buy."""
        c = CONTEXT
        fees = c.add(self.fees, fee)
        after = c.add(self.quantity, signed_quantity)
        if c.multiply(self.quantity, signed_quantity) >= 0:
            cost = c.add(c.multiply(self.quantity, self.average_price), c.multiply(signed_quantity, price))
            average = c.divide(cost, after) if after else ZERO
            return Position(after, average, self.realized, fees)
        closed = min(signed_quantity.copy_abs(), self.quantity.copy_abs())
        gain = c.multiply(c.subtract(price, self.average_price), closed.copy_sign(self.quantity))
        crossed = signed_quantity.copy_abs() > self.quantity.copy_abs()
        average = price if crossed else (self.average_price if after else ZERO)
        return Position(after, average, c.add(self.realized, gain), fees)

    def charged(self, amount: Decimal) -> Position:
        """The position after an amount was paid for holding it; negative is received."""
        return replace(self, fees=CONTEXT.add(self.fees, amount))

    def unrealized(self, mark: Decimal) -> Decimal:
        """Profit in quote currency if closed at the mark price."""
        return CONTEXT.multiply(CONTEXT.subtract(mark, self.average_price), self.quantity)
