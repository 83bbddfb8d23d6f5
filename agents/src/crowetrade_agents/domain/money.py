"""Amounts of money."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple


class Money(NamedTuple):
    """An amount in a currency."""

    amount: Decimal
    currency: str
