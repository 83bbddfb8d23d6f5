"""The limits that this gateway knows. A new one is a module of its own with a `LIMIT`, and a line in `KNOWN`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crowetrade_agents.risk.limits import (
    max_consecutive_rejects,
    max_daily_loss,
    max_drawdown,
    max_loss_per_minute,
    max_order_notional,
    max_order_quantity,
    max_order_rate,
    max_order_to_trade_ratio,
    max_position_quantity,
    repeated_execution,
)
from crowetrade_agents.risk.limits.limit import Limit

_ALL: tuple[Limit[Any], ...] = (
    max_order_quantity.LIMIT,
    max_order_notional.LIMIT,
    max_position_quantity.LIMIT,
    max_order_rate.LIMIT,
    max_daily_loss.LIMIT,
    max_drawdown.LIMIT,
    max_loss_per_minute.LIMIT,
    max_consecutive_rejects.LIMIT,
    repeated_execution.LIMIT,
    max_order_to_trade_ratio.LIMIT,
)

KNOWN: Mapping[str, Limit[Any]] = {limit.name: limit for limit in _ALL}
"""By the name that stands in RiskLimit.spec.limits. What is not here blocks (see risk/rules.py)."""
