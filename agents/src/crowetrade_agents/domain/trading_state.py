"""What a strategy may do at a gateway."""

from __future__ import annotations

from enum import Enum


class TradingState(Enum):
    """From the least to the most restrictive. BLOCKED sends nothing new and lets open orders work, HALTED cancels them,
    FLATTEN lets the gateway close positions as well."""

    ACTIVE = "Active"
    CLOSE_ONLY = "CloseOnly"
    BLOCKED = "Blocked"
    HALTED = "Halted"
    FLATTEN = "Flatten"
