"""Turns how a model quotes, which is in fractions, into prices and quantities.

The largest position of each instrument is an equal share of max_leverage * capital at the mid price: with every
instrument at its largest the gross notional is within the leverage. Quantities are whole lots, rounded toward zero.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_UP, Context, Decimal

from crowetrade_agents.domain.flow import InstrumentQuotes, TargetQuotes
from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.numbers import round_down

_TOWARD_ZERO = Context(prec=38, rounding=ROUND_DOWN)
_AWAY_FROM_ZERO = Context(prec=38, rounding=ROUND_UP)
# Decimal places that a number has on the wire, and the digits of the longest one, with room for the rounding.
_PLACES = Decimal(1).scaleb(-18)
_WIDE = Context(prec=60)


def target_quotes(quotes: InstrumentQuotes, mid: Decimal, instrument: Instrument, money: Decimal) -> TargetQuotes:
    """The quotes of one instrument, of which a position worth `money` in quote currency may be held; `mid` > 0.

    Prices have the places of the wire, so that nothing depends on whether there is one; a half spread is never 0.
    """
    fair = _WIDE.multiply(mid, _WIDE.add(Decimal(1), Decimal(quotes.shift)))
    unit = _AWAY_FROM_ZERO.multiply(mid, instrument.multiplier)
    max_position = round_down(_TOWARD_ZERO.divide(money, unit), instrument.lot_size)
    # repr: the shortest text of a float, as it was written. A hair less than 0.3 of ten lots would be two.
    size = _TOWARD_ZERO.multiply(max_position, Decimal(repr(quotes.size)))
    return TargetQuotes(
        fair=_on_the_wire(fair),
        half_spread=_on_the_wire(_WIDE.multiply(fair, Decimal(quotes.half_spread))),
        skew=_on_the_wire(_WIDE.multiply(fair, Decimal(quotes.skew))),
        quantity=round_down(size, instrument.lot_size),
        max_position=max_position,
    )


def share_of_leverage(capital: Decimal, max_leverage: Decimal, instruments: int) -> Decimal:
    """Money that the position of one of so many instruments may be worth."""
    return _TOWARD_ZERO.divide(_TOWARD_ZERO.multiply(capital, max_leverage), Decimal(instruments))


def _on_the_wire(price: Decimal) -> Decimal:
    return price.quantize(_PLACES, rounding=ROUND_UP, context=_WIDE)
