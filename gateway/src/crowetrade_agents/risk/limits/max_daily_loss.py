"""Highest loss since the trading day began, realised and unrealised with fees, in the rule's currency
(SEC Rule 15c3-5(c)(1)(i), capital thresholds)."""

from __future__ import annotations

from decimal import Decimal

from crowetrade_agents.risk.limits.limit import Limit
from crowetrade_agents.risk.limits.loss import Kind, loss_limit
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.standing import Watch

NAME = "maxDailyLoss"


def start(watch: Watch, now_ns: int) -> Decimal | None:
    """When the day began."""
    return watch.baseline.day_start


KIND = Kind(NAME, Reason.MAX_DAILY_LOSS, start, of_capital=False, trails=False, since="the trading day began")
LIMIT: Limit[Decimal] = loss_limit(KIND)
