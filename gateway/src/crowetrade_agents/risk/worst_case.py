"""What owners hold and work together in one instrument, every working order of one side counted as filled."""

from __future__ import annotations

from collections.abc import Mapping, Set
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import CONTEXT, ZERO, total
from crowetrade_agents.domain.orders import Side

if TYPE_CHECKING:
    from crowetrade_agents.risk.facts import Account, Exposure

Exposures = Mapping[tuple[str, InstrumentId], "Exposure"]
Accounts = Mapping[InstrumentId, "Account"]


def worst_case(
    owners: frozenset[str], instrument: InstrumentId, side: Side, exposures: Exposures, accounts: Accounts
) -> Decimal:
    """Signed position of the owners in units if everything that they work on that side filled.

    `accounts` answers for many owners without touching each of them; where it says nothing, each is asked.
    """
    account = accounts.get(instrument) if len(owners) > 1 else None
    if account is None:
        return _sum(owners, instrument, side, exposures)
    worst = _worst(account.total, side)
    others = _others(account.owners, owners)
    return CONTEXT.subtract(worst, _sum(others, instrument, side, exposures)) if others else worst


class Part(NamedTuple):
    """What owners hold and work together in one instrument, in units: signed with every working buy filled, and with
    every working sell; the larger of both without its sign; and how many orders work."""

    buying: Decimal
    selling: Decimal
    largest: Decimal
    orders: int


EMPTY = Part(ZERO, ZERO, ZERO, 0)


def part_of(owners: frozenset[str], instrument: InstrumentId, exposures: Exposures, accounts: Accounts) -> Part:
    """Both sides of the worst case at once."""
    account = accounts.get(instrument) if len(owners) > 1 else None
    if account is None:
        found = tuple(exposures[owner, instrument] for owner in owners if (owner, instrument) in exposures)
        if not found:
            return EMPTY
        if len(found) == 1:
            return _part(_worst(found[0], Side.BUY), _worst(found[0], Side.SELL), found[0].open_orders)
        orders = sum(exposure.open_orders for exposure in found)
        buying, selling = (total(_worst(exposure, side) for exposure in found) for side in (Side.BUY, Side.SELL))
        return _part(buying, selling, orders)
    whole = account.total
    buying, selling, orders = _worst(whole, Side.BUY), _worst(whole, Side.SELL), whole.open_orders
    others = _others(account.owners, owners)
    if others:
        left_out = part_of(others, instrument, exposures, {})
        buying, selling = CONTEXT.subtract(buying, left_out.buying), CONTEXT.subtract(selling, left_out.selling)
        orders -= left_out.orders
    return _part(buying, selling, orders)


def _part(buying: Decimal, selling: Decimal, orders: int) -> Part:
    # Never less is held with every buy filled than with every sell, so the larger one is long or short on its own side.
    return Part(buying, selling, larger(buying, selling), orders)


def larger(buying: Decimal, selling: Decimal) -> Decimal:
    """The larger side of a worst case, without its sign; NaN when one of them is."""
    short = selling.copy_negate()
    return short if short.is_nan() or (not buying.is_nan() and short > buying) else buying


@lru_cache(maxsize=4096)
def _others(present: frozenset[str], counted: frozenset[str]) -> frozenset[str]:
    """Who is there and not counted: mostly nobody. Both sets are the same ones from decision to decision."""
    return present - counted


def _sum(owners: Set[str], instrument: InstrumentId, side: Side, exposures: Exposures) -> Decimal:
    found = ZERO
    for owner in owners:
        exposure = exposures.get((owner, instrument))
        if exposure is not None:
            found = CONTEXT.add(found, _worst(exposure, side))
    return found


def _worst(exposure: Exposure, side: Side) -> Decimal:
    if side is Side.BUY:
        return CONTEXT.add(exposure.position, exposure.open_buy)
    return CONTEXT.subtract(exposure.position, exposure.open_sell)
