"""Orders and holdings as the auditor counts them."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from crowetrade_agents.auditor.figures import ZERO, less, plus, times

EXECUTIONS_KEPT = 256


@dataclass(slots=True)
class Order:
    """One order. `executed` never falls: what was taken back does not work again. `asked_*` are those of a replacement
    that is under way, `counted` is what the holdings hold of it."""

    cl_ord_id: str
    strategy: str
    symbol: str
    buy: bool
    quantity: Decimal
    price: Decimal | None
    closing: bool
    executed: Decimal = ZERO
    ended: bool = False
    asked_id: str = ""
    asked_quantity: Decimal = ZERO
    asked_price: Decimal | None = None
    counted: Decimal = ZERO
    is_counted: bool = False
    ids: list[str] = field(default_factory=list)
    # ExecIDs, the last ones booked last.
    executions: dict[str, None] = field(default_factory=dict)

    def remember(self, exec_id: str) -> None:
        """The execution is booked."""
        self.executions[exec_id] = None
        if len(self.executions) > EXECUTIONS_KEPT:
            del self.executions[next(iter(self.executions))]

    @property
    def working(self) -> Decimal:
        """What may still trade: of a replacement that is under way and the order, the larger one."""
        if self.ended:
            return ZERO
        largest = max(self.quantity, self.asked_quantity) if self.asked_id else self.quantity
        return max(less(largest, self.executed), ZERO)

    @property
    def prices(self) -> list[Decimal | None]:
        """Limit prices at which it may trade; None is any."""
        return [self.price, self.asked_price] if self.asked_id else [self.price]


@dataclass(slots=True)
class Holding:
    """What one owner holds and works in one symbol. `cash` is what its trades, fees and charges brought in, in quote
    currency, negative when they cost."""

    position: Decimal = ZERO
    buying: Decimal = ZERO
    selling: Decimal = ZERO
    orders: int = 0
    cash: Decimal = ZERO

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held or worked."""
        return not self.position and not self.orders

    def worst(self, buy: bool) -> Decimal:
        """Signed position if everything on one side filled."""
        return plus(self.position, self.buying) if buy else less(self.position, self.selling)

    def trade(self, signed: Decimal, price: Decimal, multiplier: Decimal, fee: Decimal) -> None:
        """An execution, or with the opposite sign and fee one that is taken back."""
        self.position = plus(self.position, signed)
        self.cash = less(less(self.cash, times(signed, price, multiplier)), fee)
