"""Who trades how much: a row per Strategy from stored objects. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from crowetrade_api.v1alpha1.meta import read
from crowetrade_api.v1alpha1.risklimit import RiskLimit, UnreadableLimit
from crowetrade_api.v1alpha1.strategy import Strategy, UnreadableStrategy
from crowetrade_cli.fleet.status import Stored, unreported


class Order(StrEnum):
    """By what rows are sorted, the highest first; PnL the lowest first."""

    NAME = "name"
    PNL = "pnl"
    OPEN = "open"
    SENT = "sent"
    REJECTED = "rejected"
    UTILISATION = "utilisation"


@dataclass(frozen=True, slots=True)
class TopRow:
    """One Strategy. Amounts are those of its status, in `currency`; `utilisation` is the highest of the RiskLimits that
    bind it, as a ratio, and `limit` is that one. `unreported` is empty, or says since when nobody knows any of it."""

    namespace: str
    name: str
    phase: str
    unreported: str
    position: str
    net: str
    currency: str
    open: int
    sent: int
    filled: int
    rejected: int
    utilisation: str
    limit: str

    def to_json(self) -> dict[str, Any]:
        """For `--output json`."""
        return asdict(self)


_KEYS: dict[Order, Callable[[TopRow], tuple[Any, ...]]] = {
    Order.NAME: lambda row: (),
    Order.PNL: lambda row: (Decimal(row.net or 0),),
    Order.OPEN: lambda row: (-row.open,),
    Order.SENT: lambda row: (-row.sent,),
    Order.REJECTED: lambda row: (-row.rejected,),
    Order.UTILISATION: lambda row: (-Decimal(row.utilisation or 0),),
}


def top(strategies: Iterable[Stored], limits: Iterable[Stored], order: Order, now: datetime) -> Sequence[TopRow]:
    """The rows, sorted."""
    used = _used(limits)
    rows = [_row(read(dict(item), Strategy, UnreadableStrategy), unreported(item, now), used) for item in strategies]
    return sorted(rows, key=lambda row: (*_KEYS[order](row), row.namespace, row.name))


def _used(limits: Iterable[Stored]) -> dict[tuple[str, str], tuple[Decimal, str]]:
    """The highest utilisation of each RiskLimit, and the name of that limit."""
    found = {}
    for item in limits:
        limit = read(dict(item), RiskLimit, UnreadableLimit)
        highest = max(limit.status.utilisation, key=lambda one: Decimal(one.ratio), default=None)
        if highest is not None:
            found[limit.namespace, limit.name] = (Decimal(highest.ratio), f"{limit.name}/{highest.name}")
    return found


def _row(
    strategy: Strategy | UnreadableStrategy, silence: str, used: dict[tuple[str, str], tuple[Decimal, str]]
) -> TopRow:
    status = strategy.status
    bound = (used.get((strategy.namespace, name)) for name in status.risk_limits)
    ratio, limit = max((one for one in bound if one is not None), default=(None, ""))
    return TopRow(
        namespace=strategy.namespace,
        name=strategy.name,
        phase=str(status.phase),
        unreported=silence,
        position=status.summary.position,
        net=status.pnl.net if status.pnl is not None else "",
        currency=status.pnl.currency if status.pnl is not None else "",
        open=status.orders.open,
        sent=status.orders.sent_total,
        filled=status.orders.filled_total,
        rejected=status.orders.rejected_total,
        utilisation="" if ratio is None else str(ratio),
        limit=limit,
    )
