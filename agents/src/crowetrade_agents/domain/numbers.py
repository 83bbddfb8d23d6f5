"""Decimals as they travel: text that is finite, or nothing."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation

from crowetrade_agents.errors import InvalidNumber

# 38 digits, as decimal128 columns have.
CONTEXT = Context(prec=38)
ZERO = Decimal(0)


def parse(text: str) -> Decimal:
    """A finite decimal; raises InvalidNumber for anything else, NaN and infinity included."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise InvalidNumber(f"{text!r} is not a decimal number") from None
    if not value.is_finite():
        raise InvalidNumber(f"{text!r} is not a finite number")
    return value


def parse_optional(text: str) -> Decimal | None:
    """As parse, with None for empty text."""
    return parse(text) if text else None


def render(value: Decimal) -> str:
    """Plain digits without exponent or trailing zeros: the one form in which decimals travel."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Whether value is a whole number of steps; step is positive."""
    return CONTEXT.remainder(value, step) == 0


def round_down(value: Decimal, step: Decimal) -> Decimal:
    """Largest multiple of step that is not above value."""
    return CONTEXT.multiply((value / step).to_integral_value(ROUND_FLOOR), step)


def round_up(value: Decimal, step: Decimal) -> Decimal:
    """Smallest multiple of step that is not below value."""
    return CONTEXT.multiply((value / step).to_integral_value(ROUND_CEILING), step)
