"""Highest loss within any 60 seconds, as a share of capital (SEC Rule 15c3-5(c)(1)(i), capital thresholds)."""

from __future__ import annotations

from decimal import Decimal

from crowetrade_agents.risk.limits.limit import Limit
from crowetrade_agents.risk.limits.loss import Kind, loss_limit
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.standing import Watch

NAME = "maxLossPerMinute"


def start(watch: Watch, now_ns: int) -> Decimal | None:
    """The highest profit and loss of the last 60 seconds."""
    return watch.highest_of_minute(now_ns)


KIND = Kind(
    NAME,
    Reason.MAX_LOSS_PER_MINUTE,
    start,
    of_capital=True,
    trails=True,
    since="the last 60 s began",
    of_minute=True,
)
LIMIT: Limit[Decimal] = loss_limit(KIND)
