"""How much of a position may leave at once when the gateway closes it: Flatten is sliced to the limits."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.numbers import CONTEXT, ZERO, render, round_down
from crowetrade_agents.domain.orders import OrderTerms, OrdType, Side, TimeInForce
from crowetrade_agents.risk.case import Case, usable_book
from crowetrade_agents.risk.facts import Facts, Proposal
from crowetrade_agents.risk.reasons import Reason, Refusal


def closing_quantity(owner: str, instrument: InstrumentId, held: Decimal, facts: Facts) -> Decimal:
    """Quantity of the next closing order: whole lots, at least the minimum, within every enforced limit on the size of
    one order; 0 when nothing can leave (`closing_obstacle` says why).

    `held` is the signed position less what working orders already close. A slice leaves no rest below the minimum where
    a smaller slice avoids it.
    """
    quantity = _slice(owner, instrument, held, facts)
    return quantity if isinstance(quantity, Decimal) else ZERO


def closing_obstacle(owner: str, instrument: InstrumentId, held: Decimal, facts: Facts) -> Refusal | None:
    """Why `closing_quantity` is 0; None when it is not, and when nothing is held."""
    quantity = _slice(owner, instrument, held, facts)
    return None if isinstance(quantity, Decimal) else quantity


def _slice(owner: str, instrument: InstrumentId, held: Decimal, facts: Facts) -> Decimal | Refusal:
    listed = facts.instruments.get(instrument)
    if not held:
        return ZERO
    if listed is None:
        return Refusal(Reason.UNKNOWN_INSTRUMENT, f"the venue lists no instrument {instrument}: {render(held)} stays")
    if usable_book(instrument, facts) is None:
        return Refusal(Reason.MISSING_MARKET_DATA, f"no usable quote of {instrument} is known: {render(held)} waits")
    whole = round_down(held.copy_abs(), listed.lot_size)
    if whole < listed.min_quantity or not whole:
        text = (
            f"{render(held)} is less than one order may have (lotSize {render(listed.lot_size)}, minQuantity "
            f"{render(listed.min_quantity)}) and stays: close it at the venue"
        )
        return Refusal(Reason.INVALID_QUANTITY, text)
    quantity = whole
    for bound, refusal in _bounds(_terms(owner, instrument, held), facts):
        if bound < quantity:
            quantity = round_down(bound, listed.lot_size).quantize(listed.lot_size, context=CONTEXT)
        if quantity < listed.min_quantity or not quantity:
            return refusal
    return _without_dust(whole, quantity, listed)


def _terms(owner: str, instrument: InstrumentId, held: Decimal) -> OrderTerms:
    side = Side.SELL if held > 0 else Side.BUY
    return OrderTerms("", owner, instrument, side, held.copy_abs(), OrdType.MARKET, None, TimeInForce.IOC, closing=True)


def _bounds(terms: OrderTerms, facts: Facts) -> Iterator[tuple[Decimal, Refusal]]:
    """Each enforced limit on the size of a closing order, with what is said when it admits nothing.

    A rule that cannot be read does not stop the gateway from reducing a position; those of its limits that can be read
    still hold.
    """
    case = Case(Proposal(terms, leaves=terms.quantity), facts)
    for rule in facts.rules.binding(terms.strategy, terms.instrument):
        for limit, value in rule.limits if rule.enforce else ():
            bound = limit.admissible(value, case, rule)
            if isinstance(bound, Refusal):
                yield ZERO, bound
            elif bound is not None:
                text = (
                    f"{limit.name} of {rule.name} admits no order of the minimum size: raise it, or close at the venue"
                )
                yield bound, Refusal(limit.reason, text, rule.name)


def _without_dust(whole: Decimal, quantity: Decimal, listed: Instrument) -> Decimal:
    """A smaller slice where the rest would be below the minimum and the smaller slice is not."""
    rest = CONTEXT.subtract(whole, quantity)
    if not 0 < rest < listed.min_quantity:
        return quantity
    smaller = round_down(CONTEXT.subtract(whole, listed.min_quantity), listed.lot_size)
    return smaller if smaller >= listed.min_quantity else quantity
