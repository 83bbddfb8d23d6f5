"""What a strategy may do at a gateway."""

from __future__ import annotations

from enum import Enum


class TradingState(Enum):
    """From the least to the most restrictive, FLATTEN apart: it stops the strategy and lets the gateway close for
    it."""

    ACTIVE = "Active"
    CLOSE_ONLY = "CloseOnly"
    HALTED = "Halted"
    FLATTEN = "Flatten"
