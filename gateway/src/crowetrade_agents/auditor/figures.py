"""Exact decimal arithmetic, and ranges of values. Shared with nobody: numbers of the journal have at most 38 digits, so
three of them multiplied are exact here."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import NamedTuple

EXACT = Context(prec=160, traps=[InvalidOperation, DivisionByZero, Overflow])
_DOWN = Context(prec=30, rounding=ROUND_FLOOR)
_UP = Context(prec=30, rounding=ROUND_CEILING)
ZERO = Decimal(0)


def decimal(text: str) -> Decimal:
    """A finite number; raises ValueError for anything else."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number") from None
    if not value.is_finite():
        raise ValueError(f"{text!r} is not a finite number")
    return value


def optional(text: str) -> Decimal | None:
    """As `decimal`, None for empty text."""
    return decimal(text) if text else None


def times(*factors: Decimal) -> Decimal:
    """The exact product."""
    product = Decimal(1)
    for factor in factors:
        product = EXACT.multiply(product, factor)
    return product


def plus(*values: Decimal) -> Decimal:
    """The exact sum."""
    total = ZERO
    for value in values:
        total = EXACT.add(total, value)
    return total


def less(one: Decimal, other: Decimal) -> Decimal:
    """The exact difference."""
    return EXACT.subtract(one, other)


def scaled_down(value: Decimal, to: Decimal, of: Decimal) -> Decimal:
    """value x to / of, rounded down."""
    return _DOWN.divide(times(value, to), of)


def shown(value: Decimal) -> str:
    """For people and machines alike: plain digits without an exponent."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


class Range(NamedTuple):
    """A value that lies between two others, both included."""

    low: Decimal
    high: Decimal

    @classmethod
    def exactly(cls, value: Decimal) -> Range:
        """A value that is known."""
        return cls(value, value)

    def add(self, other: Range) -> Range:
        """The sum."""
        return Range(plus(self.low, other.low), plus(self.high, other.high))

    def scaled(self, factor: Decimal) -> Range:
        """The product with a number of either sign."""
        ends = times(self.low, factor), times(self.high, factor)
        return Range(min(ends), max(ends))

    def by(self, other: Range) -> Range:
        """The product with a range above 0."""
        ends = [times(one, two) for one in self for two in other]
        return Range(min(ends), max(ends))

    def absolute(self) -> Range:
        """The value without its sign."""
        sizes = self.low.copy_abs(), self.high.copy_abs()
        return Range(ZERO if self.low < 0 < self.high else min(sizes), max(sizes))

    def inverse(self) -> Range:
        """1 divided by a range above 0, widened to 30 digits: wider than whoever divides with 38."""
        return Range(_DOWN.divide(Decimal(1), self.high), _UP.divide(Decimal(1), self.low))
