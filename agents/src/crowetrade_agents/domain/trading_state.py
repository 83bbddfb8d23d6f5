"""What a strategy may do at a gateway."""

from __future__ import annotations

from enum import Enum


class TradingState(Enum):
    """CLOSE_ONLY lets orders reduce and cancels the others, BLOCKED sends nothing new and lets open orders work, HALTED
    cancels them, FLATTEN lets the gateway close positions as well. Which is harder says crowetrade_api.hardness."""

    ACTIVE = "Active"
    CLOSE_ONLY = "CloseOnly"
    BLOCKED = "Blocked"
    HALTED = "Halted"
    FLATTEN = "Flatten"
