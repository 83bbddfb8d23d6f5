"""Highest loss from the peak of profit and loss, as a share of capital (SEC Rule 15c3-5(c)(1)(i), capital
thresholds)."""

from __future__ import annotations

from decimal import Decimal

from crowetrade_agents.risk.limits.limit import Limit
from crowetrade_agents.risk.limits.loss import Kind, loss_limit
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.standing import Watch

NAME = "maxDrawdown"


def start(watch: Watch, now_ns: int) -> Decimal | None:
    """The peak."""
    return watch.highest


KIND = Kind(NAME, Reason.MAX_DRAWDOWN, start, of_capital=True, trails=True, since="the peak")
LIMIT: Limit[Decimal] = loss_limit(KIND)
