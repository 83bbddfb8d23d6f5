"""Tempered Kelly sizing.

For a normal return of mean mu and variance sigma^2 the growth-optimal share of capital is mu / sigma^2 (Kelly 1956,
Thorp 2006); a fraction of it is taken because mu and sigma are estimates. The gross notional never exceeds
max_leverage * capital at the mid prices of the signal: every division rounds toward zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_DOWN, ROUND_UP, Context, Decimal
from functools import reduce

_TOWARD_ZERO = Context(prec=38, rounding=ROUND_DOWN)
_AWAY_FROM_ZERO = Context(prec=38, rounding=ROUND_UP)


def kelly_leverage(mu: float, sigma: float, fraction: float) -> float:
    """Signed share of capital; `sigma` > 0. May be infinite for a very small sigma: the cap deals with it."""
    ratio = mu / sigma
    return math.copysign(min(abs(fraction * ratio / sigma), 1e18), mu) if mu else 0.0


def target_quantities(
    leverage: float,
    weights: Mapping[str, float],
    mids: Mapping[str, Decimal],
    lots: Mapping[str, Decimal],
    capital: Decimal,
    max_leverage: Decimal,
) -> dict[str, Decimal]:
    """Signed quantity for each weighted instrument, whole lots, rounded toward zero."""
    gross_weight = reduce(_AWAY_FROM_ZERO.add, (abs(Decimal(weight)) for weight in weights.values()), Decimal(0))
    if gross_weight == 0:
        return {symbol: Decimal(0) for symbol in sorted(weights)}
    wanted = Decimal(abs(leverage))
    capped = min(wanted, _TOWARD_ZERO.divide(max_leverage, gross_weight))
    notional = _TOWARD_ZERO.multiply(capital, capped)
    sign = -1 if leverage < 0 else 1
    return {symbol: _lots(notional, weights[symbol], mids[symbol], lots[symbol]) * sign for symbol in sorted(weights)}


def _lots(notional: Decimal, weight: float, mid: Decimal, lot: Decimal) -> Decimal:
    leg = _TOWARD_ZERO.multiply(notional, Decimal(abs(weight)))
    count = _TOWARD_ZERO.divide(_TOWARD_ZERO.divide(leg, mid), lot).to_integral_value(rounding=ROUND_DOWN)
    quantity = count * lot
    return -quantity if weight < 0 else quantity
