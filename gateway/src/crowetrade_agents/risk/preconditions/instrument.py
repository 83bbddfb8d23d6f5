"""The venue must be able to take the order: instrument, lot size, minimum quantity, tick size."""

from __future__ import annotations

from decimal import Decimal

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.numbers import is_multiple, render
from crowetrade_agents.risk.facts import Facts, Proposal
from crowetrade_agents.risk.reasons import Reason, Refusal

_SMALLEST = Decimal("1E-18")
_TOO_LARGE = Decimal("1E20")


def check(proposal: Proposal, facts: Facts) -> Refusal | None:
    """Known instrument; quantity in whole lots and not below the minimum; price, where there is one, in whole ticks."""
    terms = proposal.terms
    instrument = facts.instruments.get(terms.instrument)
    if instrument is None:
        return Refusal(Reason.UNKNOWN_INSTRUMENT, f"the venue lists no instrument {terms.instrument}")
    return _check_quantity(proposal, instrument) or _check_price(terms.price, instrument)


def in_range(value: Decimal) -> bool:
    """Finite, positive and within the grammar of domain.numbers: beyond it a remainder underflows to 0 or overflows."""
    return value.is_finite() and _SMALLEST <= value < _TOO_LARGE


def _check_quantity(proposal: Proposal, instrument: Instrument) -> Refusal | None:
    quantity = proposal.terms.quantity
    if not in_range(quantity):
        text = "order quantity must be a number above 0 with at most 20 digits before the point and 18 after it"
        return Refusal(Reason.INVALID_QUANTITY, text)
    if quantity < instrument.min_quantity or not is_multiple(quantity, instrument.lot_size):
        text = (
            f"order quantity {render(quantity)} must be a multiple of lotSize {render(instrument.lot_size)} "
            f"and at least minQuantity {render(instrument.min_quantity)}"
        )
        return Refusal(Reason.INVALID_QUANTITY, text)
    if not proposal.leaves.is_finite() or not 0 < proposal.leaves <= quantity:
        text = f"order quantity {render(quantity)} leaves nothing open after what is executed: send more, or cancel"
        return Refusal(Reason.INVALID_QUANTITY, text)
    return None


def _check_price(price: Decimal | None, instrument: Instrument) -> Refusal | None:
    if price is None:
        return None
    if not in_range(price):
        text = "price must be a number above 0 with at most 20 digits before the point and 18 after it"
        return Refusal(Reason.INVALID_PRICE, text)
    if not is_multiple(price, instrument.tick_size):
        text = f"price {render(price)} must be a multiple of tickSize {render(instrument.tick_size)}"
        return Refusal(Reason.INVALID_PRICE, text)
    return None
