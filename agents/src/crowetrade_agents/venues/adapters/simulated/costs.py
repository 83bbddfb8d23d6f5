"""What trading and holding costs at the venue. Pure."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from crowetrade_agents.domain.numbers import CONTEXT, MONEY_PLACES, ZERO, total
from crowetrade_agents.venues.adapters.simulated.spec import Fees

BPS = Decimal(10_000)
DAY_NS = 86_400_000_000_000
TIER_DAYS = 30
_MONEY = Decimal(1).scaleb(-MONEY_PLACES)


def share(notional: Decimal, bps: Decimal) -> Decimal:
    """Basis points of a notional, rounded to MONEY_PLACES, half to even."""
    return CONTEXT.quantize(CONTEXT.divide(CONTEXT.multiply(notional, bps), BPS), _MONEY)


class FeeSchedule:
    """Fees by what the account has traded: the notional of its executions in the last TIER_DAYS days UTC, the day of
    the execution included and the execution itself not. Each currency counts by itself. A bust changes nothing."""

    def __init__(self, fees: Fees) -> None:
        self._fees = fees
        self._tiers = sorted(fees.tiers, key=lambda tier: tier.from_notional)
        # By currency: days since the epoch with what was traded on each, oldest first.
        self._traded: dict[str, deque[tuple[int, Decimal]]] = {}

    def fee(self, currency: str, notional: Decimal, at_ns: int, *, maker: bool) -> Decimal:
        """The fee of an execution at a venue time; negative is a rebate."""
        rates = self._fees
        if self._tiers:
            traded = self.traded(currency, at_ns)
            reached = [tier for tier in self._tiers if tier.from_notional <= traded]
            if reached:
                return share(notional, reached[-1].maker_bps if maker else reached[-1].taker_bps)
        return share(notional, rates.maker_bps if maker else rates.taker_bps)

    def count(self, currency: str, notional: Decimal, at_ns: int) -> None:
        """An execution has taken place."""
        if not self._tiers:
            return
        days, today = self._traded.setdefault(currency, deque()), at_ns // DAY_NS
        if days and days[-1][0] == today:
            days[-1] = (today, CONTEXT.add(days[-1][1], notional))
        else:
            days.append((today, notional))

    def traded(self, currency: str, at_ns: int) -> Decimal:
        """What counts for the tier of an execution at a venue time."""
        days = self._traded.get(currency, deque())
        while days and days[0][0] <= at_ns // DAY_NS - TIER_DAYS:
            days.popleft()
        return total(notional for _, notional in days) if days else ZERO
