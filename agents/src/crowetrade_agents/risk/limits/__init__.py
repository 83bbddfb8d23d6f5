"""The limits that this gateway knows. A new one is a module of its own with a `LIMIT`, and a line in `KNOWN`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crowetrade_agents.risk.limits import (
    max_order_notional,
    max_order_quantity,
    max_order_rate,
    max_position_quantity,
)
from crowetrade_agents.risk.limits.limit import Limit

_ALL: tuple[Limit[Any], ...] = (
    max_order_quantity.LIMIT,
    max_order_notional.LIMIT,
    max_position_quantity.LIMIT,
    max_order_rate.LIMIT,
)

KNOWN: Mapping[str, Limit[Any]] = {limit.name: limit for limit in _ALL}
"""By the name that stands in RiskLimit.spec.limits. What is not here blocks (see risk/rules.py)."""
