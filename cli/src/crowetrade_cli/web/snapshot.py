"""A report as the page shows it: every figure a finished text, and the few numbers that it draws. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from functools import cache
from typing import Any

from crowetrade_cli.journal.rows import iso
from crowetrade_cli.local.report import LimitRow, OrderRow, PositionRow, Report, StrategyRow, Tone, VenueRow
from crowetrade_cli.local.stops import StopRow

ORDERS_SHOWN = 100

Label = Callable[[str, str], str]


def snapshot(now: Report, fills: Iterable[Mapping[str, Any]], sentence: str, at_ns: int) -> dict[str, Any]:
    """The whole page at the time `at_ns`, in nanoseconds since the Unix epoch; `fills` are the newest first."""
    label = cache(now.label)
    return {
        "time": iso(at_ns),
        "message": sentence,
        "totals": [{"currency": currency, "pnl": pnl} for currency, pnl in totals(now).items()],
        "stops": [
            {
                **_fields(row),
                "key": f"{row.kind}/{_key(row.namespace, row.name)}",
                "label": label(row.namespace, row.name),
                "whom": ", ".join(label(*item.split("/")) for item in row.stops),
            }
            for row in now.stops
        ],
        "strategies": [
            {
                **_fields(row),
                "key": _key(row.namespace, row.name),
                "label": label(row.namespace, row.name),
                "held": row.held,
                "tone": Tone.of(row.state),
            }
            for row in now.strategies
        ],
        "positions": [
            {
                **_fields(row),
                "key": f"{_key(row.namespace, row.strategy)}/{row.venue}/{row.symbol}",
                "label": label(row.namespace, row.strategy),
            }
            for row in now.positions
        ],
        "orders": _orders(now.orders, label),
        "orders_open": len(now.orders),
        "fills": [{**fill, "label": label(fill["namespace"], fill["strategy"])} for fill in fills],
        "venues": [
            {
                **_fields(row),
                "key": _key(row.namespace, row.name),
                "label": label(row.namespace, row.name),
                "tone": Tone.of(row.session),
                "latency": f"{row.latency_p99_micros / 1000:.1f} ms" if row.latency_p99_micros else "",
            }
            for row in now.venues
        ],
        "limits": [_limit(row, label) for row in now.limits],
    }


def amounts(now: Report) -> dict[str, str]:
    """Profit and loss by series: each strategy by its key, and the total of each currency by the currency."""
    return {_key(row.namespace, row.name): row.pnl for row in now.strategies} | totals(now)


def totals(now: Report) -> dict[str, str]:
    """Profit and loss of all strategies by the currency of their capital; empty where that of one is not known."""
    found: dict[str, str] = {}
    for currency in sorted({row.currency for row in now.strategies}):
        pnls = [row.pnl for row in now.strategies if row.currency == currency]
        found[currency] = str(sum(map(Decimal, pnls), Decimal(0))) if all(pnls) else ""
    return found


def _fields(row: LimitRow | OrderRow | PositionRow | StopRow | StrategyRow | VenueRow) -> dict[str, Any]:
    """As dataclasses.asdict, but without its deep copy of each value, which the loop that trades would wait for."""
    return {field.name: getattr(row, field.name) for field in fields(row)}


def _key(namespace: str, name: str) -> str:
    return f"{namespace}/{name}"


def _orders(rows: Sequence[OrderRow], label: Label) -> list[dict[str, Any]]:
    return [
        {
            **_fields(row),
            "key": f"{_key(row.namespace, row.venue)}/{row.cl_ord_id}",
            "label": label(row.namespace, row.strategy),
            "terms": f"{row.type} {row.time_in_force}",
        }
        for row in sorted(rows, key=lambda row: row.changed, reverse=True)[:ORDERS_SHOWN]
    ]


def _limit(row: LimitRow, label: Label) -> dict[str, Any]:
    share = row.share
    return {
        **_fields(row),
        "scope": row.key,
        "key": f"{_key(row.namespace, row.name)}/{row.limit}",
        "label": label(row.namespace, row.name),
        "tone": row.tone,
        "share": "none allowed" if share is None else f"{share:.0%}",
        "filled": 1.0 if share is None else float(min(share, Decimal(1))),
    }
