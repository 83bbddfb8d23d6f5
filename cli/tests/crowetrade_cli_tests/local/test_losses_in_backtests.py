"""Limits on losses hold in a backtest on the time of the recording, and the same recording gives the same breach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.backtests import journaled

from crowetrade.bus.v1 import journal_pb2
from crowetrade_api.files import EnvName
from crowetrade_api_tests.samples import change
from crowetrade_cli_tests.desk import FIRST_NS, LIMIT, MINUTE_NS, STRATEGY, VENUE, record

RATE = {"count": 1000, "perSeconds": 1}
LIMITS = {"maxOrderQuantity": "5000000", "maxPositionQuantity": "9000000", "maxOrderRate": RATE}


def _events(folder: Path, limits: dict[str, Any], action: str) -> list[journal_pb2.JournalEvent]:
    """The price rises, so that the strategy buys, and falls from then on without end."""
    record(folder, (1.1 + 0.0005 * min(number, 40) - 0.002 * max(number - 40, 0) for number in range(120)))
    venue = change(VENUE, "spec.simulated.replay", {"speed": "max", "loop": False})
    limit = change(change(LIMIT, "spec.limits", LIMITS | limits), "spec.onBreach", action)
    return journaled([venue, STRATEGY, limit], {EnvName.DATA_DIRECTORY: str(folder)})


def _breaches(events: list[journal_pb2.JournalEvent]) -> list[journal_pb2.BreachChanged]:
    return [event.breach_changed for event in events if event.HasField("breach_changed")]


@pytest.mark.parametrize("limit", ["maxDailyLoss", "maxDrawdown", "maxLossPerMinute"])
def test_a_loss_flattens_and_nothing_is_traded_after_it(tmp_path: Path, limit: str) -> None:
    value = {"maxDailyLoss": "10", "maxDrawdown": "0.0001", "maxLossPerMinute": "0.0001"}[limit]

    events = _events(tmp_path, {limit: value}, "Flatten")

    (breach,) = _breaches(events)
    assert (breach.limit, breach.action, breach.subject) == (limit, "Flatten", "")
    place = next(number for number, event in enumerate(events) if event.HasField("breach_changed"))
    after = [event.order_submitted for event in events[place:] if event.HasField("order_submitted")]
    assert after
    assert all(order.closing for order in after)
    held = 0.0
    for event in events:
        if event.HasField("order_executed"):
            sign = 1 if event.order_executed.side == 1 else -1
            held += sign * float(event.order_executed.quantity)
    assert held == 0
    # On the recording's time.
    assert FIRST_NS < breach.since_unix_ns < FIRST_NS + 120 * MINUTE_NS
    again = _events(tmp_path, {limit: value}, "Flatten")
    assert [event.SerializeToString(deterministic=True) for event in again] == [
        event.SerializeToString(deterministic=True) for event in events
    ]


def test_a_loss_that_is_only_told_changes_no_order(tmp_path: Path) -> None:
    told = _events(tmp_path, {"maxDailyLoss": "10"}, "Alert")
    without = _events(tmp_path, {}, "Alert")
    assert len(_breaches(told)) == 1
    assert _breaches(without) == []
    kinds = ("order_submitted", "order_executed", "order_ended")
    assert [event for event in told if event.WhichOneof("event") in kinds] == [
        event for event in without if event.WhichOneof("event") in kinds
    ]
