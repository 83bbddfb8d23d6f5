"""The order must be one that the venue can take: instrument, tick size, lot size, least quantity."""

from __future__ import annotations

from crowetrade_agents.domain.numbers import is_multiple, render
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.request import Facts, OrderRequest


def check(request: OrderRequest, facts: Facts) -> Refusal | None:
    """Known instrument; finite, positive quantity in whole lots; finite, positive price in whole ticks."""
    instrument = facts.instruments.get(request.symbol)
    if instrument is None:
        return Refusal(Reason.UNKNOWN_INSTRUMENT, f"the venue lists no instrument {request.symbol!r}")
    quantity = request.quantity
    if not quantity.is_finite() or quantity <= 0:
        return Refusal(Reason.INVALID_QUANTITY, f"order quantity {quantity} must be a finite number above 0")
    if quantity < instrument.min_quantity or not is_multiple(quantity, instrument.lot_size):
        return Refusal(
            Reason.INVALID_QUANTITY,
            f"order quantity {render(quantity)} must be a multiple of lotSize {render(instrument.lot_size)} "
            f"and at least minQuantity {render(instrument.min_quantity)}",
        )
    price = request.price
    if price is None:
        return None
    if not price.is_finite() or price <= 0:
        return Refusal(Reason.INVALID_PRICE, f"price {price} must be a finite number above 0")
    if not is_multiple(price, instrument.tick_size):
        tick = render(instrument.tick_size)
        return Refusal(Reason.INVALID_PRICE, f"price {render(price)} must be a multiple of tickSize {tick}")
    return None
