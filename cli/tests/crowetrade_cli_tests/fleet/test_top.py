"""Rows of `crowetrade top`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crowetrade_api_tests.samples import limit_manifest, strategy_manifest
from crowetrade_cli.fleet.top import Order, top

AT = "2026-01-05T09:00:00Z"
NOW = datetime(2026, 1, 5, 9, 20, tzinfo=UTC)


def strategy(name: str, net: str, open_: int, sent: int, rejected: int, *limits: str) -> dict[str, Any]:
    status = {
        "phase": "Trading",
        "lastReportTime": AT,
        "summary": {"position": "1000 EUR-USD"},
        "pnl": {"currency": "USD", "net": net},
        "orders": {"open": open_, "sentTotal": sent, "filledTotal": sent, "rejectedTotal": rejected},
        "riskLimits": list(limits),
    }
    return {**strategy_manifest(name), "status": status}


def limit(name: str, ratio: str) -> dict[str, Any]:
    used = [{"name": "maxOpenOrders", "venue": "sim-fx", "key": "", "used": "1", "limit": "2", "ratio": ratio}]
    return {**limit_manifest(name), "status": {"utilisation": used}}


STRATEGIES = [
    strategy("a", "-10.5", 3, 10, 0, "low"),
    strategy("b", "9", 1, 300, 7, "low", "high"),
    strategy("c", "-10", 2, 20, 1),
]
LIMITS = [limit("low", "0.1"), limit("high", "0.95")]


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (Order.NAME, "abc"),
        (Order.PNL, "acb"),
        (Order.OPEN, "acb"),
        (Order.SENT, "bca"),
        (Order.REJECTED, "bca"),
        (Order.UTILISATION, "bac"),
    ],
)
def test_the_order_of_rows(order: Order, names: str) -> None:
    assert [row.name for row in top(STRATEGIES, LIMITS, order, NOW)] == list(names)


def test_a_row() -> None:
    row = top(STRATEGIES, LIMITS, Order.NAME, NOW)[1]
    assert (row.namespace, row.phase, row.position, row.net, row.currency) == (
        "desk",
        "Trading",
        "1000 EUR-USD",
        "9",
        "USD",
    )
    assert (row.open, row.sent, row.filled, row.rejected) == (1, 300, 300, 7)
    assert (row.utilisation, row.limit) == ("0.95", "high/maxOpenOrders")


def test_one_without_a_status() -> None:
    (row,) = top([strategy_manifest()], [], Order.PNL, NOW)
    assert (row.net, row.limit, row.sent) == ("", "", 0)


def test_one_that_nobody_has_reported_lately() -> None:
    fresh, old = (top(STRATEGIES[:1], [], Order.NAME, now)[0] for now in (NOW, NOW + timedelta(seconds=1)))
    assert (fresh.phase, fresh.unreported) == ("Trading", "")
    assert (old.phase, old.unreported) == ("Trading", f"nobody has reported since {AT}")
