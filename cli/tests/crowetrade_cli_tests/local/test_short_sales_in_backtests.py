"""Where the venue refuses short sales a strategy whose signal turns gets flat, and others at the venue keep theirs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.backtests import journaled

from crowetrade.bus.v1 import journal_pb2, market_data_pb2
from crowetrade_api.files import EnvName
from crowetrade_api_tests.samples import change
from crowetrade_cli_tests.desk import LIMIT, STRATEGY, VENUE, record

RISE = [1.1 + 0.0005 * number for number in range(40)]
FALL = [RISE[-1] - 0.0005 * number for number in range(12)]


def _events(folder: Path, rule: str) -> list[journal_pb2.JournalEvent]:
    """A fast strategy, and a slow one that still holds what it has bought."""
    record(folder, [*RISE, *FALL])
    venue = change(VENUE, "spec.simulated.replay", {"speed": "max", "loop": False})
    slow = change(change(STRATEGY, "metadata.name", "slow"), "spec.model.parameters", {"fast": 8, "slow": 20})
    manifests = [change(venue, "spec.simulated.shortSelling", rule), STRATEGY, slow, LIMIT]
    return journaled(manifests, {EnvName.DATA_DIRECTORY: str(folder)})


def _positions(events: list[journal_pb2.JournalEvent]) -> dict[str, list[Decimal]]:
    """What each strategy held after each of its executions."""
    orders = {event.order_submitted.cl_ord_id: event.order_submitted for event in events}
    held: dict[str, list[Decimal]] = {}
    for event in events:
        if event.HasField("order_executed"):
            order = orders[event.order_executed.cl_ord_id]
            sign = 1 if order.side == market_data_pb2.SIDE_BUY else -1
            history = held.setdefault(order.strategy, [Decimal(0)])
            history.append(history[-1] + sign * Decimal(event.order_executed.quantity))
    return held


def test_a_turned_signal_ends_flat_where_short_sales_are_forbidden(tmp_path: Path) -> None:
    events = _events(tmp_path, "Forbidden")

    held = _positions(events)
    fast = held[STRATEGY["metadata"]["name"]]
    assert max(fast) > 0
    assert min(fast) == fast[-1] == 0
    assert held["slow"][-1] > 0
    assert not [event for event in events if "ShortSale" in event.order_ended.reason]


def test_where_they_are_allowed_it_turns_around(tmp_path: Path) -> None:
    held = _positions(_events(tmp_path, "Allowed"))
    assert held[STRATEGY["metadata"]["name"]][-1] < 0
