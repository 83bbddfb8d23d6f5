"""What trading and holding costs at the venue. Pure."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Protocol
from zoneinfo import ZoneInfo

from crowetrade_agents.domain.numbers import CONTEXT, MONEY_PLACES, ZERO, total
from crowetrade_agents.venues.adapters.simulated.spec import Fees, Funding, Rollover
from crowetrade_agents.venues.port import ChargeKind

BPS = Decimal(10_000)
SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
TIER_DAYS = 30
_WEDNESDAY, _SATURDAY = 2, 5
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


class ChargeSchedule(Protocol):
    """When the positions of an instrument are charged, and how much."""

    kind: ChargeKind
    symbol: str

    def next_ns(self, after_ns: int) -> int:
        """The first time of a charge after a venue time."""
        ...

    def bps(self, at_ns: int, *, is_long: bool) -> Decimal:
        """What the charge at a time takes of a position's notional; negative is paid to it."""
        ...


class FundingSchedule:
    """See spec.Funding."""

    kind = ChargeKind.FUNDING

    def __init__(self, funding: Funding) -> None:
        self.symbol = funding.symbol
        self._rate_bps = funding.rate_bps
        self._every_ns = funding.every_hours * 3600 * SECOND_NS

    def next_ns(self, after_ns: int) -> int:
        """The next multiple of the period."""
        return (after_ns // self._every_ns + 1) * self._every_ns

    def bps(self, at_ns: int, *, is_long: bool) -> Decimal:
        """The rate, which the one side pays to the other."""
        return self._rate_bps if is_long else -self._rate_bps


class RolloverSchedule:
    """See spec.Rollover."""

    kind = ChargeKind.ROLLOVER

    def __init__(self, rollover: Rollover) -> None:
        self.symbol = rollover.symbol
        self._bps = {True: rollover.long_bps, False: rollover.short_bps}
        self._zone = ZoneInfo(rollover.time_zone)
        self._at = time.fromisoformat(rollover.at)

    def next_ns(self, after_ns: int) -> int:
        """The time of day on the next day that is none of a weekend, in its zone."""
        day = self._local(after_ns).date()
        while True:
            at_ns = int(datetime.combine(day, self._at, self._zone).timestamp()) * SECOND_NS
            if at_ns > after_ns and day.weekday() < _SATURDAY:
                return at_ns
            day += timedelta(days=1)

    def bps(self, at_ns: int, *, is_long: bool) -> Decimal:
        """That of one day, or of three."""
        days = 3 if self._local(at_ns).weekday() == _WEDNESDAY else 1
        return self._bps[is_long] * days

    def _local(self, at_ns: int) -> datetime:
        return datetime.fromtimestamp(at_ns // SECOND_NS, UTC).astimezone(self._zone)
