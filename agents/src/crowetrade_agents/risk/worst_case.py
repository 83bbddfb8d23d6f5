"""What owners hold and work together in one instrument, every working order of one side counted as filled."""

from __future__ import annotations

from collections.abc import Mapping, Set
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import CONTEXT, ZERO
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


def open_orders(owners: frozenset[str], instrument: InstrumentId, exposures: Exposures, accounts: Accounts) -> int:
    """How many orders the owners work."""
    account = accounts.get(instrument) if len(owners) > 1 else None
    if account is None:
        return _orders(owners, instrument, exposures)
    return account.total.open_orders - _orders(_others(account.owners, owners), instrument, exposures)


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


def _orders(owners: Set[str], instrument: InstrumentId, exposures: Exposures) -> int:
    found = (exposures.get((owner, instrument)) for owner in owners)
    return sum(exposure.open_orders for exposure in found if exposure is not None)
