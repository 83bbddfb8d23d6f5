"""The limits that this gateway knows. A new one is a module of its own with a `LIMIT`, and a line in `KNOWN`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crowetrade_agents.risk.limits import (
    duplicate_window_millis,
    max_concentration,
    max_consecutive_rejects,
    max_daily_loss,
    max_data_age_seconds,
    max_drawdown,
    max_gross_notional,
    max_loss_per_minute,
    max_net_notional,
    max_open_orders,
    max_order_notional,
    max_order_quantity,
    max_order_rate,
    max_order_to_trade_ratio,
    max_position_quantity,
    price_collar_bps,
    repeated_execution,
    restricted_instruments,
    self_match_prevention,
    trading_hours,
)
from crowetrade_agents.risk.limits.limit import Limit

_ALL: tuple[Limit[Any], ...] = (
    max_order_quantity.LIMIT,
    max_order_notional.LIMIT,
    price_collar_bps.LIMIT,
    max_order_rate.LIMIT,
    max_daily_loss.LIMIT,
    max_drawdown.LIMIT,
    max_loss_per_minute.LIMIT,
    max_consecutive_rejects.LIMIT,
    repeated_execution.LIMIT,
    max_order_to_trade_ratio.LIMIT,
    max_open_orders.LIMIT,
    max_position_quantity.LIMIT,
    max_gross_notional.LIMIT,
    max_net_notional.LIMIT,
    max_concentration.LIMIT,
    max_data_age_seconds.LIMIT,
    duplicate_window_millis.LIMIT,
    self_match_prevention.LIMIT,
    restricted_instruments.LIMIT,
    trading_hours.LIMIT,
)

KNOWN: Mapping[str, Limit[Any]] = {limit.name: limit for limit in _ALL}
"""By the name that stands in RiskLimit.spec.limits. What is not here blocks (see risk/rule_reading.py)."""
