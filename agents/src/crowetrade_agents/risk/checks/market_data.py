"""No order without a price to judge it by (FIA 2015, 1.3: missing or odd market data blocks orders)."""

from __future__ import annotations

from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.request import Facts, OrderRequest


def check(request: OrderRequest, facts: Facts) -> Refusal | None:
    """A finite, positive, uncrossed quote of the instrument is known."""
    book = facts.book
    if book is None:
        return Refusal(Reason.MISSING_MARKET_DATA, f"no quote of {request.symbol} has arrived yet")
    prices = (book.bid_price, book.ask_price)
    if not all(price.is_finite() and price > 0 for price in prices) or book.bid_price > book.ask_price:
        return Refusal(Reason.MISSING_MARKET_DATA, f"the last quote of {request.symbol} is not usable: {prices}")
    return None
