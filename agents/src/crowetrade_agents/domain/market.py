"""The market as a decision sees it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from crowetrade_agents.domain.numbers import CONTEXT


@dataclass(frozen=True, slots=True)
class TopOfBook:
    """Best bid and offer. Prices in quote currency, quantities in base units (None when the source has none)."""

    symbol: str
    bid_price: Decimal
    bid_quantity: Decimal | None
    ask_price: Decimal
    ask_quantity: Decimal | None
    event_ns: int

    @property
    def mid(self) -> Decimal:
        """Mean of bid and offer."""
        return CONTEXT.divide(CONTEXT.add(self.bid_price, self.ask_price), Decimal(2))
