"""How a charge on the account's position is shared among those who hold it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from crowetrade_agents.domain.numbers import CONTEXT, MONEY_PLACES, total

_MONEY = Decimal(1).scaleb(-MONEY_PLACES)


def shares(amount: Decimal, quantity: Decimal, held: Mapping[str, Decimal], rest_to: str) -> dict[str, Decimal]:
    """The part of each owner: proportional to what it holds, so that the short one receives what the long one pays.

    The parts sum to the amount. What rounding leaves over is the largest owner's; where the account holds another
    quantity than all owners together, what that explains is left to `rest_to`.
    """
    if not quantity:
        return {rest_to: amount}
    parts = {
        owner: CONTEXT.quantize(CONTEXT.divide(CONTEXT.multiply(amount, own), quantity), _MONEY)
        for owner, own in sorted(held.items())
        if own
    }
    rest = CONTEXT.subtract(amount, total(parts.values()))
    if rest:
        explained = total(held.values()) == quantity
        owner = max(parts, key=lambda name: (abs(held[name]), name)) if explained else rest_to
        parts[owner] = CONTEXT.add(parts.get(owner, Decimal(0)), rest)
    return parts
