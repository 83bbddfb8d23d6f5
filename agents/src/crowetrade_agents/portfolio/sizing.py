"""Tempered Kelly sizing.

For a normal return of mean mu and variance sigma^2 the growth-optimal share of capital is mu / sigma^2 (Kelly 1956,
Thorp 2006); a fraction of it is taken because mu and sigma are estimates. The gross notional never exceeds
max_leverage * capital at the mid prices of the signal: every division rounds toward zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_DOWN, ROUND_UP, Context, Decimal

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.numbers import ZERO

_TOWARD_ZERO = Context(prec=38, rounding=ROUND_DOWN)
_AWAY_FROM_ZERO = Context(prec=38, rounding=ROUND_UP)


def kelly_leverage(mu: float, sigma: float, fraction: float) -> float:
    """Signed share of capital; `sigma` > 0. May be infinite for a very small sigma: the leverage cap bounds it."""
    ratio = mu / sigma
    return math.copysign(min(abs(fraction * ratio / sigma), 1e18), mu) if mu else 0.0


def target_quantities(
    leverage: float,
    weights: Mapping[InstrumentId, float],
    mids: Mapping[InstrumentId, Decimal],
    instruments: Mapping[InstrumentId, Instrument],
    capital: Decimal,
    max_leverage: Decimal,
) -> dict[InstrumentId, Decimal]:
    """Signed quantity of each weighted instrument in its units, whole lots, rounded toward zero, sorted by instrument.

    Notional = quantity x mid x contract multiplier.
    """
    gross_weight = ZERO
    for weight in weights.values():
        gross_weight = _AWAY_FROM_ZERO.add(gross_weight, abs(Decimal(weight)))
    if not gross_weight:
        return {name: Decimal(0) for name in sorted(weights)}
    wanted = Decimal(abs(leverage))
    capped = min(wanted, _TOWARD_ZERO.divide(max_leverage, gross_weight))
    notional = _TOWARD_ZERO.multiply(capital, capped)
    sign = -1 if leverage < 0 else 1
    return {name: _lots(notional, weights[name], mids[name], instruments[name]) * sign for name in sorted(weights)}


def _lots(notional: Decimal, weight: float, mid: Decimal, instrument: Instrument) -> Decimal:
    leg = _TOWARD_ZERO.multiply(notional, Decimal(abs(weight)))
    unit = _AWAY_FROM_ZERO.multiply(mid, instrument.multiplier)
    count = _TOWARD_ZERO.divide(_TOWARD_ZERO.divide(leg, unit), instrument.lot_size)
    quantity = _TOWARD_ZERO.multiply(count.to_integral_value(rounding=ROUND_DOWN), instrument.lot_size)
    return -quantity if weight < 0 else quantity
