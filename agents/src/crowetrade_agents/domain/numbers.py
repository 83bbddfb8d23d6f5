"""Decimals as they travel: text of one grammar and a bounded range, or nothing.

The grammar is that of the resources (crowetrade_api): an optional minus, digits without leading zeros, at most 20 of
them before the point and 18 after it. No exponent, no separators, no blanks, ASCII only. So no text can ask for more
digits than the arithmetic has: 38, as decimal128 columns have. Operators, `abs` and `sum` have the 28 digits of the
thread's context and round silently, so quantities and money are reckoned by methods of CONTEXT.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache, reduce

from crowetrade_agents.errors import InvalidNumber

CONTEXT = Context(prec=38)
ZERO = Decimal(0)
MAX_LENGTH = 40
MONEY_PLACES = 8
"""Decimal places of money that is reported; the journal is exact."""
PRICE_PLACES_BEYOND_TICK = 4
"""Decimal places of a reported price beyond those of the tick size."""

REPEATED = 4096
"""Texts and numbers of which the other form is kept: the prices and quantities of one market come again and again."""
_WIDE = Context(prec=60)
_GRAMMAR = re.compile(r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?", re.ASCII)


@lru_cache(REPEATED)
def parse(text: str) -> Decimal:
    """A decimal of the grammar; raises InvalidNumber for anything else, NaN, infinity and exponents included."""
    if len(text) > MAX_LENGTH or not _GRAMMAR.fullmatch(text):
        shown = text if len(text) <= MAX_LENGTH else text[:MAX_LENGTH] + "..."
        raise InvalidNumber(f"{shown!r} is not a decimal number of at most 20 digits before the point and 18 after it")
    return Decimal(text)


def parse_optional(text: str) -> Decimal | None:
    """As parse, with None for empty text."""
    return parse(text) if text else None


@lru_cache(REPEATED)
def render(value: Decimal) -> str:
    """Plain digits without exponent or trailing zeros: the one form in which decimals travel."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def can_travel(*values: Decimal) -> bool:
    """Whether what `render` makes of each is of the grammar."""
    return all(_GRAMMAR.fullmatch(render(value)) for value in values)


def render_money(value: Decimal) -> str:
    """Money for a report: at most MONEY_PLACES decimal places, half to even."""
    return render(_rounded(value, MONEY_PLACES))


def render_price(value: Decimal, tick_size: Decimal) -> str:
    """A price for a report: at most PRICE_PLACES_BEYOND_TICK places more than the tick size has, half to even."""
    exponent = tick_size.normalize().as_tuple().exponent
    places = max(-int(exponent), 0) if isinstance(exponent, int) else 0
    return render(_rounded(value, places + PRICE_PLACES_BEYOND_TICK))


def _rounded(value: Decimal, places: int) -> Decimal:
    """Numbers whose digits do not suffice for the places have fewer to round and stay as they are."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or -exponent <= places:
        return value
    return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN, context=_WIDE)


def total(values: Iterable[Decimal]) -> Decimal:
    """The sum of the values, 0 of none."""
    return reduce(CONTEXT.add, values, ZERO)


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Whether value is a whole number of steps; step is positive."""
    return CONTEXT.remainder(value, step) == 0


def round_down(value: Decimal, step: Decimal) -> Decimal:
    """Largest multiple of step that is not above value."""
    return CONTEXT.multiply(CONTEXT.divide(value, step).to_integral_value(ROUND_FLOOR), step)


def round_up(value: Decimal, step: Decimal) -> Decimal:
    """Smallest multiple of step that is not below value."""
    return CONTEXT.multiply(CONTEXT.divide(value, step).to_integral_value(ROUND_CEILING), step)
